package session_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/session"
)

var wellFormed = regexp.MustCompile(`^ory_s[tc]_[0-9A-Za-z]{32}$`)

func TestNewTokenHasTheContractsForm(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{session.NativePrefix, session.BrowserPrefix} {
		seen := map[string]bool{}
		for range 1000 {
			token := session.NewToken(prefix)
			text := token.Reveal()
			if !strings.HasPrefix(text, prefix) || !wellFormed.MatchString(text) {
				t.Fatalf("NewToken(%q) = %q, want the prefix and 32 letters or digits", prefix, text)
			}
			if seen[text] {
				t.Fatalf("NewToken(%q) gave %q twice", prefix, text)
			}
			seen[text] = true
			if got, want := token.Digest(), session.Digest(sha256.Sum256([]byte(text))); got != want {
				t.Fatalf("Digest() = %s, want the SHA-256 %s", got, want)
			}
		}
	}
}

func TestNewTokenUsesAllLettersEquallyOften(t *testing.T) {
	t.Parallel()
	const tokens, letters = 20_000, 62
	count := map[rune]float64{}
	for range tokens {
		for _, r := range strings.TrimPrefix(session.NewToken(session.NativePrefix).Reveal(), session.NativePrefix) {
			count[r]++
		}
	}
	if len(count) != letters {
		t.Fatalf("%d tokens hold %d different letters, want %d", tokens, len(count), letters)
	}
	expected := float64(tokens*32) / letters
	chi := 0.0
	for _, n := range count {
		chi += (n - expected) * (n - expected) / expected
	}
	// 61 degrees of freedom: mean 61, deviation 11. A letter that is a quarter
	// more likely, as without the rejection of bytes, gives several thousand.
	if chi > 61+7*11 {
		t.Errorf("chi-square of %d letters = %.0f, want about 61", tokens*32, chi)
	}
}

func TestTokenHidesHoweverItIsPrinted(t *testing.T) {
	t.Parallel()
	token := session.NewToken(session.NativePrefix)
	secret := strings.TrimPrefix(token.Reveal(), session.NativePrefix)
	type hidden struct{ token session.Token }
	type shown struct {
		Token   session.Token
		Pointer *session.Token
		List    []session.Token
		ByName  map[string]session.Token
	}
	values := map[string]any{
		"token":   token,
		"pointer": &token,
		"field":   hidden{token},
		"fields":  shown{token, &token, []session.Token{token}, map[string]session.Token{"t": token}},
		"error":   fmt.Errorf("issue %v: %w", token, errors.New("no")),
	}
	for name, value := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %v"} {
			args := []any{value, value}
			check(t, name+" "+verb, secret, fmt.Sprintf(verb, args[:strings.Count(verb, "%")]...))
		}
		encoded, err := json.Marshal(value)
		if err != nil {
			t.Errorf("json.Marshal(%s): %v", name, err)
		}
		check(t, name+" json", secret, string(encoded))
		if encoded, err := xml.Marshal(value); err == nil {
			check(t, name+" xml", secret, string(encoded))
		}
		var out bytes.Buffer
		for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
			slog.New(h).With("with", value).Info("issued", "value", value, slog.Group("group", "value", value))
		}
		check(t, name+" slog", secret, out.String())
	}
	for text, want := range map[string]string{
		fmt.Sprint(token):        "[token]",
		fmt.Sprintf("%q", token): "[token]",
		token.String():           "[token]",
		token.GoString():         "[token]",
	} {
		if text != want {
			t.Errorf("printed token = %q, want %q", text, want)
		}
	}
}

// check fails when printed shows the secret, as text or in hexadecimal.
func check(t *testing.T, how, secret, printed string) {
	t.Helper()
	for _, form := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret)} {
		if strings.Contains(printed, form) {
			t.Errorf("%s shows the token: %s", how, printed)
		}
	}
}

func TestZeroTokenIsEmpty(t *testing.T) {
	t.Parallel()
	var zero session.Token
	if got := zero.Reveal(); got != "" {
		t.Errorf("zero Token.Reveal() = %q, want nothing", got)
	}
	if got := zero.String(); got != "[token]" {
		t.Errorf("zero Token.String() = %q, want [token]", got)
	}
}

func TestParseToken(t *testing.T) {
	t.Parallel()
	letters := "0123456789ABCDEFabcdefGHIJKLmnop"
	for text, ok := range map[string]bool{
		"ory_st_" + letters:               true,
		"ory_sc_" + letters:               true,
		"":                                false,
		"ory_st_":                         false,
		letters:                           false,
		"ory_lo_" + letters:               false,
		"ory_st_ory_sc_" + letters[:25]:   false,
		"ORY_ST_" + letters:               false,
		" ory_st_" + letters:              false,
		"ory_st_" + letters + " ":         false,
		"ory_st_" + letters + "\n":        false,
		"ory_st_" + letters[:31]:          false,
		"ory_st_" + letters + "0":         false,
		"ory_st_" + letters[:31] + "_":    false,
		"ory_st_" + letters[:31] + "\x00": false,
		"ory_st_-" + letters[1:]:          false,
		"ory_st_" + letters[:16] + "é" + letters[18:]: false,
		strings.Repeat("ory_st_", 100_000):            false,
	} {
		token, err := session.ParseToken(text)
		switch {
		case ok && (err != nil || token.Reveal() != text):
			t.Errorf("ParseToken(%q) = %q, %v, want it as it is", text, token.Reveal(), err)
		case !ok && !errors.Is(err, session.ErrNotFound):
			t.Errorf("ParseToken(%.60q) = %v, want ErrNotFound", text, err)
		case !ok && token != session.Token{}:
			t.Errorf("ParseToken(%.60q) gives a token although it is an error", text)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(session.NewToken(session.NativePrefix).Reveal())
	f.Add(session.NewToken(session.BrowserPrefix).Reveal())
	f.Add("ory_st_")
	f.Add("ory_sc_0123456789ABCDEFabcdefGHIJKLmno\xff")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := session.ParseToken(text)
		if want := wellFormed.MatchString(text); want != (err == nil) {
			t.Fatalf("ParseToken(%q) = %v, want accepted: %t", text, err, want)
		}
		if err == nil && token.Reveal() != text {
			t.Fatalf("ParseToken(%q).Reveal() = %q", text, token.Reveal())
		}
	})
}

func BenchmarkNewToken(b *testing.B) {
	for b.Loop() {
		_ = session.NewToken(session.NativePrefix).Digest()
	}
}
