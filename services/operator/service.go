package operator

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/password"
)

// Service knows the operators and where they are signed in. Its limits and what it
// remembers are this process's own. It is safe for concurrent use.
type Service struct {
	Store Store
	// Passwords hashes for operators only: those who register must not be able to
	// keep them out.
	Passwords Passwords
	// Tokens are those of the admin listener, NewToken makes the text of one.
	Tokens   Tokens
	NewToken func() string
	Now      func() time.Time
	// Trouble is told what broke and changed no answer; Observe of each try to sign
	// in: "ok", "wrong", "busy" or "error". Nil is fine for both.
	Trouble func(error)
	Observe func(outcome string)

	names, clients, tales tries
	recent                recent
}

// Digest is the SHA-256 of a secret; only that is stored.
type Digest = [sha256.Size]byte

// Store keeps operators and their sessions. Events that tell of a change are stored
// with it, or not at all.
type Store interface {
	// Operators gives all of them by name.
	Operators(ctx context.Context) ([]Operator, error)
	// Operator gives an operator and their password in PHC form, empty if they have
	// none, or [ErrNotFound].
	Operator(ctx context.Context, name string) (Operator, string, error)
	// AddOperator stores one who is not set up and the digest of their link, or gives
	// [ErrExists], or [ErrTokenExists]: operators and tokens share their names.
	AddOperator(ctx context.Context, o Operator, link Digest, told events.Event) error
	// FirstOperator stores o as the only operator, or gives the one that is there a
	// new link, unless somebody is set up, there is another operator, or a link was
	// made after the given time. It tells whether it did, or gives [ErrTokenExists].
	FirstOperator(ctx context.Context, o Operator, link Digest, after time.Time, told events.Event) (bool, error)
	// RemoveOperator removes an operator with their sessions. It gives [ErrNotFound],
	// or [ErrLastOwner] when no other owner could sign in.
	RemoveOperator(ctx context.Context, name string, told events.Event) error
	// ChangeRole gives an operator another role and ends their sessions, or gives
	// [ErrNotFound] or [ErrLastOwner].
	ChangeRole(ctx context.Context, name string, r Role, told events.Event) error
	// ResetOperator takes the password of an operator, ends their sessions and stores
	// the digest of a new link, or gives [ErrNotFound].
	ResetOperator(ctx context.Context, name string, link Digest, until time.Time, told events.Event) error
	// ChangePassword stores another password of one whose password is still the former,
	// and ends their sessions, or gives [ErrWrong].
	ChangePassword(ctx context.Context, name, former, hash string, told events.Event) error
	// LinkedOperator gives whose link this is, or [ErrLink].
	LinkedOperator(ctx context.Context, link Digest) (Operator, error)
	// SetUpOperator stores a password and takes the link, or gives [ErrLink].
	SetUpOperator(ctx context.Context, link Digest, hash string, told events.Event) error
	// AddOperatorSession stores a session of one whose password is still the given
	// one, or gives [ErrWrong].
	AddOperatorSession(ctx context.Context, token Digest, s Session, hash string, told events.Event) error
	// OperatorSession gives a session with the role that its operator has now, or
	// [ErrSignedOut].
	OperatorSession(ctx context.Context, token Digest) (Session, error)
	// RemoveOperatorSession ends a session; it is no error if there is none.
	RemoveOperatorSession(ctx context.Context, token Digest, told events.Event) error
	// AppendSoon stores an event without waiting for the disk.
	AppendSoon(ctx context.Context, e events.Event) error
}

// Tokens keeps the tokens of the admin listener.
type Tokens interface {
	AdminTokens(ctx context.Context) ([]Token, error)
	// AdminToken gives the name and scope of the token with a digest, or ok is false.
	AdminToken(ctx context.Context, digest [32]byte) (name, scope string, ok bool, err error)
	// AddAdminToken gives [ErrTokenExists], or [ErrExists], when the name is taken.
	AddAdminToken(ctx context.Context, name, scope string, digest Digest, told ...events.Event) error
	// ReplaceAdminToken tells whether there was one of the name. At any moment the
	// former or the new one is good.
	ReplaceAdminToken(ctx context.Context, name, scope string, digest Digest, told ...events.Event) (bool, error)
	// RemoveAdminToken tells whether there was one.
	RemoveAdminToken(ctx context.Context, name string, told ...events.Event) (bool, error)
}

// Passwords hashes and verifies, see [password.Pool].
type Passwords interface {
	Hash(ctx context.Context, p password.Plain) (string, error)
	Verify(ctx context.Context, p password.Plain, hash string) error
}

const (
	// SessionLife is how long an operator stays signed in.
	SessionLife = 12 * time.Hour
	// LinkLife is how long a set-up link can be used.
	LinkLife = 24 * time.Hour

	tokenPrefix = "usher_op_"
	linkPrefix  = "usher_setup_"
	maxSecret   = 128
)

func newSecret(prefix string) Secret { return NewSecret(prefix + rand.Text() + rand.Text()) }

func digestOf(s Secret) Digest { return sha256.Sum256([]byte(s.Reveal())) }

// given is the digest of a secret that somebody sent; what cannot be one is not
// looked for.
func given(text, prefix string) (Digest, bool) {
	if !strings.HasPrefix(text, prefix) || len(text) > maxSecret {
		return Digest{}, false
	}
	return sha256.Sum256([]byte(text)), true
}

// event is what an author did.
func (s *Service) event(by audit.Author, action, target string) events.Event {
	return by.Acted(action, target, s.Now())
}

// hash hashes a new password for a name, or says what is wrong with it.
func (s *Service) hash(ctx context.Context, name string, p password.Plain) (string, error) {
	if err := checkPassword(name, p); err != nil {
		return "", err
	}
	hash, err := s.Passwords.Hash(ctx, p)
	if err != nil {
		return "", hashing(err)
	}
	return hash, nil
}

// hashing makes an error of the pool one of this package.
func hashing(err error) error {
	if errors.Is(err, password.ErrBusy) {
		return &Busy{RetryIn: 2 * time.Second}
	}
	return fmt.Errorf("password of an operator: %w", err)
}
