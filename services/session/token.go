package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
)

// Token is a session's secret. However it is printed or encoded it shows as
// "[token]"; only Reveal gives the text, where it is handed to the client.
type Token struct{ text *string }

// Digest is the SHA-256 of a token's text: all that the bus and the store know of it.
type Digest [sha256.Size]byte

// Prefixes of the two kinds of session token (S44).
const (
	NativePrefix  = "ory_st_"
	BrowserPrefix = "ory_sc_"
)

const (
	tokenLetters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	tokenLength  = 32
)

// NewToken makes a token of 190 random bits behind the given prefix.
func NewToken(prefix string) Token {
	text := make([]byte, 0, len(prefix)+tokenLength)
	text = append(text, prefix...)
	var random [2 * tokenLength]byte
	for len(text) < len(prefix)+tokenLength {
		_, _ = rand.Read(random[:]) // never fails, see crypto/rand
		for _, b := range random {
			// 248 is the largest multiple of 62 in a byte: above it letters would not be equally likely.
			if b < 248 && len(text) < len(prefix)+tokenLength {
				text = append(text, tokenLetters[b%62])
			}
		}
	}
	s := string(text)
	return Token{text: &s}
}

// ParseToken checks the form of a token that a client presented. Only a well
// formed one is worth a look into the store.
func ParseToken(text string) (Token, error) {
	rest, native := strings.CutPrefix(text, NativePrefix)
	if !native {
		var browser bool
		if rest, browser = strings.CutPrefix(text, BrowserPrefix); !browser {
			return Token{}, ErrNotFound
		}
	}
	if len(rest) != tokenLength || strings.Trim(rest, tokenLetters) != "" {
		return Token{}, ErrNotFound
	}
	return Token{text: &text}, nil
}

// Reveal gives the text of the token; empty for the zero Token.
func (t Token) Reveal() string {
	if t.text == nil {
		return ""
	}
	return *t.text
}

// Digest is what the store knows the token by.
func (t Token) Digest() Digest { return sha256.Sum256([]byte(t.Reveal())) }

// String hides the token.
func (Token) String() string { return "[token]" }

// GoString hides the token.
func (Token) GoString() string { return "[token]" }

// Format hides the token whatever the verb.
func (Token) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[token]")) }

// LogValue hides the token.
func (Token) LogValue() slog.Value { return slog.StringValue("[token]") }

// MarshalJSON hides the token.
func (Token) MarshalJSON() ([]byte, error) { return []byte(`"[token]"`), nil }

// String is the digest in hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }
