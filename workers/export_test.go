package workers

import (
	"context"
	"io"
	"time"
)

// NakDelay replaces how long an event is naked for that nobody takes the report of.
func NakDelay(d time.Duration) Option { return workerOption(func(w *Worker) { w.nakDelay = d }) }

// Exit is Main without a process of its own.
func Exit(ctx context.Context, r Runner, complaints io.Writer) int {
	return exitCode(ctx, r, complaints)
}

// BusName is a bus as logs and errors name it.
func BusName(bus string) string { return busName(bus) }
