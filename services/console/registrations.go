package console

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/a-h/templ"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/operator"
	"github.com/usher-auth/usher/services/timeline"
)

const (
	pathRegistrations = base + "/registrations"
	pathStream        = pathRegistrations + "/stream"
)

func registrationsRoutes() []route {
	return []route{
		{"GET " + pathRegistrations, operator.RoleOperator, (*visit).registrations},
		{"POST " + pathRegistrations, operator.RoleOperator, (*visit).findRegistration},
		{"GET " + pathStream, operator.RoleOperator, (*visit).streamRegistrations},
		{"GET " + pathRegistrations + "/{id}", operator.RoleOperator, (*visit).timeline},
	}
}

// registrations shows the newest registrations, and those that come while it is open.
func (v *visit) registrations() error {
	live := v.r.URL.Query().Get("live") != "off"
	v.show(http.StatusOK, "Registrations", pathRegistrations, registrationsPage(v.newest(), live, search{}, v.Now(), v.assets.named["hx-sse.min.js"]))
	return nil
}

// newest is what the list begins with.
func (v *visit) newest() *shown {
	rows, _, err := newestRows(v.r.Context(), v.readEvents)
	return &shown{rows: rows, err: err, drawn: true}
}

// search is who was looked for, and why nobody was found.
type search struct{ who, why string }

// findRegistration looks for one person by id or by what they sign in with. It is
// a post: an address has no place in a URL or in a log.
func (v *visit) findRegistration() error {
	who := strings.TrimSpace(v.r.PostFormValue("who"))
	if id, err := uuid.Parse(who); err == nil {
		v.redirect(pathRegistrations + "/" + id.String())
		return nil
	}
	if who == "" {
		v.redirect(pathRegistrations)
		return nil
	}
	found, err := v.find(who)
	if err != nil {
		return err
	}
	if len(found) == 1 {
		v.redirect(pathRegistrations + "/" + found[0].ID.String())
		return nil
	}
	s := search{who, "Nobody signs in with exactly this. Try the whole address, the identity's id, or external: and the id that another system has for it."}
	if len(found) > 1 {
		s.why = "More than one identity signs in with this, one of them as an account at a provider. Try the identity's id."
	}
	v.show(http.StatusNotFound, "Registrations", pathRegistrations, registrationsPage(v.newest(), false, s, v.Now(), ""))
	return nil
}

// timeline shows what became of one registration.
func (v *visit) timeline() error {
	id, err := uuid.Parse(v.r.PathValue("id"))
	if err != nil {
		return errNoPage
	}
	query := url.Values{}
	if flow := v.r.URL.Query().Get("flow"); flow != "" {
		query.Set("flow", flow)
	}
	var t timeline.Timeline
	if err := v.get("/admin/identities/"+id.String()+"/timeline", query, &t); err != nil {
		return err
	}
	v.show(http.StatusOK, "Registration", pathRegistrations, timelinePage(newJourney(t, v.Now())))
	return nil
}

const (
	// drawEvery is how often a tab is drawn at most, quiet how long nothing is sent
	// at most: times grow older meanwhile.
	drawEvery = time.Second
	quiet     = 10 * time.Second
	// slowTab is how long a tab may take to take a part.
	slowTab = 30 * time.Second
)

// streamRegistrations shows what is new while the tab is open, as server-sent
// events: each holds the whole list, so that a tab never grows, and one that comes
// back misses nothing. It ends with the operator's session and with this process.
func (v *visit) streamRegistrations() error {
	leave := v.feed.join()
	defer leave()
	h := v.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	_ = http.NewResponseController(v.w).SetReadDeadline(time.Time{}) // or the request would end with it
	ctx := v.r.Context()
	now := v.newest()
	now.changed = v.feed.see().changed
	for {
		if v.enter(operator.RoleOperator) != nil {
			v.send(sentEvent(v.render(signedOut())) + "event: end\ndata:\n\n")
			return nil
		}
		if !v.send(sentEvent(v.render(registrationsList(now, v.Now())))) {
			return nil
		}
		if !v.rest(drawEvery, nil) || !v.rest(quiet, now.changed) {
			return nil
		}
		if next := v.feed.see(); next.ready {
			now = next
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// rest waits for a time, or for something new; false: the tab is gone, or is to go.
func (v *visit) rest(d time.Duration, changed <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	case <-v.Draining:
		return false
	case <-v.r.Context().Done():
		return false
	}
	return true
}

// send sends a part; false: the tab is gone, or too slow.
func (v *visit) send(part string) bool {
	c := http.NewResponseController(v.w)
	if err := c.SetWriteDeadline(time.Now().Add(slowTab)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return false
	}
	_, err := v.w.Write([]byte(part))
	return err == nil && c.Flush() == nil
}

// sentEvent is HTML as a server-sent event.
func sentEvent(html string) string {
	var b strings.Builder
	for line := range strings.Lines(html) {
		b.WriteString("data: " + strings.TrimRight(line, "\r\n") + "\n")
	}
	b.WriteString("\n")
	return b.String()
}

// render is a component as text; empty where it cannot be drawn.
func (v *visit) render(c templ.Component) string {
	var b bytes.Buffer
	if err := c.Render(v.r.Context(), &b); err != nil {
		v.Log.ErrorContext(v.r.Context(), "draw part", "route", v.r.Pattern, "error", err)
		return ""
	}
	return b.String()
}
