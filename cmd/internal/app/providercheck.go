package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/oidc"
)

// ProviderChecks look at the identity providers of a configuration, without a
// running server. They are safe for concurrent use.
type ProviderChecks struct {
	cfg       *config.Config
	providers *oidc.Client
	schema    *identity.Schema
}

// ProviderReport is what is known of one identity provider, and what is wrong.
type ProviderReport struct {
	oidc.Report
	// RedirectURL is what must be registered at the provider.
	RedirectURL string `json:"redirect_uri"`
	// Asked are the nodes of traits that the mapper does not give: the person
	// fills them in.
	Asked []string `json:"asked"`
}

// NewProviderChecks compiles what the providers of a configuration need; it
// calls none of them.
func NewProviderChecks(cfg *config.Config) (*ProviderChecks, error) {
	schemas, err := compileSchemas(cfg)
	if err != nil {
		return nil, err
	}
	c := &ProviderChecks{cfg: cfg}
	c.schema, _ = schemas.Schema(cfg.Identity.DefaultSchemaID)
	c.providers, err = newProviders(sealed(cfg))
	return c, err
}

// sealed gives a configuration with cookie secrets: made up where it has none, as
// in development before the first start, for what seals nothing that anybody gets.
func sealed(cfg *config.Config) *config.Config {
	copied := *cfg
	if len(cfg.Secrets.Cookie) == 0 {
		copied.Secrets.Cookie = []config.Secret{config.NewSecret(rand.Text())}
	}
	return &copied
}

// Run asks providers about themselves, all at once, and maps claims, or examples
// of them if there are none. What is wrong is in the reports; the error says that
// there is no such provider.
func (c *ProviderChecks) Run(ctx context.Context, ids []string, claims json.RawMessage) ([]ProviderReport, error) {
	reports := make([]ProviderReport, len(ids))
	var all sync.WaitGroup
	defer all.Wait()
	for n, id := range ids {
		p, ok := c.providers.Provider(id)
		if !ok {
			return nil, fmt.Errorf("no identity provider has the id %q", id)
		}
		all.Go(func() { reports[n] = c.report(ctx, p, claims) })
	}
	all.Wait()
	return reports, ctx.Err()
}

func (c *ProviderChecks) report(ctx context.Context, p *oidc.Provider, claims json.RawMessage) ProviderReport {
	r := ProviderReport{Report: p.Check(ctx, claims), RedirectURL: c.cfg.OIDCRedirectURL(p.ID()), Asked: []string{}}
	if base := c.cfg.OIDCRedirectBase(); strings.HasPrefix(base, "http://") && !c.cfg.Dev {
		r.problem("redirect_uri is plain HTTP", "set serve.public.base_url to what browsers use: codes and sessions would pass in the clear")
	}
	if r.Mapped != nil {
		c.checkTraits(&r)
	}
	return r
}

// checkTraits holds what the mapper gives against the identity schema.
func (c *ProviderChecks) checkTraits(r *ProviderReport) {
	for _, v := range c.schema.Check(r.Mapped.Traits) {
		if v.Rule == "required" {
			r.Asked = append(r.Asked, v.Node)
			continue
		}
		r.problem(fmt.Sprintf("traits: %s breaks the rule %q of identity schema %s", v.Node, v.Rule, c.schema.ID()), hintOf(v))
	}
	addresses, _ := c.schema.Extract(r.Mapped.Traits)
	for _, verified := range r.Mapped.VerifiedAddresses {
		canonical, err := identity.Canonical(verified.Value)
		if err != nil {
			canonical = verified.Value
		}
		if !slices.ContainsFunc(addresses, func(a identity.Address) bool { return a.Value == canonical }) {
			r.problem("verified_addresses: "+verified.Value+" is no address of the identity", "the mapper must give it as a trait too, one that the identity schema marks as identifier or address")
		}
	}
}

// hintOf says what to do about a broken rule.
func hintOf(v identity.Violation) string {
	if v.Rule == "unknown" {
		return "leave it out of the mapper, or let the schema know it"
	}
	return "people are shown the form with the mapped value to mend it: better let the mapper give what the schema takes, or nothing"
}

func (r *ProviderReport) problem(problem, hint string) {
	r.Problems = append(r.Problems, oidc.Problem{Problem: problem, Hint: hint})
}
