package sdk_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/ory/client-go"
)

func TestNativeWhoami(t *testing.T) {
	t.Parallel()
	app := newApp()
	address, person := newVerified(t)
	in := signIn(t, address)
	asked := call(app.ToSession(t.Context()).XSessionToken(in.GetSessionToken()).Execute())
	session := asked.ok(t, http.StatusOK)
	equal(t, "identity in the header", asked.response.Header.Get("X-Kratos-Authenticated-Identity-Id"), person.Id)
	equal(t, "identity", session.Identity.Id, person.Id)
	equal(t, "assurance", session.GetAuthenticatorAssuranceLevel(), client.AUTHENTICATORASSURANCELEVEL_AAL1)
	equal(t, "number of devices", len(session.Devices), 1)
	refusedAs(t, call(app.ToSession(t.Context()).Execute()), http.StatusUnauthorized, "")
	refusedAs(t, call(app.ToSession(t.Context()).XSessionToken("ory_st_nobody").Execute()), http.StatusUnauthorized, "")

	// Proxies that let a request through ask with the request's method.
	for _, method := range []string{http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		resp := ask(t, method, publicURL+"/sessions/whoami", http.Header{"Authorization": {"Bearer " + in.GetSessionToken()}})
		equal(t, method+" whoami", resp.StatusCode, http.StatusOK)
	}
}

func TestSPAWhoami(t *testing.T) {
	t.Parallel()
	script := newScript(t)
	refusedAs(t, call(script.ToSession(t.Context()).Execute()), http.StatusUnauthorized, "")
	address, person := newVerified(t)
	signInScript(t, script, address)
	equal(t, "identity", call(script.ToSession(t.Context()).Execute()).ok(t, http.StatusOK).Identity.Id, person.Id)
}

func TestHTMLWhoami(t *testing.T) {
	t.Parallel()
	browser := newPage(t)
	refusedAs(t, browser.whoami(), http.StatusUnauthorized, "")
	address, person := newVerified(t)
	browser.signIn(browser.login("/self-service/login/browser"), address, password)
	equal(t, "identity", browser.whoami().ok(t, http.StatusOK).Identity.Id, person.Id)
}

func TestNativeSessions(t *testing.T) {
	t.Parallel()
	app := newApp()
	address, _ := newVerified(t)
	in := signIn(t, address)
	token := in.GetSessionToken()
	seesToItsSessions(t, address, in.Session.Id, own{
		list: func() called[[]client.Session] {
			return call(app.ListMySessions(t.Context()).XSessionToken(token).Execute())
		},
		end: func(id string) called[struct{}] {
			return done(app.DisableMySession(t.Context(), id).XSessionToken(token).Execute())
		},
		endOthers: func() called[*client.DeleteMySessionsCount] {
			return call(app.DisableMyOtherSessions(t.Context()).XSessionToken(token).Execute())
		},
	})
	refusedAs(t, call(app.ListMySessions(t.Context()).Execute()), http.StatusUnauthorized, "")
	refusedAs(t, call(app.DisableMyOtherSessions(t.Context()).Execute()), http.StatusUnauthorized, "")
	refusedAs(t, done(app.DisableMySession(t.Context(), nowhere).Execute()), http.StatusUnauthorized, "")
}

func TestSPASessions(t *testing.T) {
	t.Parallel()
	script := newScript(t)
	address, _ := newVerified(t)
	session := signInScript(t, script, address).Session.Id
	seesToItsSessions(t, address, session, own{
		list: func() called[[]client.Session] { return call(script.ListMySessions(t.Context()).Execute()) },
		end: func(id string) called[struct{}] {
			return done(script.DisableMySession(t.Context(), id).Execute())
		},
		endOthers: func() called[*client.DeleteMySessionsCount] {
			return call(script.DisableMyOtherSessions(t.Context()).Execute())
		},
	})
}

