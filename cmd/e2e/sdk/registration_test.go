package sdk_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/ory/client-go"
)

// registration is the form of a person; token is nil in an app.
func registration(token *string, address, password string) client.UpdateRegistrationFlowBody {
	body := client.NewUpdateRegistrationFlowWithPasswordMethod("password", password, map[string]any{"email": address})
	body.CsrfToken = token
	return client.UpdateRegistrationFlowWithPasswordMethodAsUpdateRegistrationFlowBody(body)
}

// register signs a person up in an app.
func register(t *testing.T, address string) *client.SuccessfulNativeRegistration {
	t.Helper()
	app := newApp()
	flow := call(app.CreateNativeRegistrationFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	return call(app.UpdateRegistrationFlow(t.Context()).Flow(flow.Id).
		UpdateRegistrationFlowBody(registration(nil, address, password)).Execute()).ok(t, http.StatusOK)
}

func TestNativeRegistration(t *testing.T) {
	t.Parallel()
	app, address := newApp(), newAddress()
	submit := func(flow, password string) called[*client.SuccessfulNativeRegistration] {
		return call(app.UpdateRegistrationFlow(t.Context()).Flow(flow).
			UpdateRegistrationFlowBody(registration(nil, address, password)).Execute())
	}

	begun := call(app.CreateNativeRegistrationFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	equal(t, "type", begun.Type, "api")
	fetched := call(app.GetRegistrationFlow(t.Context()).Id(begun.Id).Execute()).ok(t, http.StatusOK)
	equal(t, "action", fetched.Ui.Action, begun.Ui.Action)
	refusedAs(t, call(app.GetRegistrationFlow(t.Context()).Id(nowhere).Execute()), http.StatusNotFound, "")
	refusedAs(t, submit(nowhere, password), http.StatusNotFound, "")

	again := refused[client.RegistrationFlow](t, submit(begun.Id, "short"), http.StatusBadRequest)
	equal(t, "flow", again.Id, begun.Id)
	hasMessage(t, again.Ui, 4000032)

	made := submit(begun.Id, password).ok(t, http.StatusOK)
	equal(t, "active", made.Session.GetActive(), true)
	equal(t, "verified", made.Identity.VerifiableAddresses[0].Verified, false)
	equal(t, "method", made.Session.AuthenticationMethods[0].GetMethod(), "password")
	if len(made.ContinueWith) != 2 {
		t.Fatalf("continue_with = %v, want two items", made.ContinueWith)
	}
	equal(t, "address to verify", made.ContinueWith[0].ContinueWithVerificationUi.Flow.VerifiableAddress, address)
	equal(t, "token", made.ContinueWith[1].ContinueWithSetOrySessionToken.OrySessionToken, made.GetSessionToken())
	call(app.ToSession(t.Context()).XSessionToken(made.GetSessionToken()).Execute()).ok(t, http.StatusOK)

	other := call(app.CreateNativeRegistrationFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	taken := refused[client.RegistrationFlow](t, submit(other.Id, password), http.StatusBadRequest)
	hasMessage(t, taken.Ui, 4000007)
}

func TestSPARegistration(t *testing.T) {
	t.Parallel()
	script, address := newScript(t), newAddress()
	submit := func(flow string, token *string) called[*client.SuccessfulNativeRegistration] {
		return call(script.UpdateRegistrationFlow(t.Context()).Flow(flow).
			UpdateRegistrationFlowBody(registration(token, address, password)).Execute())
	}

	begun := call(script.CreateBrowserRegistrationFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	equal(t, "type", begun.Type, "browser")
	call(script.GetRegistrationFlow(t.Context()).Id(begun.Id).Execute()).ok(t, http.StatusOK)
	refusedAs(t, call(newScript(t).GetRegistrationFlow(t.Context()).Id(begun.Id).Execute()), http.StatusForbidden, "security_csrf_violation")
	refusedAs(t, submit(begun.Id, client.PtrString("no token")), http.StatusForbidden, "security_csrf_violation")

	made := submit(begun.Id, csrf(t, begun.Ui)).ok(t, http.StatusOK)
	if made.SessionToken != nil {
		t.Error("a browser was given a session token")
	}
	if len(made.ContinueWith) != 2 {
		t.Fatalf("continue_with = %v, want two items", made.ContinueWith)
	}
	if made.ContinueWith[0].ContinueWithRedirectBrowserTo.RedirectBrowserTo == "" {
		t.Error("redirect_browser_to is empty")
	}
	next := made.ContinueWith[1].ContinueWithVerificationUi.Flow
	equal(t, "address to verify", next.VerifiableAddress, address)
	if to, err := url.Parse(next.GetUrl()); err != nil || to.Query().Get("flow") != next.Id {
		t.Errorf("url = %q, want the page of the flow %s", next.GetUrl(), next.Id)
	}
	call(script.GetVerificationFlow(t.Context()).Id(next.Id).Execute()).ok(t, http.StatusOK)

	whoami := call(script.ToSession(t.Context()).Execute()).ok(t, http.StatusOK)
	equal(t, "session", whoami.Id, made.Session.Id)
	refusedAs(t, call(script.CreateBrowserRegistrationFlow(t.Context()).Execute()), http.StatusBadRequest, "session_already_available")
}

func TestHTMLRegistration(t *testing.T) {
	t.Parallel()
	browser, address := newPage(t), newAddress()
	id := browser.flow("registration", browser.get("/self-service/registration/browser"))
	begun := browser.registrationFlow(id)
	fields := url.Values{
		"method": {"password"}, "csrf_token": {*csrf(t, begun.Ui)},
		"traits.email": {address}, "password": {"short"},
	}

	equal(t, "flow", browser.flow("registration", browser.post(begun.Ui.Action, fields)), id)
	hasMessage(t, browser.registrationFlow(id).Ui, 4000032)
	// No method works by a link: it leads back to the page.
	equal(t, "flow", browser.flow("registration", browser.get("/self-service/registration?flow="+id)), id)

	fields.Set("password", password)
	next := browser.flow("verification", browser.post(begun.Ui.Action, fields))
	equal(t, "state", browser.verificationFlow(next).State, client.VERIFICATIONFLOWSTATE_SENT_EMAIL)
	equal(t, "address", browser.whoami().ok(t, http.StatusOK).Identity.VerifiableAddresses[0].Value, address)
}
