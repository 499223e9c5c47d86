package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"
)

// Check asks the provider about itself afresh, maps claims and says what is
// wrong. Without claims it maps those of [Provider.ExampleClaims]. What cannot be
// had is a problem in the report, not an error.
func (p *Provider) Check(ctx context.Context, claims json.RawMessage) Report {
	r := p.newReport()
	if p.known.claims != nil {
		r.PKCE = pkceReport(p.config.PKCE, p.known.pkce)
		r.UserinfoURL, r.ClientAuth = p.api()+"/user", "client_secret_post"
	} else {
		p.checkDiscovery(ctx, &r)
	}
	if len(claims) == 0 {
		claims = p.ExampleClaims()
	}
	p.checkMapper(&r, claims)
	return r
}

// checkDiscovery says all that is wrong with a discovery document, where a
// sign-in stops at the first thing.
func (p *Provider) checkDiscovery(ctx context.Context, r *Report) {
	r.Discovery = p.documentURL()
	var d document
	if err := p.published(ctx).get("discovery", r.Discovery, &d); err != nil {
		r.problem("discovery: "+reason(err), "the document is looked for at "+r.Discovery+
			": see that issuer_url is right, and that this machine may call it (name resolution, firewall, clients.http.disallow_private_ip_ranges)")
		return
	}
	m := p.preset()
	m.adopt(d, p.config)
	r.Issuer, r.UserinfoURL, r.SupportsIss = brief(d.Issuer), brief(d.Userinfo), d.Iss
	r.AuthorizationURL, r.TokenURL = brief(m.oauth.Endpoint.AuthURL), brief(m.oauth.Endpoint.TokenURL)
	p.checkIssuer(r, d)
	p.checkEndpoints(r, m, d)
	p.checkAbilities(r, d)
	p.checkClientAuth(r, m, d)
	if p.reachable(d.Keys) {
		p.checkKeys(ctx, r, d)
	}
}

func (p *Provider) checkIssuer(r *Report, d document) {
	if p.announced(d.Issuer) {
		return
	}
	hint := "issuer_url must be written as the provider writes it: " + r.Issuer
	if strings.TrimSuffix(d.Issuer, "/") == strings.TrimSuffix(p.config.IssuerURL, "/") {
		hint += "; they differ in the slash at the end"
	} else if p.config.Provider == Microsoft {
		hint = "microsoft_tenant must be the tenant's id or domain, common, organizations or consumers"
	}
	r.problem(fmt.Sprintf("the provider calls itself %q, and issuer_url is %q", r.Issuer, p.config.IssuerURL), hint)
}

func (p *Provider) checkEndpoints(r *Report, m *metadata, d document) {
	endpoints := []struct{ name, url string }{
		{"authorization_endpoint", m.oauth.Endpoint.AuthURL},
		{"token_endpoint", m.oauth.Endpoint.TokenURL},
		{"jwks_uri", d.Keys},
		{"userinfo_endpoint", d.Userinfo},
	}
	for _, e := range endpoints {
		switch {
		case e.url == "" && e.name == "userinfo_endpoint":
			if p.config.ClaimsSource == FromUserinfo {
				r.problem("claims_source is userinfo, and the provider has no userinfo_endpoint", "use claims_source: id_token")
			}
		case e.url == "":
			r.problem("discovery names no "+e.name, "is this an OpenID Connect provider?")
		case !p.reachable(e.url):
			r.problem(e.name+" is not an https URL: "+brief(e.url), "secrets and tokens are sent over TLS only, except to loopback")
		}
	}
}

func (p *Provider) checkAbilities(r *Report, d document) {
	r.PKCE = pkceReport(p.config.PKCE, slices.Contains(d.Challenges, "S256"))
	if p.config.PKCE == PKCEForce && !slices.Contains(d.Challenges, "S256") {
		r.problem("pkce is force, and the provider does not say that it supports S256", "a provider that ignores the challenge protects nothing by it; use pkce: auto if it refuses it")
	}
	if len(d.Scopes) > 0 {
		for _, scope := range p.config.Scope {
			if !slices.Contains(d.Scopes, scope) {
				r.problem("scope "+scope+" is not one that the provider supports", "it supports "+brief(strings.Join(d.Scopes, ", ")))
			}
		}
	}
	safe := safeAlgorithms(d.Algorithms)
	if len(d.Algorithms) > 0 && !slices.Contains(d.Algorithms, safe[0]) {
		r.problem("the provider signs id_tokens with "+brief(strings.Join(d.Algorithms, ", "))+" only", "let it sign with RS256 or ES256: shared secrets and unsigned tokens prove nothing")
	}
}

