package sdk_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/ory/client-go"
)

// profile is the first of two steps, or with the screen "previous" back to it;
// token is nil in an app.
func profile(token *string, address, screen string) client.UpdateRegistrationFlowBody {
	body := client.NewUpdateRegistrationFlowWithProfileMethod("profile", map[string]any{"email": address})
	body.CsrfToken = token
	if screen != "" {
		body.Screen = &screen
	}
	return client.UpdateRegistrationFlowWithProfileMethodAsUpdateRegistrationFlowBody(body)
}

// input is the node with this name, nil if there is none.
func input(ui client.UiContainer, name string) *client.UiNodeInputAttributes {
	for _, n := range ui.Nodes {
		if a := n.Attributes.UiNodeInputAttributes; a != nil && a.Name == name {
			return a
		}
	}
	return nil
}

// secondStep wants the form that asks for the password, with the address in it.
func secondStep(t *testing.T, f client.RegistrationFlow, address string) {
	t.Helper()
	email, submit, back := input(f.Ui, "traits.email"), input(f.Ui, "method"), input(f.Ui, "screen")
	if email == nil || submit == nil || back == nil || input(f.Ui, "password") == nil {
		t.Fatalf("nodes = %v, want those of the second step", f.Ui.Nodes)
	}
	equal(t, "type of the hidden address", email.Type, "hidden")
	equal(t, "hidden address", email.Value, any(address))
	equal(t, "method", submit.Value, any("password"))
	equal(t, "screen", back.Value, any("previous"))
	hasMessage(t, f.Ui, 1040009)
}

// firstStep wants the form that asks for traits, with this address in it.
func firstStep(t *testing.T, f client.RegistrationFlow, address any) {
	t.Helper()
	email, submit := input(f.Ui, "traits.email"), input(f.Ui, "method")
	if email == nil || submit == nil || input(f.Ui, "password") != nil {
		t.Fatalf("nodes = %v, want those of the first step", f.Ui.Nodes)
	}
	equal(t, "type of the address", email.Type, "email")
	equal(t, "address", email.Value, address)
	equal(t, "method", submit.Value, any("profile"))
}

// goInTwoSteps goes through both, back once, and gives what the end answers.
func goInTwoSteps(t *testing.T, sdk client.FrontendAPI, begun *client.RegistrationFlow, token *string, address string) *client.SuccessfulNativeRegistration {
	t.Helper()
	submit := func(body client.UpdateRegistrationFlowBody) called[*client.SuccessfulNativeRegistration] {
		return call(sdk.UpdateRegistrationFlow(t.Context()).Flow(begun.Id).UpdateRegistrationFlowBody(body).Execute())
	}
	again := func(body client.UpdateRegistrationFlowBody) client.RegistrationFlow {
		t.Helper()
		return refused[client.RegistrationFlow](t, submit(body), http.StatusBadRequest)
	}
	firstStep(t, *begun, nil)
	wrong := again(profile(token, "no address", ""))
	firstStep(t, wrong, "no address")
	hasMessage(t, wrong.Ui, 4000040)
	secondStep(t, again(profile(token, address, "")), address)
	secondStep(t, *call(sdk.GetRegistrationFlow(t.Context()).Id(begun.Id).Execute()).ok(t, http.StatusOK), address)
	firstStep(t, again(profile(token, address, "previous")), address)
	secondStep(t, again(profile(token, address, "credential-selection")), address)
	weak := again(registration(token, address, "short"))
	secondStep(t, weak, address)
	hasMessage(t, weak.Ui, 4000032)
	return submit(registration(token, address, password)).ok(t, http.StatusOK)
}

func TestNativeTwoSteps(t *testing.T) {
	t.Parallel()
	app, address := newApp(), newAddress()
	begun := call(app.CreateNativeRegistrationFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	made := goInTwoSteps(t, app, begun, nil, address)
	call(app.ToSession(t.Context()).XSessionToken(made.GetSessionToken()).Execute()).ok(t, http.StatusOK)

	// Who knows an address is not told at the first step that it has an account.
	other := call(app.CreateNativeRegistrationFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	submit := func(body client.UpdateRegistrationFlowBody) client.RegistrationFlow {
		return refused[client.RegistrationFlow](t, call(app.UpdateRegistrationFlow(t.Context()).Flow(other.Id).
			UpdateRegistrationFlowBody(body).Execute()), http.StatusBadRequest)
	}
	secondStep(t, submit(profile(nil, address, "")), address)
	taken := submit(registration(nil, address, password))
	firstStep(t, taken, address)
	hasMessage(t, taken.Ui, 4000007)
}

func TestSPATwoSteps(t *testing.T) {
	t.Parallel()
	script, address := newScript(t), newAddress()
	begun := call(script.CreateBrowserRegistrationFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	refusedAs(t, call(script.UpdateRegistrationFlow(t.Context()).Flow(begun.Id).
		UpdateRegistrationFlowBody(profile(nil, address, "")).Execute()), http.StatusForbidden, "security_csrf_violation")
	made := goInTwoSteps(t, script, begun, csrf(t, begun.Ui), address)
	if made.SessionToken != nil {
		t.Error("a browser was given a session token")
	}
	whoami := call(script.ToSession(t.Context()).Execute()).ok(t, http.StatusOK)
	equal(t, "session", whoami.Id, made.Session.Id)
}

func TestHTMLTwoSteps(t *testing.T) {
	t.Parallel()
	browser, address := newPage(t), newAddress()
	id := browser.flow("registration", browser.get("/self-service/registration/browser"))
	// press sends a form with all that its page shows, by one of its buttons.
	press := func(name, value string, filled url.Values) *url.URL {
		t.Helper()
		f := browser.registrationFlow(id)
		fields := url.Values{name: {value}}
		for _, n := range f.Ui.Nodes {
			if a := n.Attributes.UiNodeInputAttributes; a != nil && a.Type != "submit" {
				text, _ := a.Value.(string)
				fields.Set(a.Name, text)
			}
		}
		for name, values := range filled {
			fields[name] = values
		}
		return browser.post(f.Ui.Action, fields)
	}
	firstStep(t, *browser.registrationFlow(id), nil)
	equal(t, "flow", browser.flow("registration", press("method", "profile", url.Values{"traits.email": {"no address"}})), id)
	hasMessage(t, browser.registrationFlow(id).Ui, 4000040)
	equal(t, "flow", browser.flow("registration", press("method", "profile", url.Values{"traits.email": {address}})), id)
	secondStep(t, *browser.registrationFlow(id), address)
	equal(t, "flow", browser.flow("registration", press("screen", "previous", nil)), id)
	firstStep(t, *browser.registrationFlow(id), address)
	press("method", "profile", nil)
	equal(t, "flow", browser.flow("registration", press("method", "password", url.Values{"password": {"short"}})), id)
	secondStep(t, *browser.registrationFlow(id), address)
	hasMessage(t, browser.registrationFlow(id).Ui, 4000032)
	browser.flow("verification", press("method", "password", url.Values{"password": {password}}))
	equal(t, "address", browser.whoami().ok(t, http.StatusOK).Identity.VerifiableAddresses[0].Value, address)
}
