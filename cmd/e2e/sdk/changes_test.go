package sdk_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ory/client-go"
)

const otherPassword = "another long secret 8"

// profile and newPassword are forms of settings; token is nil in an app.
func newTraits(address string, token *string) client.UpdateSettingsFlowBody {
	body := client.NewUpdateSettingsFlowWithProfileMethod("profile", map[string]any{"email": address})
	body.CsrfToken = token
	return client.UpdateSettingsFlowWithProfileMethodAsUpdateSettingsFlowBody(body)
}

func newPassword(password string, token *string) client.UpdateSettingsFlowBody {
	body := client.NewUpdateSettingsFlowWithPasswordMethod("password", password)
	body.CsrfToken = token
	return client.UpdateSettingsFlowWithPasswordMethodAsUpdateSettingsFlowBody(body)
}

// inForm is what a form of settings shows for a trait.
func inForm(ui client.UiContainer, name string) any {
	for _, n := range ui.Nodes {
		if input := n.Attributes.UiNodeInputAttributes; input != nil && input.Name == name && n.Group == "profile" {
			return input.Value
		}
	}
	return nil
}

// changesProfile wants an address to be judged, changed and verified.
func changesProfile(t *testing.T, api client.FrontendAPI, begun *client.SettingsFlow, token *string, submit func(client.UpdateSettingsFlowBody) called[*client.SettingsFlow]) {
	t.Helper()
	wrong := refused[client.SettingsFlow](t, submit(newTraits("nobody", token)), http.StatusBadRequest)
	hasMessage(t, wrong.Ui, 4000040)
	equal(t, "what was entered", inForm(wrong.Ui, "traits.email"), any("nobody"))
	taken, _ := newVerified(t)
	hasMessage(t, refused[client.SettingsFlow](t, submit(newTraits(taken, token)), http.StatusBadRequest).Ui, 4000007)

	address := newAddress()
	changed := submit(newTraits(address, token)).ok(t, http.StatusOK)
	equal(t, "state", string(changed.State), "success")
	hasMessage(t, changed.Ui, 1050001)
	equal(t, "address in the form", inForm(changed.Ui, "traits.email"), any(address))
	equal(t, "whose settings", changed.Identity.Id, begun.Identity.Id)
	last := changed.ContinueWith[len(changed.ContinueWith)-1].ContinueWithVerificationUi
	if last == nil || last.Flow.VerifiableAddress != address {
		t.Fatalf("continue_with = %+v, want the verification of %s", changed.ContinueWith, address)
	}
	equal(t, "verified", isVerified(t, begun.Identity.Id), false)
	body := submittedCode(mailedCode(t, address, last.Flow.Id))
	passed := call(api.UpdateVerificationFlow(t.Context()).Flow(last.Flow.Id).UpdateVerificationFlowBody(body).Execute()).ok(t, http.StatusOK)
	equal(t, "state of the verification", string(passed.State), "passed_challenge")
	equal(t, "verified", isVerified(t, begun.Identity.Id), true)
}

// changesPassword wants a password to be judged and changed, and the login to follow.
func changesPassword(t *testing.T, address string, token *string, submit func(client.UpdateSettingsFlowBody) called[*client.SettingsFlow]) {
	t.Helper()
	hasMessage(t, refused[client.SettingsFlow](t, submit(newPassword("short", token)), http.StatusBadRequest).Ui, 4000032)
	hasMessage(t, refused[client.SettingsFlow](t, submit(newPassword(password, token)), http.StatusBadRequest).Ui, 4000039)
	changed := submit(newPassword(otherPassword, token)).ok(t, http.StatusOK)
	equal(t, "state", string(changed.State), "success")
	hasMessage(t, changed.Ui, 1050001)
	app := newApp()
	signIn := func(password string) called[*client.SuccessfulNativeLogin] {
		begun := call(app.CreateNativeLoginFlow(t.Context()).Execute()).ok(t, http.StatusOK)
		return call(app.UpdateLoginFlow(t.Context()).Flow(begun.Id).UpdateLoginFlowBody(login(nil, address, password)).Execute())
	}
	hasMessage(t, refused[client.LoginFlow](t, signIn(password), http.StatusBadRequest).Ui, 4000006)
	signIn(otherPassword).ok(t, http.StatusOK)
}

func TestNativeSettingsProfile(t *testing.T) {
	t.Parallel()
	app := newApp()
	address, _ := newVerified(t)
	token := signIn(t, address).GetSessionToken()
	begun := call(app.CreateNativeSettingsFlow(t.Context()).XSessionToken(token).Execute()).ok(t, http.StatusOK)
	equal(t, "address in the form", inForm(begun.Ui, "traits.email"), any(address))
	changesProfile(t, app, begun, nil, func(body client.UpdateSettingsFlowBody) called[*client.SettingsFlow] {
		return call(app.UpdateSettingsFlow(t.Context()).Flow(begun.Id).XSessionToken(token).UpdateSettingsFlowBody(body).Execute())
	})
	who := call(app.ToSession(t.Context()).XSessionToken(token).Execute()).ok(t, http.StatusOK)
	if traits, _ := who.Identity.Traits.(map[string]any); traits["email"] == address {
		t.Errorf("whoami shows %v still", traits)
	}
}

