package oidc

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// Lifetime is how long a sign-in attempt may take.
const Lifetime = 30 * time.Minute

// Client kinds of an attempt.
const (
	Browser = "browser"
	Native  = "native"
)

// Attempt is one sign-in at a provider, from Start to Finish. However it is
// printed, it shows no secret.
type Attempt struct {
	// ID is random. Whoever began the attempt keeps it, in the continuity
	// cookie or with the native flow; a callback must come with the same.
	ID       string
	Flow     string // the flow's id
	FlowType string // registration, login, …
	Provider string
	Client   string // Browser or Native
	Expires  time.Time

	nonce, verifier string
	redirect        string
}

// String shows no secret.
func (a Attempt) String() string { return "[sign-in attempt at " + a.Provider + "]" }

// GoString shows no secret.
func (a Attempt) GoString() string { return a.String() }

// Sealer encrypts and authenticates states. It is safe for concurrent use.
type Sealer struct{ keys []cipher.AEAD }

const (
	minSecret   = 16
	maxState    = 4096
	sealPurpose = "usher/oidc/state/1"
)

// NewSealer makes a sealer from secrets: the first seals, all of them open.
func NewSealer(secrets ...[]byte) (*Sealer, error) {
	if len(secrets) == 0 {
		return nil, errors.New("no secret for states")
	}
	s := &Sealer{}
	for n, secret := range secrets {
		if len(secret) < minSecret {
			return nil, fmt.Errorf("state secret %d is shorter than %d bytes", n+1, minSecret)
		}
		key, err := hkdf.Key(sha256.New, secret, nil, sealPurpose, chacha20poly1305.KeySize)
		if err != nil {
			return nil, fmt.Errorf("derive state key: %w", err)
		}
		aead, err := chacha20poly1305.NewX(key)
		if err != nil {
			return nil, fmt.Errorf("derive state key: %w", err)
		}
		s.keys = append(s.keys, aead)
	}
	return s, nil
}

// sealed is an attempt as a state holds it.
type sealed struct {
	ID       string `json:"i"`
	Flow     string `json:"f"`
	FlowType string `json:"t"`
	Client   string `json:"c"`
	Expires  int64  `json:"e"`
	Nonce    string `json:"n"`
	Verifier string `json:"v,omitempty"`
	Redirect string `json:"r"`
}

func (s *Sealer) seal(a Attempt) (string, error) {
	plain, err := json.Marshal(sealed{a.ID, a.Flow, a.FlowType, a.Client, a.Expires.Unix(), a.nonce, a.verifier, a.redirect})
	if err != nil {
		return "", fmt.Errorf("seal state: %w", err)
	}
	nonce := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+len(plain)+chacha20poly1305.Overhead)
	_, _ = rand.Read(nonce) // never fails, see crypto/rand
	return base64.RawURLEncoding.EncodeToString(s.keys[0].Seal(nonce, nonce, plain, about(a.Provider))), nil
}

// about binds a state to its provider.
func about(provider string) []byte { return []byte(sealPurpose + "\x00" + provider) }

func (s *Sealer) open(state, provider string, now time.Time) (Attempt, error) {
	if len(state) > maxState {
		return Attempt{}, ErrState
	}
	box, err := base64.RawURLEncoding.Strict().DecodeString(state)
	if err != nil || len(box) < chacha20poly1305.NonceSizeX {
		return Attempt{}, ErrState
	}
	nonce, box := box[:chacha20poly1305.NonceSizeX], box[chacha20poly1305.NonceSizeX:]
	for _, key := range s.keys {
		plain, err := key.Open(nil, nonce, box, about(provider))
		if err != nil {
			continue
		}
		var v sealed
		if json.Unmarshal(plain, &v) != nil || now.Unix() >= v.Expires {
			return Attempt{}, ErrState
		}
		return Attempt{
			ID: v.ID, Flow: v.Flow, FlowType: v.FlowType, Provider: provider, Client: v.Client,
			Expires: time.Unix(v.Expires, 0), nonce: v.Nonce, verifier: v.Verifier, redirect: v.Redirect,
		}, nil
	}
	return Attempt{}, ErrState
}
