package oidc

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Kinds of providers.
const (
	Generic   = "generic"
	Google    = "google"
	GitHub    = "github"
	GitLab    = "gitlab"
	Microsoft = "microsoft"
)

// PKCE says whether an attempt is bound by a code verifier.
type PKCE string

// PKCEAuto, the zero value's meaning, follows the provider's discovery document.
const (
	PKCEAuto  PKCE = "auto"
	PKCEForce PKCE = "force"
	PKCENever PKCE = "never"
)

// Linking is the account_linking_mode of a provider.
type Linking string

// LinkConfirmed, the zero value's meaning, links an account once its owner signs
// in to it. LinkAutomatic does so at once where the provider's word verifies an
// address that the account has verified.
const (
	LinkConfirmed Linking = "confirm_with_active_credential"
	LinkAutomatic Linking = "automatic"
)

// Sources of claims; empty is the id_token, and userinfo for gitlab.
const (
	FromIDToken  = "id_token"
	FromUserinfo = "userinfo"
)

// Config is one provider. Presets need ID, Provider, ClientID, ClientSecret
// and Mapper only.
type Config struct {
	ID           string // in the callback's path and in credential identifiers
	Label        string // what people call it; the id if empty
	Provider     string // one of the kinds
	ClientID     string
	ClientSecret string
	// IssuerURL is where discovery begins; gitlab may have one of its own.
	IssuerURL string
	// AuthURL and TokenURL are used in place of the known or discovered ones.
	AuthURL, TokenURL string
	Scope             []string // openid is added where it is needed
	// MicrosoftTenant is a tenant's id or domain, or common, organizations or
	// consumers, for which each tenant is an issuer of its own.
	MicrosoftTenant string
	PKCE            PKCE
	// Mapper is Jsonnet that makes an identity of std.extVar('claims').
	Mapper       string
	ClaimsSource string
	// RequestedClaims is the parameter claims of the authorization request.
	RequestedClaims json.RawMessage
	// AuthoritativeFor lists the domains whose addresses this provider's word
	// verifies, or "*". With none, no address is verified by it.
	AuthoritativeFor []string
	// Linking says what becomes of somebody whose address has an account here.
	Linking Linking
	// UpstreamParameters may be passed on to the provider; nil is
	// [DefaultUpstreamParameters].
	UpstreamParameters []string
}

// DefaultUpstreamParameters gives what a submission may pass on to a provider.
func DefaultUpstreamParameters() []string {
	return []string{"login_hint", "hd", "prompt", "auth_type", "acr_values"}
}

// String shows no secret.
func (c Config) String() string { return fmt.Sprintf("oidc provider %s (%s)", c.ID, c.Provider) }

// GoString shows no secret.
func (c Config) GoString() string { return c.String() }

// preset is what is known of a kind of provider.
type preset struct {
	issuer            string
	authURL, tokenURL string // without discovery
	scope             []string
	pkce              bool // without discovery
	// source is where claims come from unless the configuration says otherwise.
	source string
	// claims makes claims of an access token, for what is not OpenID Connect.
	claims func(fetcher) (map[string]any, error)
	// adapt puts claims into the form that mappers expect.
	adapt func(map[string]any)
}

func (c Config) preset() (preset, error) {
	switch c.Provider {
	case Generic:
		return preset{scope: []string{"openid"}}, nil
	case Google:
		return preset{issuer: "https://accounts.google.com", scope: []string{"openid", "email", "profile"}}, nil
	case GitLab:
		// Its id_tokens hold the address and little else.
		return preset{issuer: "https://gitlab.com", scope: []string{"openid", "email", "profile"}, source: FromUserinfo}, nil
	case Microsoft:
		return preset{
			issuer: microsoftIssuer(c.MicrosoftTenant),
			scope:  []string{"openid", "email", "profile"},
			adapt:  adaptMicrosoft,
		}, nil
	case GitHub:
		return preset{
			authURL:  "https://github.com/login/oauth/authorize",
			tokenURL: "https://github.com/login/oauth/access_token",
			scope:    []string{"read:user", "user:email"},
			pkce:     true,
			claims:   githubClaims,
		}, nil
	}
	return preset{}, fmt.Errorf("provider %q is unknown: use %s", c.Provider,
		strings.Join([]string{Generic, Google, GitHub, GitLab, Microsoft}, ", "))
}

