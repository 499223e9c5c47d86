package apitest_test

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/usher-auth/usher/services/api/apitest"
)

const (
	identityJSON = `{"id":"1b4e28ba-2fa1-41d2-883f-0016d3cca427","schema_id":"person","schema_url":"http://127.0.0.1:4433/schemas/cGVyc29u","state":"active",` +
		`"state_changed_at":"2026-11-24T12:00:00.123456Z","traits":{"email":"a@example.org"},"metadata_public":null,` +
		`"created_at":"2026-11-24T12:00:00.123456Z","updated_at":"2026-11-24T12:00:00.123456Z","organization_id":null}`
	sessionJSON = `{"id":"3b4e28ba-2fa1-41d2-883f-0016d3cca427","active":true,"expires_at":"2026-11-25T12:00:00.123456Z","authenticated_at":"2026-11-24T12:00:00.123456Z",` +
		`"authenticator_assurance_level":"aal1","authentication_methods":[{"method":"password","aal":"aal1","completed_at":"2026-11-24T12:00:00.123456Z"}],` +
		`"issued_at":"2026-11-24T12:00:00.123456Z","identity":` + identityJSON + `,"devices":` + devicesJSON + `}`
	devicesJSON = `[{"id":"4b4e28ba-2fa1-41d2-883f-0016d3cca427","ip_address":"127.0.0.1:1234","user_agent":"a","location":""}]`
	flowJSON    = `{"id":"f0000000-0000-4000-8000-000000000001","type":"browser","state":"choose_method","issued_at":"2026-11-24T12:00:00Z","expires_at":"2026-11-24T13:00:00Z",` +
		`"request_url":"http://127.0.0.1:4433/self-service/registration/browser","organization_id":null,` +
		`"ui":{"action":"http://127.0.0.1:4433/self-service/registration?flow=f0000000-0000-4000-8000-000000000001","method":"POST","nodes":[` +
		`{"type":"input","group":"default","attributes":{"name":"csrf_token","type":"hidden","value":"bWFza2Vk","required":true,"disabled":false,"node_type":"input"},"messages":[],"meta":{}},` +
		`{"type":"input","group":"password","attributes":{"name":"password","type":"password","required":true,"disabled":false,"node_type":"input"},"messages":[],"meta":{}}]}}`
	sessionToken = "ory_st_Token0Token0Token0Token0Token0To"
	csrfCookie   = "csrf_token_806060ca5bf70dff3caa0e5c860002aade9d470a5a4dce73bcfa7ba10778f481=c2VjcmV0; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"
)

// answer is one that breaks no rule.
func answer(l apitest.Listener, method, target string, status int, body string) apitest.Answer {
	u, err := url.Parse(target)
	if err != nil {
		panic(err)
	}
	a := apitest.Answer{Listener: l, Method: method, URL: u, Sent: http.Header{"X-Request-Id": {"golden"}}, Status: status, Body: []byte(body), Header: http.Header{
		"X-Request-Id":            {"golden"},
		"X-Content-Type-Options":  {"nosniff"},
		"Cache-Control":           {"private, no-cache, no-store, must-revalidate"},
		"Vary":                    {"Cookie"},
		"Content-Security-Policy": {"default-src 'none'; frame-ancestors 'none'; base-uri 'none'"},
		"Referrer-Policy":         {"no-referrer"},
	}}
	if body != "" {
		a.Header.Set("Content-Type", "application/json")
	}
	return a
}

func whoami() apitest.Answer {
	a := answer(apitest.Public, "GET", "/sessions/whoami", 200, sessionJSON)
	a.Header.Set("X-Kratos-Authenticated-Identity-Id", "1b4e28ba-2fa1-41d2-883f-0016d3cca427")
	return a
}

func begun() apitest.Answer {
	a := answer(apitest.Public, "GET", "/self-service/registration/browser", 200, flowJSON)
	a.Header.Set("Set-Cookie", csrfCookie)
	return a
}

func registered() apitest.Answer {
	return answer(apitest.Public, "POST", "/self-service/registration?flow=f0000000-0000-4000-8000-000000000001", 200,
		`{"session_token":"`+sessionToken+`","session":`+sessionJSON+`,"identity":`+identityJSON+
			`,"continue_with":[{"action":"set_ory_session_token","ory_session_token":"`+sessionToken+`"}]}`)
}

func led() apitest.Answer {
	a := answer(apitest.Public, "GET", "/self-service/registration/browser", 303, "")
	a.Header.Set("Location", "http://127.0.0.1:4455/registration?flow=f0000000-0000-4000-8000-000000000001")
	a.Header.Set("Set-Cookie", csrfCookie)
	return a
}

func failed(method, target string, status int) apitest.Answer {
	text := `{"error":{"code":` + strconv.Itoa(status) + `,"status":"x","request":"golden","message":"No."}}`
	return answer(apitest.Either, method, target, status, text)
}

func unavailable() apitest.Answer {
	a := failed("GET", "/sessions/whoami", 503)
	a.Header.Set("Retry-After", "1")
	return a
}

func notAllowed() apitest.Answer {
	a := failed("PUT", "/self-service/registration", 405)
	a.Header.Set("Allow", "GET, POST")
	return a
}

func noToken() apitest.Answer {
	a := failed("GET", "/admin/identities", 401)
	a.Header.Set("Www-Authenticate", "Bearer")
	return a
}

func people() apitest.Answer {
	a := answer(apitest.Admin, "GET", "/admin/identities?page_size=1", 200, `[`+strings.TrimSuffix(identityJSON, "}")+`,"metadata_admin":null}]`)
	a.Header.Set("Link", `</admin/identities?page_size=1>; rel="first",</admin/identities?page_size=1&page_token=x>; rel="next"`)
	return a
}

func page() apitest.Answer {
	a := answer(apitest.Public, "GET", "/ui/registration", 200, "<!doctype html>")
	a.Header.Set("Content-Type", "text/html; charset=utf-8")
	a.Header.Set("Cache-Control", "no-store")
	return a
}

func crossed() apitest.Answer {
	a := whoami()
	a.Sent.Set("Origin", "https://app.example.com")
	a.Header.Set("Access-Control-Allow-Origin", "https://app.example.com")
	a.Header.Set("Access-Control-Allow-Credentials", "true")
	a.Header["Vary"] = []string{"Cookie", "Origin"}
	return a
}
