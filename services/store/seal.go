package store

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

// sealer seals the keys with secrets that stand outside the database.
type sealer struct{ secrets []cipher.AEAD }

func newSealer(secrets []string) (*sealer, error) {
	if len(secrets) == 0 {
		return nil, errors.New("open store: secrets.cipher is empty")
	}
	s := &sealer{}
	for _, secret := range secrets {
		key, err := hkdf.Key(sha256.New, []byte(secret), nil, "usher keys", chacha20poly1305.KeySize)
		if err != nil {
			return nil, fmt.Errorf("open store: %w", err)
		}
		aead, err := chacha20poly1305.NewX(key)
		if err != nil {
			return nil, fmt.Errorf("open store: %w", err)
		}
		s.secrets = append(s.secrets, aead)
	}
	return s, nil
}

func (s *sealer) seal(plain, about []byte) []byte { return seal(s.secrets[0], plain, about) }

// open also tells whether it took a former secret.
func (s *sealer) open(sealed, about []byte) (plain []byte, former bool, err error) {
	for i, secret := range s.secrets {
		if plain, err := open(secret, sealed, about); err == nil {
			return plain, i > 0, nil
		}
	}
	return nil, false, ErrSecret
}

// seal gives nonce ‖ ciphertext. What it is about is bound to it and not in it.
func seal(aead cipher.AEAD, plain, about []byte) []byte {
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	_, _ = rand.Read(nonce) // never fails, see crypto/rand
	return aead.Seal(nonce, nonce, plain, about)
}

func open(aead cipher.AEAD, sealed, about []byte) ([]byte, error) {
	if len(sealed) < aead.NonceSize() {
		return nil, errors.New("sealed data is too short")
	}
	nonce, ciphertext := sealed[:aead.NonceSize()], sealed[aead.NonceSize():]
	return aead.Open(nil, nonce, ciphertext, about)
}
