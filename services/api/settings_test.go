package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/api"
)

const (
	publicURL = "http://127.0.0.1:4433/"
	ui        = "http://127.0.0.1:4455/"
	welcome   = "http://127.0.0.1:4455/welcome"
)

// newSettings are good ones, to be changed by a test.
func newSettings(t testing.TB) api.Settings {
	t.Helper()
	sealer, err := api.NewSealer([]byte("a cookie secret of the tests"))
	if err != nil {
		t.Fatal(err)
	}
	return api.Settings{
		PublicURL:         publicURL,
		AdminURL:          "http://127.0.0.1:4434/",
		DefaultReturnURL:  welcome,
		AllowedReturnURLs: []string{"http://127.0.0.1:4455/", "https://*.apps.example.com"},
		ErrorURL:          "http://127.0.0.1:4455/error",
		Registration:      api.FlowSettings{Enabled: true, Lifespan: time.Hour, URL: ui + "registration", Methods: []string{"password"}},
		Login:             api.FlowSettings{Enabled: true, Lifespan: time.Hour, URL: ui + "login", Methods: []string{"password"}},
		Verification:      api.FlowSettings{Enabled: true, Lifespan: time.Hour, URL: ui + "verification", Methods: []string{"code"}},
		Recovery:          api.FlowSettings{Enabled: true, Lifespan: time.Hour, URL: ui + "recovery", Methods: []string{"code"}},
		SettingsFlow:      api.FlowSettings{Enabled: true, Lifespan: time.Hour, URL: ui + "settings"},
		DefaultSchema:     "person",

		PrivilegedSessionMaxAge: time.Hour,
		SessionCookie:           api.Cookie{Name: "ory_kratos_session", Path: "/", SameSite: http.SameSiteLaxMode, Persistent: true},
		CSRFCookie:              api.Cookie{Path: "/", SameSite: http.SameSiteLaxMode},
		Cookies:                 sealer,
	}
}

func compile(t testing.TB, s api.Settings) *api.Compiled {
	t.Helper()
	c, err := s.Compile()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*api.Settings)
		want   string
	}{
		"no public URL":          {func(s *api.Settings) { s.PublicURL = "" }, "public base URL"},
		"relative public URL":    {func(s *api.Settings) { s.PublicURL = "/x" }, "public base URL"},
		"public URL with query":  {func(s *api.Settings) { s.PublicURL = "http://a/?x" }, "public base URL"},
		"admin URL of no scheme": {func(s *api.Settings) { s.AdminURL = "localhost:4434" }, "admin base URL"},
		"no default return URL":  {func(s *api.Settings) { s.DefaultReturnURL = "" }, "default return URL"},
		"no secret":              {func(s *api.Settings) { s.Cookies = nil }, "secret"},
		"no cookie name":         {func(s *api.Settings) { s.SessionCookie.Name = "" }, "session cookie"},
		"cookies shown to hooks": {func(s *api.Settings) { s.HeaderAllowlist = []string{"cookie"} }, "Cookie"},
		"tokens shown to hooks":  {func(s *api.Settings) { s.HeaderAllowlist = []string{"x-session-token"} }, "X-Session-Token"},
		"relative error page":    {func(s *api.Settings) { s.ErrorURL = "/error" }, "absolute URL"},
		"any origin with cookies": {func(s *api.Settings) {
			s.CORS = api.CORS{Enabled: true, Origins: []string{"*"}, Credentials: true}
		}, "credentials"},
		"origin with a path":    {func(s *api.Settings) { s.CORS = api.CORS{Enabled: true, Origins: []string{"https://a.example/"}} }, "exact origin"},
		"origin with a star":    {func(s *api.Settings) { s.CORS = api.CORS{Enabled: true, Origins: []string{"https://*.example"}} }, "exact origin"},
		"the origin null":       {func(s *api.Settings) { s.CORS = api.CORS{Enabled: true, Origins: []string{"null"}} }, "exact origin"},
		"origin without a host": {func(s *api.Settings) { s.CORS = api.CORS{Enabled: true, Origins: []string{"https://"}} }, "exact origin"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSettings(t)
			tt.change(&s)
			if _, err := s.Compile(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Compile() = %v, want an error about %q", err, tt.want)
			}
		})
	}
}
