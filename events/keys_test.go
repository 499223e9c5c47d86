package events_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/natsserver"
)

var anyServer = events.ServerOptions{Listen: "127.0.0.1:-1", StoreDir: "store", Name: "test"}

// accountIDs are the public keys of the accounts: the same for the same keys.
func accountIDs(t *testing.T, k *events.Keys) []string {
	t.Helper()
	config, err := k.ServerConfig(anyServer)
	if err != nil {
		t.Fatal(err)
	}
	ids := regexp.MustCompile(`(?m)^  (A[A-Z0-9]{55}): ey`).FindAllString(config, -1)
	if len(ids) != 4 {
		t.Fatalf("configuration has %d accounts, want 4:\n%s", len(ids), config)
	}
	return ids
}

func TestKeysAreMadeOnceAndKept(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data", "keys")
	all := make([]*events.Keys, 8)
	var started sync.WaitGroup
	for n := range all {
		started.Go(func() {
			var err error
			if all[n], err = events.LoadOrMakeKeys(dir); err != nil {
				t.Errorf("LoadOrMakeKeys(%s) = %v", dir, err)
			}
		})
	}
	started.Wait()
	if t.Failed() {
		return
	}
	want := accountIDs(t, all[0])
	for _, k := range all {
		if got := accountIDs(t, k); !slices.Equal(got, want) {
			t.Errorf("two processes at once have accounts %v and %v, want the same", got, want)
		}
	}

	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 8 {
		t.Fatalf("%s holds %v, %v, want eight keys", dir, files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v, want 0600", f.Name(), info.Mode(), err)
		}
	}
	if rest, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(rest) != 1 {
		t.Errorf("beside the keys there are %v, %v, want nothing left over", rest, err)
	}
}

// TestMissingKeysAreNotMadeAnew: new ones would cut off whoever has a
// credential of the old ones.
func TestMissingKeysAreNotMadeAnew(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(file string) error{
		"missing": os.Remove,
		"empty":   func(f string) error { return os.WriteFile(f, nil, 0o600) },
		"of another kind": func(f string) error {
			seed, err := os.ReadFile(filepath.Join(filepath.Dir(f), "operator.nk"))
			return errors.Join(err, os.WriteFile(f, seed, 0o600))
		},
	} {
		dir := filepath.Join(t.TempDir(), "keys")
		if _, err := events.LoadOrMakeKeys(dir); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "events-parts.nk")
		if err := damage(file); err != nil {
			t.Fatal(err)
		}
		k, err := events.LoadOrMakeKeys(dir)
		if err == nil {
			t.Errorf("LoadOrMakeKeys with a key %s = %v, want an error", name, k)
		}
	}
}

// TestAnEarlierUshersKeysGetThoseThatCameLater: two processes of a new Usher
// start at once on the folder of one that had workers in EVENTS. Its parts'
// credentials stay good; those of its workers say what mends them.
func TestAnEarlierUshersKeysGetThoseThatCameLater(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	if _, err := events.LoadOrMakeKeys(dir); err != nil {
		t.Fatal(err)
	}
	for _, later := range []string{"auth-answers.nk", "workers.nk"} {
		if err := os.Remove(filepath.Join(dir, later)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(dir, "workers-minted.nk"), filepath.Join(dir, "events-workers.nk")); err != nil {
		t.Fatal(err)
	}
	keys, issuers := make([]*events.Keys, 8), make([]string, 8)
	var started sync.WaitGroup
	for n := range keys {
		started.Go(func() {
			var err error
			if keys[n], err = events.LoadOrMakeKeys(dir); err == nil {
				issuers[n], err = mintedBy(keys[n])
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	started.Wait()
	if len(slices.Compact(issuers)) != 1 {
		t.Errorf("processes that start at once sign for workers with %v, want the same keys", issuers)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 9 {
		t.Errorf("%s holds %v, %v, want eight keys, that of earlier workers, and nothing left over", dir, files, err)
	}

	b := startBusOf(t, dir)
	former := b.mint("events-workers.nk", "events.nk", func(c *jwt.UserClaims) { c.SetScoped(true) })
	_, err := events.Connect(t.Context(), events.ConnectOptions{URL: b.server.ClientURL(), Credentials: former, User: "crm", Log: b.log.logger()})
	if err == nil || !strings.Contains(err.Error(), "usher worker rotate crm") {
		t.Errorf("Connect with a worker's former credential = %v, want it refused, and what mends it", err)
	}
	b.connectTCP("crm") // has one of now
}

// mintedBy are the public keys that sign for workers, of both kinds.
func mintedBy(k *events.Keys) (string, error) {
	m, err := k.Minter()
	if err != nil {
		return "", err
	}
	var all []string
	for _, mint := range []func(string, time.Time) ([]byte, error){m.WorkerCredentials, m.AnswerCredentials} {
		creds, err := mint(answering, time.Now().Add(time.Hour))
		if err != nil {
			return "", err
		}
		token, err := jwt.ParseDecoratedJWT(creds)
		if err != nil {
			return "", err
		}
		claims, err := jwt.DecodeUserClaims(token)
		if err != nil {
			return "", err
		}
		all = append(all, claims.Issuer+" in "+claims.IssuerAccount)
	}
	return strings.Join(all, ", "), nil
}

func TestKeysDoNotShow(t *testing.T) {
	t.Parallel()
	k, err := events.LoadOrMakeKeys(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	log := &lines{}
	log.logger().Info("start", slog.Any("keys", k))
	for _, shown := range []string{fmt.Sprint(k), fmt.Sprintf("%+v %#v", k, k), strings.Join(log.with("start"), "")} {
		if !strings.Contains(shown, "[bus keys]") || strings.Contains(shown, "SO") || strings.Contains(shown, "SA") {
			t.Errorf("keys show as %q", shown)
		}
	}
}

// TestWrittenConfigurationStartsABus writes what "usher bus config" writes and
// starts a server and a connection from the files.
func TestWrittenConfigurationStartsABus(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	keys, err := events.LoadOrMakeKeys(filepath.Join(out, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	o := events.ServerOptions{Listen: "127.0.0.1:-1", StoreDir: filepath.Join(out, `a "quoted" folder`), Name: "usher"}
	if err := keys.Write(out, o); err != nil {
		t.Fatal(err)
	}
	creds, err := os.ReadFile(filepath.Join(out, "creds", "api-events.creds"))
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Write(out, o); err != nil { // again: former credentials stay good
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(out, "nats-server.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"SO", "SA", "SU"} {
		if regexp.MustCompile(`\b` + secret + `[A-Z2-7]{50,}`).Match(config) {
			t.Errorf("nats-server.conf holds a seed (%s…)", secret)
		}
	}
	s, err := natsserver.Start(context.Background(), string(config), natsserver.Options{Log: (&lines{}).logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	nc, err := events.Connect(t.Context(), events.ConnectOptions{URL: s.ClientURL(), Credentials: creds, User: events.UserAPIEvents, Log: (&lines{}).logger()})
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()

	files, err := os.ReadDir(filepath.Join(out, "creds"))
	if err != nil || len(files) != len(parts)-2+1 {
		t.Errorf("creds holds %v, %v, want one file for each of Usher's parts, and one to mint with", files, err)
	}
	paths := []string{filepath.Join(out, "system.creds"), filepath.Join(out, "system-admin.creds")} // no part's
	for _, f := range files {
		paths = append(paths, filepath.Join(out, "creds", f.Name()))
	}
	for _, path := range paths {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v, want it with mode 0600", path, info, err)
		}
	}
}
