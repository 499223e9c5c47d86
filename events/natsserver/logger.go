package natsserver

import (
	"fmt"
	"log/slog"
	"sync/atomic"
)

// logger passes warnings and errors of the server on. What it traces could be
// payloads, and is dropped with the rest.
type logger struct {
	log   *slog.Logger
	fatal atomic.Pointer[string] // the first
}

func (l *logger) Warnf(format string, v ...any) {
	l.log.Warn("bus server: " + fmt.Sprintf(format, v...))
}

func (l *logger) Errorf(format string, v ...any) {
	l.log.Error("bus server: " + fmt.Sprintf(format, v...))
}

// Fatalf ends a server that is a program; here Start gives the error.
func (l *logger) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.fatal.CompareAndSwap(nil, &text)
}

func (*logger) Noticef(string, ...any) {}
func (*logger) Debugf(string, ...any)  {}
func (*logger) Tracef(string, ...any)  {}
