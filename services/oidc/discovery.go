package oidc

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// metadata is what is known of a provider: by its preset or by discovery.
type metadata struct {
	oauth      oauth2.Config
	issuer     string
	userinfo   string
	keys       string // empty: plain OAuth 2.0
	algorithms []string
	pkce       bool
	saysIss    bool // callbacks name the issuer, RFC 9207
}

// openID tells whether the provider gives id_tokens.
func (m *metadata) openID() bool { return m.keys != "" }

// document is a provider's discovery document, as far as it is used.
type document struct {
	Issuer      string   `json:"issuer"`
	AuthURL     string   `json:"authorization_endpoint"`
	TokenURL    string   `json:"token_endpoint"`
	Keys        string   `json:"jwks_uri"`
	Userinfo    string   `json:"userinfo_endpoint"`
	Scopes      []string `json:"scopes_supported"`
	Algorithms  []string `json:"id_token_signing_alg_values_supported"`
	Challenges  []string `json:"code_challenge_methods_supported"`
	AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
	Iss         bool     `json:"authorization_response_iss_parameter_supported"`
}

// documentURL is where the discovery document is.
func (p *Provider) documentURL() string {
	return strings.TrimSuffix(p.config.IssuerURL, "/") + "/.well-known/openid-configuration"
}

// discover asks the provider about itself.
func (p *Provider) discover(ctx context.Context) (*metadata, error) {
	m := p.preset()
	if p.known.claims != nil {
		return m, nil
	}
	var d document
	if err := p.published(ctx).get("discovery", p.documentURL(), &d); err != nil {
		return nil, err
	}
	m.adopt(d, p.config)
	return m, p.acceptable(m)
}

// published reads what needs no token.
func (p *Provider) published(ctx context.Context) fetcher { return fetcher{ctx: ctx, http: p.http} }

// preset is what is known of the provider without asking it.
func (p *Provider) preset() *metadata {
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
	}
	return m
}

// adopt takes over what a discovery document says.
func (m *metadata) adopt(d document, c Config) {
	m.issuer, m.userinfo, m.keys = d.Issuer, d.Userinfo, d.Keys
	m.algorithms = safeAlgorithms(d.Algorithms)
	m.pkce = slices.Contains(d.Challenges, "S256")
	m.saysIss = d.Iss
	endpoint := &m.oauth.Endpoint
	endpoint.AuthURL = cmp.Or(c.AuthURL, d.AuthURL)
	endpoint.TokenURL = cmp.Or(c.TokenURL, d.TokenURL)
	// The default of the standard is the header; guessing would send a code
	// twice. A public client names itself in the form.
	if c.ClientSecret != "" && (len(d.AuthMethods) == 0 || slices.Contains(d.AuthMethods, "client_secret_basic")) {
		endpoint.AuthStyle = oauth2.AuthStyleInHeader
	}
}

// acceptable refuses a provider that is another one, or leads elsewhere.
func (p *Provider) acceptable(m *metadata) error {
	if !p.announced(m.issuer) {
		return refused("discovery", "names another issuer")
	}
	for _, to := range []string{m.oauth.Endpoint.AuthURL, m.oauth.Endpoint.TokenURL, m.keys} {
		if !p.reachable(to) {
			return refused("discovery", "names no usable endpoint")
		}
	}
	if m.userinfo != "" && !p.reachable(m.userinfo) || m.userinfo == "" && p.config.ClaimsSource == FromUserinfo {
		return refused("discovery", "names no usable userinfo endpoint")
	}
	return nil
}

// announced tells whether the discovery document may name this issuer.
func (p *Provider) announced(issuer string) bool {
	if p.config.Provider == Microsoft {
		return microsoftAnnounces(p.config.MicrosoftTenant, issuer)
	}
	return issuer == p.config.IssuerURL
}

// safeAlgorithms are those of an announcement by which only the provider can
// sign; RS256, which the standard prescribes, where there are none.
func safeAlgorithms(announced []string) []string {
	safe := slices.DeleteFunc(slices.Clone(announced), func(name string) bool {
		return !slices.Contains([]string{
			oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512,
			oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
		}, name)
	})
	if len(safe) == 0 {
		return []string{oidc.RS256}
	}
	return safe
}

// reachable tells whether an endpoint that a provider named may be used: one
// that is found over TLS does not lead away from it.
func (p *Provider) reachable(endpoint string) bool {
	overTLS := strings.HasPrefix(p.config.IssuerURL, "https://")
	return usable(endpoint, p.plainHTTP) && (!overTLS || strings.HasPrefix(endpoint, "https://"))
}
