package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
)

// kept are commands that go on running, each of which has one event at a time.
type kept struct{ idle chan *keptCommand }

func newKept(p *program, n int) *kept {
	k := &kept{make(chan *keptCommand, n)}
	for range n {
		pauses := backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond),
			backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(0))
		k.idle <- &keptCommand{program: p, pauses: pauses}
	}
	return k
}

// handle gives an event to a command that has none.
func (k *kept) handle(ctx context.Context, e events.Event, _ int) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case c := <-k.idle:
		defer func() { k.idle <- c }()
		return c.handle(ctx, e)
	}
}

// end tells the commands to end by the end of their input.
func (k *kept) end() {
	for range cap(k.idle) {
		select {
		case c := <-k.idle:
			c.end()
		default: // its event has it still, and was told to end
		}
	}
}

// keptCommand is a command that goes on running. It is not running at first and
// after it has failed.
type keptCommand struct {
	*program
	pauses backoff.BackOff
	failed bool

	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// lineResult is what a command says about an event.
type lineResult struct {
	ID        string  `json:"id"`
	OK        bool    `json:"ok"`
	Error     string  `json:"error"`
	Permanent bool    `json:"permanent"`
	After     float64 `json:"after"` // seconds
}

// err is what the result means for the event.
func (r lineResult) err() error {
	if r.OK && r.Error == "" {
		return nil
	}
	text := r.Error
	if text == "" {
		text = "the command says neither ok nor an error"
	}
	if r.Permanent {
		return workers.Permanent(errors.New(text))
	}
	return workers.RetryIn(time.Duration(r.After*float64(time.Second)), errors.New(text))
}

// handle asks the command for its result. A command that breaks off or says
// something else is killed; the next event starts it again.
func (c *keptCommand) handle(ctx context.Context, e events.Event) error {
	input, err := c.input(ctx, e)
	if err != nil {
		return err
	}
	if err := c.ready(ctx); err != nil {
		return err
	}
	cmd := c.cmd
	stop := context.AfterFunc(ctx, func() { _ = cmd.Cancel() })
	r, err := c.ask(e.ID, input)
	stop()
	if err == nil {
		c.failed = false
		c.pauses.Reset()
		return r.err()
	}
	c.kill()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// ready starts the command if it is not running, not too soon after a failure.
func (c *keptCommand) ready(ctx context.Context) error {
	if c.cmd != nil {
		return nil
	}
	if c.failed {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(c.pauses.NextBackOff()):
		}
	}
	cmd := c.start(context.Background())
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = c.errOut
	if err := cmd.Start(); err != nil {
		c.failed = true
		return fmt.Errorf("the command did not start: %w", err)
	}
	c.cmd, c.in, c.out = cmd, in, bufio.NewScanner(out)
	c.out.Buffer(nil, maxOutput)
	return nil
}

// ask writes an event and reads its result.
func (c *keptCommand) ask(id string, input []byte) (r lineResult, err error) {
	if _, err := c.in.Write(input); err != nil {
		return r, errors.New("the command ended before the event")
	}
	if !c.out.Scan() {
		if errors.Is(c.out.Err(), bufio.ErrTooLong) {
			return r, fmt.Errorf("the command's line is over %d bytes", maxOutput)
		}
		return r, errors.New("the command ended at the event")
	}
	if err := json.Unmarshal(c.out.Bytes(), &r); err != nil {
		return r, errors.New("the command's line is no result in JSON")
	}
	if r.ID != id {
		return r, errors.New("the command's line is about another event")
	}
	return r, nil
}

func (c *keptCommand) kill() {
	_ = c.cmd.Cancel()
	_ = c.cmd.Wait()
	c.cmd, c.failed = nil, true
}

// endPause is how long a command has to end by itself.
const endPause = 2 * time.Second

func (c *keptCommand) end() {
	if c.cmd == nil {
		return
	}
	_ = c.in.Close()
	late := time.AfterFunc(endPause, func() { _ = killGroup(c.cmd) })
	_ = c.cmd.Wait()
	late.Stop()
	_ = killGroup(c.cmd) // what it has left behind
}
