package console_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestWhoIsNotSignedInIsLedThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.visit("", "/console/?x=1")
	p.wants(t, http.StatusSeeOther)
	if got, want := p.Header.Get("Location"), "/console/sign-in?to=%2Fconsole%2F%3Fx%3D1"; got != want {
		t.Errorf("Location = %q, want %q", got, want)
	}
	w.visit("mallory", "/console/").wants(t, http.StatusSeeOther)
	w.visit("bob", "/console/").wants(t, http.StatusOK, "Overview", "bob")
	w.visit("bob", "/console/nothing").wants(t, http.StatusNotFound, "There is no such page.")
}

// TestAnotherSitesPostIsRefused: the cookie comes with it, and it does nothing.
func TestAnotherSitesPostIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"} {
		r := httptest.NewRequest(http.MethodPost, "https://admin.example/console/sign-out", nil)
		r.Header.Set(name, value)
		w.send("ann", r).wants(t, http.StatusForbidden, "another site")
	}
	if len(w.asked) > 0 {
		t.Errorf("the admin API was asked: %q", w.asked)
	}
}

func TestEveryAnswerCarriesThePolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, path := range []string{"/console/", "/console/nothing", "/console/sign-in", "/console/assets/nothing"} {
		h := w.visit("ann", path).Header
		if policy := h.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy = %q", path, policy)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers = %v", path, h)
		}
	}
}

// TestAnotherCookieOfTheNameHidesNothing: a program on another port of the host, or
// below a longer path, can set one.
func TestAnotherCookieOfTheNameHidesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := httptest.NewRequest(http.MethodGet, "https://admin.example/console/", nil)
	r.AddCookie(&http.Cookie{Name: "usher_console", Value: "planted"})
	w.send("bob", r).wants(t, http.StatusOK, "Overview")
}
