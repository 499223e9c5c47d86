package oidc

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	malformed = "is malformed or signed with an algorithm that is refused"
	// clockSkew is how far ahead a provider's clock may be; the library allows
	// as much for nbf.
	clockSkew = 5 * time.Minute
)

// verify gives the claims of an id_token that was made for this attempt.
func (p *Provider) verify(ctx context.Context, m *metadata, raw, nonce string) (map[string]any, error) {
	if raw == "" {
		return nil, refused("id_token", "is missing")
	}
	if len(raw) > 2*maxClaims {
		return nil, refused("id_token", errLarge.Error())
	}
	signed := &signature{keys: p.keys, algorithms: m.algorithms}
	token, err := oidc.NewVerifier(m.issuer, signed, &oidc.Config{
		ClientID: p.config.ClientID, Now: p.now, SupportedSigningAlgs: m.algorithms,
		SkipIssuerCheck: p.config.Provider == Microsoft, // microsoftIssued does it
	}).Verify(ctx, raw)
	switch {
	case signed.err != nil:
		return nil, signed.err
	case err != nil:
		return nil, idTokenError(err)
	}
	claims, err := decodeClaims(signed.payload)
	if err != nil {
		return nil, refused("id_token", err.Error())
	}
	if err := p.meant(m, token, claims, nonce); err != nil {
		return nil, err
	}
	return claims, nil
}

// meant checks what the library leaves to its caller: that the token is of this
// attempt, for this client, and can be read in one way only.
func (p *Provider) meant(m *metadata, token *oidc.IDToken, claims map[string]any, nonce string) error {
	said, _ := claims["nonce"].(string)
	if subtle.ConstantTimeCompare([]byte(said), []byte(nonce)) != 1 {
		return refused("id_token", "nonce is not that of the attempt")
	}
	// Names are compared exactly here: a claim Sub must not stand for sub.
	if claims["sub"] != token.Subject || claims["iss"] != token.Issuer {
		return refused("id_token", "sub or iss is missing or ambiguous")
	}
	azp, named := claims["azp"]
	if named && azp != p.config.ClientID || !named && len(token.Audience) > 1 {
		return refused("id_token", "was made for another client")
	}
	if p.config.Provider == Microsoft && !microsoftIssued(m.issuer, claims) {
		return refused("id_token", "was made by another issuer")
	}
	if token.IssuedAt.After(p.now().Add(clockSkew)) {
		return refused("id_token", "was issued in the future")
	}
	return nil
}

// idTokenError says which check of the library failed, without what the token
// says. The library has no other way than its texts to tell some apart; tests
// name each, and what is not known is refused all the same.
func idTokenError(err error) error {
	var expired *oidc.TokenExpiredError
	if errors.As(err, &expired) {
		return refused("id_token", "is expired")
	}
	for part, reason := range map[string]string{
		"issued by a different provider": "was made by another issuer",
		"expected audience":              "was made for another client",
		"before the nbf":                 "is not valid yet",
	} {
		if strings.Contains(err.Error(), part) {
			return refused("id_token", reason)
		}
	}
	return refused("id_token", malformed)
}

var (
	errNoClaims    = errors.New("claims are not an object")
	errTwiceClaims = errors.New("a claim stands there twice")
)

// decodeClaims reads claims that nobody can read in two ways: a name that
// stands there twice is refused.
func decodeClaims(encoded []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(encoded))
	if begin, err := d.Token(); err != nil || begin != json.Delim('{') {
		return nil, errNoClaims
	}
	claims := map[string]any{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, errNoClaims
		}
		text, _ := name.(string)
		if _, twice := claims[text]; twice {
			return nil, errTwiceClaims
		}
		var v any
		if err := d.Decode(&v); err != nil {
			return nil, errNoClaims
		}
		claims[text] = v
	}
	if _, err := d.Token(); err != nil {
		return nil, errNoClaims
	}
	return claims, nil
}
