package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestRecoverAnIdentity(t *testing.T) {
	t.Parallel()
	const id, at = "11111111-1111-4111-8111-111111111111", "2026-11-27T12:00:00Z"
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // a test's own
		asked = append(asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
		switch r.URL.Path {
		case "/admin/identities":
			_, _ = io.WriteString(w, `[{"id":"`+id+`"}]`)
		case "/admin/identities/by/external/crm/7":
			_, _ = io.WriteString(w, `{"id":"`+id+`"}`)
		case "/admin/recovery/code":
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"recovery_link":"https://ui.example/?flow=x&y","recovery_code":"012345","expires_at":"`+at+`"}`)
		case "/admin/recovery/link":
			_, _ = io.WriteString(w, `{"recovery_link":"https://id.example/?token=y","expires_at":"`+at+`"}`)
		}
	}))
	t.Cleanup(s.Close)
	for _, c := range []struct {
		args  []string
		asked []string
		out   string
	}{
		{[]string{id}, []string{`POST /admin/recovery/code {"identity_id":"` + id + `"}`}, "012345\nhttps://ui.example/?flow=x&y\n"},
		{[]string{"external:crm/7"}, []string{
			"GET /admin/identities/by/external/crm%2F7", `POST /admin/recovery/code {"identity_id":"` + id + `"}`,
		}, "012345\nhttps://ui.example/?flow=x&y\n"},
		{[]string{"ann@example.org", "--link", "--expires-in", "90m"}, []string{
			"GET /admin/identities?credentials_identifier=ann%40example.org", `POST /admin/recovery/link {"expires_in":"1h30m0s","identity_id":"` + id + `"}`,
		}, "https://id.example/?token=y\n"},
	} {
		asked = nil
		out, errOut, code := run(t, append([]string{"identities", "recover", "--admin", s.URL}, c.args...)...)
		if code != 0 || out != c.out || !slices.Equal(asked, c.asked) {
			t.Errorf("recover %q = %d, printed %q, asked %q, want %q and %q", c.args, code, out, asked, c.out, c.asked)
		}
		if !strings.Contains(errOut, "not shown again") || strings.Contains(errOut, "012345") || strings.Contains(errOut, "token") {
			t.Errorf("recover %q says %q, want that it is shown once, and no secret", c.args, errOut)
		}
	}
	out, errOut, code := run(t, "identities", "recover", id, "--json", "--admin", s.URL)
	var h handedOut
	if err := json.Unmarshal([]byte(out), &h); err != nil || code != 0 || errOut != "" || h.Code != "012345" || h.Link != "https://ui.example/?flow=x&y" || h.ExpiresAt.IsZero() {
		t.Errorf("recover --json = %d %q %q, %v, want the answer of the server", code, out, errOut, err)
	}
}

func TestRecoverSaysWhyNot(t *testing.T) {
	t.Parallel()
	refuses := listener(t, http.StatusBadRequest, map[string]string{"/admin/recovery/code": `{"error":{"reason":"The identity is deactivated: activate it first."}}`})
	out, errOut, code := run(t, "identities", "recover", "11111111-1111-4111-8111-111111111111", "--admin", refuses)
	if code == 0 || out != "" || !strings.Contains(errOut, "deactivated") {
		t.Errorf("recover = %d %q %q, want what the server says", code, out, errOut)
	}
	two := listener(t, http.StatusOK, map[string]string{"/admin/identities": `[{"id":"1"},{"id":"2"}]`, "/admin/recovery/code": `{}`})
	if out, errOut, code := run(t, "identities", "recover", "corp:7", "--admin", two); code == 0 || out != "" || !strings.Contains(errOut, "2 identities sign in") {
		t.Errorf("recover of two = %d %q %q, want that one is to be named", code, out, errOut)
	}
}
