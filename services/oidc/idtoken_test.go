package oidc_test

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/usher-auth/usher/services/oidc"
	"github.com/usher-auth/usher/services/oidc/oidctest"
)

// refusedClaims are id_tokens that no attempt may accept.
func refusedClaims() map[string]struct {
	claims map[string]any
	want   string
} {
	type row = struct {
		claims map[string]any
		want   string
	}
	now := time.Now()
	return map[string]row{
		"nonce foreign":         {map[string]any{"nonce": "foreign"}, "nonce"},
		"nonce missing":         {map[string]any{"nonce": nil}, "nonce"},
		"issuer":                {map[string]any{"iss": "https://evil.example"}, "another issuer"},
		"issuer missing":        {map[string]any{"iss": nil}, "another issuer"},
		"audience":              {map[string]any{"aud": "other"}, "another client"},
		"audience missing":      {map[string]any{"aud": nil}, "another client"},
		"azp":                   {map[string]any{"azp": "other"}, "another client"},
		"azp missing":           {map[string]any{"aud": []string{"other", oidctest.ClientID}}, "another client"},
		"expired":               {map[string]any{"exp": now.Add(-time.Minute).Unix()}, "expired"},
		"expiry missing":        {map[string]any{"exp": nil}, "expired"},
		"not yet valid":         {map[string]any{"nbf": now.Add(time.Hour).Unix()}, "not valid yet"},
		"sub missing":           {map[string]any{"sub": nil}, "sub"},
		"sub empty":             {map[string]any{"sub": ""}, "sub"},
		"sub blank":             {map[string]any{"sub": "  "}, "sub"},
		"sub a number":          {map[string]any{"sub": 7}, "malformed"},
		"sub of two lines":      {map[string]any{"sub": "person\n1"}, "sub"},
		"sub with NUL":          {map[string]any{"sub": "person-1\x00"}, "sub"},
		"sub with DEL":          {map[string]any{"sub": "person-1\x7f"}, "sub"},
		"sub long":              {map[string]any{"sub": strings.Repeat("x", 256)}, "sub"},
		"sub ambiguous":         {map[string]any{"\u017fub": "victim"}, "ambiguous"},
		"issued in the future":  {map[string]any{"iat": now.Add(time.Hour).Unix()}, "in the future"},
		"claims over 64 KiB":    {map[string]any{"x": strings.Repeat("x", 70<<10)}, "64 KiB"},
		"id_token of 200 KiB":   {map[string]any{"x": strings.Repeat("x", 150<<10)}, "id_token: answer is too large"},
		"claims of 1 MiB":       {map[string]any{"x": strings.Repeat("x", 1<<20)}, "too large"},
		"expiry is not a time":  {map[string]any{"exp": "soon"}, "malformed"},
		"audience is an object": {map[string]any{"aud": map[string]any{}}, "malformed"},
	}
}

func TestRefusedClaims(t *testing.T) {
	t.Parallel()
	for name, tc := range refusedClaims() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := oidctest.New(t)
			own.Claims = tc.claims
			p := provider(t, oidc.Options{}, config(own))
			_, err := signIn(t, p)
			refusal(t, err, oidc.ErrRefused, tc.want)
		})
	}
}

// Whom an account belongs to is the issuer that was checked: the library takes
// "i\u017fs" for iss.
func TestAmbiguousIssuer(t *testing.T) {
	t.Parallel()
	own := oidctest.New(t)
	own.Claims = map[string]any{"iss": "https://evil.example", "i\u017fs": own.URL}
	_, err := signIn(t, provider(t, oidc.Options{}, config(own)))
	refusal(t, err, oidc.ErrRefused, "ambiguous")
}

func TestRefusedSignatures(t *testing.T) {
	t.Parallel()
	own := oidctest.New(t)
	key := own.Key()
	stranger := oidctest.NewKey(t, key.ID, jose.RS256)
	public, err := (&jose.JSONWebKey{Key: key.Private.Public()}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		sign func(map[string]any) string
		want string
	}{
		"none": {func(c map[string]any) string {
			parts := strings.Split(key.SignWith(c), ".")
			return "eyJhbGciOiJub25lIiwia2lkIjoiZmlyc3QifQ." + parts[1] + "."
		}, "algorithm"},
		"HMAC with the public key": {func(c map[string]any) string { return oidctest.Sign(public, jose.HS256, key.ID, c) }, "algorithm"},
		"embedded key": {func(c map[string]any) string {
			head := map[string]any{"alg": "RS256", "kid": key.ID, "jwk": jose.JSONWebKey{Key: stranger.Private.Public(), KeyID: key.ID}}
			return signRaw(t, stranger, head, c)
		}, "signature"},
		"critical extension": {func(c map[string]any) string {
			return signRaw(t, key, map[string]any{"alg": "RS256", "kid": key.ID, "crit": []string{"x"}, "x": 1}, c)
		}, ""},
		"claim stands there twice": {func(c map[string]any) string {
			payload := strings.Replace(encode(t, c), "{", `{"sub":"victim",`, 1)
			return signText(t, key, encode(t, map[string]any{"alg": "RS256", "kid": key.ID}), payload)
		}, "twice"},
		"claims are a list": {func(map[string]any) string {
			return signText(t, key, encode(t, map[string]any{"alg": "RS256", "kid": key.ID}), `[]`)
		}, "malformed"},
		"wrong key":      {stranger.SignWith, "signature"},
		"unknown key id": {func(c map[string]any) string { return oidctest.Sign(key.Private, jose.RS256, "unknown", c) }, "does not publish"},
		"no key id":      {func(c map[string]any) string { return oidctest.Sign(key.Private, jose.RS256, "", c) }, "names no key"},
		"not announced":  {func(c map[string]any) string { return oidctest.Sign(key.Private, jose.PS256, key.ID, c) }, "algorithm"},
		"no token":       {func(map[string]any) string { return "" }, "missing"},
		"no JWT":         {func(map[string]any) string { return "hidden" }, "malformed"},
		"signature cut":  {func(c map[string]any) string { return strings.TrimRight(key.SignWith(c), "=")[:400] }, "signature"},
	} {
		t.Run(name, func(t *testing.T) {
			own := oidctest.New(t)
			own.Use(key)
			own.Sign = tc.sign
			_, err := signIn(t, provider(t, oidc.Options{}, config(own)))
			refusal(t, err, oidc.ErrRefused, tc.want)
		})
	}
}

func encode(t *testing.T, v any) string {
	t.Helper()
	encoded, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

func signRaw(t *testing.T, key oidctest.Key, head, claims map[string]any) string {
	t.Helper()
	return signText(t, key, encode(t, head), encode(t, claims))
}

// signText makes a token that no library would make.
func signText(t *testing.T, key oidctest.Key, head, payload string) string {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	sum := sha256.Sum256([]byte(text))
	signature, err := key.Private.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}
