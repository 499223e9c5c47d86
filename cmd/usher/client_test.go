package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// run runs a command and gives what it says.
func run(t *testing.T, args ...string) (out, errOut string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	code = execute(t.Context(), args, &o, &e)
	return o.String(), e.String(), code
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "usher.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// listener answers each path with a status and a body.
func listener(t *testing.T, status int, bodies map[string]string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := bodies[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// A command that only asks a server wanted a configuration that could be served:
// with its secrets, its schemas, its mail server.
func TestAskingNeedsOnlyTheAddress(t *testing.T) {
	t.Parallel()
	at := listener(t, http.StatusOK, map[string]string{"/admin/courier/messages": "[]", "/admin/plan": "{}", "/admin/events": "{}"})
	file := write(t, "serve: {admin: {base_url: '"+at+"'}}\nnonsense: 1\nsecrets: {cookie: [short]}\nidentity: {schemas: [{id: a, url: 'file://gone'}]}\n")
	for _, args := range [][]string{{"mail", "list"}, {"hooks", "plan", "--live"}, {"events", "list"}} {
		if out, errOut, code := run(t, append(args, "-c", file)...); code != 0 {
			t.Errorf("usher %s = %d %s%s, want the answer", strings.Join(args, " "), code, out, errOut)
		}
	}
}

func TestAskingSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	refused := listener(t, http.StatusForbidden, map[string]string{"/admin/courier/messages": `{"error":{"reason":"The scope is another."}}`})
	other := listener(t, http.StatusOK, map[string]string{"/admin/courier/messages": "<html>"})
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"nobody there":           {[]string{"--admin", "127.0.0.1:1"}, []string{"no server answers at http://127.0.0.1:1 (--admin)", "usher serve", "--admin URL"}},
		"nobody at the file's":   {[]string{"-c", write(t, "# where\nserve: {admin: {port: 1}}\n")}, []string{"http://127.0.0.1:1 ", "usher.yaml:2)"}},
		"file that is not there": {[]string{"-c", "/nowhere.yaml"}, []string{"/nowhere.yaml", "--admin URL"}},
		"no port":                {[]string{"-c", write(t, "serve: {admin: {port: 70000}}\n")}, []string{"usher.yaml:1: serve.admin.port", "--admin URL"}},
		"any port":               {[]string{"-c", write(t, "serve: {admin: {port: 0}}\n")}, []string{"serve.admin.port", "--admin URL"}},
		"misspelt below":         {[]string{"-c", write(t, "serve: {admin: {prot: 1}}\n")}, []string{"usher.yaml:1: serve.admin.prot", "serve.admin.port"}},
		"no URL":                 {[]string{"--admin", "http://"}, []string{"--admin", "want a URL"}},
		"refused":                {[]string{"--admin", refused}, []string{"403", "The scope is another.", "USHER_ADMIN_TOKEN"}},
		"nothing there":          {[]string{"--admin", refused + "/base"}, []string{"404", "is that the admin listener"}},
		"not one of ours":        {[]string{"--admin", other}, []string{"not that of an admin listener"}},
	} {
		out, errOut, code := run(t, append([]string{"mail", "list"}, c.args...)...)
		for _, want := range c.want {
			if code == 0 || !strings.Contains(errOut, want) {
				t.Errorf("%s: usher mail list = %d %s%s, want %q in it", name, code, out, errOut, want)
			}
		}
	}
}

func TestWhatIsNotThereIsNoWrongListener(t *testing.T) {
	t.Parallel()
	at := listener(t, http.StatusNotFound, map[string]string{"/admin/courier/messages/1": `{"error":{"reason":"There is no message with this id."}}`})
	_, errOut, code := run(t, "mail", "show", "1", "--admin", at)
	if code == 0 || !strings.Contains(errOut, "There is no message with this id.") || strings.Contains(errOut, "admin listener") {
		t.Errorf("usher mail show = %d %s, want that there is no such message and no more", code, errOut)
	}
}

// An argument too many was said to be an unknown command.
func TestArgumentsAreCounted(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		`takes no arguments, but got ["extra"]`: {"mail", "list", "extra"},
		"want one IDENTITY, not 0":              {"grants", "show"},
		"want one NAME, not 2":                  {"admin", "token", "new", "a", "b"},
		"did you mean list?":                    {"mail", "lst"},
		`--limit "x": want a number`:            {"events", "list", "--limit", "x"},
	} {
		if _, errOut, code := run(t, args...); code == 0 || !strings.Contains(errOut, want) {
			t.Errorf("usher %s = %d %s, want %q in it", strings.Join(args, " "), code, errOut, want)
		}
	}
}

// They gave an empty list.
func TestUnknownFiltersAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"type":          {[]string{"events", "list", "--type", "identity.crated"}, []string{"identity.deleted", "did you mean identity.created?"}},
		"type to tail":  {[]string{"events", "tail", "--type", "envelope"}, []string{"session.issued"}},
		"status":        {[]string{"mail", "list", "--status", "lost"}, []string{"queued, processing, sent, abandoned"}},
		"nearly status": {[]string{"mail", "list", "--status", "send"}, []string{"did you mean sent?"}},
	} {
		out, errOut, code := run(t, append(c.args, "--admin", "127.0.0.1:1")...)
		for _, want := range c.want {
			if code == 0 || !strings.Contains(errOut, want) {
				t.Errorf("%s: usher %s = %d %s%s, want %q in it", name, strings.Join(c.args, " "), code, out, errOut, want)
			}
		}
	}
}

func TestMailsShowWhyTheyHaveNotGone(t *testing.T) {
	t.Parallel()
	const mail = `{"id":"1","status":"queued","recipient":"ann@example.org","subject":"s","body":"b","template_type":"t","send_count":1,"last_error":"RCPT: server answered 451"}`
	at := listener(t, http.StatusOK, map[string]string{"/admin/courier/messages": "[" + mail + "]", "/admin/courier/messages/1": mail})
	for _, args := range [][]string{{"list"}, {"list", "--json"}, {"list", "--status", "queued"}, {"show", "1"}, {"show", "1", "--json"}} {
		out, errOut, code := run(t, append([]string{"mail", "--admin", at}, args...)...)
		if code != 0 || !strings.Contains(out, "RCPT: server answered 451") {
			t.Errorf("usher mail %s = %d %s%s, want the last error in it", strings.Join(args, " "), code, out, errOut)
		}
	}
}

func TestHooksPlanSaysWhatItHasRead(t *testing.T) {
	t.Parallel()
	at := listener(t, http.StatusOK, map[string]string{"/admin/plan": `{"revision":3}`})
	file := write(t, "dev: true\n")
	for want, args := range map[string][]string{
		"built-in defaults, development, as with --dev": {},
		"built-in defaults, --dev":                      {"--dev"},
		file + ", dev: true":                            {"-c", file},
		file + ", --dev":                                {"-c", file, "--dev"},
		"in force at " + at + ", revision 3":            {"--live", "--admin", at},
	} {
		out, errOut, code := run(t, append([]string{"hooks", "plan"}, args...)...)
		if first, _, _ := strings.Cut(out, "\n"); code != 0 || first != "configuration: "+want {
			t.Errorf("usher hooks plan %s = %d %s%s, want first that it is of %s", strings.Join(args, " "), code, out, errOut, want)
		}
		out, _, _ = run(t, append([]string{"hooks", "plan", "--json"}, args...)...)
		if !strings.Contains(out, `"configuration": "`+want+`"`) {
			t.Errorf("usher hooks plan --json %s = %s, want that it is of %s", strings.Join(args, " "), out, want)
		}
	}
}
