package password

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// Algorithm is how new passwords are hashed: [Argon2id] or [Bcrypt]. What the
// other one made is still verified, and so are scrypt and PBKDF2 of other systems.
type Algorithm interface {
	// MaxLength is the longest password in bytes, for [Policy].
	MaxLength() int
	hash(text string) (string, error)
	// made tells whether a hash is one that hash would make: same form, same cost.
	made(hash string) bool
	check() error
}

// What is hashed and verified at most; more would hold a worker for too long, or
// take the memory of the process. They are the same whatever new hashes are made
// with, so that a change of the configuration locks nobody out.
const (
	maxMemory      = 256 << 10 // KiB
	maxWork        = 1 << 20   // KiB that all iterations go over, about a second
	maxIterations  = 16
	maxParallelism = 64
	maxKeyLength   = 128
	maxCost        = 16
)

const bcryptMaxLength = 72

// Argon2id hashes into PHC strings. Zero fields are 19 MiB, 2, 1, 16 and 32.
type Argon2id struct {
	Memory      uint32 // in KiB
	Iterations  uint32
	Parallelism uint8
	SaltLength  uint32 // in bytes
	KeyLength   uint32 // in bytes
}

// MaxLength is the longest password that makes sense.
func (Argon2id) MaxLength() int { return defaultMaxLength }

func (a Argon2id) check() error {
	return a.filled().bounds()
}

func (a Argon2id) filled() Argon2id {
	if a.Memory == 0 {
		a.Memory = 19 << 10
	}
	if a.Iterations == 0 {
		a.Iterations = 2
	}
	if a.Parallelism == 0 {
		a.Parallelism = 1
	}
	if a.SaltLength == 0 {
		a.SaltLength = 16
	}
	if a.KeyLength == 0 {
		a.KeyLength = 32
	}
	return a
}

// bounds refuses parameters that the algorithm does not know or that take too much.
func (a Argon2id) bounds() error {
	switch {
	case a.Memory < 8*uint32(a.Parallelism) || a.Memory > maxMemory:
		return fmt.Errorf("argon2id: memory of %d KiB is not between 8 per lane and %d", a.Memory, maxMemory)
	case a.Iterations < 1 || a.Iterations > maxIterations:
		return fmt.Errorf("argon2id: %d iterations are not between 1 and %d", a.Iterations, maxIterations)
	case a.Memory*a.Iterations > maxWork:
		return fmt.Errorf("argon2id: %d iterations over %d KiB are more than %d KiB in all", a.Iterations, a.Memory, maxWork)
	case a.Parallelism < 1 || a.Parallelism > maxParallelism:
		return fmt.Errorf("argon2id: parallelism of %d is not between 1 and %d", a.Parallelism, maxParallelism)
	case a.SaltLength < 8 || a.SaltLength > maxKeyLength:
		return fmt.Errorf("argon2id: salt of %d bytes is not between 8 and %d", a.SaltLength, maxKeyLength)
	case a.KeyLength < 16 || a.KeyLength > maxKeyLength:
		return fmt.Errorf("argon2id: key of %d bytes is not between 16 and %d", a.KeyLength, maxKeyLength)
	}
	return nil
}

func (a Argon2id) hash(text string) (string, error) {
	a = a.filled()
	salt := make([]byte, a.SaltLength)
	_, _ = rand.Read(salt) // never fails, see crypto/rand
	key := argon2.IDKey([]byte(text), salt, a.Iterations, a.Memory, a.Parallelism, a.KeyLength)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, a.Memory, a.Iterations, a.Parallelism,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key)), nil
}

func (a Argon2id) made(hash string) bool {
	by, _, _, err := parseArgon2id(hash)
	return err == nil && by == a.filled()
}

