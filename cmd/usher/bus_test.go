package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/natsserver"
)

// runBusConfig runs "usher bus config" in this process.
func runBusConfig(args ...string) (stdout string, err error) {
	root := newRoot()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(append([]string{"bus", "config", "--json"}, args...))
	err = root.Execute()
	return out.String(), err
}

// TestWrittenConfigurationsStart starts a server with each kind of configuration,
// and connects to it with what was written.
func TestWrittenConfigurationsStart(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"alone":        nil,
		"watched":      {"--http", "127.0.0.1:-1", "--advertise", "localhost:4222"},
		"with TLS":     {"--tls-make"},
		"mutual TLS":   {"--tls-make", "--tls-verify"},
		"in a zone":    {"--tags", "zone:a,region:eu"},
		"of a size":    {"--max-store", "50MB"},
		"of a cluster": {"--name", "n1", "--cluster", "127.0.0.1:0", "--routes", "127.0.0.1:1,127.0.0.1:2", "--tags", "zone:a", "--tls-make"},
		"of a cluster elsewhere": {
			"--name", "n1", "--cluster", "0.0.0.0:0", "--cluster-advertise", "localhost:6222",
			"--routes", "127.0.0.1:1,127.0.0.1:2", "--advertise", "127.0.0.1:4222", "--tls-make",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := t.TempDir()
			for range 2 { // again: the keys stay, and the certificates are new
				stdout, err := runBusConfig(append([]string{"--out", out, "--listen", "127.0.0.1:-1"}, args...)...)
				if err != nil {
					t.Fatal(err)
				}
				var wrote struct{ Config, Credentials, CA string }
				if err := json.Unmarshal([]byte(stdout), &wrote); err != nil {
					t.Fatal(err)
				}
				startsWith(t, out, wrote.Config, wrote.Credentials, wrote.CA, args)
			}
			secretsAreTheOwners(t, out)
		})
	}
}

