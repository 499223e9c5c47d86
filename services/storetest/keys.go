package storetest

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/store"
)

func testMigrate(t *testing.T, s *suite) {
	st, err := s.open(nil)
	s.must(err)
	t.Cleanup(func() { s.must(st.Close()) })
	if ok, err := st.Migrated(s.ctx()); ok || err != nil {
		t.Errorf("Migrated before Migrate = %t, %v, want false", ok, err)
	}
	if err := st.Register(s.ctx(), s.record("ann@example.org")); !errors.Is(err, store.ErrNotMigrated) {
		t.Errorf("Register before Migrate: %v, want %v", err, store.ErrNotMigrated)
	}
	for range 2 {
		s.must(st.Migrate(s.ctx()))
		if ok, err := st.Migrated(s.ctx()); !ok || err != nil {
			t.Errorf("Migrated after Migrate = %t, %v, want true", ok, err)
		}
	}
	s.must(st.Ping(s.ctx()))
	s.must(st.Register(s.ctx(), s.record("ann@example.org")))

	another, err := s.open(nil)
	s.must(err)
	t.Cleanup(func() { s.must(another.Close()) })
	if ok, err := another.Migrated(s.ctx()); !ok || err != nil {
		t.Errorf("Migrated in another process = %t, %v, want true", ok, err)
	}
}

var purposes = []string{store.KeyAddress, store.KeyCSRF, store.KeySealing, store.KeyCode, store.KeyCheckpoint}

func testKeysAreSealed(t *testing.T, s *suite) {
	st := s.store(nil)
	another := s.store(nil)
	var seen [][]byte
	for _, p := range purposes {
		key := st.Key(p)
		if len(key) != 32 {
			t.Fatalf("Key(%q) has %d bytes, want 32", p, len(key))
		}
		if !bytes.Equal(key, another.Key(p)) {
			t.Errorf("Key(%q) differs between two processes", p)
		}
		for _, k := range seen {
			if bytes.Equal(k, key) {
				t.Errorf("Key(%q) is that of another purpose", p)
			}
		}
		seen = append(seen, key)
		s.noneHolds(`SELECT sealed FROM keys`, len(purposes), string(key))
	}
	if got := st.Key("no such purpose"); got != nil {
		t.Errorf("Key of an unknown purpose = %x, want nil", got)
	}
	_, err := s.open(func(o *store.Options) { o.CipherSecrets = []string{"another secret of 32 characters."} })
	if !errors.Is(err, store.ErrSecret) {
		t.Errorf("Open with another secret: %v, want %v", err, store.ErrSecret)
	}
	if err != nil && !strings.Contains(err.Error(), "secrets.cipher") {
		t.Errorf("Open with another secret: %q does not name secrets.cipher", err)
	}
	if _, err := s.open(func(o *store.Options) { o.CipherSecrets = nil }); err == nil {
		t.Error("Open without a secret succeeded")
	}
}

// A database of a former version has no key of a purpose that came later.
func testMigrateMakesMissingKeys(t *testing.T, s *suite) {
	former := s.store(nil)
	s.exec(`DELETE FROM keys WHERE purpose = '` + store.KeyCode + `'`)
	st, err := s.open(nil)
	s.must(err)
	t.Cleanup(func() { s.must(st.Close()) })
	if ok, err := st.Migrated(s.ctx()); ok || err != nil {
		t.Errorf("Migrated without a key = %t, %v, want false", ok, err)
	}
	s.must(st.Migrate(s.ctx()))
	if ok, err := st.Migrated(s.ctx()); !ok || err != nil || len(st.Key(store.KeyCode)) != 32 {
		t.Errorf("Migrated after Migrate = %t, %v, want true and a key", ok, err)
	}
	if !bytes.Equal(st.Key(store.KeyAddress), former.Key(store.KeyAddress)) {
		t.Error("Migrate changed a key that was there")
	}
}

func testSecretsRotate(t *testing.T, s *suite) {
	const next = "the next secret of 32 characters"
	key := s.store(nil).Key(store.KeyAddress)

	both := s.store(func(o *store.Options) { o.CipherSecrets = []string{next, Secret} })
	if !bytes.Equal(both.Key(store.KeyAddress), key) {
		t.Error("Key changed with the secret")
	}
	only := s.store(func(o *store.Options) { o.CipherSecrets = []string{next} })
	if !bytes.Equal(only.Key(store.KeyAddress), key) {
		t.Error("Key changed when the former secret went")
	}
	if _, err := s.open(nil); !errors.Is(err, store.ErrSecret) {
		t.Errorf("Open with the former secret alone: %v, want %v", err, store.ErrSecret)
	}
}

// A running store goes over to another secret while others use it; the one before goes.
func testSecretsRotateInPlace(t *testing.T, s *suite) {
	const next = "the next secret of 32 characters"
	st := s.store(nil)
	key := st.Key(store.KeyAddress)
	if err := st.Reseal(s.ctx(), []string{next}); !errors.Is(err, store.ErrSecret) {
		t.Errorf("Reseal without the former secret: %v, want %v", err, store.ErrSecret)
	}
	if err := st.Reseal(s.ctx(), nil); err == nil {
		t.Error("Reseal without a secret succeeded")
	}
	if keys, err := st.FreshKeys(s.ctx(), store.KeyAddress); err != nil || !bytes.Equal(keys[0], key) {
		t.Errorf("FreshKeys after a refused Reseal = %d, %v, want what was there", len(keys), err)
	}
	for _, secrets := range [][]string{{Secret, next}, {next, Secret}, {next}} {
		s.must(st.Reseal(s.ctx(), secrets))
		if keys, err := st.FreshKeys(s.ctx(), store.KeyAddress); err != nil || !bytes.Equal(keys[0], key) {
			t.Fatalf("FreshKeys after Reseal with %d secrets = %d, %v, want the same key", len(secrets), len(keys), err)
		}
	}
	only, err := s.open(func(o *store.Options) { o.CipherSecrets = []string{next} })
	s.must(err)
	s.must(only.Close())
	if _, err := s.open(nil); !errors.Is(err, store.ErrSecret) {
		t.Errorf("Open with the former secret: %v, want %v", err, store.ErrSecret)
	}
}

// noneHolds reads a column of bytes and checks that no row holds any of texts.
func (s *suite) noneHolds(query string, rows int, texts ...string) {
	s.t.Helper()
	result, err := s.raw().QueryContext(s.ctx(), query)
	s.must(err)
	defer result.Close()
	n := 0
	for ; result.Next(); n++ {
		var sealed []byte
		s.must(result.Scan(&sealed))
		for _, text := range texts {
			if bytes.Contains(sealed, []byte(text)) {
				s.t.Errorf("%s shows %q", query, text)
			}
		}
	}
	s.must(result.Err())
	if n != rows {
		s.t.Errorf("%s gave %d rows, want %d", query, n, rows)
	}
}
