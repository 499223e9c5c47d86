package api

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/session"
)

// An app cannot see what the system browser gets at the end of a sign-in at a
// provider. It holds one half of a code since its flow began, the browser brings
// it the other, and both together give the session once. Of the halves only
// digests are stored, and the token is sealed by the second one: who reads the
// database cannot open it.

// newCode makes one half of a code: 52 characters, 260 bits.
func newCode() string { return rand.Text() + rand.Text() }

const exchangePurpose = "usher/token-exchange/1"

// codeKey is the key that a token is sealed with. It seals one text, so its nonce
// is zero.
func codeKey(code string) ([]byte, error) {
	return hkdf.Key(sha256.New, []byte(code), nil, exchangePurpose, chacha20poly1305.KeySize)
}

func sealToken(t session.Token, code string) ([]byte, error) {
	key, err := codeKey(code)
	if err != nil {
		return nil, fmt.Errorf("seal token: %w", err)
	}
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		return nil, fmt.Errorf("seal token: %w", err)
	}
	return aead.Seal(nil, make([]byte, chacha20poly1305.NonceSize), []byte(t.Reveal()), []byte(exchangePurpose)), nil
}

func openToken(sealed []byte, code string) (session.Token, error) {
	key, err := codeKey(code)
	if err != nil {
		return session.Token{}, fmt.Errorf("open token: %w", err)
	}
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		return session.Token{}, fmt.Errorf("open token: %w", err)
	}
	plain, err := aead.Open(nil, make([]byte, chacha20poly1305.NonceSize), sealed, []byte(exchangePurpose))
	if err != nil {
		return session.Token{}, errNoExchange
	}
	return session.ParseToken(string(plain))
}

// handOver sends the system browser back to the app, with the half of the code
// that opens its session; a token of nobody opens none.
func (s *Server) handOver(x *exchange, f *flow.Flow, end flow.Kind, t session.Token) error {
	ended := *f
	ended.Kind = end
	return s.returnCode(x, &ended, &t)
}

// returnCode sends the system browser back to the app. Without a token the app
// gets the flow for its codes, which says what is wrong.
func (s *Server) returnCode(x *exchange, f *flow.Flow, t *session.Token) error {
	code := newCode()
	var sealed []byte
	if t != nil && t.Reveal() != "" {
		var err error
		if sealed, err = sealToken(*t, code); err != nil {
			return err
		}
	}
	if err := s.Flows.SaveExchange(x.r.Context(), f.ID, digest(code), sealed); err != nil {
		return fmt.Errorf("save exchange: %w", err)
	}
	x.redirect(http.StatusSeeOther, withQuery(x.settings.after(f.Kind, f.ReturnTo, identity.MethodOIDC), "code", code))
	return nil
}

// exchangeToken gives an app its session for both halves of its code.
func (s *Server) exchangeToken(x *exchange) error {
	first, second := x.query("init_code"), x.query("return_to_code")
	if first == "" || second == "" {
		return refuse("init_code and return_to_code are both needed")
	}
	f, sealed, err := s.Flows.TakeExchange(x.r.Context(), digest(first), digest(second))
	if errors.Is(err, flow.ErrNotFound) {
		return errNoExchange
	}
	if err != nil {
		return fmt.Errorf("take exchange: %w", err)
	}
	if sealed == nil {
		if f.Form.Empty() && f.Link == nil {
			return errNoExchange
		}
		return s.show(x, http.StatusUnprocessableEntity, f, nil)
	}
	token, err := openToken(sealed, second)
	if err != nil {
		return err
	}
	found, i, err := s.Finder.SessionByDigest(x.r.Context(), token.Digest())
	if errors.Is(err, session.ErrNotFound) || err == nil && !found.Active(x.at) {
		return errNoExchange
	}
	if err != nil {
		return fmt.Errorf("exchanged session: %w", err)
	}
	return x.encode(http.StatusOK, struct {
		Token   string      `json:"session_token"`
		Session sessionView `json:"session"`
	}{token.Reveal(), viewSession(found, x.settings.viewIdentity(i), x.at)})
}
