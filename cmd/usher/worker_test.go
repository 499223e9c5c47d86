package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// adminStub answers like an admin listener, by method and path, and keeps what it was sent.
type adminStub struct {
	url  string
	sent []string
}

func newAdminStub(t *testing.T, answers map[string][]string) *adminStub {
	t.Helper()
	a := &adminStub{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		what := r.Method + " " + r.URL.Path
		body, _ := io.ReadAll(r.Body)
		a.sent = append(a.sent, strings.TrimSpace(what+" "+string(body)))
		if len(answers[what]) == 0 {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"error":{"reason":"There is no hook with this name."}}`)
			return
		}
		fmt.Fprint(w, answers[what][0])
		answers[what] = answers[what][1:]
	}))
	t.Cleanup(s.Close)
	a.url = s.URL
	return a
}

const helloAccess = `{"hook":{"name":"hello","kind":"worker"},"credential":"secret text","nats_url":"nats://127.0.0.1:4222"}`

func TestNewWorkerIsAFolder(t *testing.T) {
	t.Parallel()
	for lang, c := range map[string]struct{ program, command string }{
		"go":     {"main.go", "go run -mod=mod ."},
		"node":   {"worker.mjs", "npm install --silent && NATS_URL=nats://127.0.0.1:4222 NATS_CREDS=hello.creds node worker.mjs"},
		"python": {"worker.py", "worker run hello --identity -- python3 worker.py"},
		"shell":  {"worker.sh", "worker run hello --identity -- sh worker.sh"},
	} {
		t.Run(lang, func(t *testing.T) {
			t.Parallel()
			a := newAdminStub(t, map[string][]string{"POST /admin/hooks": {helloAccess}})
			dir := filepath.Join(t.TempDir(), "it's")
			out, errOut, code := run(t, "worker", "new", "hello", "--lang", lang, "--dir", dir, "--traits", "email", "--quiet", "--admin", a.url)
			if code != 0 || strings.Count(out, "\n") != 1 || !strings.Contains(out, c.command) || !strings.HasPrefix(out, "cd '") {
				t.Errorf("usher worker new = %d %s%s, want one line with the command", code, out, errOut)
			}
			if want := `POST /admin/hooks {"events":["identity.created"],"kind":"worker","name":"hello","traits":["email"]}`; a.sent[0] != want {
				t.Errorf("the server was sent %s, want %s", a.sent[0], want)
			}
			info, err := os.Stat(filepath.Join(dir, "hello.creds"))
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("credential: %v, %v, want a file of mode 0600", info, err)
			}
			program, err := os.ReadFile(filepath.Join(dir, c.program))
			if err != nil || strings.Count(string(program), "\n") > 40 || !strings.Contains(string(program), "hello") {
				t.Errorf("program: %v\n%s", err, program)
			}
			if info, err := os.Stat(filepath.Join(dir, c.program)); err != nil || info.Mode().Perm()&0o100 != 0 != (lang == "shell") {
				t.Errorf("program: %v, %v, want only that in shell to be one that can be run", info, err)
			}
			readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
			if err != nil || !strings.Contains(string(readme), strings.TrimSpace(out)) || strings.Count(string(readme), "\n") > 12 || strings.Contains(string(readme), "secret text") {
				t.Errorf("README: %v\n%s", err, readme)
			}
		})
	}
}

// On a bus with certificates of its own the command failed: the program did not know them.
func TestNewWorkerKnowsTheBus(t *testing.T) {
	t.Parallel()
	access := strings.Replace(helloAccess, `"nats_url":`, `"nats_ca":"PEM","nats_url":`, 1)
	a := newAdminStub(t, map[string][]string{"POST /admin/hooks": {access}})
	dir := t.TempDir()
	out, errOut, code := run(t, "worker", "new", "hello", "--lang", "shell", "--dir", dir, "--quiet", "--admin", a.url)
	readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if code != 0 || err != nil || !strings.Contains(out, " NATS_CA=ca.pem ") || !strings.Contains(string(readme), " NATS_CA=ca.pem ") {
		t.Errorf("usher worker new = %d %s%s, README %v %s; want both with NATS_CA=ca.pem", code, out, errOut, err, readme)
	}
	if ca, err := os.ReadFile(filepath.Join(dir, "ca.pem")); err != nil || string(ca) != "PEM" {
		t.Errorf("ca.pem: %q, %v, want that of the bus", ca, err)
	}
}

// A worker that was made by "go run" wanted the module from its proxy, also in a checkout.
func TestHowThisProgramIsRunFromElsewhere(t *testing.T) {
	t.Parallel()
	here := checkout(t.Context())
	if _, err := os.Stat(filepath.Join(here, "cmd", "usher", "checkout.go")); err != nil {
		t.Fatal(err)
	}
	build, built := "go build -C "+here+" -o bin/usher ./cmd/usher && ", filepath.Join(here, "bin", "usher")
	for called, want := range map[string][2]string{
		"usher":                              {"", "usher"},
		"/opt/bin/usher":                     {"", "/opt/bin/usher"},
		"/opt/our tools/user":                {"", "'/opt/our tools/user'"},
		"/home/ann/.cache/go-build/ab/usher": {build, built},
		"/cache/ab/" + strings.Repeat("0a", 32) + "-d/usher": {build, built},
	} {
		if before, program := self(t.Context(), called); before != want[0] || program != want[1] {
			t.Errorf("self of %s = %q, %q, want %q", called, before, program, want)
		}
	}
	for file, want := range map[string]string{
		filepath.Join(here, "cmd", "usher", "checkout.go"): here,
		modulePath + "/cmd/usher/checkout.go":              "", // -trimpath
		"/go/mod/" + modulePath + "@v1.0.0/cmd/usher/a.go": "",
		"/nowhere/cmd/usher/checkout.go":                   "",
	} {
		if got := sourceFolder(file); got != want {
			t.Errorf("source folder of %s = %q, want %q", file, got, want)
		}
	}
}

func TestNewWorkerRefuses(t *testing.T) {
	t.Parallel()
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a := newAdminStub(t, nil)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no language":      {nil, "--lang: want go, node, python, shell"},
		"misspelt":         {[]string{"--lang", "pyton"}, "did you mean python?"},
		"folder not empty": {[]string{"--lang", "go", "--dir", full}, "is not empty"},
		"no such event":    {[]string{"--lang", "go", "--events", "identity.create"}, "did you mean identity.created?"},
		"answer in shell":  {[]string{"--lang", "shell", "--kind", "answer"}, "only for --lang go"},
	} {
		_, errOut, code := run(t, append([]string{"worker", "new", "hello", "--admin", a.url}, c.args...)...)
		if code == 0 || !strings.Contains(errOut, c.want) {
			t.Errorf("%s: %d %s, want a refusal that says %q", name, code, errOut, c.want)
		}
	}
	if len(a.sent) > 0 {
		t.Errorf("a refused worker was declared: %q", a.sent)
	}
	dir := filepath.Join(t.TempDir(), "new")
	if _, errOut, code := run(t, "worker", "new", "hello", "--lang", "go", "--dir", dir, "--admin", a.url); code == 0 {
		t.Error("a worker that the server refuses is made", errOut)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("what the server has refused leaves a folder")
	}
}

// Only who says so has the name of a worker that was removed.
func TestReuseNameIsSaid(t *testing.T) {
	t.Parallel()
	const made = `{"name":"hello","url":"https://a.example","events":["identity.created"],"secret":"whsec_x","ready":true}`
	for _, reuse := range []bool{false, true} {
		for _, args := range [][]string{
			{"worker", "new", "hello", "--lang", "shell", "--dir", filepath.Join(t.TempDir(), "hello")},
			{"webhook", "add", "hello", "https://a.example", "--events", "identity.created"},
		} {
			a := newAdminStub(t, map[string][]string{"POST /admin/hooks": {helloAccess}, "POST /admin/webhooks": {made}})
			args = append(args, "--admin", a.url, fmt.Sprintf("--reuse-name=%t", reuse))
			if _, errOut, code := run(t, args...); code != 0 || strings.Contains(a.sent[0], `"reuse_name":true`) != reuse {
				t.Errorf("usher %q = %d %s, sent %q, want reuse_name %t", args, code, errOut, a.sent, reuse)
			}
		}
	}
}

func TestWorkerCommandsAskTheServer(t *testing.T) {
	t.Parallel()
	shown := `{"name":"hello","kind":"worker","events":["identity.created"],"consumer":{"pending":3,"ack_pending":0,"paused_until":"2026-11-24T17:00:00Z"},"failures":{"dead":2},"instances":[{"id":"a","version":"1.2.0"},{"id":"b","version":"1.2.0"}]}`
	for name, c := range map[string]struct {
		args   []string
		answer string
		want   string // in what is printed
		sent   string
	}{
		"list":   {[]string{"list"}, `{"hooks":[` + shown + `,{"name":"crm","kind":"webhook"}]}`, "paused", "GET /admin/hooks"},
		"seen":   {[]string{"list"}, `{"hooks":[` + shown + `]}`, "2 (1.2.0)", "GET /admin/hooks"},
		"all":    {[]string{"list"}, `{"hooks":[{"name":"crm","kind":"webhook"}]}`, "crm   webhook", "GET /admin/hooks"},
		"answer": {[]string{"list"}, `{"hooks":[{"name":"vet","kind":"answer","instances":[]}]}`, "not seen", "GET /admin/hooks"},
		"show":   {[]string{"show", "hello"}, shown, "PENDING        3", "GET /admin/hooks/hello"},
		"pause":  {[]string{"pause", "hello", "--for", "10m"}, shown, "paused", `POST /admin/hooks/hello/pause {"for":"10m0s"}`},
		"resume": {[]string{"resume", "hello", "--json"}, shown, `"pending": 3`, "POST /admin/hooks/hello/resume {}"},
	} {
		method, rest, _ := strings.Cut(c.sent, " ")
		path, _, _ := strings.Cut(rest, " ")
		a := newAdminStub(t, map[string][]string{method + " " + path: {c.answer}})
		out, errOut, code := run(t, append([]string{"worker", "--admin", a.url}, c.args...)...)
		if code != 0 || !strings.Contains(out, c.want) || len(a.sent) != 1 || a.sent[0] != c.sent {
			t.Errorf("%s = %d %s%s, sent %q, want %q and %q", name, code, out, errOut, a.sent, c.want, c.sent)
		}
	}
	none := newAdminStub(t, nil)
	if _, errOut, code := run(t, "worker", "show", "helo", "--admin", none.url); code == 0 || !strings.Contains(errOut, "'usher worker list' shows all") {
		t.Errorf("usher worker show of none = %d %s, want a refusal that says where the names are", code, errOut)
	}
	a := newAdminStub(t, map[string][]string{"GET /admin/hooks": {`{"hooks":[` + shown + `,{"name":"crm","kind":"webhook"}]}`}})
	if out, _, _ := run(t, "--admin", a.url, "__complete", "worker", "show", ""); !strings.HasPrefix(out, "hello\ncrm\n:") {
		t.Errorf("the shell completes %q, want the worker and the webhook", out)
	}
}

func TestRotateWritesTheCredential(t *testing.T) {
	t.Parallel()
	a := newAdminStub(t, map[string][]string{"POST /admin/hooks/hello/rotate": {helloAccess}})
	file := filepath.Join(t.TempDir(), "hello.creds")
	out, errOut, code := run(t, "worker", "rotate", "hello", "--creds", file, "--admin", a.url)
	text, err := os.ReadFile(file)
	info, _ := os.Stat(file)
	if code != 0 || err != nil || string(text) != "secret text" || info.Mode().Perm() != 0o600 || strings.Contains(out+errOut, "secret") {
		t.Errorf("usher worker rotate = %d %s%s, %v", code, out, errOut, err)
	}
}

// It removed a webhook as well, and asked nobody.
func TestRemovingAsksFirst(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args   []string
		answer map[string][]string
		want   string
		sent   int // requests
	}{
		"unasked":     {[]string{"worker", "remove", "hello"}, map[string][]string{"GET /admin/hooks/hello": {`{"name":"hello","kind":"worker"}`}}, "--yes", 1},
		"asked":       {[]string{"worker", "remove", "hello", "--yes"}, map[string][]string{"GET /admin/hooks/hello": {`{"name":"hello","kind":"worker"}`}, "DELETE /admin/hooks/hello": {"{}"}}, "removed hello", 2},
		"webhook":     {[]string{"worker", "remove", "crm", "--yes"}, map[string][]string{"GET /admin/hooks/crm": {`{"name":"crm","kind":"webhook"}`}}, "crm is a webhook: 'usher webhook remove crm'", 1},
		"its own":     {[]string{"webhook", "remove", "crm", "--yes"}, map[string][]string{"DELETE /admin/webhooks/crm": {"{}"}}, "removed crm", 1},
		"its unasked": {[]string{"webhook", "remove", "crm"}, nil, "--yes", 0},
		"letters":     {[]string{"dlq", "redeliver", "--all"}, nil, "--yes", 0},
		"discarding":  {[]string{"dlq", "discard", "--all", "--reason", "why"}, nil, "--yes", 0},
	} {
		a := newAdminStub(t, c.answer)
		out, errOut, code := run(t, append(c.args, "--admin", a.url)...)
		if !strings.Contains(out+errOut, c.want) || (code == 0) != strings.HasPrefix(c.want, "removed") || len(a.sent) != c.sent {
			t.Errorf("%s: usher %s = %d %s%s, sent %q, want %q", name, strings.Join(c.args, " "), code, out, errOut, a.sent, c.want)
		}
	}
}

// A hook that is not there had an empty table, and "redelivered 0".
func TestNamesThatNoHookHasAreRefused(t *testing.T) {
	t.Parallel()
	const hooks, none = `{"hooks":[{"name":"hello","kind":"worker"},{"name":"crm","kind":"webhook"}]}`, `{"count":0,"more":false,"dead_letters":[]}`
	for _, args := range [][]string{
		{"dlq", "list", "--hook", "helo"},
		{"dlq", "list", "--hook", "helo", "--json"},
		{"dlq", "show", "helo", "e"},
		{"dlq", "redeliver", "--hook", "helo"},
		{"dlq", "redeliver", "helo", "e"},
		{"dlq", "discard", "--hook", "helo", "--reason", "why"},
		{"events", "replay", "--hook", "helo", "--since", "1h"},
	} {
		a := newAdminStub(t, map[string][]string{
			"GET /admin/hooks": {hooks}, "GET /admin/dead-letters": {none}, "POST /admin/dead-letters/redeliver": {none}, "POST /admin/dead-letters/discard": {none},
		})
		if out, errOut, code := run(t, append(args, "--admin", a.url)...); code == 0 || out != "" || !strings.Contains(errOut, "did you mean hello?") || strings.Contains(errOut, "after 0") {
			t.Errorf("usher %s = %d %s%s, want a refusal that says what was meant", strings.Join(args, " "), code, out, errOut)
		}
	}
	a := newAdminStub(t, map[string][]string{"GET /admin/hooks": {hooks}, "GET /admin/dead-letters": {none}})
	if _, errOut, code := run(t, "dlq", "list", "--hook", "crm", "--admin", a.url); code != 0 {
		t.Errorf("usher dlq list of a hook without dead letters = %d %s", code, errOut)
	}
}

// With the bus away every worker had no consumer.
func TestListSaysThatTheBusIsAway(t *testing.T) {
	t.Parallel()
	const hello = `{"name":"hello","kind":"worker","declared":"stored","consumer":null}`
	for hooks, want := range map[string]string{
		hello + `,{"name":"courier","kind":"worker","declared":"fixed","consumer":null}`:          "the bus is away",
		hello + `,{"name":"courier","kind":"worker","declared":"fixed","consumer":{"pending":1}}`: "no consumer",
	} {
		a := newAdminStub(t, map[string][]string{"GET /admin/hooks": {`{"hooks":[` + hooks + `]}`}})
		if out, errOut, code := run(t, "worker", "list", "--admin", a.url); code != 0 || !strings.Contains(out, want) {
			t.Errorf("usher worker list = %d %s%s, want %q", code, out, errOut, want)
		}
	}
}

func TestWebhooksShowHowFarTheyAre(t *testing.T) {
	t.Parallel()
	a := newAdminStub(t, map[string][]string{
		"GET /admin/webhooks": {`[{"name":"crm","url":"https://crm.example.org","events":["identity.created"],"secrets":1},{"name":"new","secrets":1}]`},
		"GET /admin/hooks":    {`{"hooks":[{"name":"crm","kind":"webhook","consumer":{"pending":12},"failures":{"waiting":3,"dead":45}}]}`},
	})
	out, errOut, code := run(t, "webhook", "list", "--admin", a.url)
	if got := strings.Join(strings.Fields(out), " "); code != 0 || !strings.Contains(got, "crm failing 12 3 45 https://crm.example.org") || !strings.Contains(got, "new active - - -") {
		t.Errorf("usher webhook list = %d %s%s", code, out, errOut)
	}
}

func TestLettersSayWhatHasBecomeOfThem(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]string{"done": "done - - done; before: no", "waiting": "waiting - under way no"} {
		a := newAdminStub(t, map[string][]string{"GET /admin/dead-letters": {`{"dead_letters":[{"hook":"crm","event_id":"e","state":"` + state + `","reason":"no"}]}`}})
		out, errOut, code := run(t, "dlq", "list", "--state", state, "--admin", a.url)
		if got := strings.Join(strings.Fields(out), " "); code != 0 || !strings.HasSuffix(got, want) {
			t.Errorf("usher dlq list = %d %s%s, want %q in it", code, out, errOut, want)
		}
	}
}

func TestPauseWithoutAnEnd(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 17, 0, 0, 0, time.Local)
	for want, end := range map[string]time.Time{"it is resumed": now.AddDate(100, 0, 0), "2026-11-24 18:00:00": now.Add(time.Hour)} {
		if got := untilWhen(end, now); got != want {
			t.Errorf("paused until %s, want %s", got, want)
		}
	}
}

// A rotated credential was written beside the folder that the worker reads it in.
func TestCredentialIsWhereTheWorkerReadsIt(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("NATS_CREDS", "")
	if _, errOut, code := run(t, "worker", "run", "hello", "--", "true"); code == 0 || !strings.Contains(errOut, "hello/hello.creds") || !strings.Contains(errOut, "usher worker list") {
		t.Errorf("usher worker run without a credential = %d %s, want where it was looked for", code, errOut)
	}
	for _, want := range []string{"hello.creds", "hello/hello.creds"} {
		if err := os.MkdirAll(filepath.Dir(want), 0o700); err != nil {
			t.Fatal(err)
		}
		if want == "hello/hello.creds" {
			if err := errors.Join(os.Remove("hello.creds"), os.WriteFile(want, []byte("former"), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		a := newAdminStub(t, map[string][]string{"POST /admin/hooks/hello/rotate": {helloAccess}})
		out, errOut, code := run(t, "worker", "rotate", "hello", "--admin", a.url)
		if text, err := os.ReadFile(want); code != 0 || err != nil || string(text) != "secret text" || out != "wrote "+want+"\n" {
			t.Errorf("usher worker rotate = %d %s%s, %v, want %s written", code, out, errOut, err, want)
		}
		if got := credentialFile("hello"); got != want {
			t.Errorf("the credential is in %q, want %q", got, want)
		}
	}
}

func TestDeadLettersPieceByPiece(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		sent string
	}{
		"one":     {[]string{"redeliver", "hello", "e1"}, `POST /admin/dead-letters/redeliver {"event":"e1","hook":"hello","limit":200}`},
		"hook":    {[]string{"redeliver", "--hook", "hello"}, `POST /admin/dead-letters/redeliver {"hook":"hello","limit":200}`},
		"all":     {[]string{"redeliver", "--all", "--yes"}, `POST /admin/dead-letters/redeliver {"all":true,"limit":200}`},
		"discard": {[]string{"discard", "--hook", "hello", "--reason", "why"}, `POST /admin/dead-letters/discard {"hook":"hello","limit":200,"reason":"why"}`},
	} {
		pieces := []string{`{"count":200,"more":true}`, `{"count":3,"more":false}`}
		a := newAdminStub(t, map[string][]string{"POST /admin/dead-letters/" + c.args[0]: pieces})
		out, errOut, code := run(t, append([]string{"dlq", "--json", "--admin", a.url}, c.args...)...)
		var got struct{ Count int }
		if err := json.Unmarshal([]byte(out), &got); code != 0 || err != nil || got.Count != 203 || len(a.sent) != 2 || a.sent[0] != c.sent {
			t.Errorf("%s = %d %s%s, sent %q, want 203 by %q", name, code, out, errOut, a.sent, c.sent)
		}
	}
	for _, args := range [][]string{{"redeliver"}, {"redeliver", "hello"}, {"redeliver", "--hook", "hello", "--all"}, {"discard", "--hook", "hello"}} {
		if _, errOut, code := run(t, append([]string{"dlq", "--admin", "127.0.0.1:1"}, args...)...); code == 0 || strings.Contains(errOut, "no server answers") {
			t.Errorf("usher dlq %q = %d %s, want a refusal before anybody is asked", args, code, errOut)
		}
	}
}

func TestReplayGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	a := newAdminStub(t, map[string][]string{"POST /admin/hooks/hello/replay": {`{"id":"r","after":7,"until":"2026-11-24T18:00:00Z","count":5,"more":true}`, `{"id":"r","after":9,"count":2,"more":false}`}})
	out, errOut, code := run(t, "events", "replay", "--hook", "hello", "--since", "2026-11-24T17:00:00Z", "--rate", "50", "--admin", a.url)
	want := `POST /admin/hooks/hello/replay {"after":7,"id":"r","per_second":50,"since":"2026-11-24T17:00:00Z","types":null,"until":"2026-11-24T18:00:00Z"}`
	if code != 0 || out != "replayed 7\n" || len(a.sent) != 2 || a.sent[1] != want {
		t.Errorf("usher events replay = %d %s%s, sent %q, want it to go on with %q", code, out, errOut, a.sent, want)
	}
	now := time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)
	if got, err := sinceTime("2h", now); err != nil || !got.Equal(now.Add(-2*time.Hour)) {
		t.Errorf("since 2h = %s, %v", got, err)
	}
	for _, text := range []string{"", "yesterday", "-2h"} {
		if got, err := sinceTime(text, now); err == nil {
			t.Errorf("since %q = %s, want a refusal", text, got)
		}
	}
}

func TestDeadLettersOfATypeAndReason(t *testing.T) {
	t.Parallel()
	a := newAdminStub(t, map[string][]string{"POST /admin/dead-letters/redeliver": {`{"count":2,"more":false}`}})
	out, errOut, code := run(t, "dlq", "redeliver", "--all", "--yes", "--type", "identity.created", "--reason-contains", "50%", "--admin", a.url)
	want := `POST /admin/dead-letters/redeliver {"all":true,"limit":200,"reason_contains":"50%","type":"identity.created"}`
	if code != 0 || out != "redelivered 2\n" || len(a.sent) != 1 || a.sent[0] != want {
		t.Errorf("usher dlq redeliver = %d %s%s, sent %q, want %s", code, out, errOut, a.sent, want)
	}
	for _, args := range [][]string{
		{"dlq", "redeliver", "hello", "e", "--type", "identity.created"},
		{"dlq", "redeliver", "--reason-contains", "x"},
		{"dlq", "redeliver", "--all", "--yes", "--type", "identity.creatd"},
		{"dlq", "list", "--type", "identity.creatd"},
	} {
		if out, errOut, code := run(t, append(args, "--admin", a.url)...); code == 0 || len(a.sent) != 1 {
			t.Errorf("usher %q = %d %s%s, sent %q, want it refused", args, code, out, errOut, a.sent)
		}
	}
}

func TestSessionWorkersList(t *testing.T) {
	t.Parallel()
	a := newAdminStub(t, map[string][]string{"GET /admin/session-workers": {`{"session_workers":[{"id":"S1","version":"1.0.0","round_trip_ms":1.25,"answered":9}]}`}})
	out, errOut, code := run(t, "worker", "sessions", "--admin", a.url)
	if code != 0 || !strings.Contains(out, "S1") || !strings.Contains(out, "1.2 ms") {
		t.Errorf("usher worker sessions = %d %s%s, want S1", code, out, errOut)
	}
}
