package audit

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// Checkpoint is a signed head of the event log: who holds one outside of the
// database notices when a record up to Seq is changed or missing, also the last.
type Checkpoint struct {
	Seq       int64
	Head      Hash // of the record with this Seq
	At        time.Time
	KeyID     string
	Signature []byte // Ed25519 (RFC 8032) of [Checkpoint.Statement]
}

// Statement is the text that is signed: five lines, each ending in a newline.
//
//	usher audit checkpoint 1
//	<seq>
//	<head, hexadecimal>
//	<time, RFC 3339 in UTC with microseconds>
//	<key id>
func (c Checkpoint) Statement() []byte {
	return fmt.Appendf(nil, "usher audit checkpoint 1\n%d\n%x\n%s\n%s\n",
		c.Seq, c.Head, c.At.UTC().Format("2006-01-02T15:04:05.000000Z"), c.KeyID)
}

// Key signs checkpoints.
type Key struct{ private ed25519.PrivateKey }

// NewKey makes the key of a seed of 32 secret bytes.
func NewKey(seed []byte) (Key, error) {
	if len(seed) != ed25519.SeedSize {
		return Key{}, fmt.Errorf("audit key: a seed has %d bytes, not %d", ed25519.SeedSize, len(seed))
	}
	return Key{ed25519.NewKeyFromSeed(seed)}, nil
}

// Public is the part of the key that anybody may have.
func (k Key) Public() PublicKey { return PublicKey(k.private.Public().(ed25519.PublicKey)) }

// Format shows no secret, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[audit key]") }

// Sign makes the checkpoint of a head.
func (k Key) Sign(seq int64, head Hash, at time.Time) Checkpoint {
	c := Checkpoint{Seq: seq, Head: head, At: at.UTC().Truncate(time.Microsecond), KeyID: k.Public().ID()}
	c.Signature = ed25519.Sign(k.private, c.Statement())
	return c
}

// PublicKey verifies checkpoints.
type PublicKey ed25519.PublicKey

// ParsePublicKey reads what [PublicKey.String] gives.
func ParsePublicKey(text string) (PublicKey, error) {
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, errors.New("audit key: want the base64 of 32 bytes, as 'usher audit keys' prints it")
	}
	return PublicKey(key), nil
}

// ID names the key: the first eight bytes of its SHA-256, hexadecimal.
func (p PublicKey) ID() string {
	sum := sha256.Sum256(p)
	return hex.EncodeToString(sum[:8])
}

// String is the key in base64.
func (p PublicKey) String() string { return base64.StdEncoding.EncodeToString(p) }

// Verifies tells whether the checkpoint was signed with the key.
func (p PublicKey) Verifies(c Checkpoint) bool {
	return p.ID() == c.KeyID && ed25519.Verify(ed25519.PublicKey(p), c.Statement(), c.Signature)
}
