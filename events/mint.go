package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// Minter mints the credentials of workers. It can make no others: what it holds
// is good for the two roles of workers only. It is safe for concurrent use.
type Minter struct {
	workers, answers mint
}

// mint is a key that signs for one role in an account.
type mint struct {
	Account string `json:"account"` // public key
	Seed    []byte `json:"seed"`
	pair    nkeys.KeyPair
}

// mintFile is what [Keys.Write] and [LoadMinter] call it.
const mintFile = "mint.json"

// ErrNoMinter says that a folder holds nothing to mint with: an earlier "usher
// bus config" wrote it, or it was not given to this part.
var ErrNoMinter = errors.New("nothing to mint credentials with")

// Minter gives what k mints workers' credentials with.
func (k *Keys) Minter() (*Minter, error) {
	m := &Minter{workers: mint{pair: k.minted}, answers: mint{pair: k.answers}}
	var errs [2]error
	m.workers.Account, errs[0] = k.workers.PublicKey()
	m.answers.Account, errs[1] = k.auth.PublicKey()
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("minter: %w", err)
	}
	return m, nil
}

// LoadMinter reads the minter from the folder of credentials that [Keys.Write]
// wrote, or gives [ErrNoMinter].
func LoadMinter(dir string) (*Minter, error) {
	path := filepath.Join(dir, mintFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is missing", ErrNoMinter, path)
	}
	if err != nil {
		return nil, fmt.Errorf("minter: %w", err)
	}
	var all struct{ Workers, Answers mint }
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("minter: %s is not what \"usher bus config\" writes", path) // the cause may quote a seed
	}
	for _, m := range []*mint{&all.Workers, &all.Answers} {
		kind, _, err := nkeys.DecodeSeed(m.Seed)
		if err != nil || kind != nkeys.PrefixByteAccount || !nkeys.IsValidPublicAccountKey(m.Account) {
			return nil, fmt.Errorf("minter: %s is not what \"usher bus config\" writes", path)
		}
		if m.pair, err = nkeys.FromSeed(m.Seed); err != nil {
			return nil, fmt.Errorf("minter: %s: %w", path, err)
		}
	}
	return &Minter{workers: all.Workers, answers: all.Answers}, nil
}

// write writes what LoadMinter reads.
func (m *Minter) write(dir string) (err error) {
	all := struct {
		Workers mint `json:"workers"`
		Answers mint `json:"answers"`
	}{m.workers, m.answers}
	for _, m := range []*mint{&all.Workers, &all.Answers} {
		if m.Seed, err = m.pair.Seed(); err != nil {
			return fmt.Errorf("write %s: %w", mintFile, err)
		}
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err == nil {
		err = replaceFile(filepath.Join(dir, mintFile), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", mintFile, err)
	}
	return nil
}

// WorkerCredentials gives the text of a .creds file for a worker, which may use
// the durable consumer of its own name, report what it failed at, and ask for
// identities; without the durable consumer and a declaration of that name it is
// powerless. A name that belongs to a part of Usher is refused. Former
// credentials of the same worker stay good until they expire.
func (m *Minter) WorkerCredentials(name string, expires time.Time) ([]byte, error) {
	text, err := m.workers.credentials(name, expires)
	if err != nil {
		return nil, fmt.Errorf("worker credentials: %w", err)
	}
	return text, nil
}

// AnswerCredentials gives the text of a .creds file for an answering worker,
// which may answer what is asked of its own name, and nothing else. A name that
// belongs to a part of Usher is refused.
func (m *Minter) AnswerCredentials(name string, expires time.Time) ([]byte, error) {
	text, err := m.answers.credentials(name, expires)
	if err != nil {
		return nil, fmt.Errorf("answering worker's credentials: %w", err)
	}
	return text, nil
}

func (m mint) credentials(name string, expires time.Time) ([]byte, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	if Reserved(name) {
		return nil, fmt.Errorf("%q is a part of Usher; another name, please", name)
	}
	if expires.IsZero() {
		return nil, errors.New("they need an end")
	}
	return credentials(m.pair, m.Account, func(claims *jwt.UserClaims) {
		claims.Name = name
		claims.Expires = expires.Unix()
		claims.SetScoped(true)
	})
}

// String hides the keys.
func (*Minter) String() string { return "[minter]" }

// GoString hides the keys.
func (*Minter) GoString() string { return "[minter]" }

// LogValue hides the keys.
func (*Minter) LogValue() slog.Value { return slog.StringValue("[minter]") }
