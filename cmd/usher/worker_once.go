package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
)

// What the exit status of a command says besides done and failed, as in sysexits.h.
const (
	exitPermanent = 65 // EX_DATAERR
	exitLater     = 75 // EX_TEMPFAIL
)

// maxOutput is how much of a command's output is kept for one event, in bytes.
const maxOutput = 64 << 10

// once runs the command for one event.
func (p *program) once(ctx context.Context, e events.Event, attempt int) error {
	input, err := p.input(ctx, e)
	if err != nil {
		return err
	}
	var out, errOut tail
	c := p.start(ctx)
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(input), &out, &errOut
	c.Env = append(c.Env, "USHER_EVENT_ID="+e.ID, "USHER_EVENT_TYPE="+e.Type, "USHER_ATTEMPT="+strconv.Itoa(attempt))
	if e.Source == events.SourceCheck {
		c.Env = append(c.Env, "USHER_CHECK=1")
	}
	err = c.Run()
	if c.Process != nil {
		_ = killGroup(c) // what it has left behind
	}
	printing.Lock()
	_, _ = p.out.Write(out.kept)
	_, _ = p.errOut.Write(errOut.kept)
	printing.Unlock()
	if ctx.Err() != nil && err != nil {
		return context.Cause(ctx)
	}
	return verdict(err, errOut.lastLine())
}

// printing lets the output of one event stay together.
var printing sync.Mutex

// verdict is what the end of a command says about its event.
func verdict(err error, said string) error {
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // done, though what it started holds on to its output
		return nil
	case !errors.As(err, &exit):
		return fmt.Errorf("the command did not run: %w", err)
	case said == "":
		said = exit.String()
	}
	switch exit.ExitCode() {
	case exitPermanent:
		return workers.Permanent(errors.New(said))
	case exitLater:
		return workers.RetryIn(0, errors.New(said))
	default:
		return errors.New(said)
	}
}

// tail keeps the last of what is written to it.
type tail struct{ kept []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.kept = append(t.kept, b[max(0, len(b)-maxOutput):]...)
	if over := len(t.kept) - maxOutput; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(b), nil
}

// lastLine is the last line that says something. The kit cuts and cleans it.
func (t *tail) lastLine() string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(t.kept), "?"))
	return strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:])
}
