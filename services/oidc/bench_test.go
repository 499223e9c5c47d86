package oidc_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/usher-auth/usher/services/oidc"
	"github.com/usher-auth/usher/services/oidc/oidctest"
)

// BenchmarkFinish is what one callback costs here: code exchange, id_token and
// mapper, against a provider in this process whose answers are made before.
// "provider" is that provider alone: what of the others is not ours.
func BenchmarkFinish(b *testing.B) {
	for _, algorithm := range []jose.SignatureAlgorithm{jose.RS256, jose.ES256} {
		key := oidctest.NewKey(b, "first", algorithm)
		set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Private.Public(), KeyID: key.ID, Use: "sig"}}})
		if err != nil {
			b.Fatal(err)
		}
		n := &network{set: string(set)}
		sealer, err := oidc.NewSealer([]byte("a secret of the tests' own"))
		if err != nil {
			b.Fatal(err)
		}
		client, err := oidc.New(oidc.Options{Sealer: sealer, Transport: n, Providers: []oidc.Config{n.config()}})
		if err != nil {
			b.Fatal(err)
		}
		p, _ := client.Provider("own")
		to, a, err := p.Start(b.Context(), request())
		if err != nil {
			b.Fatal(err)
		}
		n.token = `{"access_token":"x","token_type":"Bearer","id_token":"` + key.SignWith(exampleClaims(b, p, query(b, to).Get("nonce"))) + `"}`
		b.Run(string(algorithm), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Finish(b.Context(), a, oidc.Callback{Code: "code"}); err != nil {
					b.Fatal(err)
				}
			}
		})
		if algorithm != jose.RS256 {
			continue
		}
		b.Run("provider", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, "https://provider.example/token", strings.NewReader("code=code"))
				if resp, err := n.RoundTrip(r); err != nil || resp.StatusCode != http.StatusOK {
					b.Fatal(err)
				}
			}
		})
		b.Run("start", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := p.Start(b.Context(), request()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func exampleClaims(b *testing.B, p *oidc.Provider, nonce string) map[string]any {
	b.Helper()
	claims := map[string]any{}
	if err := json.Unmarshal(p.ExampleClaims(), &claims); err != nil {
		b.Fatal(err)
	}
	claims["nonce"], claims["iat"], claims["exp"] = nonce, time.Now().Unix(), time.Now().Add(time.Hour).Unix()
	return claims
}
