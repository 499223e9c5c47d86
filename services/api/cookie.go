package api

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/usher-auth/usher/services/session"
)

// Sealer encrypts and authenticates what the session cookie holds. It is safe
// for concurrent use.
type Sealer struct{ keys []cipher.AEAD }

const (
	minSecret   = 16
	maxCookie   = 512
	sealPurpose = "usher/cookie/session/1"
)

// NewSealer makes a sealer from secrets: the first seals, all of them open.
func NewSealer(secrets ...[]byte) (*Sealer, error) {
	if len(secrets) == 0 {
		return nil, errors.New("no secret for cookies")
	}
	s := &Sealer{}
	for n, secret := range secrets {
		if len(secret) < minSecret {
			return nil, fmt.Errorf("cookie secret %d is shorter than %d bytes", n+1, minSecret)
		}
		key, err := hkdf.Key(sha256.New, secret, nil, sealPurpose, chacha20poly1305.KeySize)
		if err != nil {
			return nil, fmt.Errorf("derive cookie key: %w", err)
		}
		aead, err := chacha20poly1305.NewX(key)
		if err != nil {
			return nil, fmt.Errorf("derive cookie key: %w", err)
		}
		s.keys = append(s.keys, aead)
	}
	return s, nil
}

// seal gives a cookie value that holds a session's token until it expires.
func (s *Sealer) seal(t session.Token, expires time.Time) string {
	return s.sealText(sealPurpose, t.Reveal(), expires)
}

// sealText gives a cookie value that holds a text until it expires. It opens only
// for the same purpose.
func (s *Sealer) sealText(purpose, text string, expires time.Time) string {
	key := s.keys[0]
	nonce := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+8+len(text)+chacha20poly1305.Overhead)
	_, _ = rand.Read(nonce) // never fails, see crypto/rand
	plain := binary.BigEndian.AppendUint64(nil, uint64(expires.Unix()))
	plain = append(plain, text...)
	return base64.RawURLEncoding.EncodeToString(key.Seal(nonce, nonce, plain, []byte(purpose)))
}

// open gives the token in a cookie value, or [session.ErrNotFound] when it was
// not sealed here, was changed, or is over.
func (s *Sealer) open(value string, now time.Time) (session.Token, error) {
	text, ok := s.openText(sealPurpose, value, now)
	if !ok {
		return session.Token{}, session.ErrNotFound
	}
	return session.ParseToken(text)
}

// openText gives the text in a cookie value, false when it was not sealed here for
// this purpose, was changed, or is over.
func (s *Sealer) openText(purpose, value string, now time.Time) (string, bool) {
	if len(value) > maxCookie {
		return "", false
	}
	sealed, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil || len(sealed) < chacha20poly1305.NonceSizeX {
		return "", false
	}
	nonce, sealed := sealed[:chacha20poly1305.NonceSizeX], sealed[chacha20poly1305.NonceSizeX:]
	for _, key := range s.keys {
		plain, err := key.Open(nil, nonce, sealed, []byte(purpose))
		if err != nil {
			continue
		}
		if len(plain) < 8 || now.Unix() >= int64(binary.BigEndian.Uint64(plain)) {
			return "", false
		}
		return string(plain[8:]), true
	}
	return "", false
}

// setCookie sets a cookie that JavaScript cannot read. life counts only for a
// persistent one; below zero it ends the cookie.
func (x *exchange) setCookie(c Cookie, value string, life time.Duration) {
	cookie := http.Cookie{
		Name:     c.Name,
		Value:    value,
		Path:     c.Path,
		Domain:   c.Domain,
		HttpOnly: true,
		Secure:   c.Secure,
		SameSite: c.SameSite,
	}
	if cookie.Path == "" {
		cookie.Path = "/"
	}
	if cookie.SameSite == 0 {
		cookie.SameSite = http.SameSiteLaxMode
	}
	switch {
	case life < 0:
		cookie.MaxAge, cookie.Expires = -1, time.Unix(1, 0)
	case c.Persistent:
		cookie.MaxAge = max(1, int(life.Seconds()))
	}
	http.SetCookie(x.w, &cookie)
}

// clearSession takes the session cookie from the browser.
func (x *exchange) clearSession() {
	x.setCookie(x.settings.SessionCookie, "", -1)
}

// setSession hands the session out as a cookie.
func (x *exchange) setSession(s *session.Session, t session.Token) {
	x.setCookie(x.settings.SessionCookie, x.settings.Cookies.seal(t, s.ExpiresAt), s.ExpiresAt.Sub(x.at))
}
