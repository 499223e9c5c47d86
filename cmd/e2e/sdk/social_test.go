package sdk_test

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/ory/client-go"
)

// provider is the id of the provider that the server knows. Its users are made
// up as they come, and their password is the same.
const (
	provider         = "example"
	providerPassword = "verysecure"
)

// signUpAt and signInAt are the forms behind a provider's button.
func signUpAt(provider string, token *string) client.UpdateRegistrationFlowBody {
	body := client.NewUpdateRegistrationFlowWithOidcMethod("oidc", provider)
	body.CsrfToken = token
	return client.UpdateRegistrationFlowWithOidcMethodAsUpdateRegistrationFlowBody(body)
}

func signInAt(provider string, token *string) client.UpdateLoginFlowBody {
	body := client.NewUpdateLoginFlowWithOidcMethod("oidc", provider)
	body.CsrfToken = token
	return client.UpdateLoginFlowWithOidcMethodAsUpdateLoginFlowBody(body)
}

// moved gives where the browser has to go instead.
func moved[T any](t *testing.T, c called[T]) string {
	t.Helper()
	problem := refused[client.ErrorBrowserLocationChangeRequired](t, c, http.StatusUnprocessableEntity)
	equal(t, "id of the error", problem.Error.GetId(), "browser_location_change_required")
	return problem.GetRedirectBrowserTo()
}

var authRequest = regexp.MustCompile(`name="id" value="([^"]+)"`)

// atProvider signs a user in with the provider's own form, and gives where the
// browser is sent back to.
func atProvider(t *testing.T, authorization, user string) string {
	t.Helper()
	browser := &http.Client{Jar: newJar(t), CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), publicURL) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	page, err := browser.Get(authorization)
	if err != nil {
		t.Fatal(err)
	}
	defer page.Body.Close()
	text, err := io.ReadAll(page.Body)
	id := authRequest.FindSubmatch(text)
	if id == nil {
		t.Fatalf("%s shows no form: %v", page.Request.URL, err)
	}
	back, err := browser.PostForm(page.Request.URL.String(), url.Values{"id": {string(id[1])}, "username": {user}, "password": {providerPassword}})
	if err != nil {
		t.Fatal(err)
	}
	defer back.Body.Close()
	to, err := back.Location()
	if err != nil {
		t.Fatalf("login at the provider: %s: %v", back.Status, err)
	}
	return to.String()
}

// comesBack is the system's browser behind an app, or the one of a page, and gives
// where it is sent.
func comesBack(t *testing.T, jar http.CookieJar, callback string) *url.URL {
	t.Helper()
	p := newPage(t)
	p.http.Jar = jar
	return p.get(callback)
}

func TestNativeSocialSignIn(t *testing.T) {
	t.Parallel()
	app, user := newApp(), newAddress()
	exchange := func(init *string, to *url.URL) called[*client.SuccessfulNativeLogin] {
		return call(app.ExchangeSessionToken(t.Context()).InitCode(*init).ReturnToCode(to.Query().Get("code")).Execute())
	}

	begun := call(app.CreateNativeRegistrationFlow(t.Context()).ReturnSessionTokenExchangeCode(true).Execute()).ok(t, http.StatusOK)
	submit := func(provider string) called[*client.SuccessfulNativeRegistration] {
		return call(app.UpdateRegistrationFlow(t.Context()).Flow(begun.Id).UpdateRegistrationFlowBody(signUpAt(provider, nil)).Execute())
	}
	refusedAs(t, submit("nobody"), http.StatusNotFound, "")
	to := comesBack(t, nil, atProvider(t, moved(t, submit(provider)), user))
	made := exchange(begun.SessionTokenExchangeCode, to).ok(t, http.StatusOK)
	equal(t, "method", made.Session.AuthenticationMethods[0].GetMethod(), "oidc")
	equal(t, "provider", made.Session.AuthenticationMethods[0].GetProvider(), provider)
	who := call(app.ToSession(t.Context()).XSessionToken(made.GetSessionToken()).Execute()).ok(t, http.StatusOK)
	refusedAs(t, exchange(begun.SessionTokenExchangeCode, to), http.StatusNotFound, "")

	again := call(app.CreateNativeLoginFlow(t.Context()).ReturnSessionTokenExchangeCode(true).Execute()).ok(t, http.StatusOK)
	to = comesBack(t, nil, atProvider(t, moved(t, call(app.UpdateLoginFlow(t.Context()).Flow(again.Id).UpdateLoginFlowBody(signInAt(provider, nil)).Execute())), user))
	in := exchange(again.SessionTokenExchangeCode, to).ok(t, http.StatusOK)
	equal(t, "identity", in.Session.Identity.Id, who.Identity.Id)
}

func TestSPASocialSignIn(t *testing.T) {
	t.Parallel()
	user := newAddress()
	var first string
	for range 2 { // registration, then login
		jar := newJar(t)
		api := newSDK(publicURL, jar)
		api.GetConfig().AddDefaultHeader("Origin", publicURL)
		api.GetConfig().AddDefaultHeader("Sec-Fetch-Site", "same-origin")
		script := api.FrontendAPI
		var authorization string
		if first == "" {
			begun := call(script.CreateBrowserRegistrationFlow(t.Context()).Execute()).ok(t, http.StatusOK)
			submit := func(token *string) called[*client.SuccessfulNativeRegistration] {
				return call(script.UpdateRegistrationFlow(t.Context()).Flow(begun.Id).UpdateRegistrationFlowBody(signUpAt(provider, token)).Execute())
			}
			refusedAs(t, submit(client.PtrString("no token")), http.StatusForbidden, "security_csrf_violation")
			authorization = moved(t, submit(csrf(t, begun.Ui)))
		} else {
			begun := call(script.CreateBrowserLoginFlow(t.Context()).Execute()).ok(t, http.StatusOK)
			authorization = moved(t, call(script.UpdateLoginFlow(t.Context()).Flow(begun.Id).
				UpdateLoginFlowBody(signInAt(provider, csrf(t, begun.Ui))).Execute()))
		}
		comesBack(t, jar, atProvider(t, authorization, user))
		who := call(script.ToSession(t.Context()).Execute()).ok(t, http.StatusOK)
		equal(t, "method", who.AuthenticationMethods[0].GetMethod(), "oidc")
		if first != "" {
			equal(t, "identity", who.Identity.Id, first)
		}
		first = who.Identity.Id
	}
}

func TestHTMLSocialSignIn(t *testing.T) {
	t.Parallel()
	browser, user := newPage(t), newAddress()
	id := browser.flow("registration", browser.get("/self-service/registration/browser"))
	begun := browser.registrationFlow(id)
	fields := url.Values{"provider": {provider}, "csrf_token": {*csrf(t, begun.Ui)}}
	callback := atProvider(t, browser.post(begun.Ui.Action, fields).String(), user)
	// A provider may post what it has to say: that is turned into a link, with which
	// the cookies come.
	back, err := url.Parse(callback)
	if err != nil {
		t.Fatal(err)
	}
	to := browser.post(back.Path, back.Query())
	equal(t, "path", to.Path, back.Path)
	browser.get(to.String())
	who := browser.whoami().ok(t, http.StatusOK)
	equal(t, "method", who.AuthenticationMethods[0].GetMethod(), "oidc")

	other := newPage(t)
	form := other.login("/self-service/login/browser")
	fields = url.Values{"provider": {provider}, "csrf_token": {*csrf(t, form.Ui)}}
	callback = atProvider(t, other.post(form.Ui.Action, fields).String(), user)
	if to := newPage(t).get(callback); !strings.Contains(to.Path, "/error") {
		t.Errorf("the callback in another browser leads to %s, want an error", to)
	}
	other.get(callback)
	equal(t, "identity", other.whoami().ok(t, http.StatusOK).Identity.Id, who.Identity.Id)

	// The button may be a link.
	linked := newPage(t)
	form = linked.login("/self-service/login/browser")
	callback = atProvider(t, linked.get("/self-service/login?flow="+form.Id+"&provider="+provider).String(), user)
	linked.get(callback)
	equal(t, "identity", linked.whoami().ok(t, http.StatusOK).Identity.Id, who.Identity.Id)
}
