package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Modules of their own, which "go test ./..." does not see: a test in cmd/e2e
// runs the tests of the one, others run the program that the other is.
const (
	sdkFolder      = "cmd/e2e/sdk"
	providerFolder = "cmd/e2e/provider"
)

// nodeModules installs what the tests in JavaScript use, and tells what stays missing.
func nodeModules(ctx context.Context) (left []string) {
	if !foundNode() {
		return nil // which has been said
	}
	install := func(folder, without string) {
		if err := command(ctx, folder, "npm", "ci", "--no-audit", "--no-fund", "--silent").Run(); err != nil {
			left = append(left, fmt.Sprintf("%s (npm ci: %v)", without, err))
		}
	}
	install(sdkFolder, "the tests with the SDK for JavaScript")
	if foundCommand("chromium")() {
		install("cmd/e2e/browser", "the browser tests")
	}
	return left
}

// goModules gets what the modules beside this one use, and tells what stays missing.
func goModules(ctx context.Context) (left []string) {
	for folder, without := range map[string]string{
		sdkFolder:      "the tests with the SDK for Go",
		providerFolder: "the tests with an OpenID provider",
	} {
		c := exec.CommandContext(ctx, "go", "mod", "download")
		c.Dir = folder
		if out, err := c.CombinedOutput(); err != nil {
			left = append(left, fmt.Sprintf("%s (go mod download: %v %s)", without, err, strings.TrimSpace(string(out))))
		}
	}
	return left
}

// buildAhead begins to build what the tests of the whole program need, and gives
// what waits for that: the tests with the SDK for Go, which take two cores half a
// minute with nothing in the cache, most of it for the one package that the SDK
// is, and the programs that cmd/e2e runs. It gives way to the tests that run at
// the same time. What goes wrong is said by the test that builds it again.
func buildAhead(ctx context.Context) (wait func()) {
	var running []*exec.Cmd
	for _, b := range []struct{ folder, args string }{
		{".", "build -tags crash -o /dev/null ./cmd/usher"},
		{".", "build -o /dev/null github.com/nats-io/nats-server/v2"},
		{".", "test -vet=off -c -o /dev/null " + wholeProgram},
		{sdkFolder, "test -c -o /dev/null ."},
		{providerFolder, "build -o /dev/null ."},
	} {
		c := exec.CommandContext(ctx, "nice", append([]string{"-n", "19", "go"}, strings.Fields(b.args)...)...)
		c.Dir = b.folder
		c.Env = append(os.Environ(), "CGO_ENABLED=0") // as the tests have it
		if c.Start() == nil {
			running = append(running, c)
		}
	}
	return func() {
		for _, c := range running {
			_ = c.Wait()
		}
	}
}
