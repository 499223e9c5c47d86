package oidc_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/oidc"
	"github.com/usher-auth/usher/services/oidc/oidctest"
)

func TestBrokenProvider(t *testing.T) {
	t.Parallel()
	never := func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() }
	redirect := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/elsewhere", http.StatusTemporaryRedirect)
	}
	drip := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, " ")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(10 * time.Millisecond) // a slow provider, not a wait of the test
		}
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = io.WriteString(z, `{"x":"`+strings.Repeat("x", 8<<20))
	_ = z.Close()
	bomb := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(packed.Bytes())
	}
	html := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html>hidden</html>")
	}
	large := says(200, `{"access_token":"`+strings.Repeat("x", 300<<10)+`"}`)
	const document, token, keys, userinfo = "/.well-known/openid-configuration", "/token", "/keys", "/userinfo"
	for name, tc := range map[string]struct {
		path   string
		handle http.HandlerFunc
		kind   error
		want   string
	}{
		"discovery never answers": {document, never, oidc.ErrUnavailable, "in time"},
		"discovery 500":           {document, says(500, "hidden"), oidc.ErrUnavailable, "answered 500"},
		"discovery redirects":     {document, redirect, oidc.ErrRefused, "redirects"},
		"discovery large":         {document, large, oidc.ErrRefused, "too large"},
		"discovery broken":        {document, says(200, `{"hidden`), oidc.ErrRefused, "not JSON"},
		"discovery other issuer":  {document, says(200, `{"issuer":"https://hidden.example"}`), oidc.ErrRefused, "another issuer"},
		"discovery drips":         {document, drip, oidc.ErrUnavailable, "in time"},
		"discovery is a bomb":     {document, bomb, oidc.ErrRefused, "too large"},
		"discovery is HTML":       {document, html, oidc.ErrRefused, "not JSON"},
		"token drips":             {token, drip, oidc.ErrUnavailable, "in time"},
		"token is a bomb":         {token, bomb, oidc.ErrRefused, "too large"},
		"token is HTML":           {token, html, oidc.ErrRefused, "not a token answer"},
		"token never answers":     {token, never, oidc.ErrUnavailable, "in time"},
		"token 500":               {token, says(500, "hidden"), oidc.ErrUnavailable, "answered"},
		"token 400":               {token, says(400, `{"error":"hidden","error_description":"hidden"}`), oidc.ErrRefused, "an error"},
		"token redirects":         {token, redirect, oidc.ErrRefused, "redirects"},
		"token large":             {token, large, oidc.ErrRefused, "too large"},
		"token broken":            {token, says(200, `{"hidden`), oidc.ErrRefused, "not a token answer"},
		"token empty":             {token, says(200, `{}`), oidc.ErrRefused, "not a token answer"},
		"token without id_token":  {token, says(200, `{"access_token":"hidden"}`), oidc.ErrRefused, "is missing"},
		"keys 500":                {keys, says(500, "hidden"), oidc.ErrUnavailable, "keys"},
		"keys never answer":       {keys, never, oidc.ErrUnavailable, "in time"},
		"keys redirect":           {keys, redirect, oidc.ErrRefused, "redirects"},
		"keys drip":               {keys, drip, oidc.ErrUnavailable, "in time"},
		"keys are a bomb":         {keys, bomb, oidc.ErrRefused, "too large"},
		"keys are HTML":           {keys, html, oidc.ErrRefused, "not JSON"},
		"no keys":                 {keys, says(200, `{"keys":[]}`), oidc.ErrRefused, "none that can be used"},
		"keys of another use":     {keys, says(200, `{"keys":[{"kty":"oct","k":"aGlkZGVu","kid":"first"},{"kty":"new"}]}`), oidc.ErrRefused, "none that can be used"},
		"userinfo drips":          {userinfo, drip, oidc.ErrUnavailable, "in time"},
		"userinfo is a bomb":      {userinfo, bomb, oidc.ErrRefused, "too large"},
		"userinfo sub twice":      {userinfo, says(200, `{"sub":"person-2","sub":"person-1"}`), oidc.ErrRefused, "twice"},
		"userinfo 500":            {userinfo, says(500, "hidden"), oidc.ErrUnavailable, "answered"},
		"userinfo never answers":  {userinfo, never, oidc.ErrUnavailable, "in time"},
		"userinfo redirects":      {userinfo, redirect, oidc.ErrRefused, "redirects"},
		"userinfo large":          {userinfo, large, oidc.ErrRefused, "too large"},
		"userinfo null":           {userinfo, says(200, `null`), oidc.ErrRefused, "not an object"},
		"userinfo of another":     {userinfo, says(200, `{"sub":"person-2"}`), oidc.ErrRefused, "sub"},
		"userinfo without sub":    {userinfo, says(200, `{}`), oidc.ErrRefused, "sub"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := oidctest.New(t)
			own.Handle = map[string]http.HandlerFunc{tc.path: tc.handle}
			c := config(own)
			if tc.path == userinfo {
				c.ClaimsSource = oidc.FromUserinfo
			}
			o := oidc.Options{Timeout: time.Minute}
			if tc.want == "in time" {
				o.Timeout = 300 * time.Millisecond
			}
			p := provider(t, o, c)
			to, a, err := p.Start(t.Context(), request())
			if err == nil {
				_, err = p.Finish(t.Context(), a, oidc.Callback{Code: visit(t, to).Get("code")})
			}
			refusal(t, err, tc.kind, tc.want)
		})
	}
}