func TestSPASettingsProfile(t *testing.T) {
	t.Parallel()
	script := newScript(t)
	address, _ := newVerified(t)
	signInScript(t, script, address)
	begun := call(script.CreateBrowserSettingsFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	changesProfile(t, script, begun, csrf(t, begun.Ui), func(body client.UpdateSettingsFlowBody) called[*client.SettingsFlow] {
		return call(script.UpdateSettingsFlow(t.Context()).Flow(begun.Id).UpdateSettingsFlowBody(body).Execute())
	})
}

// signedInPage is a browser of somebody with a password, at their settings.
func signedInPage(t *testing.T) (browser *page, address, id string) {
	t.Helper()
	browser = newPage(t)
	address, _ = newVerified(t)
	browser.signIn(browser.login("/self-service/login/browser"), address, password)
	return browser, address, browser.flow("settings", browser.get("/self-service/settings/browser"))
}

func (p *page) settingsFlow(id string) *client.SettingsFlow {
	p.t.Helper()
	return call(p.sdk.GetSettingsFlow(p.t.Context()).Id(id).Cookie(p.cookies()).Execute()).ok(p.t, http.StatusOK)
}

func TestHTMLSettingsProfile(t *testing.T) {
	t.Parallel()
	browser, address, id := signedInPage(t)
	submit := func(value string) *client.SettingsFlow {
		ui := browser.settingsFlow(id).Ui
		to := browser.post(ui.Action, url.Values{"method": {"profile"}, "traits.email": {value}, "csrf_token": {*csrf(t, ui)}})
		equal(t, "flow", browser.flow("settings", to), id)
		return browser.settingsFlow(id)
	}
	equal(t, "address in the form", inForm(browser.settingsFlow(id).Ui, "traits.email"), any(address))
	wrong := submit("nobody")
	hasMessage(t, wrong.Ui, 4000040)
	equal(t, "what was entered", inForm(wrong.Ui, "traits.email"), any("nobody"))
	other := newAddress()
	changed := submit(other)
	hasMessage(t, changed.Ui, 1050001)
	equal(t, "address in the form", inForm(changed.Ui, "traits.email"), any(other))
	if traits, _ := browser.whoami().ok(t, http.StatusOK).Identity.Traits.(map[string]any); traits["email"] != other {
		t.Errorf("whoami shows %v, want %s", traits, other)
	}
}

func TestNativeSettingsPassword(t *testing.T) {
	t.Parallel()
	app := newApp()
	address, _ := newVerified(t)
	token := signIn(t, address).GetSessionToken()
	begun := call(app.CreateNativeSettingsFlow(t.Context()).XSessionToken(token).Execute()).ok(t, http.StatusOK)
	changesPassword(t, address, nil, func(body client.UpdateSettingsFlowBody) called[*client.SettingsFlow] {
		return call(app.UpdateSettingsFlow(t.Context()).Flow(begun.Id).XSessionToken(token).UpdateSettingsFlowBody(body).Execute())
	})
	call(app.ToSession(t.Context()).XSessionToken(token).Execute()).ok(t, http.StatusOK)
}

func TestSPASettingsPassword(t *testing.T) {
	t.Parallel()
	script := newScript(t)
	address, _ := newVerified(t)
	signInScript(t, script, address)
	begun := call(script.CreateBrowserSettingsFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	changesPassword(t, address, csrf(t, begun.Ui), func(body client.UpdateSettingsFlowBody) called[*client.SettingsFlow] {
		return call(script.UpdateSettingsFlow(t.Context()).Flow(begun.Id).UpdateSettingsFlowBody(body).Execute())
	})
	call(script.ToSession(t.Context()).Execute()).ok(t, http.StatusOK)
}

func TestHTMLSettingsPassword(t *testing.T) {
	t.Parallel()
	browser, address, id := signedInPage(t)
	submit := func(password string) client.UiContainer {
		ui := browser.settingsFlow(id).Ui
		to := browser.post(ui.Action, url.Values{"method": {"password"}, "password": {password}, "csrf_token": {*csrf(t, ui)}})
		equal(t, "flow", browser.flow("settings", to), id)
		return browser.settingsFlow(id).Ui
	}
	hasMessage(t, submit(password), 4000039)
	hasMessage(t, submit(otherPassword), 1050001)
	again := newPage(t)
	if to := again.signIn(again.login("/self-service/login/browser"), address, password); !strings.Contains(to.Path, "login") {
		t.Errorf("the former password leads to %s, want the login again", to)
	}
	fresh := newPage(t)
	fresh.signIn(fresh.login("/self-service/login/browser"), address, otherPassword)
	fresh.whoami().ok(t, http.StatusOK)
}
