package app

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/events/natsserver"
)

// The start said twice that addresses can be enumerated.
func TestTheDangerIsSaidOnce(t *testing.T) {
	t.Parallel()
	cfg, warnings, err := config.Load(config.Options{Dev: true, Env: []string{}, Overrides: map[string]any{"data_dir": t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	say(slog.New(slog.NewTextHandler(&log, nil)), cfg, warnings)
	if n := strings.Count(log.String(), "account_enumeration"); n != 1 {
		t.Errorf("said %d times, want once:\n%s", n, log.String())
	}
}

func TestATakenPortNamesItsKey(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	other, err := natsserver.Start(t.Context(), "listen: 127.0.0.1:-1\njetstream {store_dir: \""+t.TempDir()+"\"}", natsserver.Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	cfg, _, err := config.Load(config.Options{Dev: true, Env: []string{}, Overrides: map[string]any{
		"data_dir": t.TempDir(), "bus.listen": strings.TrimPrefix(other.ClientURL(), "nats://"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Dev = false // development takes the next port
	if _, err := openBus(t.Context(), cfg, log); err == nil || !strings.Contains(err.Error(), "bus.listen") || !strings.Contains(err.Error(), "USHER_BUS__LISTEN=") {
		t.Errorf("openBus on a taken port: %v, want one that names bus.listen and what to do", err)
	}
}
