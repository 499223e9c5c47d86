// Package audit holds the event log: every event for ever, each record bound
// to the one before it by a hash, so that a change is seen.
package audit

import (
	"crypto/sha256"
	"errors"
	"time"
)

// Hash binds a record to all records before it.
type Hash [sha256.Size]byte

// Next is the hash of a record: SHA-256(former ‖ payload). The first record's
// former hash is zero.
func Next(former Hash, payload []byte) Hash {
	h := sha256.New()
	h.Write(former[:])
	h.Write(payload)
	return Hash(h.Sum(nil))
}

// Record is one event in the log.
type Record struct {
	Seq       int64 // from 1, without a gap
	EventID   string
	StreamSeq uint64
	Type      string
	Subject   string // identity id or empty
	Payload   []byte // canonical JSON
	Former    Hash
	Hash      Hash
	// LoggedAt never goes back from one record to the next: where the clock does,
	// it stands still.
	LoggedAt time.Time
}

// ErrNoRecord says that the event log holds no record with that seq and hash.
var ErrNoRecord = errors.New("audit: the event log holds no record with that seq and hash")

// Query selects records. The zero Query selects all, from the start.
type Query struct {
	After   int64    // Seq
	Before  int64    // Seq; 0 means no bound
	Types   []string // any of them; none means all
	Subject string
	Since   time.Time // LoggedAt, at or after
	Until   time.Time // LoggedAt, before; zero means no bound
	Newest  bool      // the newest first, instead of the oldest
	Limit   int       // at most; 0 means 100
}
