package oidc

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// fetchKeys reads the provider's keys. Those that it publishes for other ends,
// or of kinds that are not known here, are left out.
func (p *Provider) fetchKeys(ctx context.Context) ([]jose.JSONWebKey, error) {
	m, err := p.metadata.get(ctx)
	if err != nil {
		return nil, err
	}
	return p.readKeys(ctx, m.keys)
}

func (p *Provider) readKeys(ctx context.Context, from string) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := p.published(ctx).get("keys", from, &set); err != nil {
		return nil, err
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if json.Unmarshal(raw, &k) == nil && k.IsPublic() && (k.Use == "" || k.Use == "sig") {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, refused("keys", "hold none that can be used")
	}
	return keys, nil
}

// signature checks the signature of one id_token, for the library: that hides
// why it was not accepted, so this keeps it.
type signature struct {
	keys       *cache[[]jose.JSONWebKey]
	algorithms []string
	payload    []byte
	err        error
}

// VerifySignature gives what the token says, if the provider signed it.
func (s *signature) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	s.payload, s.err = s.open(ctx, raw)
	return s.payload, s.err
}

func (s *signature) open(ctx context.Context, raw string) ([]byte, error) {
	var algorithms []jose.SignatureAlgorithm
	for _, name := range s.algorithms {
		algorithms = append(algorithms, jose.SignatureAlgorithm(name))
	}
	token, err := jose.ParseSignedCompact(raw, algorithms)
	if err != nil {
		return nil, refused("id_token", malformed)
	}
	// Without a name, every key of the provider would be tried.
	if token.Signatures[0].Header.KeyID == "" {
		return nil, refused("id_token", "names no key")
	}
	keys, err := s.keys.get(ctx)
	if err != nil {
		return nil, err
	}
	payload, refusal := openWith(keys, token)
	if refusal == nil {
		return payload, nil
	}
	if keys, err = s.keys.renew(ctx); err != nil {
		return nil, err
	}
	return openWith(keys, token)
}

// openWith opens a token with the key that it names.
func openWith(keys []jose.JSONWebKey, token *jose.JSONWebSignature) ([]byte, error) {
	head := token.Signatures[0].Header
	named := slices.IndexFunc(keys, func(k jose.JSONWebKey) bool {
		return k.KeyID == head.KeyID && (k.Algorithm == "" || k.Algorithm == head.Algorithm)
	})
	if named < 0 {
		return nil, refused("id_token", "is signed with a key that the provider does not publish")
	}
	payload, err := token.Verify(keys[named].Key)
	if err != nil {
		return nil, refused("id_token", "signature is not the provider's")
	}
	return payload, nil
}
