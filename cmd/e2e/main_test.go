package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Built once for all tests of this package.
var usherBin, natsBin string

// inTheLongRun gives what is for "make soak", or what is for "make test".
func inTheLongRun[T any](long, short T) T {
	if os.Getenv("USHER_TEST_SOAK") != "" {
		return long
	}
	return short
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if addr := os.Getenv("USHER_BENCH_BARE"); addr != "" {
		fmt.Fprintln(os.Stderr, serveBare(addr))
		return 1
	}
	for variable, steady := range map[string]bool{"USHER_TEST_SOAK_LEDGER": false, "USHER_TEST_STEADY_LEDGER": true} {
		if dir := os.Getenv(variable); dir != "" {
			fmt.Fprintln(os.Stderr, serveLedger(dir, steady))
			return 1
		}
	}
	dir, err := os.MkdirTemp("", "usher-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	usherBin, natsBin = filepath.Join(dir, "usher"), filepath.Join(dir, "nats-server")
	for bin, args := range map[string][]string{
		usherBin: {"-tags", "crash", "github.com/usher-auth/usher/cmd/usher"},
		natsBin:  {"github.com/nats-io/nats-server/v2"},
	} {
		build := exec.Command("go", append([]string{"build", "-o", bin}, args...)...)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build %v: %v\n%s", args, err, out)
			return 1
		}
	}
	// A case of a property here is a reload and a handful of people.
	if err := flag.Set("rapid.checks", "20"); err != nil { // what the command line says is read later
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
