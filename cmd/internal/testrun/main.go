// Command testrun is what "make test" runs: it sees to what the tests need
// (PostgreSQL, Node, a browser, a C compiler), installs what is missing where
// it may, runs the tests, and says in its last line what had to be left out.
//
//	look ─▶ install (root or CI) ─▶ start PostgreSQL ─▶ go test -json ─▶ counts
//	                                      └─▶ build what the last tests need meanwhile
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/usher-auth/usher/services/storetest"
)

// need is something that tests use and a machine may lack.
type need struct {
	name     string
	found    func() bool
	packages []string // Debian's names
	without  string   // what is left out without it
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	failed, err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "testrun:", err)
		os.Exit(2)
	}
	if failed {
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (failed bool, err error) {
	ci := os.Getenv("CI") == "true"
	left := provide(ctx, []need{
		{"PostgreSQL", foundPostgreSQL, []string{"postgresql"}, "everything on PostgreSQL"},
		{"Node 20", foundNode, []string{"nodejs", "npm"}, "the browser tests, the tests with the SDK for JavaScript"},
		{"Chromium", foundCommand("chromium"), []string{"chromium"}, "the browser tests"},
		{"a C compiler", foundCommand("gcc"), []string{"gcc", "libc6-dev"}, "the race detector"},
	}, ci || os.Geteuid() == 0)

	// All builds share the cache with those of a folder that comes and goes: the
	// former version of the program is built in one.
	if err := os.Setenv("GOFLAGS", strings.TrimSpace(os.Getenv("GOFLAGS")+" -trimpath")); err != nil {
		return true, err
	}
	env := os.Environ()
	if foundPostgreSQL() && os.Getenv("USHER_TEST_POSTGRES") == "" {
		dir, err := os.MkdirTemp("", "usher-test-postgres-")
		if err != nil {
			return true, err
		}
		defer os.RemoveAll(dir)
		dsn, stop, err := storetest.StartPostgreSQL(dir)
		if err != nil {
			return true, fmt.Errorf("start PostgreSQL: %w", err)
		}
		defer stop()
		env = append(env, "USHER_TEST_POSTGRES="+dsn)
	}
	left = append(left, nodeModules(ctx)...)
	left = append(left, goModules(ctx)...)

	built := func() {}
	runs := [][]string{args}
	if len(args) == 0 {
		built = buildAhead(ctx)
		defer built() // also when the tests end early
		if runs, err = everything(ctx); err != nil {
			return true, err
		}
	}
	var counts counts
	for i, args := range runs {
		if i == len(runs)-1 {
			built()
		}
		n, err := test(ctx, env, args)
		if err != nil {
			return true, err
		}
		counts.passed, counts.failed, counts.skipped = counts.passed+n.passed, counts.failed+n.failed, counts.skipped+n.skipped
		counts.slow = append(counts.slow, n.slow...)
	}
	counts.tellSlow()
	fmt.Printf("%d passed, %d failed, %d skipped\n", counts.passed, counts.failed, counts.skipped)
	if len(left) > 0 {
		fmt.Println("left out: " + strings.Join(left, "; "))
	}
	return counts.failed > 0 || ci && len(left) > 0, nil
}

// wholeSystems is how many whole systems are tested at a time, on any machine:
// they wait most of the time, for a redelivery or the end of an outage.
const wholeSystems = "8"

// wholeProgram is the package whose tests run the whole program.
const wholeProgram = "./cmd/e2e"

// everything gives all packages. The tests of the whole program come last and
// alone: they kill, freeze and overload real processes, and want the machine for
// themselves.
func everything(ctx context.Context) ([][]string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "./...").Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var parts []string
	for p := range strings.FieldsSeq(string(out)) {
		if !strings.HasSuffix(p, "/cmd/e2e") {
			parts = append(parts, p)
		}
	}
	return [][]string{parts, {wholeProgram}}, nil
}

// provide installs what is missing, where it may, and tells what stays missing.
func provide(ctx context.Context, needs []need, may bool) (left []string) {
	var missing []string
	for _, n := range needs {
		if !n.found() {
			missing = append(missing, n.packages...)
		}
	}
	if _, err := exec.LookPath("apt-get"); len(missing) > 0 && may && err == nil {
		fmt.Println("installing", strings.Join(missing, " "))
		if err := install(ctx, missing); err != nil {
			fmt.Fprintln(os.Stderr, "install:", err)
		}
	}
	for _, n := range needs {
		if !n.found() {
			left = append(left, fmt.Sprintf("%s (no %s on this machine)", n.without, n.name))
		}
	}
	return left
}

