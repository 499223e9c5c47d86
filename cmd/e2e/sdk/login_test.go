package sdk_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/ory/client-go"
)

// login is the form of somebody who comes back; token is nil in an app.
func login(token *string, address, password string) client.UpdateLoginFlowBody {
	body := client.NewUpdateLoginFlowWithPasswordMethod(address, "password", password)
	body.CsrfToken = token
	return client.UpdateLoginFlowWithPasswordMethodAsUpdateLoginFlowBody(body)
}

// signIn signs in with an app.
func signIn(t *testing.T, address string) *client.SuccessfulNativeLogin {
	t.Helper()
	app := newApp()
	flow := call(app.CreateNativeLoginFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	return call(app.UpdateLoginFlow(t.Context()).Flow(flow.Id).UpdateLoginFlowBody(login(nil, address, password)).Execute()).ok(t, http.StatusOK)
}

// signInScript signs in with a script, whose browser has the session's cookie from then on.
func signInScript(t *testing.T, script client.FrontendAPI, address string) *client.SuccessfulNativeLogin {
	t.Helper()
	flow := call(script.CreateBrowserLoginFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	return call(script.UpdateLoginFlow(t.Context()).Flow(flow.Id).
		UpdateLoginFlowBody(login(csrf(t, flow.Ui), address, password)).Execute()).ok(t, http.StatusOK)
}

func TestNativeLogin(t *testing.T) {
	t.Parallel()
	app := newApp()
	address, person := newVerified(t)
	submit := func(flow, password string) called[*client.SuccessfulNativeLogin] {
		return call(app.UpdateLoginFlow(t.Context()).Flow(flow).UpdateLoginFlowBody(login(nil, address, password)).Execute())
	}

	begun := call(app.CreateNativeLoginFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	equal(t, "type", begun.Type, "api")
	equal(t, "requested AAL", begun.GetRequestedAal(), client.AUTHENTICATORASSURANCELEVEL_AAL1)
	call(app.GetLoginFlow(t.Context()).Id(begun.Id).Execute()).ok(t, http.StatusOK)
	refusedAs(t, call(app.GetLoginFlow(t.Context()).Id(nowhere).Execute()), http.StatusNotFound, "")
	refusedAs(t, call(app.CreateNativeLoginFlow(t.Context()).Aal("aal2").Execute()), http.StatusUnauthorized, "session_aal1_required")
	refusedAs(t, submit(nowhere, password), http.StatusNotFound, "")

	again := refused[client.LoginFlow](t, submit(begun.Id, "not the password"), http.StatusBadRequest)
	hasMessage(t, again.Ui, 4000006)

	in := submit(begun.Id, password).ok(t, http.StatusOK)
	equal(t, "active", in.Session.GetActive(), true)
	equal(t, "identity", in.Session.Identity.Id, person.Id)
	whoami := call(app.ToSession(t.Context()).XSessionToken(in.GetSessionToken()).Execute()).ok(t, http.StatusOK)
	equal(t, "session", whoami.Id, in.Session.Id)
	refusedAs(t, call(app.CreateNativeLoginFlow(t.Context()).XSessionToken(in.GetSessionToken()).Execute()),
		http.StatusBadRequest, "session_already_available")
}

func TestSPALogin(t *testing.T) {
	t.Parallel()
	script := newScript(t)
	address, person := newVerified(t)
	submit := func(flow string, token *string, password string) called[*client.SuccessfulNativeLogin] {
		return call(script.UpdateLoginFlow(t.Context()).Flow(flow).UpdateLoginFlowBody(login(token, address, password)).Execute())
	}

	begun := call(script.CreateBrowserLoginFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	call(script.GetLoginFlow(t.Context()).Id(begun.Id).Execute()).ok(t, http.StatusOK)
	refusedAs(t, call(newScript(t).GetLoginFlow(t.Context()).Id(begun.Id).Execute()), http.StatusForbidden, "security_csrf_violation")
	refusedAs(t, submit(begun.Id, nil, password), http.StatusForbidden, "security_csrf_violation")
	refusedAs(t, call(script.CreateBrowserLoginFlow(t.Context()).ReturnTo("https://elsewhere.example.net/").Execute()),
		http.StatusBadRequest, "self_service_flow_return_to_forbidden")

	again := refused[client.LoginFlow](t, submit(begun.Id, csrf(t, begun.Ui), "not the password"), http.StatusBadRequest)
	hasMessage(t, again.Ui, 4000006)

	in := submit(begun.Id, csrf(t, again.Ui), password).ok(t, http.StatusOK)
	if in.SessionToken != nil {
		t.Error("a browser was given a session token")
	}
	if len(in.ContinueWith) != 1 || in.ContinueWith[0].ContinueWithRedirectBrowserTo == nil {
		t.Errorf("continue_with = %v, want where to go", in.ContinueWith)
	}
	whoami := call(script.ToSession(t.Context()).Execute()).ok(t, http.StatusOK)
	equal(t, "identity", whoami.Identity.Id, person.Id)
	refusedAs(t, call(script.CreateBrowserLoginFlow(t.Context()).Execute()), http.StatusBadRequest, "session_already_available")
}

func TestHTMLLogin(t *testing.T) {
	t.Parallel()
	browser := newPage(t)
	address, person := newVerified(t)
	begun := browser.login("/self-service/login/browser")
	equal(t, "flow", browser.flow("login", browser.signIn(begun, address, "not the password")), begun.Id)
	again := browser.loginFlow(begun.Id)
	hasMessage(t, again.Ui, 4000006)
	// No method works by a link: it leads back to the page.
	equal(t, "flow", browser.flow("login", browser.get("/self-service/login?flow="+begun.Id)), begun.Id)

	browser.signIn(again, address, password)
	equal(t, "identity", browser.whoami().ok(t, http.StatusOK).Identity.Id, person.Id)
	if to := browser.get("/self-service/login/browser"); to.Query().Has("flow") {
		t.Errorf("who is signed in was led to %s, want away from the login", to)
	}
}

func TestNativeLoginRefresh(t *testing.T) {
	t.Parallel()
	app := newApp()
	address, _ := newVerified(t)
	in := signIn(t, address)
	flow := call(app.CreateNativeLoginFlow(t.Context()).Refresh(true).XSessionToken(in.GetSessionToken()).Execute()).ok(t, http.StatusOK)
	equal(t, "refresh", flow.GetRefresh(), true)
	hasMessage(t, flow.Ui, 1010003)
	again := call(app.UpdateLoginFlow(t.Context()).Flow(flow.Id).XSessionToken(in.GetSessionToken()).
		UpdateLoginFlowBody(login(nil, address, password)).Execute()).ok(t, http.StatusOK)
	refreshed(t, in.Session, again.Session)
}

func TestSPALoginRefresh(t *testing.T) {
	t.Parallel()
	script := newScript(t)
	address, _ := newVerified(t)
	in := signInScript(t, script, address)
	flow := call(script.CreateBrowserLoginFlow(t.Context()).Refresh(true).Execute()).ok(t, http.StatusOK)
	equal(t, "refresh", flow.GetRefresh(), true)
	hasMessage(t, flow.Ui, 1010003)
	again := call(script.UpdateLoginFlow(t.Context()).Flow(flow.Id).
		UpdateLoginFlowBody(login(csrf(t, flow.Ui), address, password)).Execute()).ok(t, http.StatusOK)
	refreshed(t, in.Session, again.Session)
}

func TestHTMLLoginRefresh(t *testing.T) {
	t.Parallel()
	browser := newPage(t)
	address, _ := newVerified(t)
	browser.signIn(browser.login("/self-service/login/browser"), address, password)
	before := browser.whoami().ok(t, http.StatusOK)
	flow := browser.login("/self-service/login/browser?refresh=true")
	equal(t, "refresh", flow.GetRefresh(), true)
	browser.signIn(flow, address, password)
	refreshed(t, *before, *browser.whoami().ok(t, http.StatusOK))
}

// refreshed wants the same session, with a later time of authentication.
func refreshed(t *testing.T, before, after client.Session) {
	t.Helper()
	equal(t, "session", after.Id, before.Id)
	if !after.GetAuthenticatedAt().After(before.GetAuthenticatedAt()) {
		t.Errorf("authenticated at %v, want later than %v", after.GetAuthenticatedAt(), before.GetAuthenticatedAt())
	}
	equal(t, "number of methods", len(after.AuthenticationMethods), 2)
}

func TestNativeLoginGate(t *testing.T) {
	t.Parallel()
	app, address := newApp(), newAddress()
	register(t, address)
	flow := call(app.CreateNativeLoginFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	problem := refusedAs(t, call(app.UpdateLoginFlow(t.Context()).Flow(flow.Id).
		UpdateLoginFlowBody(login(nil, address, password)).Execute()), http.StatusForbidden, "session_verified_address_required")
	next := ahead(t, problem)
	equal(t, "address to verify", next.VerifiableAddress, address)
	call(app.UpdateVerificationFlow(t.Context()).Flow(next.Id).
		UpdateVerificationFlowBody(submittedCode(mailedCode(t, address, next.Id))).Execute()).ok(t, http.StatusOK)
	equal(t, "verified", signIn(t, address).Session.Identity.VerifiableAddresses[0].Verified, true)
}

func TestSPALoginGate(t *testing.T) {
	t.Parallel()
	script, address := newScript(t), newAddress()
	register(t, address)
	flow := call(script.CreateBrowserLoginFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	problem := refusedAs(t, call(script.UpdateLoginFlow(t.Context()).Flow(flow.Id).
		UpdateLoginFlowBody(login(csrf(t, flow.Ui), address, password)).Execute()), http.StatusForbidden, "session_verified_address_required")
	next := ahead(t, problem)
	refusedAs(t, call(script.ToSession(t.Context()).Execute()), http.StatusUnauthorized, "")
	call(script.GetVerificationFlow(t.Context()).Id(next.Id).Execute()).ok(t, http.StatusOK)
	call(script.UpdateVerificationFlow(t.Context()).Flow(next.Id).
		UpdateVerificationFlowBody(submittedCode(mailedCode(t, address, next.Id))).Execute()).ok(t, http.StatusOK)
	equal(t, "verified", signInScript(t, script, address).Session.Identity.VerifiableAddresses[0].Verified, true)
}

func TestHTMLLoginGate(t *testing.T) {
	t.Parallel()
	browser, address := newPage(t), newAddress()
	register(t, address)
	next := browser.flow("verification", browser.signIn(browser.login("/self-service/login/browser"), address, password))
	refusedAs(t, browser.whoami(), http.StatusUnauthorized, "")
	browser.verify(next, mailedCode(t, address, next))
	browser.signIn(browser.login("/self-service/login/browser"), address, password)
	equal(t, "verified", browser.whoami().ok(t, http.StatusOK).Identity.VerifiableAddresses[0].Verified, true)
}

// ahead decodes where the gate leads, as the SDK decodes it after a success.
func ahead(t *testing.T, problem client.ErrorGeneric) client.ContinueWithVerificationUiFlow {
	t.Helper()
	text, err := json.Marshal(problem.Error.AdditionalProperties["details"])
	if err != nil {
		t.Fatal(err)
	}
	var details struct {
		ContinueWith []client.ContinueWith `json:"continue_with"`
	}
	if err := json.Unmarshal(text, &details); err != nil {
		t.Fatalf("details %s: %v", text, err)
	}
	if len(details.ContinueWith) != 1 || details.ContinueWith[0].ContinueWithVerificationUi == nil {
		t.Fatalf("details = %s, want the verification alone in continue_with", text)
	}
	next := details.ContinueWith[0].ContinueWithVerificationUi.Flow
	if next.GetUrl() == "" {
		t.Error("url is empty")
	}
	return next
}
