package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/usher-auth/usher/services/oidc"
)

// maxProviders is how many identity providers there may be: pages show them all.
const maxProviders = 64

// providerKinds are the kinds of identity providers.
var providerKinds = []string{oidc.Generic, oidc.Google, oidc.GitHub, oidc.GitLab, oidc.Microsoft}

// checkOIDC checks the identity providers where people may sign in with them:
// a file may keep unfinished ones while the method is off.
func (l *loader) checkOIDC(c *Config) {
	o := &c.SelfService.Methods.OIDC
	l.checkURL(oidcConfig+".base_redirect_uri", o.Config.BaseRedirectURI, baseURL)
	if !o.signsIn() {
		return
	}
	if n := len(o.Config.Providers); n > maxProviders {
		l.refuseKey(oidcProviders, "want %d at most, not %d", maxProviders, n)
		return
	}
	first := map[string]int{}
	for i := range o.Config.Providers {
		p, key := &o.Config.Providers[i], entry(oidcProviders, i)
		if before, taken := first[p.ID]; taken && p.ID != "" {
			l.refuseKey(key+".id", "another provider%s is called %q too: credentials are told apart by it", l.inLine(entry(oidcProviders, before)+".id"), p.ID)
		} else {
			first[p.ID] = i
		}
		l.checkProvider(key, p, c.Dev)
	}
}

func (l *loader) checkProvider(key string, p *IdentityProvider, plainHTTP bool) {
	if p.ID == "" {
		l.refuseKey(key+".id", "this is needed; it is part of the redirect URL and of each credential, and never changes")
	}
	if p.MapperURL == "" {
		l.refuseKey(key+".mapper_url", "this is needed: file://PATH of Jsonnet that makes an identity of std.extVar('claims')")
	}
	l.checkDomains(key, p)
	if _, err := json.Marshal(p.RequestedClaims); err != nil {
		l.refuseKey(key+".requested_claims", "want what can be written as JSON")
	}
	if s := p.SubjectSource; s != "" && s != oidc.FromUserinfo {
		l.refuseKey(key+".subject_source", "%q is not built: want %s, which is what is done without it", s, oidc.FromUserinfo)
	}
	if p.MicrosoftTenant != "" && p.Provider != oidc.Microsoft {
		l.refuseKey(key+".microsoft_tenant", "only the provider microsoft has tenants")
	}
	if before := len(l.problems); !slices.Contains(providerKinds, p.Provider) {
		l.oneOf(key+".provider", p.Provider, providerKinds...)
		if strings.TrimSpace(p.Provider) != "" && nearest(p.Provider, providerKinds) == "" {
			l.problems[before].Text += "; generic is any OpenID provider with its issuer_url"
		}
		return
	}
	if p.ID == "" || strings.TrimSpace(p.Mapper) == "" {
		return // said
	}
	if err := tryProvider(p.config(), plainHTTP); err != nil {
		l.refuseKey(key+l.keyIn(err), "%w", err)
	}
}

// checkDomains checks the domains whose addresses a provider's word verifies.
func (l *loader) checkDomains(key string, p *IdentityProvider) {
	for i, domain := range p.AuthoritativeFor {
		if domain != "*" && (strings.ContainsAny(domain, "*@/: ") || !strings.Contains(domain, ".")) {
			l.refuseKey(entry(key+".authoritative_for", i), `want a domain such as example.com, or "*" for all, not %q`, domain)
		}
	}
}

// tryProvider tells what is wrong with a provider, as far as it can be told
// without asking it. The error shows no secret.
func tryProvider(p oidc.Config, plainHTTP bool) error {
	sealer, err := oidc.NewSealer(make([]byte, shortestSecret)) // seals nothing
	if err != nil {
		return err
	}
	_, err = oidc.New(oidc.Options{Providers: []oidc.Config{p}, Sealer: sealer, PlainHTTP: plainHTTP})
	if err == nil {
		return nil
	}
	return errors.New(strings.TrimPrefix(strings.TrimPrefix(err.Error(), fmt.Sprintf("oidc provider %s: ", p.ID)), "mapper: "))
}

// keyIn gives the key of a provider that an error begins with, as ".key".
func (l *loader) keyIn(err error) string {
	word, _, _ := strings.Cut(err.Error(), " ")
	if strings.HasPrefix(word, "mapper:") { // with line and column
		return ".mapper_url"
	}
	if l.keys.find(oidcProviders).item.kids[word] != nil {
		return "." + word
	}
	return ""
}

// warnOIDC notes what is dangerous or without effect about identity providers.
func (l *loader) warnOIDC(c *Config) {
	o := &c.SelfService.Methods.OIDC
	switch {
	case o.Enabled && len(o.Config.Providers) == 0:
		l.warn("selfservice.methods.oidc.enabled", "without effect: "+oidcProviders+" names none")
	case !o.Enabled && len(o.Config.Providers) > 0:
		l.warn(oidcProviders, "without effect: selfservice.methods.oidc.enabled is false")
	}
	if !o.signsIn() {
		return
	}
	for i := range o.Config.Providers {
		p, key := &o.Config.Providers[i], entry(oidcProviders, i)
		automatic := p.AccountLinkingMode == oidc.LinkAutomatic
		switch all := slices.Contains(p.AuthoritativeFor, "*"); {
		case all && automatic:
			l.warn(key+".authoritative_for", `"*" with account_linking_mode automatic: whoever gets `+p.ID+` to call an address theirs is signed in to the account that has verified it`)
		case all:
			l.warn(key+".authoritative_for", `"*": every address that `+p.ID+` calls verified counts as verified, of whatever domain; name the domains that are its own`)
		case automatic && len(p.AuthoritativeFor) == 0:
			l.warn(key+".account_linking_mode", "automatic has no effect without authoritative_for: the word of "+p.ID+" verifies no address")
		}
		if p.config().ClientSecret == "" {
			l.warn(key+".client_secret", "not set: this is a public client, which few providers take from a server")
		}
	}
}
