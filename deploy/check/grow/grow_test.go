package grow_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/usher-auth/usher/deploy/check/checkout"
	"github.com/usher-auth/usher/deploy/check/markdown"
)

const file = "deploy/grow.md"

// TestGrow runs the whole document. Its own people say whether one was turned away.
func TestGrow(t *testing.T) {
	t.Parallel()
	said, err := grow(t, blocks(t))
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	for _, problem := range turnedAway(said) {
		t.Error(problem)
	}
	for _, want := range []string{"block 8: ", "session: ", "nats: ", "postgresql: ", " 0 red,"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
}

// TestRefused sees that people notice when the balancer is forgotten.
func TestRefused(t *testing.T) {
	t.Parallel()
	var some []string
	broken := false
	for _, b := range blocks(t) {
		if before, after, found := strings.Cut(b, "nginx -p . -c nginx.conf -e nginx.log -s reload\n"); found {
			some, broken = append(some, before+after), true
			break
		}
		some = append(some, b)
	}
	said, err := grow(t, some)
	if !broken || err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if problems := turnedAway(said); len(problems) == 0 {
		t.Errorf("nobody was turned away:\n%s", said)
	}
}

// turnedAway says where people failed who should not.
func turnedAway(said string) (problems []string) {
	most := 0
	for _, m := range regexp.MustCompile(`(?m)^([a-z0-9 ]+): ([SrF]*)$`).FindAllStringSubmatch(said, -1) {
		switch {
		case m[1] == "postgresql":
			most = len(m[2]) // as long as it takes to promote
		case m[1] == "api":
			most = 1 // the request that it had
		case most == 1:
			most = 0
		}
		if strings.Count(m[2], "F") > most || !strings.Contains(m[2], "S") {
			problems = append(problems, m[0]+": want people who sign in, and at most "+strconv.Itoa(most)+" turned away (F)")
		}
	}
	return problems
}

// grow runs blocks where nothing else listens, as somebody who is not root, and gives
// what they say.
func grow(t *testing.T, blocks []string) (string, error) {
	t.Helper()
	postgres, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err := exec.Command("unshare", "-mnp", "--fork", "true").Run(); os.Geteuid() != 0 || err != nil {
		lacks(t, "root, or namespaces")
	}
	for _, program := range []string{"nginx", "openssl", "curl", "ip", "setpriv"} {
		if _, err := exec.LookPath(program); err != nil {
			lacks(t, program)
		}
	}
	if len(postgres) == 0 {
		lacks(t, "PostgreSQL")
	}
	dir, err := os.MkdirTemp("", "usher-grow-") // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	usher := filepath.Join(dir, "bin")
	for _, c := range []*exec.Cmd{
		exec.Command("install", "-D", checkout.Usher(t), filepath.Join(usher, "usher")),
		exec.Command("go", "build", "-o", filepath.Join(usher, "nats-server"), "github.com/nats-io/nats-server/v2"),
		exec.Command("chown", "-R", "nobody:nogroup", dir),
	} {
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", c.Args, err, out)
		}
	}
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte(strings.Join(blocks, "")), 0o644); err != nil {
		t.Fatal(err)
	}
	// Without a terminal createuser reads the password from its input.
	c := exec.Command("unshare", "-mnp", "--fork", "--kill-child", "--mount-proc", "sh", "-ec",
		`ip link set lo up; exec setsid setpriv --reuid=nobody --regid=nogroup --clear-groups bash "$0"`, script)
	c.Dir, c.Stdin = dir, strings.NewReader("secret\nsecret\n")
	c.Env = append(os.Environ(), "HOME="+dir, "LC_ALL=C", "PATH="+usher+":"+postgres[len(postgres)-1]+":"+os.Getenv("PATH"))
	out, err := c.CombinedOutput()
	return string(out), err
}

// blocks are those of the document, as one program that stops at what fails. Behind each
// it says what people have seen.
func blocks(t *testing.T) []string {
	t.Helper()
	all := []string{"set -e -o pipefail\ntrap 'echo \"stopped at line $LINENO\"; tail -n 20 *.log' ERR\n"}
	for _, b := range markdown.Blocks([]byte(checkout.Read(t, file))) {
		// The people go on after a request that fails; all else stops.
		text := strings.NewReplacer("PASSWORD", "secret", "people & people", "(set +e; people) & people", "sleep 10", "sleep 4").Replace(b.Text)
		all = append(all, text+"\nif [ -e people.log ]; then echo \"block $((++block)): $(cat people.log)\"; fi\n")
	}
	return all
}

func lacks(t *testing.T, program string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("no %s: the pipeline is to have it", program)
	}
	t.Skipf("no %s on this machine", program)
}
