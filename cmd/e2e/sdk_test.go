package e2e_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/usher-auth/usher/schemas"
	"github.com/usher-auth/usher/services/api/apitest"
)

// TestSDKs uses a server through the official SDKs, as programs of users do: it
// runs the tests of the folder sdk, which is a module of its own, in each shape. Each
// endpoint must be called by the tests that the table there names for it.
func TestSDKs(t *testing.T) {
	t.Parallel()
	for _, shape := range shapes {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			useBySDKs(t, shape)
		})
	}
}

func useBySDKs(t *testing.T, shape string) {
	t.Helper()
	const byLink = "ByLink$"
	codes, table := serveSDKs(t, shape, "code"), sdkTable(t)
	for _, run := range []struct {
		name    string
		on      func(*testing.T) *tap
		tests   []string
		missing func() string
		command []string
	}{
		{"go", func(*testing.T) *tap { return codes }, testNames(t, "sdk/*_test.go", goTest), missingGoSDK, []string{"go", "test", "-count=1", "-skip", byLink, "."}},
		{"javascript", func(*testing.T) *tap { return codes }, testNames(t, "sdk/*.test.mjs", nodeTest), missingJavaScriptSDK, []string{"node", "--test"}},
		{"go, by link", func(t *testing.T) *tap { return serveSDKs(t, shape, "link") }, nil, missingGoSDK, []string{"go", "test", "-count=1", "-run", byLink, "."}},
	} {
		t.Run(run.name, func(t *testing.T) {
			if why := run.missing(); why != "" {
				leftOut(t, why)
			}
			seen := run.on(t).run(t, run.command)
			for _, row := range table {
				if slices.ContainsFunc(row.tests, func(name string) bool { return slices.Contains(run.tests, name) }) && !seen[row.endpoint] {
					t.Errorf("%s: the table names tests in %s, none called it", row.endpoint, run.name)
				}
			}
		})
	}
}

// serveSDKs gives a system behind a tap, whose people verify and recover by code or by
// link.
func serveSDKs(t *testing.T, shape, use string) *tap {
	t.Helper()
	tap, p := newTap(t), newProvider(t)
	tap.connect(newSystem(t, shape, merge(merge(gated(nil), providers(p.oidcProvider(example, nil))), settings{
		"serve": settings{"public": settings{"base_url": tap.public.URL + "/"}, "admin": settings{"base_url": tap.admin.URL + "/"}},
		"selfservice": settings{
			"methods": settings{"link": settings{"enabled": true}},
			"flows": settings{
				"verification": settings{"use": use},
				"recovery":     settings{"enabled": true, "use": use},
			},
		},
		"feature_flags": settings{"use_continue_with_transitions": true}, // as the newest SDKs expect
	})))
	return tap
}

func missingGoSDK() string {
	if out, err := sdkCommand("go", "mod", "download").CombinedOutput(); err != nil {
		return "the modules of cmd/e2e/sdk cannot be had: " + strings.TrimSpace(string(out))
	}
	return ""
}

func missingJavaScriptSDK() string {
	if _, err := exec.LookPath("node"); err != nil {
		return "no node on this machine"
	}
	if _, err := os.Stat("sdk/node_modules/@ory/client-fetch"); err != nil {
		return "cmd/e2e/sdk has no node_modules: npm ci makes them"
	}
	return ""
}

// sdkCommand runs in the folder sdk. It is built without C, as testrun has built it.
func sdkCommand(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = "sdk"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return cmd
}

// tap stands between the SDKs and a server: it holds each answer against the
// API's description and notes which endpoint gave it.
type tap struct {
	public, admin *httptest.Server
	endpoints     *http.ServeMux

	mu   sync.Mutex
	t    testing.TB // whose answers these are
	seen map[string]bool
}

func newTap(t *testing.T) *tap {
	t.Helper()
	p := &tap{public: httptest.NewUnstartedServer(nil), admin: httptest.NewUnstartedServer(nil), endpoints: http.NewServeMux()}
	for _, s := range []*httptest.Server{p.public, p.admin} {
		s.URL = "http://" + s.Listener.Addr().String() // Start keeps the address
		t.Cleanup(s.Close)
	}
	for endpoint, pattern := range endpoints(t) {
		p.endpoints.Handle(pattern, named(endpoint))
	}
	return p
}

// named is a route that is only looked up.
type named string

func (named) ServeHTTP(http.ResponseWriter, *http.Request) {}

