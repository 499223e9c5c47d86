// Package oidctest is a small OpenID provider for tests: discovery, code with
// PKCE, id_token and userinfo over real HTTP, with keys of its own. It signs in
// whoever is sent to it and can be told to misbehave.
package oidctest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// The one client that the provider knows.
const (
	ClientID     = "usher"
	ClientSecret = "secret-of-the-client"
)

// Key signs id_tokens.
type Key struct {
	ID        string
	Algorithm jose.SignatureAlgorithm
	Private   crypto.Signer
}

// Provider is a provider on loopback. Its fields are set before it is used, or
// under Change.
type Provider struct {
	// URL is the issuer.
	URL string
	// Claims are what id_token and userinfo say beside the usual ones; nil
	// values leave a usual one out.
	Claims map[string]any
	// Userinfo, if set, is what userinfo says instead.
	Userinfo map[string]any
	// Discovery is laid over the discovery document; nil values leave out.
	Discovery map[string]any
	// Sign, if set, makes the id_token.
	Sign func(claims map[string]any) string
	// Handle, if set, answers the paths that it holds.
	Handle map[string]http.HandlerFunc
	// NoPKCE redeems codes without looking at their verifier.
	NoPKCE bool

	mu     sync.Mutex
	server *httptest.Server
	key    Key
	keys   jose.JSONWebKeySet
	codes  map[string]url.Values
	calls  map[string]int
}

// New starts a provider that ends with the test.
func New(t testing.TB) *Provider {
	t.Helper()
	p := &Provider{codes: map[string]url.Values{}, calls: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, p.publicKeys()) })
	mux.HandleFunc("GET /userinfo", p.userinfo)
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.calls[r.URL.Path]++
		handle := p.Handle[r.URL.Path]
		p.mu.Unlock()
		if handle != nil {
			handle(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(p.server.Close)
	p.URL = p.server.URL
	p.Use(NewKey(t, "first", jose.RS256))
	return p
}

// NewKey makes a key for RS256 or ES256.
func NewKey(t testing.TB, id string, algorithm jose.SignatureAlgorithm) Key {
	t.Helper()
	var private crypto.Signer
	var err error
	if algorithm == jose.ES256 {
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return Key{id, algorithm, private}
}

// Use publishes a key in place of those before, and signs with it.
func (p *Provider) Use(k Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.key = k
	p.keys = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: k.Private.Public(), KeyID: k.ID, Use: "sig"}}}
}

// Stop ends the provider before the test does.
func (p *Provider) Stop() { p.server.Close() }

// Change changes fields while the provider is in use.
func (p *Provider) Change(f func(*Provider)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

// Calls says how often a path was asked for.
func (p *Provider) Calls(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[path]
}

// Key gives the key that signs.
func (p *Provider) Key() Key {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.key
}

// SignWith makes a token of claims.
func (k Key) SignWith(claims map[string]any) string {
	return Sign(k.Private, k.Algorithm, k.ID, claims)
}

// Sign makes a token of claims with any key, in good ways and bad. An empty id
// is left out.
func Sign(key any, algorithm jose.SignatureAlgorithm, id string, claims map[string]any) string {
	options := &jose.SignerOptions{}
	if id != "" {
		options = options.WithHeader("kid", id)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options)
	if err != nil {
		panic(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		panic(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return text
}

func (p *Provider) publicKeys() jose.JSONWebKeySet {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keys
}

func (p *Provider) discovery(w http.ResponseWriter, _ *http.Request) {
	document := map[string]any{
		"issuer":                                p.URL,
		"authorization_endpoint":                p.URL + "/authorize",
		"token_endpoint":                        p.URL + "/token",
		"jwks_uri":                              p.URL + "/keys",
		"userinfo_endpoint":                     p.URL + "/userinfo",
		"response_types_supported":              []string{"code"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256", "ES256"},
		"code_challenge_methods_supported":      []string{"S256"},
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	answer(w, http.StatusOK, overlay(document, p.Discovery))
}

// authorize signs the person in at once.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	asked := r.URL.Query()
	back, err := url.Parse(asked.Get("redirect_uri"))
	if err != nil || asked.Get("client_id") != ClientID || asked.Get("response_type") != "code" {
		http.Error(w, "unknown client, or no code asked for", http.StatusBadRequest)
		return
	}
	code := rand.Text()
	p.mu.Lock()
	p.codes[code] = asked
	p.mu.Unlock()
	query := back.Query()
	query.Set("code", code)
	query.Set("state", asked.Get("state"))
	back.RawQuery = query.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

// token redeems a code once, for the client that it was made for.
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	id, secret, ok := r.BasicAuth()
	if !ok {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	if id != ClientID || secret != ClientSecret {
		answer(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	p.mu.Lock()
	asked, ok := p.codes[r.PostFormValue("code")]
	delete(p.codes, r.PostFormValue("code"))
	ok = ok && asked.Get("redirect_uri") == r.PostFormValue("redirect_uri") &&
		(p.NoPKCE || asked.Get("code_challenge") == challenge(r.PostFormValue("code_verifier")))
	sign := p.key.SignWith
	if p.Sign != nil {
		sign = p.Sign
	}
	claims := overlay(map[string]any{
		"iss": p.URL, "aud": ClientID, "sub": "person-1", "nonce": asked.Get("nonce"),
		"iat": time.Now().Unix(), "exp": time.Now().Add(5 * time.Minute).Unix(),
	}, p.Claims)
	p.mu.Unlock()
	if !ok {
		answer(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant", "error_description": "hidden"})
		return
	}
	answer(w, http.StatusOK, map[string]any{
		"access_token": "access-token", "token_type": "Bearer", "expires_in": 300, "id_token": sign(claims),
	})
}

func challenge(verifier string) string {
	if verifier == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (p *Provider) userinfo(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer access-token" {
		answer(w, http.StatusUnauthorized, map[string]any{"error": "invalid_token"})
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.Userinfo != nil {
		answer(w, http.StatusOK, p.Userinfo)
		return
	}
	answer(w, http.StatusOK, overlay(map[string]any{"sub": "person-1"}, p.Claims))
}

func overlay(base, over map[string]any) map[string]any {
	all := maps.Clone(base)
	maps.Copy(all, over)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return all
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}
