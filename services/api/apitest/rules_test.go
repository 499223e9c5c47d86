package apitest_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/api/apitest"
)

// change breaks an answer that was good.
type change func(*apitest.Answer)

func header(name string, values ...string) change {
	return func(a *apitest.Answer) {
		a.Header.Del(name)
		for _, v := range values {
			a.Header.Add(name, v)
		}
	}
}

func body(from, to string) change {
	return func(a *apitest.Answer) {
		if !bytes.Contains(a.Body, []byte(from)) {
			panic("the body lacks " + from)
		}
		a.Body = bytes.ReplaceAll(a.Body, []byte(from), []byte(to))
	}
}

func cookie(from, to string) change {
	return header("Set-Cookie", strings.ReplaceAll(csrfCookie, from, to))
}

func status(s int) change { return func(a *apitest.Answer) { a.Status = s } }

// broken has, by rule, answers that break it.
var broken = map[string][]struct {
	good   func() apitest.Answer
	change change
}{
	"documented": {
		{whoami, status(202)},
		{whoami, func(a *apitest.Answer) { a.URL.Path = "/sessions/nowhere" }},
		{whoami, func(a *apitest.Answer) { a.Method = "OPTIONS" }},
		{whoami, func(a *apitest.Answer) { a.Listener = apitest.Admin }},
	},
	"schema": {
		{whoami, body(`"active":true`, `"active":"true"`)},
		{whoami, body(`"active":true,`, ``)},
		{whoami, body(`"active":true`, `"active":true,"token":"x"`)},
		{whoami, body(`"issued_at":"2026-11-24T12:00:00.123456Z"`, `"issued_at":null`)},
		{whoami, body(`"3b4e28ba-2fa1-41d2-883f-0016d3cca427"`, `"3B4E28BA-2FA1-41D2-883F-0016D3CCA427"`)},
		{whoami, body(`"metadata_public"`, `"metadata_admin":{},"metadata_public"`)},
		{whoami, header("X-Kratos-Authenticated-Identity-Id")},
		{begun, body(`,"node_type":"input"},"messages":[],"meta":{}},`, `},"messages":[],"meta":{}},`)},
		{begun, body(`"group":"password"`, `"group":"other"`)},
		{registered, body(`set_ory_session_token`, `set_session_token`)},
		{notAllowed, body(`"message"`, `"debug":"x","message"`)},
	},
	"no body": {{led, func(a *apitest.Answer) { a.Body = []byte("See other") }}},

	"request id": {
		{whoami, header("X-Request-Id")},
		{whoami, header("X-Request-Id", "another")},
		{whoami, header("X-Request-Id", "<b>")},
	},
	"nosniff":                 {{whoami, header("X-Content-Type-Options")}},
	"no store":                {{whoami, header("Cache-Control", "public")}, {page, header("Cache-Control")}, {led, header("Cache-Control", "no-cache")}},
	"content security policy": {{whoami, header("Content-Security-Policy")}, {page, header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; style-src 'unsafe-inline'")}},
	"referrer policy":         {{whoami, header("Referrer-Policy")}, {page, header("Referrer-Policy", "unsafe-url")}},
	"no server":               {{whoami, header("Server", "usher/1")}, {whoami, header("X-Powered-By", "Go")}},
	"no entity tag":           {{whoami, header("Etag", `"x"`)}, {page, header("Last-Modified", "Tue, 24 Nov 2026 12:00:00 GMT")}},
	"no timing":               {{whoami, header("Server-Timing", "db;dur=5")}},
	"no compression":          {{whoami, header("Content-Encoding", "gzip")}},
	"content type": {
		{whoami, header("Content-Type", "application/json; charset=utf-8")},
		{led, header("Content-Type", "application/json")},
		{page, header("Content-Type", "text/html")},
	},
	"vary": {{whoami, header("Vary")}, {crossed, header("Vary", "Cookie")}},
	"cors": {
		{crossed, header("Access-Control-Allow-Origin", "null")},
		{crossed, header("Access-Control-Allow-Origin", "*")},
		{crossed, header("Access-Control-Allow-Origin", "https://evil.example")},
	},
	"tls only":    {{whoami, header("Strict-Transport-Security", "max-age=60")}},
	"retry after": {{unavailable, header("Retry-After")}, {unavailable, header("Retry-After", "soon")}, {unavailable, header("Retry-After", "0")}, {whoami, header("Retry-After", "1")}},
	"allow": {
		{notAllowed, header("Allow")},
		{notAllowed, header("Allow", "POST, GET")},
		{notAllowed, header("Allow", "GET, PUT")},
		{whoami, header("Allow", "GET")},
	},
	"authenticate": {{noToken, header("Www-Authenticate")}, {noToken, header("Www-Authenticate", "Basic")}, {whoami, header("Www-Authenticate", "Bearer")}},
	"location": {
		{led, header("Location", "//evil.example/")},
		{led, header("Location", "javascript:alert(1)")},
		{led, header("Location", "https://us@evil.example/")},
		{led, header("Location", `/\evil.example`)},
		{led, header("Location", "http:evil.example")},
		{led, header("Location", "registration")},
		{led, header("Location", "/a\u00a0b")},
		{led, header("Location", "/a", "/b")},
	},
	"redirect":        {{led, header("Location")}, {led, func(a *apitest.Answer) { a.Body = []byte("x") }}, {whoami, header("Location", "/")}},
	"link":            {{people, header("Link", `<https://evil.example/>; rel="next"`)}, {people, header("Link", `</admin/identities>; rel=next`)}},
	"identity header": {{whoami, header("X-Kratos-Authenticated-Identity-Id", "2b4e28ba-2fa1-41d2-883f-0016d3cca427")}},

	"cookie http only": {{begun, cookie("; HttpOnly", "")}},
	"cookie same site": {{begun, cookie("; SameSite=Lax", "")}, {begun, cookie("SameSite=Lax", "SameSite=None")}},
	"cookie path":      {{begun, cookie("Path=/; ", "")}},
	"cookie prefix":    {{begun, cookie("csrf_token_", "__Host-csrf_token_")}, {begun, cookie("csrf_token_", "__Secure-")}},
	"cookie value":     {{begun, cookie("=c2VjcmV0", "=a@example.org")}, {begun, cookie("=c2VjcmV0", "={}")}},
	"cookie life":      {{begun, cookie("31536000", "99999999")}, {begun, cookie("=c2VjcmV0", "=")}},
	"cookie once":      {{begun, header("Set-Cookie", csrfCookie, csrfCookie)}},
	"cookie place":     {{whoami, header("Set-Cookie", csrfCookie)}, {people, header("Set-Cookie", csrfCookie)}},

	"token in a header": {
		{led, header("Location", "http://127.0.0.1:4455/?token="+sessionToken)},
		{begun, cookie("c2VjcmV0", strings.Replace(sessionToken, "_st_", "_sc_", 1))},
	},
	"token in a body": {
		{whoami, body(`"user_agent":"a"`, `"user_agent":"`+sessionToken+`"`)},
		{registered, body("ory_st_", "ory_sc_")},
		{registered, body("ory_st_", "ory_lo_")},
		{people, body("a@example.org", "usher_at_0123456789abcdef")},
	},
	"token or cookie": {{registered, header("Set-Cookie", csrfCookie)}},
	"password hash":   {{people, body("a@example.org", "$2a$04$x")}, {whoami, body("a@example.org", "$argon2id$v=19$")}},
	"password":        {{begun, body(`"type":"password",`, `"type":"password","value":"secret",`)}},
	"stack trace":     {{unavailable, body("No.", "panic: goroutine 1 [running]")}, {unavailable, body("No.", "submit.go:17")}},
	"cause":           {{unavailable, body("No.", "pq: too many connections")}, {unavailable, body("No.", "open /var/lib/usher")}, {unavailable, body("No.", "nats: no responders")}},

	"one json": {
		{whoami, body(`"active":true`, `"active":true,"active":true`)},
		{whoami, body(`"user_agent":"a"`, "\"user_agent\":\"\xff\"")},
		{whoami, func(a *apitest.Answer) { a.Body = append(a.Body, "{}"...) }},
		{whoami, func(a *apitest.Answer) { a.Body = a.Body[:40] }},
	},
	"error shape":   {{unavailable, body(`"message":"No."`, `"message":""`)}, {whoami, status(401)}, {unavailable, status(200)}},
	"error code":    {{unavailable, body("503", "500")}},
	"error request": {{unavailable, body("golden", "another")}, {unavailable, body(`"request":"golden",`, ``)}},
	"time": {
		{whoami, body("12:00:00.123456Z", "12:00:00.123456+00:00")},
		{whoami, body("12:00:00.123456Z", "13:00:00.123456+01:00")},
		{whoami, body("2026-11-25T12:00:00.123456Z", "0001-01-01T00:00:00Z")},
		{whoami, body("2026-11-25T12:00:00.123456Z", "tomorrow")},
	},
	"id": {
		{whoami, body("4b4e28ba-2fa1-41d2-883f-0016d3cca427", "4")},
		{whoami, body("1b4e28ba-2fa1-41d2-883f-0016d3cca427", "1B4E28BA-2FA1-41D2-883F-0016D3CCA427")},
	},
	"node":      {{begun, body(`{"type":"input"`, `{"type":"a"`)}},
	"csrf node": {{begun, body("bWFza2Vk", "")}, {begun, body(`"type":"browser"`, `"type":"api"`)}},
}

// TestRulesCanFail breaks each rule, on an answer that is otherwise good.
func TestRulesCanFail(t *testing.T) {
	t.Parallel()
	for _, name := range apitest.Rules() {
		if len(broken[name]) == 0 {
			t.Errorf("nothing breaks the rule %q", name)
		}
	}
	for name, cases := range broken {
		for n, c := range cases {
			a := c.good()
			if found := apitest.Check(a); len(found) > 0 {
				t.Errorf("%s %d: the good answer breaks %v", name, n, found)
			}
			c.change(&a)
			if found := apitest.Check(a); !slices.ContainsFunc(found, func(f apitest.Finding) bool { return f.Rule == name }) {
				t.Errorf("%s %d: the broken answer breaks %v", name, n, found)
			}
		}
	}
}

// TestGoodAnswers keeps the rules from finding what is meant.
func TestGoodAnswers(t *testing.T) {
	t.Parallel()
	head := whoami()
	head.Method, head.Body = "HEAD", nil
	unknown := failed("GET", "/nowhere", 404)
	unclean := failed("GET", "/sessions//whoami", 404)
	preflight := crossed()
	preflight.Method, preflight.Status, preflight.Body = "OPTIONS", 204, nil
	preflight.Header.Del("Content-Type")
	preflight.Header.Del("X-Kratos-Authenticated-Identity-Id")
	preflight.Header.Set("Access-Control-Allow-Methods", "GET")
	gate := failed("POST", "/self-service/login?flow=x", 403)
	gate.Body = bytes.Replace(gate.Body, []byte(`"code":403`), []byte(`"id":"session_verified_address_required","code":400`), 1)
	metrics := answer(apitest.Admin, "GET", "/metrics", 200, "usher_up 1\n")
	metrics.Header.Set("Content-Type", "text/plain; version=0.0.4")
	collapsed := strings.NewReplacer(identityJSON, "null", devicesJSON, "null").Replace(sessionJSON)
	hidden := answer(apitest.Admin, "GET", "/admin/sessions", 200, "["+collapsed+"]")
	for name, a := range map[string]apitest.Answer{
		"head": head, "unknown": unknown, "unclean": unclean, "preflight": preflight, "gate": gate, "metrics": metrics, "not expanded": hidden,
		"page": page(), "no token": noToken(),
	} {
		if found := apitest.Check(a); len(found) > 0 {
			t.Errorf("%s: %d %s breaks %v", name, a.Status, a.Body, found)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	a := registered()
	b.ReportAllocs()
	for b.Loop() {
		apitest.Check(a)
	}
}
