package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSecretsStayWhereTheyBelong is T7: a password, a token, an address and a
// trait that stand nowhere else are searched for in all that a registration
// leaves behind: logs, metrics, traces, events, the bus' files, the database's files.
func TestSecretsStayWhereTheyBelong(t *testing.T) {
	t.Parallel()
	const secret, trait = "canary-Pa55word-7f3e9d", "Canaryname7f3e9d"
	office, spans := newPostOffice(t), newSpanCollector(t)
	office.open()
	inEveryShape(t, func(background *endpoint) settings {
		over := merge(mailsTo(office), hooks(settings{"hook": "show_verification_ui"}, sessionHook, background.webHook("crm", settings{"ignore": true})))
		over["log"] = settings{"level": "debug"}
		return merge(over, spans.tracing())
	}, func(t *testing.T, s *system, background *endpoint) {
		address := "canary-7f3e9d-" + s.shape + "@example.org"
		app := newApp(t, s.apis[0])
		f, err := app.initAPI()
		if err != nil {
			t.Fatal(err)
		}
		body, err := json.Marshal(map[string]any{
			"method": "password", "password": secret,
			"traits":            map[string]any{"email": address, "name": map[string]any{"first": trait}},
			"transient_payload": map[string]any{"note": "canary-transient-7f3e9d"},
		})
		if err != nil {
			t.Fatal(err)
		}
		a, err := app.submit(f.ID, body)
		if err != nil || a.status != http.StatusOK {
			t.Fatalf("submit = %v %d %s", err, a.status, a.body)
		}
		var r registered
		a.json(t, &r)
		if _, err := app.submit(f.ID, submission("", "other-"+address, secret+"-wrong")); err != nil {
			t.Fatal(err)
		}
		s.allHooked(background, []string{r.Identity.ID})

		// Coming back: a wrong password, the right one, a wrong code, the right one.
		code := office.codeFor(address)
		wrongs := login(t, app, address, secret+"-mistyped")
		in := login(t, app, address, secret)
		if wrongs.SessionToken != "" || in.SessionToken == "" {
			t.Fatalf("logins gave %+v and %+v, want a session for the right password only", wrongs, in)
		}
		for _, c := range []string{"000000", code} {
			app.must("POST", "/self-service/verification?flow="+verificationFlow(r.ContinueWith), asJSON, fmt.Appendf(nil, `{"method":"code","code":%q}`, c))
		}
		eventually(t, 20*time.Second, func() error { return s.count(r.Identity.ID, "address.verified", 1) })
		s.canLogOut(app, in.SessionToken)

		seen := map[string]string{"logs": s.logs()}
		for _, admin := range s.admins {
			seen["metrics of "+admin] = string(newApp(t, admin).must("GET", "/metrics", nil, nil).body)
			seen["events of "+admin] = string(newApp(t, admin).must("GET", "/admin/events?limit=1000", nil, nil).body)
		}
		s.stop()
		_, raw := spans.got()
		if seen["traces"] = string(raw); seen["traces"] == "" {
			t.Error("no traces")
		}
		everywhere := []string{secret, r.SessionToken, in.SessionToken, "canary-transient-7f3e9d", "code " + code, "=" + code, `"` + code + `"`}
		nowhereBut := []string{address, trait} // the database holds people
		for where, text := range seen {
			find(t, where, []byte(text), append(everywhere, nowhereBut...))
		}
		for name, data := range s.files(t) {
			words := everywhere
			if !strings.Contains(name, ".db") {
				words = append(words, nowhereBut...)
			}
			find(t, name, data, words)
		}
		if s.dsn != "" {
			find(t, "PostgreSQL", dump(t, s.dsn), everywhere)
		}
	})
}

// login signs in, or does not.
func login(t *testing.T, app *client, address, password string) (r registered) {
	t.Helper()
	var f flowView
	app.must("GET", "/self-service/login/api", nil, nil).json(t, &f)
	body, err := json.Marshal(map[string]any{"method": "password", "identifier": address, "password": password})
	if err != nil {
		t.Fatal(err)
	}
	app.must("POST", "/self-service/login?flow="+f.ID, asJSON, body).json(t, &r)
	return r
}

// canLogOut ends the session of a token.
func (s *system) canLogOut(app *client, token string) {
	s.t.Helper()
	if a := app.must("DELETE", "/self-service/logout/api", asJSON, fmt.Appendf(nil, `{"session_token":%q}`, token)); a.status != http.StatusNoContent {
		s.t.Errorf("log out = %d %s", a.status, a.body)
	}
}

func find(t *testing.T, where string, data []byte, words []string) {
	t.Helper()
	for _, w := range words {
		if bytes.Contains(data, []byte(w)) {
			t.Errorf("%q stands in %s", w, where)
		}
	}
}

// files are the files that the processes wrote, but their logs and the
// configuration of the test.
func (s *system) files(t *testing.T) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, s.dir)] = data
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 3 {
		t.Fatalf("found only %d files in %s", len(all), s.dir)
	}
	return all
}
