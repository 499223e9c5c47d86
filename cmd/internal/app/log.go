package app

import (
	"io"
	"log/slog"
	"os"

	"github.com/lmittmann/tint"
	"github.com/mattn/go-isatty"

	"github.com/usher-auth/usher/cmd/internal/config"
)

// newLog writes JSON, or text that is coloured on a terminal.
func newLog(cfg *config.Config, out io.Writer) *slog.Logger {
	level := map[string]slog.Level{
		"trace": slog.LevelDebug, "debug": slog.LevelDebug, "warn": slog.LevelWarn,
		"error": slog.LevelError, "fatal": slog.LevelError, "panic": slog.LevelError,
	}[cfg.Log.Level] // info is the zero Level
	if cfg.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level}))
	}
	if f, ok := out.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		return slog.New(tint.NewTextHandler(out, &tint.Options{Level: level, TimeFormat: "15:04:05.000"}))
	}
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level}))
}
