package pages

import (
	"net/http"
	"slices"
	"strings"
)

// situate tells in f where a person stands that a registration or a login has
// led here, and leads somebody without a session from the end to the login
// instead of to the page that says that they have none. Where the API does not
// say who comes, it changes nothing.
func (p *pages) situate(w http.ResponseWriter, r *http.Request, f *selfService) {
	from := f.begunBy()
	led := from == registration || from == login
	if f.State != statePassed && (f.State != stateSent || !led) {
		return
	}
	d := p.document(r)
	say := d.say.ofStanding(f.byLink())
	a := p.ask(w, r, typeJSON, pathWhoami, nil)
	signedIn := a.status == http.StatusOK
	switch {
	case !signedIn && a.status != http.StatusUnauthorized:
	case f.State == statePassed:
		if !signedIn && f.leadBack(string(d.begin(login, nil))) {
			f.UI.Messages = append(f.UI.Messages, info(d.say.SignInNow))
		}
	case from == registration && signedIn:
		f.note(say.registered)
	case from == registration:
		f.note(say.noSession)
	case signedIn:
		f.note(say.signedIn)
	default:
		f.note(say.refused)
	}
}

// standing is what tells people where they stand.
type standing struct{ registered, noSession, signedIn, refused string }

// ofStanding gives that where a mail with a code is on its way, or with a link.
func (w *words) ofStanding(byLink bool) standing {
	if byLink {
		return standing{w.RegisteredByLink, w.NoSessionByLink, w.SignedInAlreadyByLink, w.RefusedByLink}
	}
	return standing{w.Registered, w.NoSession, w.SignedInAlready, w.Refused}
}

// leadBack makes links to the built-in start page lead elsewhere, and tells
// whether there was one. Other pages know best whom they want to see signed in.
func (f *selfService) leadBack(to string) bool {
	base, _, _ := strings.Cut(f.RequestURL, "/self-service/")
	found := false
	for n := range f.UI.Nodes {
		if at := &f.UI.Nodes[n].Attributes; f.UI.Nodes[n].kind() == link && at.Href == base+"/ui/welcome" {
			at.Href, found = to, true
		}
	}
	return found
}

// note puts a message of the page before those of the flow.
func (f *selfService) note(text string) { f.UI.Messages = slices.Insert(f.UI.Messages, 0, info(text)) }

func info(text string) message { return message{Text: text, Type: "info"} }