// TestHTMLSessions asks with the browser's cookies, as the server behind a page
// does: no form does this.
func TestHTMLSessions(t *testing.T) {
	t.Parallel()
	browser := newPage(t)
	address, _ := newVerified(t)
	browser.signIn(browser.login("/self-service/login/browser"), address, password)
	seesToItsSessions(t, address, browser.whoami().ok(t, http.StatusOK).Id, own{
		list: func() called[[]client.Session] {
			return call(browser.sdk.ListMySessions(t.Context()).Cookie(browser.cookies()).Execute())
		},
		end: func(id string) called[struct{}] {
			return done(browser.sdk.DisableMySession(t.Context(), id).Cookie(browser.cookies()).Execute())
		},
		endOthers: func() called[*client.DeleteMySessionsCount] {
			return call(browser.sdk.DisableMyOtherSessions(t.Context()).Cookie(browser.cookies()).Execute())
		},
	})
}

// own are the calls about one's own sessions, as one kind of client makes them.
type own struct {
	list      func() called[[]client.Session]
	end       func(id string) called[struct{}]
	endOthers func() called[*client.DeleteMySessionsCount]
}

// seesToItsSessions signs in three times more and ends these sessions again.
func seesToItsSessions(t *testing.T, address, current string, own own) {
	t.Helper()
	app := newApp()
	var others []*client.SuccessfulNativeLogin
	for range 3 {
		others = append(others, signIn(t, address))
	}
	answers := func(i, status int) {
		t.Helper()
		asked := call(app.ToSession(t.Context()).XSessionToken(others[i].GetSessionToken()).Execute())
		equal(t, "status of whoami", asked.response.StatusCode, status)
	}

	listed := own.list().ok(t, http.StatusOK)
	equal(t, "number of other sessions", len(listed), 3)
	if slices.ContainsFunc(listed, func(s client.Session) bool { return s.Id == current }) {
		t.Error("the list of the others has the current session")
	}

	own.end(others[0].Session.Id).ok(t, http.StatusNoContent)
	answers(0, http.StatusUnauthorized)
	answers(1, http.StatusOK)
	own.end(nowhere).ok(t, http.StatusNoContent)
	refusedAs(t, own.end(current), http.StatusBadRequest, "")

	equal(t, "ended", own.endOthers().ok(t, http.StatusOK).GetCount(), 2)
	answers(1, http.StatusUnauthorized)
	equal(t, "number of other sessions", len(own.list().ok(t, http.StatusOK)), 0)
}

func TestNativeLogout(t *testing.T) {
	t.Parallel()
	app := newApp()
	address, _ := newVerified(t)
	token := signIn(t, address).GetSessionToken()
	out := func(token string) called[struct{}] {
		return done(app.PerformNativeLogout(t.Context()).PerformNativeLogoutBody(*client.NewPerformNativeLogoutBody(token)).Execute())
	}
	out(token).ok(t, http.StatusNoContent)
	refusedAs(t, call(app.ToSession(t.Context()).XSessionToken(token).Execute()), http.StatusUnauthorized, "")
	refusedAs(t, out("ory_st_nobody"), http.StatusForbidden, "")
}

func TestSPALogout(t *testing.T) {
	t.Parallel()
	script := newScript(t)
	refusedAs(t, call(script.CreateBrowserLogoutFlow(t.Context()).Execute()), http.StatusUnauthorized, "session_inactive")
	address, _ := newVerified(t)
	signInScript(t, script, address)
	flow := call(script.CreateBrowserLogoutFlow(t.Context()).Execute()).ok(t, http.StatusOK)
	refused[client.ErrorGeneric](t, done(script.UpdateLogoutFlow(t.Context()).Token("ory_lo_nobody").Execute()), http.StatusForbidden)
	done(script.UpdateLogoutFlow(t.Context()).Token(flow.LogoutToken).Execute()).ok(t, http.StatusNoContent)
	refusedAs(t, call(script.ToSession(t.Context()).Execute()), http.StatusUnauthorized, "")
}

func TestHTMLLogout(t *testing.T) {
	t.Parallel()
	browser := newPage(t)
	address, _ := newVerified(t)
	browser.signIn(browser.login("/self-service/login/browser"), address, password)
	flow := call(browser.sdk.CreateBrowserLogoutFlow(t.Context()).Cookie(browser.cookies()).Execute()).ok(t, http.StatusOK)
	before := browser.cookies()
	browser.get(flow.LogoutUrl)
	refusedAs(t, browser.whoami(), http.StatusUnauthorized, "")
	refusedAs(t, call(browser.sdk.ToSession(t.Context()).Cookie(before).Execute()), http.StatusUnauthorized, "")
}