func install(ctx context.Context, packages []string) error {
	// The tests start a server of their own; the package must not start another.
	const noCluster = "/etc/postgresql-common/createcluster.conf"
	if _, err := os.Stat(noCluster); slices.Contains(packages, "postgresql") && errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(noCluster), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(noCluster, []byte("create_main_cluster = false\n"), 0o644); err != nil {
			return err
		}
	}
	if err := command(ctx, ".", "apt-get", "-qq", "update").Run(); err != nil {
		return fmt.Errorf("apt-get update: %w", err)
	}
	args := append([]string{"-qq", "install", "-y", "--no-install-recommends"}, packages...)
	if err := command(ctx, ".", "apt-get", args...).Run(); err != nil {
		return fmt.Errorf("apt-get install: %w", err)
	}
	return nil
}

func command(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	c.Stdout, c.Stderr = io.Discard, os.Stderr
	return c
}

func foundCommand(name string) func() bool {
	return func() bool {
		_, err := exec.LookPath(name)
		return err == nil
	}
}

// foundNode wants the version that the browser's driver wants.
func foundNode() bool {
	out, err := exec.CommandContext(context.Background(), "node", "--version").Output()
	var major int
	if _, scanned := fmt.Sscanf(string(out), "v%d.", &major); err != nil || scanned != nil {
		return false
	}
	return major >= 20 && foundCommand("npm")()
}

func foundPostgreSQL() bool {
	if foundCommand("initdb")() {
		return true
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	return len(found) > 0
}

type counts struct {
	passed, failed, skipped int
	slow                    []line // tests that took a while
}

// aWhile is what a test may take without being named at the end.
const aWhile = 15 // seconds

// line is one line of go test -json.
type line struct {
	Action, Package, Test, Output string
	ImportPath                    string
	FailedBuild                   string
	Elapsed                       float64
}

// flags are those of go test for these arguments, and whether to build with C. The
// programs that the tests of the whole program run have no race detector: it would
// watch the tests alone, at twice the time.
func flags(args []string) (all []string, cgo string) {
	all = []string{"test", "-json", "-shuffle=on", "-timeout=12m", "-vet=off"} // "make check" vets
	switch {
	case slices.Contains(args, wholeProgram):
		return append(all, "-parallel="+wholeSystems), "0"
	case foundCommand("gcc")():
		return append(all, "-race"), "1"
	}
	return all, "0"
}

// test runs go test, shows a line per package and all output of what failed,
// and counts the tests.
func test(ctx context.Context, env, args []string) (counts, error) {
	all, cgo := flags(args)
	args = append(all, args...)
	c := exec.CommandContext(ctx, "go", args...)
	c.Env = append(slices.Clone(env), "CGO_ENABLED="+cgo)
	c.Stderr = os.Stderr
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	out, err := c.StdoutPipe()
	if err != nil {
		return counts{}, err
	}
	if err := c.Start(); err != nil {
		return counts{}, err
	}
	n, scanErr := report(out)
	err = c.Wait()
	var exit *exec.ExitError
	switch {
	case scanErr != nil:
		return n, scanErr
	case errors.As(err, &exit) && n.failed == 0:
		return n, fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	case err != nil && !errors.As(err, &exit):
		return n, err
	}
	return n, nil
}

func report(out io.Reader) (n counts, err error) {
	output := map[string][]string{} // of running tests
	scanner := bufio.NewScanner(out)
	scanner.Buffer(nil, 4<<20)
	for scanner.Scan() {
		var l line
		if json.Unmarshal(scanner.Bytes(), &l) != nil {
			fmt.Println(scanner.Text())
			continue
		}
		key := l.Package + " " + l.Test
		switch l.Action {
		case "build-output":
			fmt.Print(l.Output)
		case "output":
			output[key] = append(output[key], l.Output)
		case "pass", "skip", "fail":
			n.add(l, output[key])
			delete(output, key)
		}
	}
	return n, scanner.Err()
}

// tellSlow names what took longest, since that is what the whole run waits for.
func (n *counts) tellSlow() {
	slices.SortFunc(n.slow, func(a, b line) int { return int(b.Elapsed - a.Elapsed) })
	for i, l := range n.slow {
		if i == 20 {
			break
		}
		fmt.Printf("slow  %5.1fs %s\n", l.Elapsed, l.Test)
	}
}

func (n *counts) add(l line, output []string) {
	if l.Test == "" {
		if l.Action != "skip" {
			fmt.Printf("%-5s %s\t%.1fs\n", l.Action, l.Package, l.Elapsed)
		}
		if l.Action == "fail" {
			fmt.Print(strings.Join(output, ""))
			if l.FailedBuild != "" {
				n.failed++
			}
		}
		return
	}
	if l.Elapsed > aWhile && !strings.Contains(l.Test, "/") {
		n.slow = append(n.slow, l)
	}
	switch l.Action {
	case "pass":
		n.passed++
	case "skip":
		n.skipped++
		fmt.Printf("skip  %s %s: %s\n", l.Package, l.Test, strings.TrimSpace(strings.Join(output, " ")))
	case "fail":
		n.failed++
		fmt.Printf("fail  %s %s\n%s", l.Package, l.Test, strings.Join(output, ""))
	}
}
