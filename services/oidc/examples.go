package oidc

import (
	"encoding/json"
	"maps"
)

// ExampleClaims are claims as a provider of this kind gives them, of nobody that
// there is. The address is in the first domain that the provider is
// authoritative for.
func (p *Provider) ExampleClaims() json.RawMessage {
	domain := "example.com"
	if of := p.config.AuthoritativeFor; len(of) > 0 && of[0] != "*" {
		domain = of[0]
	}
	claims := map[string]any{
		"sub": "248289761001", "email": "jane.doe@" + domain, "email_verified": true, "name": "Jane Doe",
	}
	if p.known.claims == nil {
		maps.Copy(claims, map[string]any{"iss": p.config.IssuerURL, "aud": p.config.ClientID})
	}
	maps.Copy(claims, exampleOf(p.config.Provider))
	encoded, err := json.Marshal(claims)
	if err != nil {
		return nil // strings and booleans always encode
	}
	return encoded
}

// exampleOf are the claims that only this kind of provider gives, or gives
// otherwise.
func exampleOf(kind string) map[string]any {
	switch kind {
	case Google:
		return map[string]any{
			"sub": "113901234567890123456", "given_name": "Jane", "family_name": "Doe",
			"picture": "https://lh3.googleusercontent.com/a/example", "hd": "example.com",
		}
	case GitHub:
		return map[string]any{
			"sub": "583231", "nickname": "janedoe", "preferred_username": "janedoe", "updated_at": 1767225600,
			"picture": "https://avatars.githubusercontent.com/u/583231", "profile": "https://github.com/janedoe",
		}
	case GitLab:
		return map[string]any{
			"sub": "1234567", "nickname": "janedoe", "preferred_username": "janedoe", "groups_direct": []string{"example"},
			"picture": "https://gitlab.com/uploads/-/system/user/avatar/1234567/avatar.png", "profile": "https://gitlab.com/janedoe",
		}
	case Microsoft:
		const tenant = "9188040d-6c67-4c5b-b112-36a304b66dad"
		return map[string]any{
			"sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ", "oid": "00000000-0000-0000-66f3-3332eca7ea81",
			"tid": tenant, "iss": microsoftIssuer(tenant), "preferred_username": "jane.doe@example.com", "xms_edov": true,
		}
	}
	return map[string]any{"given_name": "Jane", "family_name": "Doe", "preferred_username": "janedoe"}
}
