package sdk_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ory/client-go"
)

// page is a browser without scripts: it posts forms and is redirected.
type page struct {
	t    *testing.T
	http *http.Client
	// sdk is what the server that renders the pages uses, with the browser's cookies.
	sdk client.FrontendAPI
}

func newPage(t *testing.T) *page {
	t.Helper()
	return &page{t: t, sdk: newApp(), http: &http.Client{
		Jar: newJar(t), Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// get follows a link and gives where the answer leads. All answers to a page
// are redirects here: the pages themselves are somebody else's.
func (p *page) get(path string) *url.URL {
	p.t.Helper()
	return p.visit(http.MethodGet, path, nil)
}

// post sends a form and gives where the answer leads.
func (p *page) post(action string, fields url.Values) *url.URL {
	p.t.Helper()
	return p.visit(http.MethodPost, action, fields)
}

func (p *page) visit(method, target string, fields url.Values) *url.URL {
	p.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = publicURL + target
	}
	req, err := http.NewRequestWithContext(p.t.Context(), method, target, strings.NewReader(fields.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	if method == http.MethodPost {
		req.Header.Set("Origin", publicURL)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := p.http.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	to, err := resp.Location()
	if err != nil || resp.StatusCode != http.StatusSeeOther && resp.StatusCode != http.StatusFound {
		p.t.Fatalf("%s %s: status %d to %v, want a redirect", method, target, resp.StatusCode, to)
	}
	return to
}

// flow is the id of the flow whose page the browser was led to.
func (p *page) flow(kind string, to *url.URL) string {
	p.t.Helper()
	id := to.Query().Get("flow")
	if !strings.HasSuffix(to.Path, "/"+kind) || id == "" {
		p.t.Fatalf("led to %s, want the page of a flow of %s", to, kind)
	}
	return id
}

// cookies is the Cookie header that the browser sends.
func (p *page) cookies() string {
	at, err := url.Parse(publicURL)
	if err != nil {
		p.t.Fatal(err)
	}
	var all []string
	for _, c := range p.http.Jar.Cookies(at) {
		all = append(all, c.Name+"="+c.Value)
	}
	return strings.Join(all, "; ")
}

func (p *page) whoami() called[*client.Session] {
	return call(p.sdk.ToSession(p.t.Context()).Cookie(p.cookies()).Execute())
}

// login opens a login page and gives the form that stands there.
func (p *page) login(path string) *client.LoginFlow {
	p.t.Helper()
	return p.loginFlow(p.flow("login", p.get(path)))
}

func (p *page) loginFlow(id string) *client.LoginFlow {
	p.t.Helper()
	return call(p.sdk.GetLoginFlow(p.t.Context()).Id(id).Cookie(p.cookies()).Execute()).ok(p.t, http.StatusOK)
}

func (p *page) registrationFlow(id string) *client.RegistrationFlow {
	p.t.Helper()
	return call(p.sdk.GetRegistrationFlow(p.t.Context()).Id(id).Cookie(p.cookies()).Execute()).ok(p.t, http.StatusOK)
}

func (p *page) verificationFlow(id string) *client.VerificationFlow {
	p.t.Helper()
	return call(p.sdk.GetVerificationFlow(p.t.Context()).Id(id).Cookie(p.cookies()).Execute()).ok(p.t, http.StatusOK)
}

// signIn fills the form of a login in, and gives where that leads.
func (p *page) signIn(flow *client.LoginFlow, address, password string) *url.URL {
	p.t.Helper()
	return p.post(flow.Ui.Action, url.Values{
		"method": {"password"}, "csrf_token": {*csrf(p.t, flow.Ui)}, "identifier": {address}, "password": {password},
	})
}

// verify fills a code into the page of a flow, and gives the flow afterwards.
func (p *page) verify(id, code string) *client.VerificationFlow {
	p.t.Helper()
	flow := p.verificationFlow(id)
	to := p.post(flow.Ui.Action, url.Values{"method": {"code"}, "csrf_token": {*csrf(p.t, flow.Ui)}, "code": {code}})
	equal(p.t, "flow", p.flow("verification", to), id)
	return p.verificationFlow(id)
}
