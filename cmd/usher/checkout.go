package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

const modulePath = "github.com/usher-auth/usher"

// checkout is the folder of the module's source: that which this is run in, or
// else that which the program was built from, as long as it is there. It is
// empty for a program that was fetched as a module.
func checkout(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Path}} {{.Dir}}").Output()
	if err == nil {
		for line := range strings.Lines(string(out)) {
			if module, dir, ok := strings.Cut(strings.TrimSpace(line), " "); ok && module == modulePath {
				return dir
			}
		}
	}
	_, file, _, _ := runtime.Caller(0)
	return sourceFolder(file)
}

// sourceFolder is the folder of the module that a file in cmd/usher belongs to,
// if it is there and no fetched module.
func sourceFolder(file string) string {
	if !filepath.IsAbs(file) || strings.Contains(file, modulePath+"@") {
		return ""
	}
	dir := filepath.Dir(filepath.Dir(filepath.Dir(file)))
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil || !strings.HasPrefix(string(text), "module "+modulePath+"\n") {
		return ""
	}
	return dir
}

// goRun is where "go run" puts programs, which are not there for long.
var goRun = regexp.MustCompile(`go-build|/[0-9a-f]{64}-d/`)

// self is how this program is run from another folder, and what has to be done
// for that before.
func self(ctx context.Context, called string) (before, program string) {
	if !strings.ContainsRune(called, filepath.Separator) {
		return "", called
	}
	if goRun.MatchString(called) {
		dir := checkout(ctx)
		if dir == "" {
			return "", "go run " + modulePath + "/cmd/usher@latest"
		}
		return "go build -C " + quote(dir) + " -o bin/usher ./cmd/usher && ", quote(filepath.Join(dir, "bin", "usher"))
	}
	if absolute, err := filepath.Abs(called); err == nil {
		called = absolute
	}
	return "", quote(called)
}
