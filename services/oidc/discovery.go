package oidc

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// metadata is what is known of a provider: by its preset or by discovery.
type metadata struct {
	oauth    oauth2.Config
	issuer   string
	userinfo string
	pkce     bool
	saysIss  bool                  // callbacks name the issuer, RFC 9207
	verifier *oidc.IDTokenVerifier // nil: plain OAuth 2.0
}

const (
	// refreshAfter is when Run reads discovery and keys anew, maxAge how long
	// they may be used while the provider is away.
	refreshAfter = time.Hour
	maxAge       = 24 * time.Hour
	// retryAfter is how long a failure stands before the provider is asked again.
	retryAfter = 2 * time.Second
)

// cache holds a provider's metadata. One caller fetches, the others wait.
type cache struct {
	fetch func(context.Context) (*metadata, error)
	now   func() time.Time
	turn  chan struct{} // holds one token: who has it may fetch

	mu      sync.Mutex
	known   *metadata
	fetched time.Time
	err     error
	failed  time.Time
}

func newCache(fetch func(context.Context) (*metadata, error), now func() time.Time) *cache {
	return &cache{fetch: fetch, now: now, turn: make(chan struct{}, 1)}
}

// get gives metadata of at most maxAge, fetched if need be.
func (c *cache) get(ctx context.Context) (*metadata, error) {
	if known, err := c.peek(); known != nil || err != nil {
		return known, err
	}
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, away("discovery", "no answer in time")
	}
	if known, err := c.peek(); known != nil || err != nil {
		return known, err
	}
	return c.refresh(ctx)
}

// peek gives what stands: metadata, a failure of a moment ago, or neither.
func (c *cache) peek() (*metadata, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if c.known != nil && now.Sub(c.fetched) < maxAge {
		return c.known, nil
	}
	if c.err != nil && now.Sub(c.failed) < retryAfter {
		return nil, c.err
	}
	return nil, nil
}

// refresh fetches; a fetch that others wait for does not end with one request.
func (c *cache) refresh(ctx context.Context) (*metadata, error) {
	fresh, err := c.fetch(context.WithoutCancel(ctx))
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.err, c.failed = err, c.now()
		return nil, err
	}
	c.known, c.fetched, c.err = fresh, c.now(), nil
	return fresh, nil
}

// keepFresh refreshes until ctx ends, after a failure every minute.
func (c *cache) keepFresh(ctx context.Context) {
	for {
		pause := refreshAfter
		if _, err := c.refresh(ctx); err != nil {
			pause = time.Minute
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// discover asks the provider about itself.
func (p *Provider) discover(ctx context.Context) (*metadata, error) {
	c := p.config
	m := &metadata{
		issuer: c.IssuerURL,
		pkce:   p.known.pkce,
		oauth: oauth2.Config{
			ClientID: c.ClientID, ClientSecret: c.ClientSecret, Scopes: c.Scope,
			Endpoint: oauth2.Endpoint{AuthURL: c.AuthURL, TokenURL: c.TokenURL, AuthStyle: oauth2.AuthStyleInParams},
		},
	}
	if p.known.claims != nil {
		m.issuer = origin(c.AuthURL)
		return m, nil
	}
	ctx = oidc.ClientContext(ctx, p.http)
	if c.Provider == Microsoft {
		ctx = oidc.InsecureIssuerURLContext(ctx, c.IssuerURL) // learn checks it
	}
	found, err := oidc.NewProvider(ctx, c.IssuerURL)
	if err != nil {
		return nil, discoveryError(err)
	}
	return m, p.learn(ctx, m, found)
}

// learn takes over what a discovery document says.
func (p *Provider) learn(ctx context.Context, m *metadata, found *oidc.Provider) error {
	var says struct {
		Issuer      string   `json:"issuer"`
		Keys        string   `json:"jwks_uri"`
		Challenges  []string `json:"code_challenge_methods_supported"`
		AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
		Iss         bool     `json:"authorization_response_iss_parameter_supported"`
	}
	if err := found.Claims(&says); err != nil {
		return refused("discovery", "not a discovery document")
	}
	if p.config.Provider == Microsoft {
		if !microsoftAnnounces(p.config.MicrosoftTenant, says.Issuer) {
			return refused("discovery", "names another issuer")
		}
		m.issuer = says.Issuer
	}
	endpoint := &m.oauth.Endpoint
	if endpoint.AuthURL == "" {
		endpoint.AuthURL = found.Endpoint().AuthURL
	}
	if endpoint.TokenURL == "" {
		endpoint.TokenURL = found.Endpoint().TokenURL
	}
	// The default of the standard is the header; guessing would send a code twice.
	if len(says.AuthMethods) == 0 || slices.Contains(says.AuthMethods, "client_secret_basic") {
		endpoint.AuthStyle = oauth2.AuthStyleInHeader
	}
	if p.config.ClientSecret == "" {
		endpoint.AuthStyle = oauth2.AuthStyleInParams // a public client names itself
	}
	m.userinfo = found.UserInfoEndpoint()
	m.pkce = slices.Contains(says.Challenges, "S256")
	m.saysIss = says.Iss
	for _, to := range []string{endpoint.AuthURL, endpoint.TokenURL, says.Keys} {
		if !p.reachable(to) {
			return refused("discovery", "names no usable endpoint")
		}
	}
	if m.userinfo != "" && !p.reachable(m.userinfo) || m.userinfo == "" && p.config.ClaimsSource == FromUserinfo {
		return refused("discovery", "names no usable userinfo endpoint")
	}
	m.verifier = found.VerifierContext(ctx, &oidc.Config{
		ClientID: p.config.ClientID, Now: p.now,
		SkipIssuerCheck: p.config.Provider == Microsoft, // microsoftIssued does it
	})
	return nil
}

// reachable tells whether an endpoint that a provider named may be used: one
// that is found over TLS does not lead away from it.
func (p *Provider) reachable(endpoint string) bool {
	overTLS := strings.HasPrefix(p.config.IssuerURL, "https://")
	return usable(endpoint, p.plainHTTP) && (!overTLS || strings.HasPrefix(endpoint, "https://"))
}

// discoveryError tells a provider that is away from one that says nonsense.
func discoveryError(err error) error {
	var mismatch *oidc.IssuerMismatchError
	if errors.As(err, &mismatch) {
		return refused("discovery", "names another issuer")
	}
	text := err.Error()
	switch {
	case strings.Contains(text, errLarge.Error()): // the library does not wrap it
		return refused("discovery", errLarge.Error())
	case strings.HasPrefix(text, "oidc: failed to decode"):
		return refused("discovery", "not a discovery document")
	case len(text) > 3 && text[0] >= '3' && text[0] <= '5' && text[3] == ' ':
		return away("discovery", "answered "+text[:3]+" "+http.StatusText(int(text[0]-'0')*100+int(text[1]-'0')*10+int(text[2]-'0')))
	}
	return unreachable("discovery", err)
}
