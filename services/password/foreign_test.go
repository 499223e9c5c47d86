package password_test

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/password"
)

// phc writes a hash of others; the key is in hexadecimal digits.
func phc(t *testing.T, name, parameters, salt, key string) string {
	t.Helper()
	raw, err := hex.DecodeString(strings.ReplaceAll(key, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("$%s$%s$%s$%s", name, parameters, base64.RawStdEncoding.EncodeToString([]byte(salt)), base64.RawStdEncoding.EncodeToString(raw))
}

// The vectors of RFC 7914 (scrypt, PBKDF2 with SHA-256) and RFC 6070 (with SHA-1).
func TestHashesOfOthers(t *testing.T) {
	t.Parallel()
	pool, err := password.NewPool(password.PoolOptions{}, password.Argon2id{Memory: 64, Iterations: 1})
	if err != nil {
		t.Fatal(err)
	}
	const scrypt1024 = "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"
	for name, c := range map[string]struct{ text, hash string }{
		"scrypt by its logarithm": {"password", phc(t, "scrypt", "ln=10,r=8,p=16", "NaCl", scrypt1024)},
		"scrypt by its cost":      {"password", phc(t, "scrypt", "ln=1024,r=8,p=16", "NaCl", scrypt1024)},
		"scrypt, padded":          {"password", phc(t, "scrypt", "ln=10,r=8,p=16", "NaCl", scrypt1024) + "=="},
		"pbkdf2-sha256":           {"passwd", phc(t, "pbkdf2-sha256", "i=1,l=64", "salt", "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783")},
		"pbkdf2-sha256, many":     {"Password", phc(t, "pbkdf2-sha256", "i=80000,l=64", "NaCl", "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56a1d425a1225833549adb841b51c9b3176a272bdebba1d078478f62b397f33c8d")},
		"pbkdf2 (SHA-1)":          {"password", phc(t, "pbkdf2", "i=4096,l=20", "salt", "4b007901b765489abead49d926f721d065a429c1")},
		"Passlib's parameters":    {"password", phc(t, "pbkdf2-sha1", "4096", "salt", "4b007901b765489abead49d926f721d065a429c1")},
	} {
		if err := password.Recognise(c.hash); err != nil {
			t.Errorf("%s: Recognise = %v", name, err)
		}
		if err := pool.Verify(t.Context(), password.New(c.text), c.hash); err != nil {
			t.Errorf("%s: Verify = %v, want nil", name, err)
		}
		if err := pool.Verify(t.Context(), password.New(c.text+"x"), c.hash); !errors.Is(err, password.ErrMismatch) {
			t.Errorf("%s: Verify of another = %v, want %v", name, err, password.ErrMismatch)
		}
		if !pool.Outdated(c.hash) {
			t.Errorf("%s: is not outdated", name)
		}
	}
}

// A hash must not be able to take the machine, however it is written.
func TestHashesOfOthersThatAreRefused(t *testing.T) {
	t.Parallel()
	const key = "000102030405060708090a0b0c0d0e0f"
	for want, hashes := range map[error][]string{
		password.ErrCostlyHash: {
			phc(t, "scrypt", "ln=22,r=8,p=1", "salt", key), phc(t, "scrypt", "ln=14,r=8,p=17", "salt", key), phc(t, "scrypt", "ln=18,r=16,p=1", "salt", key), phc(t, "scrypt", "ln=1,r=1048576,p=1", "salt", key),
			phc(t, "scrypt", "ln=4,r=18446744073709551615,p=2", "salt", key), phc(t, "scrypt", "ln=9223372036854775808,r=8,p=1", "salt", key),
			phc(t, "pbkdf2-sha256", "i=4000001,l=16", "salt", key), phc(t, "pbkdf2-sha1", "i=18446744073709551615,l=16", "salt", key),
		},
		nil: { // as much as may be
			phc(t, "scrypt", "ln=17,r=8,p=2", "salt", key), phc(t, "pbkdf2-sha256", "i=4000000,l=16", "salt", key),
		},
		password.ErrUnknownHash: {
			phc(t, "scrypt", "ln=0,r=8,p=1", "salt", key), phc(t, "scrypt", "ln=1000,r=8,p=1", "salt", key), phc(t, "scrypt", "ln=14,r=0,p=1", "salt", key),
			phc(t, "scrypt", "ln=14,r=8,p=1,x=1", "salt", key), phc(t, "scrypt", "ln=14,r=8,p=1", "salt", key[:30]), "$scrypt$ln=14,r=8,p=1$salt", "$scrypt$",
			phc(t, "pbkdf2-sha256", "i=0,l=16", "salt", key), phc(t, "pbkdf2-sha256", "i=1,l=17", "salt", key), phc(t, "pbkdf2-sha256", "l=16", "salt", key),
			phc(t, "pbkdf2-md5", "i=1,l=16", "salt", key), "$pbkdf2-sha256$i=1,l=16$$" + "AAECAwQFBgcICQoLDA0ODw", "$pbkdf2-sha256$i=1,l=16$c2FsdA$!",
		},
	} {
		for _, hash := range hashes {
			if err := password.Recognise(hash); !errors.Is(err, want) {
				t.Errorf("Recognise(%q) = %v, want %v", hash, err, want)
			}
		}
	}
}
