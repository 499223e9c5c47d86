package sdk_test

import (
	"net/http"
	"net/url"
	"regexp"
	"testing"

	"github.com/ory/client-go"
)

// The tests of links need a server whose flows are used by link; TestSDKs starts one for
// them.

var urls = regexp.MustCompile(`https?://\S+`)

// mailedLink waits for the link that is mailed to an address for a flow.
func mailedLink(t *testing.T, address, flow string) string {
	t.Helper()
	return mailed(t, address, func(body string) string {
		for _, found := range urls.FindAllString(body, -1) {
			if u, err := url.Parse(found); err == nil && u.Query().Get("flow") == flow && u.Query().Get("token") != "" {
				return found
			}
		}
		return ""
	})
}

// verificationLink is the form that asks for a link; token is nil in an app.
func verificationLink(token *string, address string) client.UpdateVerificationFlowBody {
	body := client.NewUpdateVerificationFlowWithLinkMethod(address, "link")
	body.CsrfToken = token
	return client.UpdateVerificationFlowWithLinkMethodAsUpdateVerificationFlowBody(body)
}

func recoveryLink(token *string, address string) client.UpdateRecoveryFlowBody {
	body := client.NewUpdateRecoveryFlowWithLinkMethod(address, "link")
	body.CsrfToken = token
	return client.UpdateRecoveryFlowWithLinkMethodAsUpdateRecoveryFlowBody(body)
}

// verifiesByLink asks for the link, which is opened in the browser of the mailbox.
func verifiesByLink(t *testing.T, api client.FrontendAPI, begun *client.VerificationFlow, token *string, address string) {
	t.Helper()
	sent := call(api.UpdateVerificationFlow(t.Context()).Flow(begun.Id).UpdateVerificationFlowBody(verificationLink(token, address)).Execute()).ok(t, http.StatusOK)
	equal(t, "state", sent.State, client.VERIFICATIONFLOWSTATE_SENT_EMAIL)
	equal(t, "active", sent.GetActive(), "link")
	hasMessage(t, sent.Ui, 1080001)
	browser, opened := newPage(t), mailedLink(t, address, begun.Id)
	equal(t, "flow", browser.flow("verification", browser.get(opened)), begun.Id)
	equal(t, "state", browser.verificationFlow(begun.Id).State, client.VERIFICATIONFLOWSTATE_PASSED_CHALLENGE)

	again := browser.flow("verification", browser.get(opened))
	if again == begun.Id {
		t.Fatal("a used link leads to its flow, want another")
	}
	hasMessage(t, browser.verificationFlow(again).Ui, 4070001)
}

func TestNativeVerificationByLink(t *testing.T) {
	t.Parallel()
	app, address := newApp(), newAddress()
	person := register(t, address).Identity.Id
	begun := call(app.CreateNativeVerificationFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	verifiesByLink(t, app, begun, nil, address)
	equal(t, "verified", isVerified(t, person), true)
}

func TestSPAVerificationByLink(t *testing.T) {
	t.Parallel()
	script, address := newScript(t), newAddress()
	person := register(t, address).Identity.Id
	begun := call(script.CreateBrowserVerificationFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	refusedAs(t, call(script.UpdateVerificationFlow(t.Context()).Flow(begun.Id).
		UpdateVerificationFlowBody(verificationLink(nil, address)).Execute()), http.StatusForbidden, "security_csrf_violation")
	verifiesByLink(t, script, begun, csrf(t, begun.Ui), address)
	equal(t, "verified", isVerified(t, person), true)
}

func TestHTMLVerificationByLink(t *testing.T) {
	t.Parallel()
	browser, address := newPage(t), newAddress()
	person := register(t, address).Identity.Id
	id := browser.flow("verification", browser.get("/self-service/verification/browser"))
	begun := browser.verificationFlow(id)
	browser.post(begun.Ui.Action, url.Values{"method": {"link"}, "csrf_token": {*csrf(t, begun.Ui)}, "email": {address}})
	equal(t, "flow", browser.flow("verification", browser.get(mailedLink(t, address, id))), id)
	equal(t, "state", browser.verificationFlow(id).State, client.VERIFICATIONFLOWSTATE_PASSED_CHALLENGE)
	equal(t, "verified", isVerified(t, person), true)
}

// recoversByLink asks for the link and opens it in a browser, which is signed in then.
func recoversByLink(t *testing.T, api client.FrontendAPI, begun *client.RecoveryFlow, token *string, address string) *page {
	t.Helper()
	sent := call(api.UpdateRecoveryFlow(t.Context()).Flow(begun.Id).UpdateRecoveryFlowBody(recoveryLink(token, address)).Execute()).ok(t, http.StatusOK)
	equal(t, "state", sent.State, client.RECOVERYFLOWSTATE_SENT_EMAIL)
	equal(t, "active", sent.GetActive(), "link")
	hasMessage(t, sent.Ui, 1060002)
	browser := newPage(t)
	browser.flow("settings", browser.get(mailedLink(t, address, begun.Id)))
	equal(t, "method", *browser.whoami().ok(t, http.StatusOK).AuthenticationMethods[0].Method, "link_recovery")
	return browser
}

func TestNativeRecoveryByLink(t *testing.T) {
	t.Parallel()
	app, address := newApp(), newAddress()
	before := register(t, address)
	begun := call(app.CreateNativeRecoveryFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	recoversByLink(t, app, begun, nil, address)
	refusedAs(t, call(app.ToSession(t.Context()).XSessionToken(*before.SessionToken).Execute()), http.StatusUnauthorized, "")
}

func TestSPARecoveryByLink(t *testing.T) {
	t.Parallel()
	script, address := newScript(t), newAddress()
	register(t, address)
	begun := call(script.CreateBrowserRecoveryFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	refusedAs(t, call(script.UpdateRecoveryFlow(t.Context()).Flow(begun.Id).
		UpdateRecoveryFlowBody(recoveryLink(nil, address)).Execute()), http.StatusForbidden, "security_csrf_violation")
	recoversByLink(t, script, begun, csrf(t, begun.Ui), address)
}

func TestHTMLRecoveryByLink(t *testing.T) {
	t.Parallel()
	browser, address := newPage(t), newAddress()
	register(t, address)
	id := browser.flow("recovery", browser.get("/self-service/recovery/browser"))
	begun := call(browser.sdk.GetRecoveryFlow(t.Context()).Id(id).Cookie(browser.cookies()).Execute()).ok(t, http.StatusOK)
	browser.post(begun.Ui.Action, url.Values{"method": {"link"}, "csrf_token": {*csrf(t, begun.Ui)}, "email": {address}})
	browser.flow("settings", browser.get(mailedLink(t, address, id)))
	equal(t, "method", *browser.whoami().ok(t, http.StatusOK).AuthenticationMethods[0].Method, "link_recovery")
}
