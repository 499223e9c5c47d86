package api

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/oidc"
	"github.com/usher-auth/usher/services/session"
)

// An app cannot see what comes of a sign-in at a provider in the system browser,
// and that browser proves nothing but that somebody came by: the link may have been
// sent to them. So nothing happens there. The app holds one half of a code since its
// flow began, the browser brings it the other, and only who has both halves signs in,
// registers or links. What the provider has proven waits in the flow, once, sealed by
// the second half: who reads the database cannot open it.

// newCode makes one half of a code: 52 characters, 260 bits.
func newCode() string { return rand.Text() + rand.Text() }

const exchangePurpose = "usher/token-exchange/1"

// codeCipher seals what waits for a code. Its key seals one text, so the nonce is
// zero.
func codeCipher(code string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(code), nil, exchangePurpose, chacha20poly1305.KeySize)
	if err != nil {
		return nil, fmt.Errorf("key of a code: %w", err)
	}
	return chacha20poly1305.New(key)
}

// proof is what a provider has proven, for the app that asks.
type proof struct {
	Account *oidc.Account `json:"account"`
	Attempt *flow.Attempt `json:"attempt"`
	Granted bool          `json:"granted"`
	At      time.Time     `json:"at"`
}

// handOver sends the system browser back to the app, with the half of the code that
// opens what is proven.
func (s *Server) handOver(x *exchange, b back) error {
	return s.returnCode(x, b.flow, &proof{b.account, b.flow.Attempt, b.granted, x.at})
}

// returnCode is handOver with a proof, or without: then the flow says to the app
// what is wrong.
func (s *Server) returnCode(x *exchange, f *flow.Flow, p *proof) error {
	code := newCode()
	var sealed []byte
	if p != nil {
		plain, err := json.Marshal(p)
		if err != nil {
			return fmt.Errorf("seal proof: %w", err)
		}
		aead, err := codeCipher(code)
		if err != nil {
			return err
		}
		sealed = aead.Seal(nil, make([]byte, chacha20poly1305.NonceSize), plain, []byte(exchangePurpose))
	}
	if err := s.Flows.SaveExchange(x.r.Context(), f.ID, digest(code), sealed); err != nil {
		return fmt.Errorf("save exchange: %w", err)
	}
	x.redirect(http.StatusSeeOther, withQuery(x.settings.after(f.Kind, f.ReturnTo, identity.MethodOIDC), "code", code))
	return nil
}

// exchangeToken goes on where the callback of an app's flow has ended, for both
// halves of its code.
func (s *Server) exchangeToken(x *exchange) error {
	first, second := x.query("init_code"), x.query("return_to_code")
	if first == "" || second == "" {
		return refuse("init_code and return_to_code are both needed")
	}
	f, sealed, err := s.Flows.TakeExchange(x.r.Context(), digest(first), digest(second))
	switch {
	case errors.Is(err, flow.ErrNotFound):
		return errNoExchange
	case err != nil:
		return fmt.Errorf("take exchange: %w", err)
	case sealed == nil:
		return s.show(x, http.StatusUnprocessableEntity, f, nil)
	}
	b, err := s.opened(x, f, sealed, second)
	switch {
	case err != nil:
		return err
	case f.Expired(x.at):
		return s.past(x, b)
	}
	return s.enter(x, b)
}

// opened is who is proven to be back.
func (s *Server) opened(x *exchange, f *flow.Flow, sealed []byte, code string) (b back, err error) {
	aead, err := codeCipher(code)
	if err != nil {
		return b, err
	}
	var p proof
	plain, err := aead.Open(nil, make([]byte, chacha20poly1305.NonceSize), sealed, []byte(exchangePurpose))
	if err != nil || json.Unmarshal(plain, &p) != nil || p.Account == nil || p.Attempt == nil {
		return b, errNoExchange
	}
	if x.at.Sub(p.At) > linkLife { // what is linked was proven a moment ago
		return b, errNoExchange
	}
	b = back{flow: f, granted: p.Granted, account: p.Account}
	f.Attempt = p.Attempt
	if b.provider, err = x.provider(p.Attempt.Provider); err != nil {
		return b, err
	}
	if f.Refresh {
		b.current, err = s.current(x)
	}
	return b, err
}

// exchanged gives an app its session.
func (s *Server) exchanged(x *exchange, found *session.Session, i *identity.Identity, t session.Token) error {
	return x.encode(http.StatusOK, struct {
		Token   string      `json:"session_token"`
		Session sessionView `json:"session"`
	}{t.Reveal(), viewSession(found, x.settings.viewIdentity(i), x.at)})
}
