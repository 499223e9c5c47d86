package pages

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// What a verification says besides its own messages. It does not know itself
// whether the person is signed in, and a person may take it for the way in, or
// for what keeps them out.
const (
	saysRefused    = "You are not signed in yet: that needs a verified address. Enter the code from the mail, then sign in again."
	saysRegistered = "Your account is there, and you are signed in already. The code only verifies your address."
	saysNoSession  = "Your account is there, but you are not signed in yet. Enter the code from the mail, then sign in."
	saysSignedIn   = "You are signed in already. The code only verifies your address."
	saysSignIn     = "You can sign in now."
)

// situate tells in f where a person stands that a registration or a login has
// led here, and leads somebody without a session from the end to the login
// instead of to the page that says that they have none. Where the API does not
// say who comes, it changes nothing.
func (p *pages) situate(w http.ResponseWriter, r *http.Request, f *selfService) {
	from := f.begunBy()
	if f.State != statePassed && (f.State != stateSent || from == verification) {
		return
	}
	a := p.ask(w, r, typeJSON, pathWhoami, nil)
	signedIn := a.status == http.StatusOK
	switch {
	case !signedIn && a.status != http.StatusUnauthorized:
	case f.State == statePassed:
		if !signedIn && f.leadBack(string(p.document(r, "").begin(login, nil))) {
			f.UI.Messages = append(f.UI.Messages, info(saysSignIn))
		}
	case from == registration && signedIn:
		f.note(saysRegistered)
	case from == registration:
		f.note(saysNoSession)
	case signedIn:
		f.note(saysSignedIn)
	default:
		f.note(saysRefused)
	}
}

// begunBy is the kind of the flow that led to f, which keeps the URL that one
// was begun with; a verification's own if none did.
func (f *selfService) begunBy() flowKind {
	begun, err := url.Parse(f.RequestURL)
	if err != nil {
		return verification
	}
	for _, k := range []flowKind{registration, login} {
		if strings.HasSuffix(begun.Path, "/"+k.pathInit()) {
			return k
		}
	}
	return verification
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
