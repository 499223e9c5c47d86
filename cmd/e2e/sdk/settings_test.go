package sdk_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ory/client-go"
)

// link and unlink are forms of settings; token is nil in an app.
func link(provider string, token *string) client.UpdateSettingsFlowBody {
	body := client.NewUpdateSettingsFlowWithOidcMethod("oidc")
	body.Link, body.CsrfToken = &provider, token
	return client.UpdateSettingsFlowWithOidcMethodAsUpdateSettingsFlowBody(body)
}

func unlink(provider string, token *string) client.UpdateSettingsFlowBody {
	body := client.NewUpdateSettingsFlowWithOidcMethod("oidc")
	body.Unlink, body.CsrfToken = &provider, token
	return client.UpdateSettingsFlowWithOidcMethodAsUpdateSettingsFlowBody(body)
}

// offers tells whether a form has a button for the provider.
func offers(ui client.UiContainer, name string) bool {
	for _, n := range ui.Nodes {
		if input := n.Attributes.UiNodeInputAttributes; input != nil && input.Name == name && input.Value == provider {
			return true
		}
	}
	return false
}

// withAccount is a script of somebody with a password and an account at the
// provider, which was linked there.
func withAccount(t *testing.T) (script client.FrontendAPI, address string, flow *client.SettingsFlow) {
	t.Helper()
	jar := newJar(t)
	api := newSDK(publicURL, jar)
	api.GetConfig().AddDefaultHeader("Origin", publicURL)
	api.GetConfig().AddDefaultHeader("Sec-Fetch-Site", "same-origin")
	script = api.FrontendAPI
	address, _ = newVerified(t)
	signInScript(t, script, address)
	begun := call(script.CreateBrowserSettingsFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	equal(t, "a button to link", offers(begun.Ui, "link"), true)
	submit := func(token *string) called[*client.SettingsFlow] {
		return call(script.UpdateSettingsFlow(t.Context()).Flow(begun.Id).UpdateSettingsFlowBody(link(provider, token)).Execute())
	}
	refusedAs(t, submit(client.PtrString("no token")), http.StatusForbidden, "security_csrf_violation")
	to := comesBack(t, jar, atProvider(t, moved(t, submit(csrf(t, begun.Ui))), newAddress()))
	equal(t, "flow", to.Query().Get("flow"), begun.Id)
	flow = call(script.GetSettingsFlow(t.Context()).Id(begun.Id).Execute()).ok(t, http.StatusOK)
	equal(t, "state", string(flow.State), "success")
	hasMessage(t, flow.Ui, 1050001)
	equal(t, "a button to unlink", offers(flow.Ui, "unlink"), true)
	return script, address, flow
}

func TestNativeSettings(t *testing.T) {
	t.Parallel()
	app := newApp()
	_, address, linked := withAccount(t)
	token := signIn(t, address).GetSessionToken()
	refusedAs(t, call(app.CreateNativeSettingsFlow(t.Context()).Execute()), http.StatusUnauthorized, "session_inactive")
	begun := call(app.CreateNativeSettingsFlow(t.Context()).XSessionToken(token).Execute()).ok(t, http.StatusOK)
	equal(t, "identity", begun.Identity.Id, linked.Identity.Id)
	equal(t, "state", string(begun.State), "show_form")
	fetch := func(token string) called[*client.SettingsFlow] {
		return call(app.GetSettingsFlow(t.Context()).Id(begun.Id).XSessionToken(token).Execute())
	}
	equal(t, "a button to unlink", offers(fetch(token).ok(t, http.StatusOK).Ui, "unlink"), true)
	other, _ := newVerified(t)
	refusedAs(t, fetch(signIn(t, other).GetSessionToken()), http.StatusForbidden, "security_identity_mismatch")

	submit := func(body client.UpdateSettingsFlowBody) called[*client.SettingsFlow] {
		return call(app.UpdateSettingsFlow(t.Context()).Flow(begun.Id).XSessionToken(token).UpdateSettingsFlowBody(body).Execute())
	}
	hasMessage(t, refused[client.SettingsFlow](t, submit(link(provider, nil)), http.StatusBadRequest).Ui, 4000001)
	done := submit(unlink(provider, nil)).ok(t, http.StatusOK)
	equal(t, "state", string(done.State), "success")
	hasMessage(t, done.Ui, 1050001)
	equal(t, "a button to unlink", offers(done.Ui, "unlink"), false)
}

func TestSPASettings(t *testing.T) {
	t.Parallel()
	refusedAs(t, call(newScript(t).CreateBrowserSettingsFlow(t.Context()).Execute()), http.StatusUnauthorized, "session_inactive")
	script, _, flow := withAccount(t)
	submit := func(body client.UpdateSettingsFlowBody) called[*client.SettingsFlow] {
		return call(script.UpdateSettingsFlow(t.Context()).Flow(flow.Id).UpdateSettingsFlowBody(body).Execute())
	}
	none := client.NewUpdateSettingsFlowWithOidcMethod("oidc")
	none.CsrfToken = csrf(t, flow.Ui)
	again := refused[client.SettingsFlow](t, submit(client.UpdateSettingsFlowWithOidcMethodAsUpdateSettingsFlowBody(none)), http.StatusBadRequest)
	hasMessage(t, again.Ui, 4010004)
	done := submit(unlink(provider, csrf(t, flow.Ui))).ok(t, http.StatusOK)
	equal(t, "state", string(done.State), "success")
	equal(t, "steps ahead", len(done.ContinueWith), 1)
	if to := done.ContinueWith[0].ContinueWithRedirectBrowserTo; to == nil || !strings.Contains(to.RedirectBrowserTo, flow.Id) {
		t.Errorf("continue_with = %+v, want the page of the flow", done.ContinueWith[0])
	}
	equal(t, "a button to link", offers(done.Ui, "link"), true)
}

func TestHTMLSettings(t *testing.T) {
	t.Parallel()
	browser, user := newPage(t), newAddress()
	if to := browser.get("/.well-known/change-password"); !strings.HasSuffix(to.Path, "/settings") {
		t.Errorf("managers of passwords are led to %s, want the page of settings", to)
	}
	if to := browser.get("/self-service/settings/browser"); !strings.HasSuffix(to.Path, "/self-service/login/browser") || to.Query().Get("return_to") == "" {
		t.Errorf("nobody is led to %s, want the login", to)
	}
	form := browser.login("/self-service/login/browser")
	button := func(ui client.UiContainer, name, value string) *url.URL {
		return browser.post(ui.Action, url.Values{name: {value}, "csrf_token": {*csrf(t, ui)}})
	}
	browser.get(atProvider(t, button(form.Ui, "provider", provider).String(), user)) // the account is the only way in

	id := browser.flow("settings", browser.get("/self-service/settings/browser"))
	flow := func() *client.SettingsFlow {
		return call(browser.sdk.GetSettingsFlow(t.Context()).Id(id).Cookie(browser.cookies()).Execute()).ok(t, http.StatusOK)
	}
	equal(t, "a button to unlink the last way", offers(flow().Ui, "unlink"), false)
	equal(t, "flow", browser.flow("settings", button(flow().Ui, "unlink", provider)), id)
	hasMessage(t, flow().Ui, 4000001)
	callback := atProvider(t, button(flow().Ui, "link", provider).String(), user)
	equal(t, "flow", browser.flow("settings", browser.get(callback)), id)
	hasMessage(t, flow().Ui, 1050001) // it is linked already
	equal(t, "flow", browser.flow("settings", browser.get("/self-service/settings?flow="+id)), id)
}