// A provider that is away stops neither the start nor, once it is back, anybody.
func TestProviderComesBack(t *testing.T) {
	t.Parallel()
	own := oidctest.New(t)
	const document = "/.well-known/openid-configuration"
	own.Handle = map[string]http.HandlerFunc{document: says(503, "")}
	now := time.Now()
	p := provider(t, oidc.Options{Now: func() time.Time { return now }}, config(own))
	for range 5 {
		_, _, err := p.Start(t.Context(), request())
		refusal(t, err, oidc.ErrUnavailable, "503")
	}
	if n := own.Calls(document); n != 1 {
		t.Errorf("asked %d times within a moment, want once", n)
	}
	own.Change(func(o *oidctest.Provider) { o.Handle = nil })
	now = now.Add(3 * time.Second)
	if _, err := signIn(t, p); err != nil {
		t.Error(err)
	}
}

func TestPrivateAddressIsRefused(t *testing.T) {
	t.Parallel()
	own := oidctest.New(t)
	_, _, err := provider(t, oidc.Options{DisallowPrivateIPRanges: true}, config(own)).Start(t.Context(), request())
	refusal(t, err, oidc.ErrUnavailable, "cannot be reached")
	if own.Calls("/.well-known/openid-configuration") != 0 {
		t.Error("the provider was called")
	}
}

// An exception is of URLs, not of a host: what discovery names beside it stays
// closed.
func TestPrivateAddressIsExcepted(t *testing.T) {
	t.Parallel()
	own := oidctest.New(t)
	o := oidc.Options{DisallowPrivateIPRanges: true, PrivateIPExceptionURLs: []string{own.URL + "/**"}}
	if _, err := signIn(t, provider(t, o, config(own))); err != nil {
		t.Error(err)
	}
	o.PrivateIPExceptionURLs = []string{own.URL + "/.well-known/*"}
	_, err := signIn(t, provider(t, o, config(own)))
	refusal(t, err, oidc.ErrUnavailable, "token: cannot be reached")
}

// Discovery leads to no place that secrets may not be sent to.
func TestRefusedDiscovery(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		says map[string]any
		want string
	}{
		"authorization over plain http": {map[string]any{"authorization_endpoint": "http://provider.example/authorize"}, "no usable endpoint"},
		"token over plain http":         {map[string]any{"token_endpoint": "http://provider.example/token"}, "no usable endpoint"},
		"keys over plain http":          {map[string]any{"jwks_uri": "http://provider.example/keys"}, "no usable endpoint"},
		"userinfo over plain http":      {map[string]any{"userinfo_endpoint": "http://provider.example/userinfo"}, "userinfo endpoint"},
		"token is a file":               {map[string]any{"token_endpoint": "file:///etc/passwd"}, "no usable endpoint"},
		"token with credentials":        {map[string]any{"token_endpoint": "https://hidden:hidden@provider.example/token"}, "no usable endpoint"},
		"no keys":                       {map[string]any{"jwks_uri": nil}, "no usable endpoint"},
		"no token endpoint":             {map[string]any{"token_endpoint": nil}, "no usable endpoint"},
		"issuer of another":             {map[string]any{"issuer": "https://hidden.example"}, "another issuer"},
		"issuer with a slash":           {map[string]any{"issuer": ""}, "another issuer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := oidctest.New(t)
			if own.Discovery = tc.says; name == "issuer with a slash" {
				own.Discovery["issuer"] = own.URL + "/"
			}
			_, _, err := provider(t, oidc.Options{}, config(own)).Start(t.Context(), request())
			refusal(t, err, oidc.ErrRefused, tc.want)
		})
	}
}

// What is found over TLS stays on TLS, even where providers without it may be
// called.
func TestDiscoveryLeavesNoTLS(t *testing.T) {
	t.Parallel()
	for _, changed := range []string{"", "authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"} {
		document := map[string]any{"issuer": "https://provider.example"}
		for _, name := range []string{"authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"} {
			document[name] = "https://provider.example/" + name
		}
		if changed != "" {
			document[changed] = "http://127.0.0.1/" + changed
		}
		network := recorded{"provider.example/.well-known/openid-configuration": says(200, encode(t, document))}
		_, _, err := provider(t, oidc.Options{Transport: network, PlainHTTP: true}, oidc.Config{
			ID: "own", Provider: oidc.Generic, ClientID: "id", IssuerURL: "https://provider.example", Mapper: mapper,
		}).Start(t.Context(), request())
		if changed != "" {
			refusal(t, err, oidc.ErrRefused, "discovery: names no usable")
		} else if err != nil {
			t.Error(err)
		}
	}
}
