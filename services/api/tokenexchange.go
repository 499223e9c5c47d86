package api

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/uuid"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/login"
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

// outcome is what an app gets for its code: a session, that there is an account
// without one, or where an address waits to be verified.
type outcome struct {
	Token        string    `json:"token,omitempty"`
	Registered   bool      `json:"registered,omitempty"`
	Verification uuid.UUID `json:"verification,omitzero"`
	Address      string    `json:"address,omitempty"`
}

func (r outcome) seal(code string) ([]byte, error) {
	if r == (outcome{}) {
		return nil, nil
	}
	plain, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("seal outcome: %w", err)
	}
	key, err := codeKey(code)
	if err != nil {
		return nil, fmt.Errorf("seal outcome: %w", err)
	}
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		return nil, fmt.Errorf("seal outcome: %w", err)
	}
	return aead.Seal(nil, make([]byte, chacha20poly1305.NonceSize), plain, []byte(exchangePurpose)), nil
}

func openOutcome(sealed []byte, code string) (r outcome, err error) {
	key, err := codeKey(code)
	if err != nil {
		return r, fmt.Errorf("open outcome: %w", err)
	}
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		return r, fmt.Errorf("open outcome: %w", err)
	}
	plain, err := aead.Open(nil, make([]byte, chacha20poly1305.NonceSize), sealed, []byte(exchangePurpose))
	if err != nil {
		return r, errNoExchange
	}
	return r, json.Unmarshal(plain, &r)
}

// handOver sends the system browser back to the app, with the half of the code
// that opens what a flow has ended in. Where that is nothing the app gets the flow
// for its codes, which says what is wrong.
func (s *Server) handOver(x *exchange, f *flow.Flow, end flow.Kind, r outcome) error {
	code := newCode()
	sealed, err := r.seal(code)
	if err != nil {
		return err
	}
	if err := s.Flows.SaveExchange(x.r.Context(), f.ID, digest(code), sealed); err != nil {
		return fmt.Errorf("save exchange: %w", err)
	}
	x.redirect(http.StatusSeeOther, withQuery(x.settings.after(end, f.ReturnTo, identity.MethodOIDC), "code", code))
	return nil
}

// exchangeToken gives an app what its flow has ended in, for both halves of its code.
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
	r, err := openOutcome(sealed, second)
	if err != nil {
		return err
	}
	switch {
	case r.Token != "":
	case r.Registered:
		return errOnlyRegistered
	default:
		opened := &flow.Flow{ID: r.Verification, Kind: flow.Verification, Type: flow.API}
		return x.unverified(&login.Unverified{Flow: opened, Address: r.Address}, false)
	}
	token, err := session.ParseToken(r.Token)
	if err != nil {
		return fmt.Errorf("exchanged token: %w", err)
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
