package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
)

// hidden is what a secret shows of itself.
const hidden = "[secret]"

// Secret is a text that does not show however it is printed or encoded.
type Secret struct{ text *string }

// NewSecret hides a text.
func NewSecret(text string) Secret { return Secret{text: &text} }

// Reveal gives the text; empty for the zero Secret.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero tells YAML's omitempty whether there is no secret.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// Format hides the secret whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.shown())) }

// LogValue hides the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.shown()) }

// MarshalText hides the secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.shown()), nil }

// UnmarshalText takes the text.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}

func (s Secret) shown() string {
	if s.Reveal() == "" {
		return ""
	}
	return hidden
}

// Address is a URL that may hold a password, or be one as a whole. However it
// is printed or encoded it shows scheme and host, and the path of a file.
type Address struct{ text *string }

// NewAddress hides what a URL may hold.
func NewAddress(text string) Address { return Address{text: &text} }

// Reveal gives the URL; empty for the zero Address.
func (a Address) Reveal() string {
	if a.text == nil {
		return ""
	}
	return *a.text
}

// Scheme gives what stands before "://", or the whole of a text without it.
func (a Address) Scheme() string {
	scheme, _, _ := strings.Cut(a.Reveal(), "://")
	return scheme
}

// SameServer tells whether two URLs differ in nothing but their user and password.
func (a Address) SameServer(other Address) bool { return a.anonymous() == other.anonymous() }

// anonymous is the URL without user and password. It may have several hosts.
func (a Address) anonymous() string {
	scheme, rest, ok := strings.Cut(a.Reveal(), "://")
	if !ok || scheme == "sqlite" {
		return a.Reveal()
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	return scheme + "://" + rest[strings.LastIndex(rest[:end], "@")+1:]
}

// IsZero tells YAML's omitempty whether there is no URL.
func (a Address) IsZero() bool { return a.Reveal() == "" }

// Format shows scheme and host whatever the verb.
func (a Address) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(a.shown())) }

// LogValue shows scheme and host.
func (a Address) LogValue() slog.Value { return slog.StringValue(a.shown()) }

// MarshalText shows scheme and host.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.shown()), nil }

// UnmarshalText takes the URL.
func (a *Address) UnmarshalText(text []byte) error {
	*a = NewAddress(string(text))
	return nil
}

func (a Address) shown() string {
	text := a.Reveal()
	switch text {
	case "", "memory":
		return text
	}
	if path, ok := strings.CutPrefix(text, "sqlite://"); ok {
		path, _, _ = strings.Cut(path, "?")
		return "sqlite://" + path
	}
	if filepath.IsAbs(text) {
		return text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return hidden
	}
	return u.Scheme + "://" + u.Host + "/" + hidden
}

// Size is a number of bytes, written such as "19MB"; the units are powers of 1024.
type Size uint64

// Units of sizes.
const (
	KB Size = 1 << 10
	MB Size = 1 << 20
	GB Size = 1 << 30
)

var units = []struct {
	name string
	size Size
}{{"GB", GB}, {"MB", MB}, {"KB", KB}, {"B", 1}}

var errSize = errors.New("want a size such as 19MB")

// UnmarshalText reads a whole number and a unit.
func (s *Size) UnmarshalText(text []byte) error {
	for _, u := range units {
		digits, ok := strings.CutSuffix(strings.ToUpper(string(text)), u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 32)
		if err != nil {
			return errSize
		}
		*s = Size(n) * u.size
		return nil
	}
	return errSize
}

// MarshalText writes the size in the largest unit that gives a whole number.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String is the text of MarshalText.
func (s Size) String() string {
	for _, u := range units {
		if s != 0 && s%u.size == 0 {
			return fmt.Sprintf("%d%s", s/u.size, u.name)
		}
	}
	return "0B"
}
