package app

import (
	"context"
	"io"
	"log/slog"
	"os"

	"github.com/lmittmann/tint"
	"github.com/mattn/go-isatty"
	"go.opentelemetry.io/otel/trace"

	"github.com/usher-auth/usher/cmd/internal/config"
)

// newLog writes JSON, or text that is coloured on a terminal. Lines about what is traced
// have a trace_id.
func newLog(cfg *config.Config, out io.Writer) *slog.Logger {
	level := map[string]slog.Level{
		"trace": slog.LevelDebug, "debug": slog.LevelDebug, "warn": slog.LevelWarn,
		"error": slog.LevelError, "fatal": slog.LevelError, "panic": slog.LevelError,
	}[cfg.Log.Level] // info is the zero Level
	return slog.New(tracedLines{newLogHandler(cfg.Log.Format, level, out)})
}

func newLogHandler(format string, level slog.Level, out io.Writer) slog.Handler {
	if format == "json" {
		return slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level})
	}
	if f, ok := out.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		return tint.NewTextHandler(out, &tint.Options{Level: level, TimeFormat: "15:04:05.000"})
	}
	return slog.NewTextHandler(out, &slog.HandlerOptions{Level: level})
}

const attrTraceID = "trace_id"

// tracedLines adds the trace that a line's context is in, unless the line has it.
type tracedLines struct{ slog.Handler }

// Handle is that of [slog.Handler].
func (h tracedLines) Handle(ctx context.Context, r slog.Record) error {
	c := trace.SpanContextFromContext(ctx)
	if !c.IsValid() {
		return h.Handler.Handle(ctx, r)
	}
	said := false
	r.Attrs(func(a slog.Attr) bool {
		said = a.Key == attrTraceID
		return !said
	})
	if !said {
		r = r.Clone()
		r.AddAttrs(slog.String(attrTraceID, c.TraceID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs is that of [slog.Handler].
func (h tracedLines) WithAttrs(attrs []slog.Attr) slog.Handler {
	return tracedLines{h.Handler.WithAttrs(attrs)}
}

// WithGroup is that of [slog.Handler].
func (h tracedLines) WithGroup(name string) slog.Handler {
	return tracedLines{h.Handler.WithGroup(name)}
}
