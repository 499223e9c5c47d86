package app

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/usher-auth/usher/cmd/internal/config"
)

// TestHangupBeforeReady: a SIGHUP while a process starts ends it not, and the service
// manager hears that it serves before it hears of a reload.
func TestHangupBeforeReady(t *testing.T) { //nolint:paralleltest // the signal goes to the whole process
	dir := t.TempDir()
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify"))
	level := "info"
	said := &lockedLog{}
	ctx, end := context.WithCancel(t.Context())
	defer end()
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, Options{Parts: Everything, Version: "1.0.0", Log: slog.New(slog.NewTextHandler(said, nil)), Load: func() (*config.Config, []config.Warning, error) {
			overrides := map[string]any{"data_dir": dir, "serve.public.port": 0, "serve.admin.port": 0, "bus.listen": "127.0.0.1:-1", "log.level": level}
			if level == "info" {
				level = "debug"
				_ = syscall.Kill(syscall.Getpid(), syscall.SIGHUP)
			} else {
				overrides["bus.listen"] = "127.0.0.1:1"
			}
			return config.Load(config.Options{Dev: true, Env: []string{}, Overrides: overrides})
		}})
	}()
	var states []string
	buffer := make([]byte, 1024)
	for len(states) < 3 {
		_ = manager.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, err := manager.Read(buffer)
		if err != nil {
			t.Fatalf("after %q: %v", states, err)
		}
		state, _, _ := strings.Cut(string(buffer[:n]), "\n")
		states = append(states, state)
	}
	if want := []string{"READY=1", "RELOADING=1", "READY=1"}; !slices.Equal(states, want) {
		t.Errorf("the service manager hears %q, want %q", states, want)
	}
	end()
	if err := <-ended; err != nil {
		t.Errorf("Serve = %v", err)
	}
	// What waits for the next start is not said to be in force.
	for line := range strings.Lines(said.String()) {
		if wrong := strings.Contains(line, "in force") || strings.Contains(line, "read again"); wrong && strings.Contains(line, "bus.listen") {
			t.Errorf("a key of the next start is said to be in force: %s", line)
		}
	}
	if text := said.String(); !strings.Contains(text, "keys=bus.listen") || !strings.Contains(text, "changed=log.level") {
		t.Errorf("the log does not say what takes effect when:\n%s", text)
	}
}
