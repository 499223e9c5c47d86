package events

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/nats-io/nkeys"
)

// Keys are the seeds from which the bus's accounts and credentials are made.
// Whoever has them can make any credential.
type Keys struct {
	operator, system      nkeys.KeyPair
	auth, events, workers nkeys.KeyPair
	// parts signs credentials of Usher's own parts in EVENTS; minted and answers
	// sign those of workers, which can do nothing but what roleWorker and
	// roleAnswer say.
	parts, minted, answers nkeys.KeyPair
}

// seed is one key and the file that keeps it.
type seed struct {
	file string
	kind nkeys.PrefixByte
	pair *nkeys.KeyPair
	// later says that the folder of an earlier Usher lacks it. It can be made at
	// any time: nobody has a credential of it yet.
	later bool
}

func (k *Keys) seeds() []seed {
	return []seed{
		{"operator.nk", nkeys.PrefixByteOperator, &k.operator, false},
		{"system.nk", nkeys.PrefixByteAccount, &k.system, false},
		{"auth.nk", nkeys.PrefixByteAccount, &k.auth, false},
		{"events.nk", nkeys.PrefixByteAccount, &k.events, false},
		{"events-parts.nk", nkeys.PrefixByteAccount, &k.parts, false},
		{"auth-answers.nk", nkeys.PrefixByteAccount, &k.answers, true},
		// Workers had a key in EVENTS once, events-workers.nk; what it signed is refused.
		{"workers.nk", nkeys.PrefixByteAccount, &k.workers, true},
		{"workers-minted.nk", nkeys.PrefixByteAccount, &k.minted, true},
	}
}

// LoadOrMakeKeys reads the keys that dir holds, or makes them when dir does not
// exist or is empty. Two processes that do this at once get the same keys.
func LoadOrMakeKeys(dir string) (*Keys, error) {
	k, err := loadKeys(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	// Where only some are missing, new ones would cut off all that use the others.
	entries, err := os.ReadDir(dir)
	if len(entries) == 0 && (err == nil || errors.Is(err, fs.ErrNotExist)) {
		err = makeKeys(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("make bus keys: %w", err)
	}
	return loadKeys(dir)
}

func loadKeys(dir string) (*Keys, error) {
	k := &Keys{}
	for _, s := range k.seeds() {
		text, err := os.ReadFile(filepath.Join(dir, s.file))
		if s.later && errors.Is(err, fs.ErrNotExist) {
			text, err = addSeed(dir, s)
		}
		if err != nil {
			return nil, fmt.Errorf("bus keys: %w", err)
		}
		kind, _, err := nkeys.DecodeSeed(text)
		if err != nil || kind != s.kind {
			return nil, fmt.Errorf("bus keys: %s holds no seed of its kind", filepath.Join(dir, s.file))
		}
		if *s.pair, err = nkeys.FromSeed(text); err != nil {
			return nil, fmt.Errorf("bus keys: %s: %w", filepath.Join(dir, s.file), err)
		}
	}
	return k, nil
}

// makeKeys makes all keys in a folder of their own, which becomes dir at once:
// there are all of them or none, and the first of two processes wins.
func makeKeys(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	k := &Keys{}
	for _, s := range k.seeds() {
		if err := writeSeed(filepath.Join(fresh, s.file), s.kind); err != nil {
			return err
		}
	}
	if err := os.Rename(fresh, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// addSeed makes a key that an earlier Usher did not have. The first of two
// processes wins.
func addSeed(dir string, s seed) ([]byte, error) {
	fresh, err := os.MkdirTemp(dir, s.file+".new-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(fresh)
	path := filepath.Join(fresh, s.file)
	if err := writeSeed(path, s.kind); err != nil {
		return nil, err
	}
	if err := os.Link(path, filepath.Join(dir, s.file)); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, s.file))
}

func writeSeed(path string, kind nkeys.PrefixByte) error {
	pair, err := nkeys.CreatePair(kind)
	if err != nil {
		return err
	}
	text, err := pair.Seed()
	if err != nil {
		return err
	}
	return writeSecret(path, text)
}

// writeSecret writes a file that only its owner can read, and waits for the disk.
func writeSecret(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// String hides the keys.
func (*Keys) String() string { return "[bus keys]" }

// GoString hides the keys.
func (*Keys) GoString() string { return "[bus keys]" }

// LogValue hides the keys.
func (*Keys) LogValue() slog.Value { return slog.StringValue("[bus keys]") }
