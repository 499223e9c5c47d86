package password

import (
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // what others have hashed with it is verified, and hashed anew
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"hash"
	"math/bits"
	"strings"

	"golang.org/x/crypto/scrypt"
)

// Hashes that are only verified: people bring them from elsewhere, and they are made
// anew at the next login. Their forms are those of the PHC format, as Kratos and
// Passlib write them.

// What a hash of others may cost at most, about a second.
const (
	maxScryptWork = 1 << 21   // cost × block size × parallelism
	maxIterated   = 4_000_000 // iterations × blocks
)

// foreign is a hash that can be verified, with its parameters inside.
type foreign struct {
	want   []byte
	derive func(text string) ([]byte, error)
}

func (f foreign) verify(text string) error {
	got, err := f.derive(text)
	switch {
	case err != nil:
		return fmt.Errorf("password: %w", err)
	case subtle.ConstantTimeCompare(got, f.want) != 1:
		return ErrMismatch
	}
	return nil
}

// parseForeign reads a hash of [parseScrypt] or [parsePBKDF2]; known tells whether it
// is one of them at all.
func parseForeign(phc string) (f foreign, known bool, err error) {
	parts := strings.Split(phc, "$")
	if len(parts) < 2 || parts[0] != "" {
		return foreign{}, false, nil
	}
	name := parts[1]
	digest, iterated := digests[name]
	if name != "scrypt" && !iterated {
		return foreign{}, false, nil
	}
	if len(parts) != 5 {
		return foreign{}, true, ErrUnknownHash
	}
	salt, err := decode(parts[3])
	if err != nil {
		return foreign{}, true, err
	}
	key, err := decode(parts[4])
	if err != nil || len(key) < 16 {
		return foreign{}, true, ErrUnknownHash
	}
	if iterated {
		f, err = parsePBKDF2(digest, parts[2], salt, key)
	} else {
		f, err = parseScrypt(parts[2], salt, key)
	}
	return f, true, err
}

// parseScrypt reads ln=…,r=…,p=… (RFC 7914). ln is the logarithm of the cost, and in
// what Kratos writes the cost itself: no logarithm is as high.
func parseScrypt(parameters string, salt, key []byte) (foreign, error) {
	var ln, r, p uint64
	if n, err := fmt.Sscanf(parameters+"$", "ln=%d,r=%d,p=%d$", &ln, &r, &p); err != nil || n != 3 || ln < 1 || r < 1 || p < 1 {
		return foreign{}, ErrUnknownHash
	}
	cost := ln
	if ln < 32 {
		cost = 1 << ln
	}
	if bits.OnesCount64(cost) != 1 {
		return foreign{}, ErrUnknownHash
	}
	// Each factor is bounded before they are multiplied: none of the products overflows.
	// It takes 128 bytes of memory for each unit of the second.
	if cost > maxScryptWork || r > maxScryptWork || p > maxScryptWork || r*(cost+2+p) > 8*maxMemory || cost*r*p > maxScryptWork {
		return foreign{}, ErrCostlyHash
	}
	return foreign{key, func(text string) ([]byte, error) {
		return scrypt.Key([]byte(text), salt, int(cost), int(r), int(p), len(key))
	}}, nil
}

// digests are those of PBKDF2, by the names of hashes.
var digests = map[string]func() hash.Hash{
	"pbkdf2": sha1.New, "pbkdf2-sha1": sha1.New, "pbkdf2-sha224": sha256.New224, "pbkdf2-sha256": sha256.New,
	"pbkdf2-sha384": sha512.New384, "pbkdf2-sha512": sha512.New,
}

// parsePBKDF2 reads i=…,l=… (RFC 8018), or the iterations alone.
func parsePBKDF2(digest func() hash.Hash, parameters string, salt, key []byte) (foreign, error) {
	var iterations, length uint64
	if n, err := fmt.Sscanf(parameters+"$", "i=%d,l=%d$", &iterations, &length); err != nil || n != 2 {
		if n, err := fmt.Sscanf(parameters+"$", "%d$", &iterations); err != nil || n != 1 {
			return foreign{}, ErrUnknownHash
		}
		length = uint64(len(key))
	}
	if iterations < 1 || length != uint64(len(key)) {
		return foreign{}, ErrUnknownHash
	}
	blocks := uint64((len(key) + digest().Size() - 1) / digest().Size())
	if iterations > maxIterated || iterations*blocks > maxIterated {
		return foreign{}, ErrCostlyHash
	}
	return foreign{key, func(text string) ([]byte, error) {
		return pbkdf2.Key(digest, text, salt, int(iterations), len(key))
	}}, nil
}

// decode reads base64 with or without its padding, of Passlib's alphabet too.
func decode(text string) ([]byte, error) {
	b, err := base64.RawStdEncoding.DecodeString(strings.ReplaceAll(strings.TrimRight(text, "="), ".", "+"))
	if err != nil || len(b) == 0 || len(b) > maxKeyLength {
		return nil, ErrUnknownHash
	}
	return b, nil
}
