package events_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/usher-auth/usher/events"
)

// TestGiveCredentials: a part gets its own credentials and no others, and only who
// administers can mint.
func TestGiveCredentials(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keys, err := events.LoadOrMakeKeys(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Write(dir, events.ServerOptions{Name: "usher", Listen: "127.0.0.1:0", StoreDir: dir}); err != nil {
		t.Fatal(err)
	}
	for _, part := range events.Parts() {
		to := filepath.Join(dir, part)
		if err := events.GiveCredentials(filepath.Join(dir, "creds"), to, part); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(to)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range entries {
			got = append(got, e.Name())
		}
		if want := events.CredentialsOf(part); !slices.Equal(got, want) || len(want) < 2 {
			t.Errorf("%s got %v, want %v", part, got, want)
		}
		_, err = events.LoadMinter(to)
		if mints := part == "api" || part == "console"; (err == nil) != mints {
			t.Errorf("%s: LoadMinter: %v, want that it can mint: %t", part, err, mints)
		}
	}
	if err := events.GiveCredentials(filepath.Join(dir, "creds"), filepath.Join(dir, "x"), "relay"); err == nil {
		t.Error("a part that there is not gets credentials")
	}
}
