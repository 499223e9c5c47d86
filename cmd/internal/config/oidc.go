package config

import (
	"cmp"
	"encoding/json"
	"strings"

	"github.com/usher-auth/usher/services/oidc"
)

// OIDC is what is configured for social sign-in.
type OIDC struct {
	Enabled bool `yaml:"enabled"`
	Config  struct {
		// BaseRedirectURI begins the URL that providers lead back to, see
		// [Config.OIDCRedirectBase].
		BaseRedirectURI string             `yaml:"base_redirect_uri"`
		Providers       []IdentityProvider `yaml:"providers"`
	} `yaml:"config"`
}

// IdentityProvider is one that people may sign in with.
type IdentityProvider struct {
	ID       string `yaml:"id"`
	Provider string `yaml:"provider"` // generic, google, github, gitlab or microsoft
	Label    string `yaml:"label,omitempty"`
	ClientID string `yaml:"client_id"`
	// ClientSecret, or what the first line of ClientSecretFile says. The file is
	// relative to the configuration file.
	ClientSecret     Secret `yaml:"client_secret,omitempty"`
	ClientSecretFile string `yaml:"client_secret_file,omitempty"`
	IssuerURL        string `yaml:"issuer_url,omitempty"`
	AuthURL          string `yaml:"auth_url,omitempty"`
	TokenURL         string `yaml:"token_url,omitempty"`
	// MicrosoftTenant is a tenant's id or domain, or common, organizations or consumers.
	MicrosoftTenant string `yaml:"microsoft_tenant,omitempty"`
	// SubjectSource is for microsoft, and always userinfo.
	SubjectSource string   `yaml:"subject_source,omitempty"`
	Scope         []string `yaml:"scope,omitempty"`
	// MapperURL is file://PATH (relative to the configuration file) or base64://DATA.
	MapperURL       string         `yaml:"mapper_url"`
	RequestedClaims map[string]any `yaml:"requested_claims,omitempty"`
	ClaimsSource    string         `yaml:"claims_source,omitempty"` // id_token or userinfo
	PKCE            oidc.PKCE      `yaml:"pkce,omitempty"`
	// AccountLinkingMode says what becomes of somebody whose address has an account here.
	AccountLinkingMode oidc.Linking `yaml:"account_linking_mode,omitempty"`
	// AuthoritativeFor are the domains whose addresses the provider's word
	// verifies, or "*".
	AuthoritativeFor []string `yaml:"authoritative_for,omitempty"`
	// UpstreamParameters may be passed on from a submission; none given means
	// the usual ones.
	UpstreamParameters []string `yaml:"upstream_parameters,omitempty"`

	// Mapper is what MapperURL leads to, FileSecret what ClientSecretFile says.
	Mapper     string `yaml:"-"`
	FileSecret Secret `yaml:"-"`
}

// signsIn tells whether people may sign in at providers.
func (o *OIDC) signsIn() bool { return o.Enabled && len(o.Config.Providers) > 0 }

// OIDCProviders are the identity providers that people may sign in with, in
// the order of the file; none if the method is not enabled.
func (c *Config) OIDCProviders() []oidc.Config {
	o := &c.SelfService.Methods.OIDC
	if !o.signsIn() {
		return nil
	}
	all := make([]oidc.Config, len(o.Config.Providers))
	for i := range all {
		all[i] = o.Config.Providers[i].config()
	}
	return all
}

// OIDCRedirectBase begins the URL that providers lead back to: the public URL
// unless there is another.
func (c *Config) OIDCRedirectBase() string {
	return cmp.Or(c.SelfService.Methods.OIDC.Config.BaseRedirectURI, c.PublicURL())
}

// OIDCRedirectURL is where a provider leads back to; it is registered there.
func (c *Config) OIDCRedirectURL(provider string) string {
	return strings.TrimRight(c.OIDCRedirectBase(), "/") + "/self-service/methods/oidc/callback/" + provider
}

// config gives the provider as it is called.
func (p *IdentityProvider) config() oidc.Config {
	c := oidc.Config{
		ID:                 p.ID,
		Label:              p.Label,
		Provider:           p.Provider,
		ClientID:           p.ClientID,
		ClientSecret:       cmp.Or(p.ClientSecret.Reveal(), p.FileSecret.Reveal()),
		IssuerURL:          p.IssuerURL,
		AuthURL:            p.AuthURL,
		TokenURL:           p.TokenURL,
		Scope:              p.Scope,
		MicrosoftTenant:    p.MicrosoftTenant,
		PKCE:               p.PKCE,
		Mapper:             p.Mapper,
		ClaimsSource:       p.ClaimsSource,
		AuthoritativeFor:   p.AuthoritativeFor,
		Linking:            p.AccountLinkingMode,
		UpstreamParameters: p.UpstreamParameters,
	}
	if len(p.RequestedClaims) > 0 {
		c.RequestedClaims, _ = json.Marshal(p.RequestedClaims) // came from YAML or JSON: the check has tried it
	}
	return c
}

// completeProviders reads the mappers and secrets of the identity providers.
func (l *loader) completeProviders(c *Config) {
	o := &c.SelfService.Methods.OIDC
	if !o.signsIn() {
		return
	}
	for i := range o.Config.Providers {
		p, key := &o.Config.Providers[i], entry(oidcProviders, i)
		if p.MapperURL != "" {
			text := l.text(key+".mapper_url", p.MapperURL)
			if p.Mapper = string(text); text != nil && strings.TrimSpace(p.Mapper) == "" {
				l.refuseKey(key+".mapper_url", "this leads to nothing but white space")
			}
		}
		if p.ClientSecretFile != "" {
			l.readClientSecret(key, p)
		}
	}
}

// readClientSecret reads the first line of the file of a client secret.
func (l *loader) readClientSecret(key string, p *IdentityProvider) {
	key += ".client_secret_file"
	if p.ClientSecret.Reveal() != "" {
		l.refuseKey(key, "want this or client_secret, not both")
		return
	}
	text, err := readRegular(l.beside(p.ClientSecretFile))
	if err != nil {
		l.refuseKey(key, "%w", err)
		return
	}
	first, _, _ := strings.Cut(string(text), "\n")
	if p.FileSecret = NewSecret(strings.TrimSpace(first)); p.FileSecret.IsZero() {
		l.refuseKey(key, "want a file whose first line is the secret")
	}
}
