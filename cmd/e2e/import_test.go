package e2e_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/crypto/bcrypt"

	"github.com/usher-auth/usher/services/oidc/oidctest"
)

// writePeople writes n lines of people, the first with the number from, as an export has
// them: each with the hash of the password of all and a verified address.
func writePeople(t testing.TB, file string, from, n int) string {
	hash, err := bcrypt.GenerateFromPassword([]byte(goodPassword), 10)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	for i := from; i < from+n; i++ {
		fmt.Fprintf(w, `{"id":"%s","schema_id":"default","state":"active","traits":{"email":"person-%d@example.org","name":{"first":"Person","last":"%[2]d"}},`+
			`"credentials":{"password":{"type":"password","identifiers":["person-%[2]d@example.org"],"config":{"hashed_password":"%[3]s"}}},`+
			`"verifiable_addresses":[{"value":"person-%[2]d@example.org","via":"email","verified":true,"status":"completed","verified_at":"2020-01-02T03:04:05Z"}],`+
			`"recovery_addresses":[{"value":"person-%[2]d@example.org","via":"email"}],"metadata_public":null,"created_at":"2020-01-02T03:04:05Z","updated_at":"2021-01-02T03:04:05Z"}`+"\n",
			personID(i), i, hash)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return file
}

func personID(i int) string { return uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, i)).String() }

// TestAnImportIsKilled in the middle, and the same command again: nobody is there twice,
// nobody is missing, and each has one event in the log.
func TestAnImportIsKilled(t *testing.T) {
	t.Parallel()
	for _, shape := range []string{"sqlite", "postgres"} {
		for _, kind := range []string{"imported", "created"} {
			t.Run(shape+" "+kind, func(t *testing.T) {
				t.Parallel()
				const n = 300
				s := newSystem(t, shape, nil)
				people, err := os.ReadFile(writePeople(t, filepath.Join(s.dir, "people.jsonl"), 0, n))
				if err != nil {
					t.Fatal(err)
				}
				refused := filepath.Join(s.dir, "refused.jsonl")
				again := func() *exec.Cmd {
					return exec.Command(usherBin, "identities", "import", "-", "--dev", "-c", s.config, "--batch", "20", "--events", kind, "--rate", "10000", "--refused", refused)
				}
				s.killed(again(), people)
				for _, more := range []bool{true, false} {
					cmd := again()
					cmd.Stdin = bytes.NewReader(people)
					out, err := cmd.CombinedOutput()
					var imported, there, refused int
					_, scanErr := fmt.Sscanf(string(out), "%d imported, %d there already, %d refused\n", &imported, &there, &refused)
					// A database may still finish what the dead one had begun.
					if err != nil || scanErr != nil || there == 0 || imported+there != n || refused != 0 || more != (imported > 0) {
						t.Errorf("the same command again: %v %s, want %d people, the rest of them imported: %t", err, out, n, more)
					}
				}
				s.everybodyOnce(n, kind)
				newApp(t, s.api(0)).mustLogin("person-0@example.org")
			})
		}
	}
}

// killed gives an import all but the end of its input, and kills it once it has stored some.
func (s *system) killed(cmd *exec.Cmd, in []byte) {
	s.t.Helper()
	pipe, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	if _, err := pipe.Write(in[:len(in)-len(in)/20]); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, 20*time.Second, func() error {
		if len(s.identities()) == 0 {
			return errors.New("nobody is stored")
		}
		return nil
	})
	_ = cmd.Process.Kill()
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		s.t.Fatalf("the import ended by itself: %v", err)
	}
}

// everybodyOnce checks that the first n people are stored, nobody else, and that the event
// log tells of each once.
func (s *system) everybodyOnce(n int, kind string) {
	s.t.Helper()
	want := make([]string, n)
	for i := range want {
		want[i] = personID(i)
	}
	slices.Sort(want)
	if got := s.identities(); !slices.Equal(got, want) {
		s.t.Errorf("%d identities are stored, want the %d of the file", len(got), n)
	}
	var got []string
	eventually(s.t, 20*time.Second, func() error {
		got = nil
		for _, e := range s.events("type=identity.created&type=identities.imported") {
			if e.Type == "identity.created" {
				got = append(got, e.Subject)
				continue
			}
			ids, _ := e.Data["ids"].([]any)
			for _, id := range ids {
				got = append(got, id.(string))
			}
			if kind != "imported" {
				return fmt.Errorf("there is an event %s", e.Type)
			}
		}
		if len(got) < n {
			return fmt.Errorf("the event log tells of %d, want %d", len(got), n)
		}
		return nil
	})
	slices.Sort(got)
	if !slices.Equal(got, want) {
		s.t.Errorf("the event log tells of %d people, want each of %d once", len(got), n)
	}
	s.chainIsWhole()
}