// parseArgon2id reads a PHC string. One whose parameters are above what is
// verified is [ErrCostlyHash].
func parseArgon2id(phc string) (a Argon2id, salt, key []byte, err error) {
	bad := func() (Argon2id, []byte, []byte, error) { return Argon2id{}, nil, nil, ErrUnknownHash }
	parts := strings.Split(phc, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return bad()
	}
	var memory, iterations, parallelism uint64
	n, err := fmt.Sscanf(parts[3]+"$", "m=%d,t=%d,p=%d$", &memory, &iterations, &parallelism)
	if err != nil || n != 3 {
		return bad()
	}
	if salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil {
		return bad()
	}
	if key, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil {
		return bad()
	}
	if memory > maxMemory || iterations > maxIterations || memory*iterations > maxWork || parallelism > maxParallelism {
		return Argon2id{}, nil, nil, ErrCostlyHash
	}
	a = Argon2id{
		Memory: uint32(memory), Iterations: uint32(iterations), Parallelism: uint8(parallelism),
		SaltLength: uint32(min(len(salt), maxKeyLength+1)), KeyLength: uint32(min(len(key), maxKeyLength+1)),
	}
	if a.bounds() != nil {
		return bad()
	}
	return a, salt, key, nil
}

// Bcrypt hashes into the modular crypt form. A zero Cost is 12.
type Bcrypt struct{ Cost int }

// MaxLength is all that bcrypt looks at.
func (Bcrypt) MaxLength() int { return bcryptMaxLength }

func (b Bcrypt) filled() Bcrypt {
	if b.Cost == 0 {
		b.Cost = 12
	}
	return b
}

func (b Bcrypt) check() error {
	if b = b.filled(); b.Cost < bcrypt.MinCost || b.Cost > maxCost {
		return fmt.Errorf("bcrypt: cost %d is not between %d and %d", b.Cost, bcrypt.MinCost, maxCost)
	}
	return nil
}

func (b Bcrypt) hash(text string) (string, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(text), b.filled().Cost)
	if errors.Is(err, bcrypt.ErrPasswordTooLong) {
		return "", ErrTooLong
	}
	return string(hash), err
}

// made takes all versions of the form for one: they differ in errors of other
// programs that none of the hashes here can have.
func (b Bcrypt) made(hash string) bool {
	if recogniseBcrypt(hash) != nil {
		return false
	}
	cost, err := bcrypt.Cost([]byte(hash))
	return err == nil && cost == b.filled().Cost
}

// Recognise gives [ErrUnknownHash] or [ErrCostlyHash] for a hash that
// [Pool.Verify] would not judge.
func Recognise(hash string) error {
	if strings.HasPrefix(hash, "$argon2id$") {
		_, _, _, err := parseArgon2id(hash)
		return err
	}
	if _, known, err := parseForeign(hash); known {
		return err
	}
	return recogniseBcrypt(hash)
}

func recogniseBcrypt(hash string) error {
	const length = 60
	if len(hash) != length || (!strings.HasPrefix(hash, "$2a$") && !strings.HasPrefix(hash, "$2b$") && !strings.HasPrefix(hash, "$2y$")) {
		return ErrUnknownHash
	}
	cost, err := bcrypt.Cost([]byte(hash))
	switch {
	case err != nil:
		return ErrUnknownHash
	case cost > maxCost:
		return ErrCostlyHash
	}
	return nil
}

// verify compares in constant time.
func verify(text, hash string) error {
	if strings.HasPrefix(hash, "$argon2id$") {
		a, salt, want, err := parseArgon2id(hash)
		if err != nil {
			return err
		}
		got := argon2.IDKey([]byte(text), salt, a.Iterations, a.Memory, a.Parallelism, a.KeyLength)
		if subtle.ConstantTimeCompare(got, want) != 1 {
			return ErrMismatch
		}
		return nil
	}
	if f, known, err := parseForeign(hash); known {
		if err != nil {
			return err
		}
		return f.verify(text)
	}
	if err := recogniseBcrypt(hash); err != nil {
		return err
	}
	// bcrypt would look at the first bytes only. A longer password is wrong, but
	// that takes as long as any: else the time would tell that there is a hash.
	differs := bcrypt.CompareHashAndPassword([]byte(hash), []byte(text[:min(len(text), bcryptMaxLength)])) != nil
	if differs || len(text) > bcryptMaxLength {
		return ErrMismatch
	}
	return nil
}