func (p *Provider) checkClientAuth(r *Report, m *metadata, d document) {
	r.ClientAuth = "client_secret_post"
	switch {
	case p.config.ClientSecret == "":
		r.ClientAuth = "none"
	case m.oauth.Endpoint.AuthStyle == oauth2.AuthStyleInHeader:
		r.ClientAuth = "client_secret_basic"
	}
	if len(d.AuthMethods) == 0 || slices.Contains(d.AuthMethods, r.ClientAuth) {
		return
	}
	hint := "of these, client_secret_basic, client_secret_post and none (without client_secret) are spoken here"
	if r.ClientAuth == "none" {
		hint = "client_secret is not set"
	}
	r.problem("the provider knows clients by "+brief(strings.Join(d.AuthMethods, ", "))+", not by "+r.ClientAuth, hint)
}

func (p *Provider) checkKeys(ctx context.Context, r *Report, d document) {
	keys, err := p.readKeys(ctx, d.Keys)
	if err != nil {
		r.problem("keys: "+reason(err), "without the keys at jwks_uri no id_token can be checked")
		return
	}
	unnamed := 0
	for _, k := range keys {
		r.Keys = append(r.Keys, KeyReport{brief(k.KeyID), keyAlgorithm(k)})
		if k.KeyID == "" {
			unnamed++
		}
	}
	if unnamed == len(keys) {
		r.problem("no key of the provider has a name (kid)", "id_tokens must name the key that signed them")
	}
}

// keyAlgorithm is what the key is for, or the kind of key.
func keyAlgorithm(k jose.JSONWebKey) string {
	if k.Algorithm != "" {
		return brief(k.Algorithm)
	}
	var kind struct {
		Type  string `json:"kty"`
		Curve string `json:"crv"`
	}
	encoded, err := k.MarshalJSON()
	if err != nil || json.Unmarshal(encoded, &kind) != nil {
		return "unknown"
	}
	return strings.TrimSpace(kind.Type + " " + kind.Curve)
}

func (p *Provider) checkMapper(r *Report, encoded json.RawMessage) {
	claims, err := decodeClaims(encoded)
	if err != nil {
		r.problem("the given claims cannot be read: "+err.Error(), "claims are one JSON object, as in an id_token")
		return
	}
	if _, ok := subjectOf(claims); !ok {
		r.problem("claims: sub is missing, empty or too long", "sub names the person at the provider and is part of the credential's identifier")
	}
	if p.known.adapt != nil {
		p.known.adapt(claims)
	}
	if r.Claims, err = json.Marshal(claims); err != nil || len(r.Claims) > maxClaims {
		r.Claims = nil
		r.problem("claims: are over 64 KiB", "")
		return
	}
	mapped, err := p.mapClaims(claims)
	if err != nil {
		r.problem("mapper: "+reason(err), `it must give {identity: {traits: {…}}} for std.extVar('claims'); guard claims that may be missing: if 'email' in claims then claims.email`)
		return
	}
	traits := strings.TrimSpace(string(mapped.Traits))
	if empty := traits == "" || traits == "{}" || traits == "null"; empty && len(claims) > 1 && claims["email"] != nil { // whoever has none is asked
		r.problem("mapper: gives no traits of these claims", "without traits, everybody has to fill in the form")
	}
	p.checkAddresses(r, &mapped, claims)
	r.Mapped = &mapped
}

// checkAddresses keeps in mapped those that count, as an account has them.
func (p *Provider) checkAddresses(r *Report, mapped *Mapped, claims map[string]any) {
	all := mapped.VerifiedAddresses
	mapped.VerifiedAddresses = nil
	for _, a := range all {
		why := p.doubt(a, claims)
		switch {
		case why == "":
			mapped.VerifiedAddresses = append(mapped.VerifiedAddresses, a)
			continue
		case unverified(a, claims):
			r.problem("the mapper calls an address verified that the claims do not: email_verified is not true",
				"give verified_addresses only where claims.email_verified is true")
		}
		r.Unvouched = append(r.Unvouched, Unvouched{a.Via, a.Value, why})
	}
}

// reason is what a fault says.
func reason(err error) string {
	var f *fault
	if !errors.As(err, &f) {
		return "broke down"
	}
	return f.reason
}

// brief bounds what a provider says about itself, for a report.
func brief(text string) string {
	const most = 300
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
