package sdk_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/ory/client-go"
)

// askedCode is the form that asks for a code; token is nil in an app.
func askedCode(token *string, address string) client.UpdateVerificationFlowBody {
	body := client.NewUpdateVerificationFlowWithCodeMethod("code")
	body.Email, body.CsrfToken = &address, token
	return client.UpdateVerificationFlowWithCodeMethodAsUpdateVerificationFlowBody(body)
}

// submittedCode is the form with the code. It needs no token: the code is one.
func submittedCode(code string) client.UpdateVerificationFlowBody {
	body := client.NewUpdateVerificationFlowWithCodeMethod("code")
	body.Code = &code
	return client.UpdateVerificationFlowWithCodeMethodAsUpdateVerificationFlowBody(body)
}

// isVerified asks the admin API about the address of a person.
func isVerified(t *testing.T, person string) bool {
	t.Helper()
	return call(admin().IdentityAPI.GetIdentity(t.Context(), person).Execute()).ok(t, http.StatusOK).VerifiableAddresses[0].Verified
}

func TestNativeVerification(t *testing.T) {
	t.Parallel()
	app, address := newApp(), newAddress()
	person := register(t, address).Identity.Id
	begun := call(app.CreateNativeVerificationFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	equal(t, "state", begun.State, client.VERIFICATIONFLOWSTATE_CHOOSE_METHOD)
	verifies(t, app, begun, nil, address)
	equal(t, "verified", isVerified(t, person), true)
	refusedAs(t, call(app.GetVerificationFlow(t.Context()).Id(nowhere).Execute()), http.StatusNotFound, "")
}

func TestSPAVerification(t *testing.T) {
	t.Parallel()
	script, address := newScript(t), newAddress()
	person := register(t, address).Identity.Id
	begun := call(script.CreateBrowserVerificationFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	refusedAs(t, call(newScript(t).GetVerificationFlow(t.Context()).Id(begun.Id).Execute()), http.StatusForbidden, "security_csrf_violation")
	refusedAs(t, call(script.UpdateVerificationFlow(t.Context()).Flow(begun.Id).
		UpdateVerificationFlowBody(askedCode(nil, address)).Execute()), http.StatusForbidden, "security_csrf_violation")
	verifies(t, script, begun, csrf(t, begun.Ui), address)
	equal(t, "verified", isVerified(t, person), true)
}

// verifies goes through a flow to its end, and past it.
func verifies(t *testing.T, api client.FrontendAPI, begun *client.VerificationFlow, token *string, address string) {
	t.Helper()
	submit := func(body client.UpdateVerificationFlowBody) called[*client.VerificationFlow] {
		return call(api.UpdateVerificationFlow(t.Context()).Flow(begun.Id).UpdateVerificationFlowBody(body).Execute())
	}
	fetched := call(api.GetVerificationFlow(t.Context()).Id(begun.Id).Execute()).ok(t, http.StatusOK)
	equal(t, "type", fetched.Type, begun.Type)
	missing := refused[client.VerificationFlow](t, submit(askedCode(token, "")), http.StatusBadRequest)
	hasMessage(t, missing.Ui, 4000002)

	sent := submit(askedCode(token, address)).ok(t, http.StatusOK)
	equal(t, "state", sent.State, client.VERIFICATIONFLOWSTATE_SENT_EMAIL)
	right := mailedCode(t, address, begun.Id)
	still := submit(submittedCode(wrong(right))).ok(t, http.StatusOK)
	equal(t, "state after a wrong code", still.State, client.VERIFICATIONFLOWSTATE_SENT_EMAIL)
	hasMessage(t, still.Ui, 4070006)

	passed := submit(submittedCode(right)).ok(t, http.StatusOK)
	equal(t, "state", passed.State, client.VERIFICATIONFLOWSTATE_PASSED_CHALLENGE)
	hasMessage(t, passed.Ui, 1080002)

	over := refusedAs(t, submit(submittedCode(right)), http.StatusGone, "self_service_flow_replaced")
	other, ok := over.AdditionalProperties["use_flow_id"].(string)
	if !ok || other == begun.Id {
		t.Fatalf("use_flow_id = %v, want another flow", over.AdditionalProperties["use_flow_id"])
	}
	call(api.GetVerificationFlow(t.Context()).Id(other).Execute()).ok(t, http.StatusOK)
}

func TestHTMLVerification(t *testing.T) {
	t.Parallel()
	browser, address := newPage(t), newAddress()
	person := register(t, address).Identity.Id
	id := browser.flow("verification", browser.get("/self-service/verification/browser"))
	begun := browser.verificationFlow(id)
	to := browser.post(begun.Ui.Action, url.Values{"method": {"code"}, "csrf_token": {*csrf(t, begun.Ui)}, "email": {address}})
	equal(t, "flow", browser.flow("verification", to), id)

	right := mailedCode(t, address, id)
	hasMessage(t, browser.verify(id, wrong(right)).Ui, 4070006)

	// The link in the mail fills the code in, and leaves the button to the person.
	equal(t, "flow", browser.flow("verification", browser.get("/self-service/verification?flow="+id+"&code="+right)), id)
	equal(t, "verified by the link", isVerified(t, person), false)
	equal(t, "state", browser.verify(id, right).State, client.VERIFICATIONFLOWSTATE_PASSED_CHALLENGE)
	equal(t, "verified", isVerified(t, person), true)
}
