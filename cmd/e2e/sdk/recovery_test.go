package sdk_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/ory/client-go"
)

// lostPassword is the form that asks for a code, recoveryCode the one with it; token is
// nil in an app.
func lostPassword(token *string, address string) client.UpdateRecoveryFlowBody {
	body := client.NewUpdateRecoveryFlowWithCodeMethod("code")
	body.Email, body.CsrfToken = &address, token
	return client.UpdateRecoveryFlowWithCodeMethodAsUpdateRecoveryFlowBody(body)
}

func recoveryCode(token *string, code string) client.UpdateRecoveryFlowBody {
	body := client.NewUpdateRecoveryFlowWithCodeMethod("code")
	body.Code, body.CsrfToken = &code, token
	return client.UpdateRecoveryFlowWithCodeMethodAsUpdateRecoveryFlowBody(body)
}

// recovers goes through a flow to its end, and gives what comes next.
func recovers(t *testing.T, api client.FrontendAPI, begun *client.RecoveryFlow, token *string, address string) []client.ContinueWith {
	t.Helper()
	submit := func(body client.UpdateRecoveryFlowBody) called[*client.RecoveryFlow] {
		return call(api.UpdateRecoveryFlow(t.Context()).Flow(begun.Id).UpdateRecoveryFlowBody(body).Execute())
	}
	fetched := call(api.GetRecoveryFlow(t.Context()).Id(begun.Id).Execute()).ok(t, http.StatusOK)
	equal(t, "type", fetched.Type, begun.Type)
	hasMessage(t, refused[client.RecoveryFlow](t, submit(lostPassword(token, "")), http.StatusBadRequest).Ui, 4000002)

	sent := submit(lostPassword(token, address)).ok(t, http.StatusOK)
	equal(t, "state", sent.State, client.RECOVERYFLOWSTATE_SENT_EMAIL)
	hasMessage(t, sent.Ui, 1060003)
	right := mailedCode(t, address, begun.Id)
	hasMessage(t, submit(recoveryCode(token, wrong(right))).ok(t, http.StatusOK).Ui, 4060006)

	passed := submit(recoveryCode(token, right)).ok(t, http.StatusOK)
	equal(t, "state", passed.State, client.RECOVERYFLOWSTATE_PASSED_CHALLENGE)
	return passed.ContinueWith
}

func TestNativeRecovery(t *testing.T) {
	t.Parallel()
	app, address := newApp(), newAddress()
	before := register(t, address)
	begun := call(app.CreateNativeRecoveryFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	next := recovers(t, app, begun, nil, address)
	if len(next) != 2 || next[0].ContinueWithSetOrySessionToken == nil || next[1].ContinueWithSettingsUi == nil {
		t.Fatalf("continue_with = %+v, want the token, then the settings", next)
	}
	token := next[0].ContinueWithSetOrySessionToken.OrySessionToken
	session := call(app.ToSession(t.Context()).XSessionToken(token).Execute()).ok(t, http.StatusOK)
	equal(t, "method", *session.AuthenticationMethods[0].Method, "code_recovery")
	refusedAs(t, call(app.ToSession(t.Context()).XSessionToken(*before.SessionToken).Execute()), http.StatusUnauthorized, "")
	settings := call(app.GetSettingsFlow(t.Context()).Id(next[1].ContinueWithSettingsUi.Flow.Id).XSessionToken(token).Execute()).ok(t, http.StatusOK)
	hasMessage(t, settings.Ui, 1060001)
	refusedAs(t, call(app.GetRecoveryFlow(t.Context()).Id(nowhere).Execute()), http.StatusNotFound, "")
}

func TestSPARecovery(t *testing.T) {
	t.Parallel()
	script, address := newScript(t), newAddress()
	register(t, address)
	begun := call(script.CreateBrowserRecoveryFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	refusedAs(t, call(newScript(t).GetRecoveryFlow(t.Context()).Id(begun.Id).Execute()), http.StatusForbidden, "security_csrf_violation")
	refusedAs(t, call(script.UpdateRecoveryFlow(t.Context()).Flow(begun.Id).
		UpdateRecoveryFlowBody(lostPassword(nil, address)).Execute()), http.StatusForbidden, "security_csrf_violation")
	next := recovers(t, script, begun, csrf(t, begun.Ui), address)
	if len(next) != 1 || next[0].ContinueWithSettingsUi == nil || next[0].ContinueWithSettingsUi.Flow.Url == nil {
		t.Fatalf("continue_with = %+v, want the settings with their URL", next)
	}
	call(script.ToSession(t.Context()).Execute()).ok(t, http.StatusOK)
	settings := call(script.GetSettingsFlow(t.Context()).Id(next[0].ContinueWithSettingsUi.Flow.Id).Execute()).ok(t, http.StatusOK)
	hasMessage(t, settings.Ui, 1060001)
}

func TestHTMLRecovery(t *testing.T) {
	t.Parallel()
	browser, address := newPage(t), newAddress()
	register(t, address)
	id := browser.flow("recovery", browser.get("/self-service/recovery/browser"))
	fetch := func() *client.RecoveryFlow {
		return call(browser.sdk.GetRecoveryFlow(t.Context()).Id(id).Cookie(browser.cookies()).Execute()).ok(t, http.StatusOK)
	}
	begun := fetch()
	browser.post(begun.Ui.Action, url.Values{"method": {"code"}, "csrf_token": {*csrf(t, begun.Ui)}, "email": {address}})
	right := mailedCode(t, address, id)

	// The link in the mail fills the code in, and leaves the button to the person.
	equal(t, "flow", browser.flow("recovery", browser.get("/self-service/recovery?flow="+id+"&code="+right)), id)
	sent := fetch()
	to := browser.post(sent.Ui.Action, url.Values{"method": {"code"}, "csrf_token": {*csrf(t, sent.Ui)}, "code": {right}})
	browser.flow("settings", to)
	equal(t, "method", *browser.whoami().ok(t, http.StatusOK).AuthenticationMethods[0].Method, "code_recovery")
}
