package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Built once for all tests of this package.
var usherBin, natsBin string

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
	return m.Run()
}