// connect lets the tap lead to a system.
func (p *tap) connect(s *system) {
	p.public.Config.Handler = p.to(s, apitest.Public, s.apis[0])
	p.admin.Config.Handler = p.to(s, apitest.Admin, s.admins[0])
	for _, server := range []*httptest.Server{p.public, p.admin} {
		server.URL = ""
		server.Start()
	}
}

func (p *tap) to(s *system, listener apitest.Listener, base string) http.Handler {
	target, err := url.Parse(base)
	if err != nil {
		s.t.Fatal(err)
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
		},
		ModifyResponse: func(r *http.Response) error { return p.note(listener, r) },
	}
}

func (p *tap) note(listener apitest.Listener, r *http.Response) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	p.mu.Lock()
	defer p.mu.Unlock()
	if h, ok := first(p.endpoints.Handler(r.Request)).(named); ok {
		p.seen[string(h)] = true
	}
	apitest.Verify(p.t, apitest.Answer{
		Listener: listener, Method: r.Request.Method, URL: r.Request.URL, Sent: r.Request.Header,
		Status: r.StatusCode, Header: r.Header, Body: body,
	})
	return nil
}

func first(h http.Handler, _ string) http.Handler { return h }

// run runs the tests of one SDK and gives the endpoints that they called.
func (p *tap) run(t *testing.T, command []string) map[string]bool {
	t.Helper()
	p.mu.Lock()
	p.t, p.seen = t, map[string]bool{}
	p.mu.Unlock()
	cmd := sdkCommand(command[0], command[1:]...)
	cmd.Env = append(cmd.Env, "USHER_PUBLIC_URL="+p.public.URL, "USHER_ADMIN_URL="+p.admin.URL)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

// TestTableOfSDKTests holds the table of the folder sdk: every endpoint has a
// row, every row is an endpoint, every name is a test, every test is named.
func TestTableOfSDKTests(t *testing.T) {
	sdk := slices.Concat(testNames(t, "sdk/*_test.go", goTest), testNames(t, "sdk/*.test.mjs", nodeTest))
	tests := slices.Concat(sdk, testNames(t, "*_test.go", goTest))
	known, rows, used := endpoints(t), map[string]bool{}, map[string]bool{}
	for _, row := range sdkTable(t) {
		rows[row.endpoint] = true
		if known[row.endpoint] == "" {
			t.Errorf("the row %q is no endpoint of the document", row.endpoint)
		}
		if len(row.tests) == 0 {
			t.Errorf("the row %q names no test", row.endpoint)
		}
		for _, name := range row.tests {
			used[name] = true
			if !slices.Contains(tests, name) {
				t.Errorf("the row %q names %q, which is no test", row.endpoint, name)
			}
		}
	}
	for endpoint := range known {
		if !rows[endpoint] {
			t.Errorf("%q has no row", endpoint)
		}
	}
	for _, name := range sdk {
		if !used[name] {
			t.Errorf("no row names %q", name)
		}
	}
}

// endpoints are those of the document, each with the pattern that finds it.
func endpoints(t *testing.T) map[string]string {
	t.Helper()
	spec, err := openapi3.NewLoader().LoadFromData(schemas.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for template, item := range spec.Paths.Map() {
		pattern := template
		if subtree, _ := item.Extensions["x-usher-subtree"].(bool); subtree {
			pattern = strings.TrimSuffix(template, "}") + "...}"
		}
		for method := range item.Operations() {
			all[method+" "+template] = method + " " + pattern
		}
	}
	return all
}

// sdkRow is a row of the table: an endpoint and the tests in all its cells.
type sdkRow struct {
	endpoint string
	tests    []string
}

var quoted = regexp.MustCompile("`([^`]+)`")

func sdkTable(t *testing.T) (rows []sdkRow) {
	t.Helper()
	text, err := os.ReadFile("sdk/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		var names []string
		for _, match := range quoted.FindAllStringSubmatch(line, -1) {
			names = append(names, match[1])
		}
		rows = append(rows, sdkRow{endpoint: names[0], tests: names[1:]})
	}
	return rows
}

// How a test begins, by language.
var (
	goTest   = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	nodeTest = regexp.MustCompile(`(?m)^test\('([^']+)'`)
)

// testNames are the tests in the files that the pattern matches.
func testNames(t *testing.T, pattern string, begins *regexp.Regexp) (names []string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range begins.FindAllSubmatch(text, -1) {
			names = append(names, string(match[1]))
		}
	}
	return names
}
