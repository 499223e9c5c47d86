package jsonnet_test

import (
	"testing"

	"github.com/usher-auth/usher/services/jsonnet"
)

// BenchmarkEvaluate is one mapper over the claims of one person.
func BenchmarkEvaluate(b *testing.B) {
	claims := map[string]any{"sub": "1", "email": "a@b.example", "email_verified": true, "name": "A B", "iss": "https://p.example"}
	for name, source := range map[string]string{
		"plain": `local c = std.extVar('claims'); {identity: {traits: {email: c.email}}}`,
		"usual": `local c = {email_verified: false} + std.extVar('claims');
{identity: {traits: {[if 'email' in c && c.email_verified then 'email']: c.email, name: std.get(c, 'name', '')},
  verified_addresses: std.prune([if 'email' in c && c.email_verified then {via: 'email', value: c.email}])}}`,
	} {
		p, err := jsonnet.Compile("mapper", source)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Evaluate("claims", claims); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