var (
	validID     = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$`)
	validTenant = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9.-]{0,252}$`)
	// ownParameters are set by Start and never taken from a submission.
	ownParameters = []string{
		"client_id", "client_secret", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce",
		"code_challenge", "code_challenge_method", "claims", "request", "request_uri",
	}
)

// complete fills in what the preset knows and refuses what cannot work. Its
// errors show no secret.
func (c Config) complete(plainHTTP bool) (Config, preset, error) {
	known, err := c.preset()
	if err != nil {
		return c, known, err
	}
	if c.IssuerURL == "" {
		c.IssuerURL = known.issuer
	}
	if c.AuthURL == "" {
		c.AuthURL = known.authURL
	}
	if c.TokenURL == "" {
		c.TokenURL = known.tokenURL
	}
	if len(c.Scope) == 0 {
		c.Scope = known.scope
	}
	if known.claims == nil && !slices.Contains(c.Scope, "openid") {
		c.Scope = append([]string{"openid"}, c.Scope...)
	}
	if c.Label == "" {
		c.Label = c.ID
	}
	if c.Linking == "" {
		c.Linking = LinkConfirmed
	}
	if c.PKCE == "" {
		c.PKCE = PKCEAuto
	}
	if c.ClaimsSource == "" {
		c.ClaimsSource = cmp.Or(known.source, FromIDToken)
	}
	if c.UpstreamParameters == nil {
		c.UpstreamParameters = DefaultUpstreamParameters()
	}
	return c, known, c.check(known, plainHTTP)
}

func (c Config) check(known preset, plainHTTP bool) error {
	switch {
	case !validID.MatchString(c.ID):
		return errors.New("id must be 1 to 63 letters, digits, dots, dashes and underscores")
	case c.ClientID == "":
		return errors.New("client_id is missing")
	case known.claims == nil && c.IssuerURL == "":
		return errors.New("issuer_url is missing")
	case c.Provider == Microsoft && !validTenant.MatchString(c.MicrosoftTenant):
		return errors.New("microsoft_tenant is missing or not a tenant")
	case !slices.Contains([]PKCE{PKCEAuto, PKCEForce, PKCENever}, c.PKCE):
		return fmt.Errorf("pkce %q is unknown: use auto, force or never", c.PKCE)
	case c.Linking != LinkConfirmed && c.Linking != LinkAutomatic:
		return fmt.Errorf("account_linking_mode %q is unknown: use %s or %s", c.Linking, LinkConfirmed, LinkAutomatic)
	case c.ClaimsSource != FromIDToken && c.ClaimsSource != FromUserinfo:
		return fmt.Errorf("claims_source %q is unknown: use id_token or userinfo", c.ClaimsSource)
	case len(c.RequestedClaims) > 0 && !json.Valid(c.RequestedClaims):
		return errors.New("requested_claims is not JSON")
	}
	for key, text := range map[string]string{"issuer_url": c.IssuerURL, "auth_url": c.AuthURL, "token_url": c.TokenURL} {
		if text != "" && !usable(text, plainHTTP) {
			return fmt.Errorf("%s must be an https URL (plain http on loopback only)", key)
		}
	}
	for _, name := range c.UpstreamParameters {
		if slices.Contains(ownParameters, name) {
			return fmt.Errorf("upstream parameter %s is set by the attempt itself", name)
		}
	}
	return nil
}

// usable tells whether secrets may be sent to a URL.
func usable(text string, plainHTTP bool) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return false
	}
	if u.Scheme == "https" {
		return true
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "http" && (plainHTTP || u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}