// TestExportAndImport into another database: the same people, who sign in with the same
// passwords, and whose accounts at providers are theirs.
func TestExportAndImport(t *testing.T) {
	t.Parallel()
	from, to := newSystem(t, "sqlite", nil), newSystem(t, "postgres", nil)
	people := writePeople(t, filepath.Join(from.dir, "people.jsonl"), 0, 1001)
	more, err := os.OpenFile(people, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`{"id":"6f8a6d3c-6c2e-4b60-8d55-0d9e7d0a1f11","external_id":"crm-12","state":"inactive","state_changed_at":"2022-01-02T03:04:05.678901Z","traits":{"email":"gone@example.org"},"metadata_public":{"plan":"<b>"},"metadata_admin":{"note":"left & gone"}}`,
		`{"traits":{"email":"social@example.org"},"credentials":{"oidc":{"config":{"providers":[{"provider":"example","subject":"17","issuer":"https://example.org"},{"provider":"other","subject":"Ann"}]}}}}`,
	} {
		if _, err := io.WriteString(more, line+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	if err := more.Close(); err != nil {
		t.Fatal(err)
	}
	app := newApp(t, from.api(0))
	from.usher(t, "identities", "import", people, "--dev", "-c", from.config)
	app.register("here@example.org")

	first, second := filepath.Join(from.dir, "first.jsonl"), filepath.Join(to.dir, "second.jsonl")
	for _, step := range []struct {
		s    *system
		args []string
		want string
	}{
		{from, []string{"export", "--include-credentials", first}, "1004 exported to " + first},
		{to, []string{"import", first}, "1004 imported, 0 there already, 0 refused"},
		{to, []string{"export", "--include-credentials", second}, "1004 exported to " + second},
		{from, []string{"import", second}, "0 imported, 1004 there already, 0 refused"},
	} {
		if out := step.s.usher(t, append([]string{"identities", "--dev", "-c", step.s.config}, step.args...)...); strings.TrimSpace(out) != step.want {
			t.Errorf("usher identities %s: %s, want %s", step.args, out, step.want)
		}
	}
	pages := from.listed()
	if out := to.usher(t, "identities", "import", pages, "--dev", "-c", to.config); out != "0 imported, 1004 there already, 0 refused\n" {
		t.Errorf("import of the pages of the admin API: %s, want 1004 there already", out)
	}
	one, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(second)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one, other) {
		ones, others := strings.Split(string(one), "\n"), strings.Split(string(other), "\n")
		for n := range min(len(ones), len(others)) {
			if ones[n] != others[n] {
				t.Fatalf("line %d was exported as\n%s\nand after an import as\n%s", n+1, ones[n], others[n])
			}
		}
		t.Fatalf("%d lines were exported, and %d after an import", len(ones), len(others))
	}
	there := newApp(t, to.api(0))
	there.mustLogin("here@example.org")
	there.mustLogin("person-1000@example.org")
	if a, err := there.login("gone@example.org"); err != nil || a.status == http.StatusOK {
		t.Errorf("login of who has no password: %v %d", err, a.status)
	}
	eventually(t, 20*time.Second, func() error {
		for _, e := range from.events("type=admin.acted") {
			if e.Data["action"] == "identity.export" && e.Data["target"] == "credentials" {
				return nil
			}
		}
		return errors.New("the event log tells of no export")
	})
}

// listed runs the commands of the README that fetch all pages of an admin API, and gives
// the file that they make.
func (s *system) listed() string {
	s.t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, block := range strings.Split(string(text), "```sh\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		if !strings.Contains(block, "page_token") {
			continue
		}
		cmd := exec.Command("sh", "-ec", block)
		cmd.Dir, cmd.Env = s.t.TempDir(), append(os.Environ(), "KRATOS_ADMIN="+s.admins[0])
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			s.t.Fatalf("%s: %v %s", block, err, out)
		}
		return filepath.Join(cmd.Dir, "people.json")
	}
	s.t.Fatal("the README has no commands that follow pages")
	return ""
}

// TestImportedAccountsSignIn, as a list of Kratos has them: by provider and subject, of
// whatever issuer.
func TestImportedAccountsSignIn(t *testing.T) {
	t.Parallel()
	p := oidctest.New(t)
	s := newSystem(t, "sqlite", providerAt(p))
	address := newAddress()
	file := write(t, filepath.Join(s.dir, "people.json"), `[{"id":"`+personID(1)+`","schema_id":"default","traits":{"email":"`+address+`"},"organization_id":null,
		"credentials":{"oidc":{"type":"oidc","identifiers":["`+example+`:7"],"config":{"providers":[{"provider":"`+example+`","subject":"7","initial_id_token":"gone","organization":""}]},"version":0}}}]`)
	if out := s.usher(t, "identities", "import", file, "--dev", "-c", s.config); out != "1 imported, 0 there already, 0 refused\n" {
		t.Fatal(out)
	}
	for _, way := range ways {
		v := s.visitor(way, 0).at(t)
		v.signIn = claiming(p, map[string]any{"sub": "7", "email": address, "email_verified": true})
		if got := v.in(v.visit("login", example, "", nil)).Identity.ID; got != personID(1) {
			t.Errorf("%s: the login is of %s, want the imported %s", way, got, personID(1))
		}
	}
}
