package pages

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// flowKind is a kind of flow that has a page, named as in the API's paths.
type flowKind string

const (
	registration flowKind = "registration"
	login        flowKind = "login"
	verification flowKind = "verification"
	recovery     flowKind = "recovery"
	settings     flowKind = "settings"
)

func (k flowKind) pathInit() string  { return "self-service/" + string(k) + "/browser" }
func (k flowKind) pathFetch() string { return "self-service/" + string(k) + "/flows" }

// States of a verification and a recovery, and of settings.
const (
	stateSent    = "sent_email"
	statePassed  = "passed_challenge"
	stateSuccess = "success" // of settings
)

// selfService is what a page reads of a flow.
type selfService struct {
	Type       string `json:"type"`
	State      string `json:"state"`
	Active     string `json:"active"` // method that was used last
	RequestURL string `json:"request_url"`
	ReturnTo   string `json:"return_to"`
	Refresh    bool   `json:"refresh"`
	UI         ui     `json:"ui"`
	// Identity is whose settings these are.
	Identity struct {
		VerifiableAddresses []address `json:"verifiable_addresses"`
	} `json:"identity"`

	// mailed says that the page tells of a mail that verifies an address.
	mailed bool
	// usedElsewhere says that a recovery is over and has signed in another browser.
	usedElsewhere bool
}

// begunBy is the kind of flow that a person began: f's own, or that of the one which led
// to f, whose URL it keeps. It is of no kind where a URL says nothing.
func (f *selfService) begunBy() flowKind {
	begun, err := url.Parse(f.RequestURL)
	if err != nil {
		return ""
	}
	_, route, _ := strings.Cut(begun.Path, "/self-service/")
	kind, _, _ := strings.Cut(route, "/")
	return flowKind(kind)
}

// title is the heading of the page.
func (f *selfService) title(k flowKind, say *words) string {
	switch k {
	case registration:
		switch {
		case f.cameBack():
			return say.Complete
		case f.secondStep():
			return say.Credential
		}
		return say.Register
	case login:
		switch {
		case f.link() != nil:
			return say.SignInToLink
		case f.Refresh:
			return say.Confirm
		}
		return say.SignIn
	case settings:
		switch {
		case f.renewed():
			return say.Renewed
		case !f.recovering():
			return say.Settings
		case f.entered("password") != nil:
			return say.Recovered
		}
		return say.RecoveredOther
	default:
		return f.titleOfMail(k, say)
	}
}

// titleOfMail is the heading of a flow that a mail goes out for.
func (f *selfService) titleOfMail(k flowKind, say *words) string {
	switch {
	case f.State == stateSent && f.byLink():
		return say.CheckMail
	case f.State == stateSent:
		return say.EnterCode
	case k == recovery && f.State == statePassed: // whoever is signed in here
		return say.RecoveryUsed
	case k == recovery:
		return say.Recover
	case f.State == statePassed:
		return say.Verified
	}
	return say.Verify
}

// message gives what the flow says as a whole under an id, nil if it does not.
func (f *selfService) message(id int64) *message {
	if n := slices.IndexFunc(f.UI.Messages, func(m message) bool { return m.ID == id }); n >= 0 {
		return &f.UI.Messages[n]
	}
	return nil
}

// entered gives the node of that name in which a person enters something, nil if there
// is none.
func (f *selfService) entered(name string) *node {
	if n := slices.IndexFunc(f.UI.Nodes, func(n node) bool { return n.Attributes.Name == name && n.entered() }); n >= 0 {
		return &f.UI.Nodes[n]
	}
	return nil
}

// byLink tells whether the mail of a flow has a link that is opened, and no code.
func (f *selfService) byLink() bool {
	return slices.ContainsFunc(f.UI.Nodes, func(n node) bool { return n.Group == groupLink })
}

// link is what a login says that links an account at a provider, nil if it does
// not.
func (f *selfService) link() *message { return f.message(linkAccount) }

// cameBack tells whether a registration came back from a provider that gave too
// few traits: then the only button goes on there.
func (f *selfService) cameBack() bool { return f.labelled(goOnSigningUp) }

// secondStep tells whether a registration asks for the password alone.
func (f *selfService) secondStep() bool { return f.labelled(goBack) }

func (f *selfService) labelled(id int64) bool {
	return slices.ContainsFunc(f.UI.Nodes, func(n node) bool { return n.Meta.Label.ID == id })
}

