package oidc_test

import (
	"testing"

	"github.com/usher-auth/usher/services/oidc"
	"github.com/usher-auth/usher/services/oidc/oidctest"
)

// Whatever a mapper makes of an address, the provider's word stays what it is.
func TestMappedAddressIsVerified(t *testing.T) {
	t.Parallel()
	const all, domain = "*", "b.example"
	for name, tc := range map[string]struct {
		authoritative string
		email         string
		verified      bool
		address       string // Jsonnet
		want          int
	}{
		"lower-cased":            {all, "A@B.Example", true, `{via: 'email', value: std.asciiLower(claims.email)}`, 1},
		"lower-cased unverified": {all, "A@B.Example", false, `{via: 'email', value: std.asciiLower(claims.email)}`, 0},
		"trimmed unverified":     {all, " a@b.example\t", false, `{via: 'email', value: 'a@b.example'}`, 0},
		"padded unverified":      {all, "a@b.example", false, `{via: 'email', value: ' a@b.example '}`, 0},
		"another than the claim": {all, "a@b.example", false, `{via: 'email', value: 'other@b.example'}`, 1},
		"number":                 {all, "a@b.example", true, `{via: 'sms', value: '+4915112345678'}`, 1},
		"no e-mail address":      {domain, "a@b.example", true, `{via: 'sms', value: claims.email}`, 0},
		"nothing":                {all, "a@b.example", true, `{via: 'email', value: ''}`, 0},
		"domain alone":           {domain, "a@b.example", true, `{via: 'email', value: '@b.example'}`, 0},
		"quoted local part":      {domain, `"a@c.example"@b.example`, true, `{via: 'email', value: claims.email}`, 1},
		"domain is quoted":       {domain, `"a@b.example"@c.example`, true, `{via: 'email', value: claims.email}`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := oidctest.New(t)
			own.Claims = map[string]any{"email": tc.email, "email_verified": tc.verified}
			c := config(own)
			c.AuthoritativeFor = []string{tc.authoritative}
			c.Mapper = `local claims = std.extVar('claims'); {identity: {traits: {}, verified_addresses: [` + tc.address + `]}}`
			a, err := signIn(t, provider(t, oidc.Options{}, c))
			if err != nil {
				t.Fatal(err)
			}
			if got := len(a.Identity.VerifiedAddresses); got != tc.want {
				t.Errorf("%d addresses are verified, want %d", got, tc.want)
			}
		})
	}
}
