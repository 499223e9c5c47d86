package oidc

import (
	"encoding/json"
	"slices"
	"strings"
)

// Mapped is what the mapper made of the claims. Values that it does not give
// are nil.
type Mapped struct {
	Traits         json.RawMessage `json:"traits"`
	MetadataPublic json.RawMessage `json:"metadata_public,omitempty"`
	MetadataAdmin  json.RawMessage `json:"metadata_admin,omitempty"`
	// VerifiedAddresses are only those that this provider's word verifies.
	VerifiedAddresses []Address `json:"verified_addresses"`
}

// Address is one that the mapper calls verified.
type Address struct {
	Via   string `json:"via"`
	Value string `json:"value"`
}

// mapClaims makes an identity of claims, with all the addresses that the mapper
// calls verified.
func (p *Provider) mapClaims(claims map[string]any) (Mapped, error) {
	out, err := p.mapper.Evaluate("claims", claims)
	if err != nil {
		// The interpreter's errors name a line and show nothing of the claims.
		return Mapped{}, &fault{"mapper", strings.TrimPrefix(err.Error(), "mapper: "), ErrMapper}
	}
	var result struct {
		Identity *Mapped `json:"identity"`
	}
	if json.Unmarshal(out, &result) != nil || result.Identity == nil {
		return Mapped{}, &fault{"mapper", "gives no identity", ErrMapper}
	}
	if traits := result.Identity.Traits; len(traits) > 0 && traits[0] != '{' {
		return Mapped{}, &fault{"mapper", "traits are not an object", ErrMapper}
	}
	return *result.Identity, nil
}

// doubt says why this provider's word does not verify an address, or nothing:
// it has to be authoritative for the domain, and not call the address unverified.
func (p *Provider) doubt(a Address, claims map[string]any) string {
	at := strings.LastIndexByte(a.Value, '@')
	authoritative := slices.ContainsFunc(p.config.AuthoritativeFor, func(domain string) bool {
		return domain == "*" && a.Value != "" || a.Via == "email" && at > 0 && strings.EqualFold(domain, a.Value[at+1:])
	})
	switch {
	case !authoritative:
		return "the provider is not authoritative for this domain"
	case unverified(a, claims):
		return "email_verified is not true"
	}
	return ""
}

// unverified tells whether an address is the claim email without
// email_verified. Some providers write that as a string.
func unverified(a Address, claims map[string]any) bool {
	email, _ := claims["email"].(string)
	says := claims["email_verified"]
	return strings.EqualFold(strings.TrimSpace(email), strings.TrimSpace(a.Value)) && says != true && says != "true"
}
