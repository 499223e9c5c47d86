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

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
)

// pipes are programs that keep running, one for each event that may be in work:
// each gets a line and answers with a line.
type pipes struct {
	command []string
	err     io.Writer
	free    chan *pipe
}

// pipe is one place of a program; the program itself is started when it is needed.
type pipe struct {
	process *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Scanner
	failed  time.Time
}

// restartPause is how long a program that broke is left alone.
const restartPause = time.Second

func newPipes(command []string, n int, stderr io.Writer) *pipes {
	p := &pipes{command: command, err: stderr, free: make(chan *pipe, n)}
	for range n {
		p.free <- &pipe{}
	}
	return p
}

// lineResult is what a program answers to an event.
type lineResult struct {
	ID        string  `json:"id"`
	OK        bool    `json:"ok"`
	Error     string  `json:"error"`
	Permanent bool    `json:"permanent"`
	After     float64 `json:"after"` // seconds
}

func (p *pipes) handle(ctx context.Context, e events.Event) error {
	text, err := e.Encode()
	if err != nil {
		return err
	}
	one := <-p.free
	defer func() { p.free <- one }()
	result, err := p.ask(ctx, one, text)
	if err == nil && result.ID != e.ID {
		err = fmt.Errorf("the program answered for event %q", result.ID)
	}
	switch {
	case err != nil:
		one.end()
		return err
	case result.OK:
		return nil
	case result.Error == "":
		return errors.New("the program said neither ok nor why not")
	case result.Permanent:
		return workers.Permanent(errors.New(result.Error))
	case result.After > 0:
		return workers.RetryIn(time.Duration(result.After*float64(time.Second)), errors.New(result.Error))
	}
	return errors.New(result.Error)
}

// ask sends an event and reads the result. Whatever breaks, or takes too long,
// ends the program: the next event gets a new one.
func (p *pipes) ask(ctx context.Context, one *pipe, text []byte) (result lineResult, err error) {
	if one.process == nil {
		if err := p.start(ctx, one); err != nil {
			return result, err
		}
	}
	stop := context.AfterFunc(ctx, func() { killGroup(one.process) })
	defer stop()
	if _, err := one.in.Write(append(text, '\n')); err != nil {
		return result, fmt.Errorf("the program does not read: %w", err)
	}
	if !one.out.Scan() {
		if ctx.Err() != nil {
			return result, fmt.Errorf("killed: %w", context.Cause(ctx))
		}
		return result, errors.Join(errors.New("the program ended without a result"), one.out.Err())
	}
	if err := json.Unmarshal(one.out.Bytes(), &result); err != nil {
		return result, fmt.Errorf("the program's result is not the JSON that it should be: %w", err)
	}
	return result, nil
}

func (p *pipes) start(ctx context.Context, one *pipe) error {
	select {
	case <-time.After(time.Until(one.failed.Add(restartPause))):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	c := exec.Command(p.command[0], p.command[1:]...)
	c.Stderr = p.err
	ownGroup(c)
	in, err := c.StdinPipe()
	if err != nil {
		return err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	one.process, one.in, one.out = c, in, bufio.NewScanner(out)
	one.out.Buffer(nil, maxOutput)
	return nil
}

// end ends the program.
func (o *pipe) end() {
	if o.process == nil {
		return
	}
	killGroup(o.process)
	_ = o.process.Wait()
	*o = pipe{failed: time.Now()}
}

// close lets the programs end by themselves, and ends those that do not.
func (p *pipes) close() {
	for range cap(p.free) {
		one := <-p.free
		if one.process == nil {
			continue
		}
		_ = one.in.Close()
		late := time.AfterFunc(5*time.Second, func() { killGroup(one.process) })
		_ = one.process.Wait()
		late.Stop()
	}
}
