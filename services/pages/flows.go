package pages

import (
	"net/http"
	"net/url"
	"slices"
)

// flowKind is a kind of flow that has a page, named as in the API's paths.
type flowKind string

const (
	registration flowKind = "registration"
	login        flowKind = "login"
	verification flowKind = "verification"
	settings     flowKind = "settings"
)

func (k flowKind) pathInit() string  { return "self-service/" + string(k) + "/browser" }
func (k flowKind) pathFetch() string { return "self-service/" + string(k) + "/flows" }

// States of a verification.
const (
	stateSent   = "sent_email"
	statePassed = "passed_challenge"
)

// selfService is what a page reads of a flow.
type selfService struct {
	Type       string `json:"type"`
	State      string `json:"state"`
	RequestURL string `json:"request_url"`
	ReturnTo   string `json:"return_to"`
	Refresh    bool   `json:"refresh"`
	UI         ui     `json:"ui"`
}

// title is the heading of the page.
func (f *selfService) title(k flowKind) string {
	switch {
	case k == registration && f.cameBack():
		return "Complete your account"
	case k == registration && f.secondStep():
		return "Choose how you sign in"
	case k == registration:
		return "Create your account"
	case k == login && f.link() != nil:
		return "Sign in to your account"
	case k == login && f.Refresh:
		return "Confirm that it is you"
	case k == login:
		return "Sign in"
	case k == settings:
		return "How you sign in"
	case f.State == stateSent:
		return "Enter your code"
	case f.State == statePassed:
		return "Verification complete"
	}
	return "Verify your address"
}

// link is what a login says that links an account at a provider, nil if it does
// not.
func (f *selfService) link() *message {
	if n := slices.IndexFunc(f.UI.Messages, func(m message) bool { return m.ID == linkAccount }); n >= 0 {
		return &f.UI.Messages[n]
	}
	return nil
}

// cameBack tells whether a registration came back from a provider that gave too
// few traits: then the only button goes on there.
func (f *selfService) cameBack() bool { return f.labelled(goOnSigningUp) }

// secondStep tells whether a registration asks for the password alone.
func (f *selfService) secondStep() bool { return f.labelled(goBack) }

func (f *selfService) labelled(id int64) bool {
	return slices.ContainsFunc(f.UI.Nodes, func(n node) bool { return n.Meta.Label.ID == id })
}

// lead says what can be done here, where that is not plain.
func (f *selfService) lead(k flowKind) string {
	switch {
	case k != settings:
		return ""
	case slices.ContainsFunc(f.UI.Nodes, func(n node) bool { return n.kind() == button }):
		return "Accounts that you have elsewhere can be ways to sign in here."
	}
	return "There is nothing that you could change here."
}

// who tells for whom a login is that leaves no choice of it, with the words before
// the name.
func (f *selfService) who() (words, name string) {
	n := slices.IndexFunc(f.UI.Nodes, func(n node) bool { return n.Attributes.Name == "identifier" && n.kind() == hidden })
	switch {
	case n < 0:
		return "", ""
	case f.Refresh:
		return "Signed in as", f.UI.Nodes[n].value()
	}
	return "as", f.UI.Nodes[n].value()
}

// way leads from a flow to what the person may have wanted instead.
type way struct {
	question, text string
	to             flowKind
	url            string // counts over to, if it is known
}

func (f *selfService) ways(k flowKind) []way {
	signIn := way{"Have an account already?", "Sign in", login, ""}
	switch {
	case k == registration && f.cameBack():
		return []way{{"Changed your mind?", "Sign up in another way", registration, ""}, signIn}
	case k == registration:
		return []way{signIn}
	case k == login && f.link() != nil:
		return []way{{"Not your account?", "Use another one", login, f.link().Context.NewLogin}}
	case k == login && !f.Refresh:
		return []way{{"No account yet?", "Create an account", registration, ""}}
	case k == verification && f.State == stateSent:
		return []way{{"Not your address?", "Enter another one", verification, ""}}
	case k == settings:
		return []way{{"", "Back to the start", "", "welcome"}}
	}
	return nil
}

// onward is what the flow that a way leads to takes over.
func (f *selfService) onward() url.Values {
	if f.ReturnTo == "" {
		return nil
	}
	return url.Values{"return_to": {f.ReturnTo}}
}

// again marks the page of a flow that was begun because another could not be
// shown: should this one not be shown either, the page says so.
const again = "again"

// flow shows the flows of a kind. Without one it lets the API begin one; what
// else the query says, such as return_to, goes along. With one that cannot be
// shown it begins another, once: nobody is sent round in circles.
func (p *pages) flow(k flowKind) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		id, second := query.Get("flow"), query.Has(again)
		query.Del("flow")
		query.Del(again)
		if id == "" {
			redirect(w, root(r)+k.pathInit()+encoded(query))
			return
		}
		a := p.ask(w, r, typeJSON, k.pathFetch(), url.Values{"id": {id}})
		switch a.status {
		case http.StatusOK:
			var f selfService
			if !p.read(w, r, a, &f) {
				return
			}
			if f.Type == "browser" {
				if k == verification {
					p.situate(w, r, &f)
				}
				p.showFlow(w, r, k, &f)
				return
			}
			// An app's flow can not be submitted from a page.
		case http.StatusGone:
			if to, err := url.Parse(a.problem().Details.RedirectTo); err == nil && to.RawQuery != "" {
				query = to.Query() // as the flow was begun
			}
		case http.StatusUnauthorized: // settings, of nobody: the API knows where they sign in
			redirect(w, root(r)+k.pathInit()+encoded(query))
			return
		case http.StatusForbidden, http.StatusNotFound:
		default:
			p.refused(w, r, a)
			return
		}
		switch {
		case !second:
			p.beginAgain(w, r, k, query)
		case a.status == http.StatusForbidden:
			p.draw(w, r, http.StatusForbidden, cookiesPage(p.document(r, "Cookies are needed"), k, query))
		default:
			p.draw(w, r, http.StatusGone, overPage(p.document(r, "This form is over"), k, query))
		}
	}
}

// beginAgain begins a flow for a browser whose flow cannot be shown: it may be
// over, or the browser did not show the cookie that it was begun with, because
// that is gone or it keeps none.
func (p *pages) beginAgain(w http.ResponseWriter, r *http.Request, k flowKind, query url.Values) {
	a := p.ask(w, r, typeHTML, k.pathInit(), query)
	to, ok := a.location()
	if !ok {
		p.refused(w, r, a)
		return
	}
	if q := to.Query(); q.Has("flow") {
		q.Set(again, "1")
		to.RawQuery = q.Encode()
	}
	redirect(w, to.String())
}

// showFlow draws the forms of a flow.
func (p *pages) showFlow(w http.ResponseWriter, r *http.Request, k flowKind, f *selfService) {
	v := arrange(f.UI)
	title := f.title(k)
	d := p.document(r, title)
	if len(v.faults) > 0 {
		d.title = "Error: " + title // what a screen reader says first
	}
	p.draw(w, r, http.StatusOK, flowPage(d, title, v, k, f))
}
