package oidc

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/usher-auth/usher/services/jsonnet"
)

// Mapped is what the mapper made of the claims. Values that it does not give
// are nil.
type Mapped struct {
	Traits         json.RawMessage `json:"traits"`
	MetadataPublic json.RawMessage `json:"metadata_public"`
	MetadataAdmin  json.RawMessage `json:"metadata_admin"`
	// VerifiedAddresses are only those that this provider's word verifies.
	VerifiedAddresses []Address `json:"verified_addresses"`
}

// Address is one that the mapper calls verified.
type Address struct {
	Via   string `json:"via"`
	Value string `json:"value"`
}

// CheckMapper tells what is wrong with a mapper's source.
func CheckMapper(source string) error {
	_, err := jsonnet.Compile("mapper", source)
	return err
}

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
	mapped := *result.Identity
	if len(mapped.Traits) > 0 && mapped.Traits[0] != '{' {
		return Mapped{}, &fault{"mapper", "traits are not an object", ErrMapper}
	}
	mapped.VerifiedAddresses = slices.DeleteFunc(mapped.VerifiedAddresses, func(a Address) bool { return !p.vouches(a, claims) })
	return mapped, nil
}

// vouches tells whether this provider's word verifies an address: it is
// authoritative for the domain, and does not call the address unverified.
func (p *Provider) vouches(a Address, claims map[string]any) bool {
	if slices.Contains(p.config.AuthoritativeFor, "*") {
		return a.Value != "" && !unverified(a, claims)
	}
	at := strings.LastIndexByte(a.Value, '@')
	if a.Via != "email" || at < 1 {
		return false
	}
	return slices.ContainsFunc(p.config.AuthoritativeFor, func(domain string) bool {
		return strings.EqualFold(domain, a.Value[at+1:])
	}) && !unverified(a, claims)
}

// unverified tells whether an address is the claim email without
// email_verified. Some providers write that as a string.
func unverified(a Address, claims map[string]any) bool {
	email, _ := claims["email"].(string)
	says := claims["email_verified"]
	return strings.EqualFold(strings.TrimSpace(email), strings.TrimSpace(a.Value)) && says != true && says != "true"
}