// next is the name of what a person came to this page to enter: the step before has
// led here. It is "" where a person has come by themselves and may look round first.
func (f *selfService) next(k flowKind) string {
	switch {
	case k == registration && f.secondStep(), k == settings && f.recovering():
		return "password"
	case (k == verification || k == recovery) && f.State == stateSent && !f.byLink():
		return "code"
	}
	return ""
}

// lead says what can be done here, where that is not plain.
func (f *selfService) lead(k flowKind, say *words) string {
	switch {
	case k == recovery && f.State != stateSent && f.State != statePassed:
		return say.RecoverHow
	case f.usedElsewhere:
		return say.RecoveryUsedHow
	case k == settings && !slices.ContainsFunc(f.UI.Nodes, func(n node) bool { return n.kind() == button }):
		return say.SettingsNone
	}
	return ""
}

// who tells for whom a login is that leaves no choice of it, and how that is said.
func (f *selfService) who(say *words) (words, name string) {
	n := slices.IndexFunc(f.UI.Nodes, func(n node) bool { return n.Attributes.Name == "identifier" && n.kind() == hidden })
	switch {
	case n < 0:
		return "", ""
	case f.Refresh:
		return say.SignedInAs, f.UI.Nodes[n].value()
	}
	return say.As, f.UI.Nodes[n].value()
}

// way leads from a flow to what the person may have wanted instead.
type way struct {
	question, text string
	to             flowKind
	url            string // counts over to, if it is known
}

// ways are those of a flow; recoverable says that accounts can be recovered.
func (f *selfService) ways(k flowKind, say *words, recoverable bool) (ways []way) {
	signIn := way{say.HaveAccount, say.SignIn, login, ""}
	switch k {
	case registration:
		if f.cameBack() {
			ways = append(ways, way{say.ChangedMind, say.SignUpOtherwise, registration, ""})
		}
		return append(ways, signIn)
	case login:
		if recoverable && !f.Refresh && f.entered("password") != nil {
			ways = append(ways, way{"", say.Forgot, recovery, ""})
		}
		switch l := f.link(); {
		case l != nil:
			another, _ := l.Context["new_login_url"].(string)
			ways = append(ways, way{say.NotYourAccount, say.UseAnother, login, another})
		case !f.Refresh:
			ways = append(ways, way{say.NoAccount, say.CreateAccount, registration, ""})
		}
		return ways
	case settings:
		return f.waysOfSettings(say)
	default:
		return f.waysOfMail(k, say)
	}
}

// waysOfMail are those of a flow that a mail goes out for.
func (f *selfService) waysOfMail(k flowKind, say *words) (ways []way) {
	if f.State == stateSent && !f.byLink() && !f.handed(k) {
		ways = append(ways, way{say.NotYourAddress, say.EnterAnother, k, ""})
	}
	switch {
	case f.usedElsewhere:
		ways = append(ways, way{"", say.SignIn, login, ""}, way{"", say.Recover, recovery, ""})
	case k == recovery && f.State == statePassed:
		ways = append(ways, way{"", say.Settings, settings, ""})
	case k == recovery:
		ways = append(ways, way{say.Remembered, say.SignIn, login, ""})
	}
	return ways
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
			if f.Type == "browser" || k == verification && f.State == statePassed {
				if k == verification {
					p.situate(w, r, &f)
				}
				if k == recovery {
					p.explainRecovery(w, r, &f)
				}
				p.showFlow(w, r, k, &f)
				return
			}
			// An app's flow can not be submitted from a page: a mail may lead here.
			if f.next(k) == "code" {
				d := p.document(r)
				p.draw(w, r, http.StatusOK, againPage(d.titled(d.say.InApp), d.say.InAppHow, k, query))
				return
			}
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
			d := p.document(r)
			p.draw(w, r, http.StatusForbidden, againPage(d.titled(d.say.Cookies), d.say.CookiesHow, k, query))
		default:
			d := p.document(r)
			p.draw(w, r, http.StatusGone, againPage(d.titled(d.say.Over), d.say.OverHow, k, query))
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
	d := p.document(r)
	title := f.title(k, d.say)
	switch {
	case k != settings:
	case f.profileSaved() && p.Verification != nil && p.Verification():
		f.tellOfMail(d.say)
	case f.recovering(), f.renewed():
		f.remindOfAddress(d.say)
	}
	d.translate(&f.UI)
	v := arrange(f, k, d.say)
	d = d.titled(title)
	if len(v.faults) > 0 {
		d.title = fill(d.say.Error, "title", title) // what a screen reader says first
	}
	ways := f.ways(k, d.say, p.Recovery != nil && p.Recovery())
	p.draw(w, r, http.StatusOK, flowPage(d, title, v, k, f, ways))
}
