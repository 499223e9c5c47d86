package api_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/session"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 123456000, time.UTC)

func TestCookieOpensUntilItExpires(t *testing.T) {
	t.Parallel()
	s, err := api.NewSealer([]byte("first secret, long enough"))
	if err != nil {
		t.Fatal(err)
	}
	token := session.NewToken(session.BrowserPrefix)
	value := s.Seal(token, noon.Add(time.Hour))
	if strings.Contains(value, token.Reveal()) {
		t.Errorf("Seal shows the token: %s", value)
	}
	if got, err := s.Open(value, noon.Add(59*time.Minute)); err != nil || got.Reveal() != token.Reveal() {
		t.Errorf("Open before the end = %q, %v, want the token", got.Reveal(), err)
	}
	for _, at := range []time.Time{noon.Add(time.Hour), noon.Add(48 * time.Hour)} {
		if _, err := s.Open(value, at); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("Open at %v = %v, want %v", at, err, session.ErrNotFound)
		}
	}
	if again := s.Seal(token, noon.Add(time.Hour)); again == value {
		t.Error("Seal gives the same text twice, want a new nonce each time")
	}
}

func TestCookieSecretsRotate(t *testing.T) {
	t.Parallel()
	former, current := []byte("former secret of cookies"), []byte("current secret of cookies")
	before, _ := api.NewSealer(former)
	after, _ := api.NewSealer(current, former)
	gone, _ := api.NewSealer(current)
	token := session.NewToken(session.BrowserPrefix)
	value := before.Seal(token, noon.Add(time.Hour))
	if got, err := after.Open(value, noon); err != nil || got.Reveal() != token.Reveal() {
		t.Errorf("Open with the former secret listed = %v, want the token", err)
	}
	if _, err := gone.Open(value, noon); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("Open with the former secret gone = %v, want %v", err, session.ErrNotFound)
	}
	if got, err := gone.Open(after.Seal(token, noon.Add(time.Hour)), noon); err != nil || got.Reveal() != token.Reveal() {
		t.Errorf("Open of what the first secret sealed = %v, want the token", err)
	}
}

func TestCookieChangedAnywhereIsRefused(t *testing.T) {
	t.Parallel()
	s, _ := api.NewSealer([]byte("a secret that is long enough"))
	value := s.Seal(session.NewToken(session.BrowserPrefix), noon.Add(time.Hour))
	for n := range len(value) - 1 { // the last letter has bits that say nothing
		for _, letter := range "AQgw" {
			changed := value[:n] + string(letter) + value[n+1:]
			if changed == value {
				continue
			}
			if _, err := s.Open(changed, noon); !errors.Is(err, session.ErrNotFound) {
				t.Fatalf("Open with letter %d changed = %v, want %v", n, err, session.ErrNotFound)
			}
		}
		if _, err := s.Open(value[:n], noon); !errors.Is(err, session.ErrNotFound) {
			t.Fatalf("Open of the first %d letters = %v, want %v", n, err, session.ErrNotFound)
		}
	}
}

func TestShortSecretsAreRefused(t *testing.T) {
	t.Parallel()
	for _, secrets := range [][][]byte{nil, {[]byte("short")}, {[]byte("long enough, surely"), nil}} {
		if _, err := api.NewSealer(secrets...); err == nil {
			t.Errorf("NewSealer(%q): no error", secrets)
		}
	}
}

func FuzzCookie(f *testing.F) {
	s, _ := api.NewSealer([]byte("a secret that is long enough"), []byte("another secret, long enough"))
	f.Add(s.Seal(session.NewToken(session.BrowserPrefix), noon.Add(time.Hour))[1:])
	f.Add(strings.Repeat("A", 32))
	f.Add("")
	f.Fuzz(func(t *testing.T, value string) {
		if token, err := s.Open(value, noon); err == nil {
			t.Errorf("Open(%q) = %s, want nothing that was not sealed", value, token.Reveal())
		}
	})
}
