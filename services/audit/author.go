package audit

import (
	"time"

	"github.com/usher-auth/usher/events"
)

// adminSource is the source of what administrators did, through whichever part.
const adminSource = "/usher/admin"

// Author is who asked for something, as its events say.
type Author struct {
	// Actor is "admin:<name>", or "system:<part>" of what Usher does by itself.
	Actor string
	// RequestID and TraceParent are those of the request, empty where there is none.
	RequestID, TraceParent string
}

// About is what an event of a source carries of its author.
func (a Author) About(source string) events.About {
	return events.About{Source: source, Actor: a.Actor, RequestID: a.RequestID, TraceParent: a.TraceParent}
}

// Acted is the event of an action that no other event tells of, such as
// "hook.pause". Target is what it was done to: an id or a name, never personal data.
func (a Author) Acted(action, target string, now time.Time) events.Event {
	return events.New(events.AdminActed{Action: action, Target: target}, now, a.About(adminSource))
}