func startsWith(t *testing.T, out, config, credentials, ca string, args []string) {
	t.Helper()
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	s, err := natsserver.Start(t.Context(), string(text), natsserver.Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	o := events.ConnectOptions{
		URL: s.ClientURL(), CredentialsFile: filepath.Join(credentials, events.UserSession+".creds"), User: events.UserSession,
		TLS: events.ClientTLS{CA: ca}, Log: log,
	}
	if slices.Contains(args, "--tls-verify") {
		o.TLS.Cert, o.TLS.Key = filepath.Join(out, "tls", "client.pem"), filepath.Join(out, "tls", "client.key")
	}
	nc, err := events.Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, most, err := s.Store(); err != nil || (most == 50<<20) != slices.Contains(args, "--max-store") {
		t.Errorf("the server's store takes %d bytes, %v, with %q", most, err, args)
	}
	if nc.TLSRequired() != (ca != "") {
		t.Errorf("the server requires TLS: %t, want %t", nc.TLSRequired(), ca != "")
	}
}

// TestBusConfigAgain writes a cluster anew as it was made, and nothing beside it.
func TestBusConfigAgain(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "b [1]")
	cluster := func(n int) []string {
		return []string{
			"--out", out, "--name", fmt.Sprint("n", n), "--listen", fmt.Sprintf("127.0.0.1:400%d", n), "--cluster", fmt.Sprintf("127.0.0.1:600%d", n),
			"--routes", "127.0.0.1:6001,127.0.0.1:6002", "--tags", "zone:a,disk:fast", "--store", "/var/lib/a store", "--tls-make",
		}
	}
	made := map[string]string{}
	for n := 1; n <= 2; n++ {
		if _, err := runBusConfig(cluster(n)...); err != nil {
			t.Fatal(err)
		}
		made[fmt.Sprintf("n%d.conf", n)] = ""
	}
	for name := range made {
		text, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		made[name] = withoutTokens(string(text))
		if err := os.WriteFile(filepath.Join(out, name), []byte(strings.Replace(string(text), "max_payload", "old", 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := runBusConfig("--out", out); err == nil || !strings.Contains(err.Error(), "--again") {
		t.Errorf("a server that is alone in the folder of a cluster: %v, want a refusal that names --again", err)
	}
	if _, err := runBusConfig("--out", out, "--again"); err != nil {
		t.Fatal(err)
	}
	for name, want := range made {
		text, err := os.ReadFile(filepath.Join(out, name))
		if got := withoutTokens(string(text)); err != nil || got != want {
			t.Errorf("%s again: %v\n%s\nwant\n%s", name, err, got, want)
		}
	}
	if _, err := os.Stat(filepath.Join(out, "nats-server.conf")); err == nil {
		t.Error("a stray nats-server.conf was written")
	}
	if _, err := runBusConfig("--out", t.TempDir(), "--again"); err == nil {
		t.Error("--again in an empty folder: no error")
	}
	b := busConfig{out: out}
	b.server.Name, b.server.Cluster.Listen = "n2", "127.0.0.1:6002"
	if got := strings.Join(b.addresses(), ","); got != "127.0.0.1:4001,127.0.0.1:4002" {
		t.Errorf("Usher is told %q, want both servers", got)
	}
}

// TestBusConfigAgainWithMoreRoom: what a server may have on its disk can be changed,
// and nothing else changes with it.
func TestBusConfigAgainWithMoreRoom(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"alone":        {"--listen", "127.0.0.2:4222", "--store", "/var/lib/nats"},
		"of a cluster": {"--name", "n1", "--cluster", "127.0.0.1:6222", "--routes", "127.0.0.1:6222,127.0.0.2:6222", "--store", "/var/lib/nats"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := t.TempDir()
			var text string
			run := func(args ...string) {
				t.Helper()
				if _, err := runBusConfig(append([]string{"--out", out}, args...)...); err != nil {
					t.Fatal(err)
				}
				files, err := configurations(out)
				if err != nil || len(files) != 1 {
					t.Fatalf("configurations: %q, %v, want one", files, err)
				}
				read, err := os.ReadFile(files[0])
				if err != nil {
					t.Fatal(err)
				}
				text = withoutTokens(string(read))
			}
			run(args...)
			before := text
			for _, size := range []string{"50GB", "1GB"} {
				run("--again", "--max-store", size)
				run("--again") // it stands in the head
				store := regexp.MustCompile(`(?m)^(#   --max-store=` + size + `|  max_file_store: \d+ .*)\n`)
				if lines := store.FindAllString(text, -1); len(lines) != 2 {
					t.Errorf("with --max-store %s: lines %q, want that of the head and the server's\n%s", size, lines, text)
				}
				if rest := store.ReplaceAllString(text, ""); rest != before {
					t.Errorf("with --max-store %s:\n%s\nwant, but for it,\n%s", size, rest, before)
				}
			}
		})
	}
}

// withoutTokens is a configuration without what is signed anew each time.
func withoutTokens(text string) string {
	text, _, _ = strings.Cut(text, "\noperator:")
	return text
}

// secretsAreTheOwners: whatever holds a seed, a key or a password is for nobody else.
func secretsAreTheOwners(t *testing.T, out string) {
	t.Helper()
	err := filepath.WalkDir(out, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(path, filepath.Join(out, "data")) {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		secret := strings.Contains(string(text), "PRIVATE KEY") || strings.Contains(string(text), "SEED") ||
			strings.Contains(string(text), "password:") || strings.HasSuffix(path, ".nk") || strings.HasSuffix(path, "mint.json")
		if err == nil && secret && info.Mode().Perm() != 0o600 {
			err = fmt.Errorf("%s holds a secret and has mode %v", path, info.Mode().Perm())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestBusConfigRefuses what would start no server, or one that is alone.
func TestBusConfigRefuses(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"--out DIR":                   {"--out", ""},
		"needs both":                  {"--cluster", "127.0.0.1:6222"},
		"a name each":                 {"--cluster", "127.0.0.1:6222", "--routes", "a:1,b:1"},
		"want host:port":              {"--name", "n1", "--cluster", "127.0.0.1:6222", "--routes", "a,b:1"},
		"go together":                 {"--tls-cert", "a.pem"},
		"certificate of the server's": {"--tls-ca", "a.pem"},
		"name its file":               {"--tls-cert", "a.pem", "--tls-key", "a.key", "--tls-verify"},
		"check each other's":          {"--tls-cert", "a.pem", "--tls-key", "a.key", "--name", "n1", "--cluster", "127.0.0.1:6222", "--routes", "a:1,b:1"},
		"--advertise says":            {"--tls-make", "--listen", "0.0.0.0:4222"},
		"none of the others can be":   {"--tls-make", "--tls-cert", "a.pem"},
		"no tag that begins":          {"--unique-tag", "rack:", "--tags", "zone:a"},
		"in lower case":               {"--tags", "Zone:A"},
		"a size such as":              {"--max-store", "50"},
		"[again name]":                {"--again", "--name", "n1"},
	} {
		out, err := runBusConfig(append([]string{"--out", t.TempDir()}, args...)...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v %s, want a refusal with %q", args, err, out, want)
		}
	}
}
