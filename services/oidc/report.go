package oidc

import "encoding/json"

// Report is what [Provider.Check] found. It holds no secret.
type Report struct {
	Provider         string      `json:"provider"`
	Kind             string      `json:"kind"`
	Discovery        string      `json:"discovery"` // the document's URL, or "none" for plain OAuth 2.0
	Issuer           string      `json:"issuer,omitempty"`
	AuthorizationURL string      `json:"authorization_url,omitempty"`
	TokenURL         string      `json:"token_url,omitempty"`
	UserinfoURL      string      `json:"userinfo_url,omitempty"`
	Scopes           []string    `json:"scopes"`
	PKCE             PKCEReport  `json:"pkce"`
	ClientAuth       string      `json:"client_auth,omitempty"`
	Keys             []KeyReport `json:"keys"`
	SupportsIss      bool        `json:"supports_iss"` // callbacks name the issuer, RFC 9207
	ClaimsSource     string      `json:"claims_source"`
	// Claims are those that were mapped, Mapped what became of them: nil if the
	// mapper failed. Its VerifiedAddresses are those that count.
	Claims    json.RawMessage `json:"claims,omitempty"`
	Mapped    *Mapped         `json:"mapped,omitempty"`
	Unvouched []Unvouched     `json:"unvouched"`
	Problems  []Problem       `json:"problems"`
}

// OK tells whether no problem was found.
func (r Report) OK() bool { return len(r.Problems) == 0 }

// PKCEReport says whether attempts are bound by a code verifier.
type PKCEReport struct {
	On  bool   `json:"on"`
	Why string `json:"why"`
}

// KeyReport is a key that id_tokens may be signed with. Algorithm is the kind of
// key where the provider names none.
type KeyReport struct {
	ID        string `json:"id"`
	Algorithm string `json:"algorithm"`
}

// Unvouched is an address that the mapper calls verified and that this
// provider's word does not verify.
type Unvouched struct {
	Via    string `json:"via"`
	Value  string `json:"value"`
	Reason string `json:"reason"`
}

// Problem is something that is wrong, and what may help.
type Problem struct {
	Problem string `json:"problem"`
	Hint    string `json:"hint,omitempty"`
}

// String is the problem with its hint.
func (p Problem) String() string {
	if p.Hint == "" {
		return p.Problem
	}
	return p.Problem + " (" + p.Hint + ")"
}

func (r *Report) problem(problem, hint string) {
	r.Problems = append(r.Problems, Problem{problem, hint})
}

const plainOAuth = "none"

// newReport says what is known without asking anybody.
func (p *Provider) newReport() Report {
	c := p.config
	return Report{
		Provider: c.ID, Kind: c.Provider, Discovery: plainOAuth, AuthorizationURL: c.AuthURL, TokenURL: c.TokenURL,
		Scopes: c.Scope, ClaimsSource: c.ClaimsSource, Keys: []KeyReport{}, Unvouched: []Unvouched{}, Problems: []Problem{},
	}
}

// pkceReport says what comes of the setting and of what the provider announces.
func pkceReport(setting PKCE, announced bool) PKCEReport {
	switch {
	case setting == PKCEForce:
		return PKCEReport{true, "pkce is force"}
	case setting == PKCENever:
		return PKCEReport{false, "pkce is never"}
	case announced:
		return PKCEReport{true, "the provider supports S256"}
	}
	return PKCEReport{false, "the provider does not say that it supports S256"}
}
