package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
)

// Exit statuses of a command that runs once for each event (sysexits.h).
const (
	exitAgain = 75 // EX_TEMPFAIL
	exitNever = 65 // EX_DATAERR
)

// maxOutput bounds what is kept of a command's standard error, and of a result.
const maxOutput = 64 << 10

type workerRun struct {
	creds, url  string
	lines       bool
	timeout     time.Duration
	concurrency int
}

func workerRunCommand() *cobra.Command {
	var r workerRun
	cmd := &cobra.Command{
		Use:   "run NAME -- COMMAND [ARGUMENT]...",
		Short: "Run a command for each event of a worker",
		Long: `Runs a command for each event of a worker, with the event as JSON on its standard
input and USHER_EVENT_TYPE, USHER_EVENT_ID and USHER_ATTEMPT in its environment.

  exit 0    done
  exit 75   again later, by the worker's ladder
  exit 65   never again: a dead letter, see 'usher dlq'
  others    an error, again later; the last line of standard error says why

With --lines the command keeps running: it gets one event a line, and answers
each with one line of JSON, {"id": "…", "ok": true} or {"id": "…", "error": "why",
"permanent": true, "after": 60}. NATS_URL and NATS_CREDS are as for any worker.`,
		Example: "  usher worker run hello -- ./worker.sh\n  usher worker run hello --lines -- python3 -u worker.py",
		Args: func(cmd *cobra.Command, args []string) error {
			if cmd.ArgsLenAtDash() != 1 || len(args) < 2 {
				return errors.New("want NAME -- COMMAND, as in: usher worker run hello -- ./worker.sh")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return r.run(cmd, args[0], args[1:]) },
	}
	cmd.Flags().StringVar(&r.creds, "creds", "", "file with the credential (default: NATS_CREDS, else NAME.creds)")
	cmd.Flags().StringVar(&r.url, "url", "", "URL of the bus (default: NATS_URL)")
	cmd.Flags().BoolVar(&r.lines, "lines", false, "keep the command running, one event a line")
	cmd.Flags().DurationVar(&r.timeout, "timeout", 30*time.Second, "how long an event may take; then the command is killed")
	cmd.Flags().IntVar(&r.concurrency, "concurrency", 1, "how many events at the same time")
	return cmd
}

func (r *workerRun) run(cmd *cobra.Command, name string, command []string) error {
	if _, err := exec.LookPath(command[0]); err != nil {
		return err
	}
	// The kit is configured by the environment alone.
	for key, value := range map[string]string{
		"NATS_URL":   r.url,
		"NATS_CREDS": cmp.Or(r.creds, os.Getenv("NATS_CREDS"), name+".creds"),
	} {
		if value != "" {
			if err := os.Setenv(key, value); err != nil {
				return err
			}
		}
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	w := workers.New(name, workers.Concurrency(r.concurrency), workers.Timeout(r.timeout), workers.Logger(log))
	handle := (&oneShot{command: command, out: cmd.OutOrStdout(), err: cmd.ErrOrStderr()}).handle
	if r.lines {
		p := newPipes(command, r.concurrency, cmd.ErrOrStderr())
		defer p.close()
		handle = p.handle
	}
	workers.OnAny(w, handle)
	fmt.Fprintf(cmd.ErrOrStderr(), "worker %s runs %s for each event; end it with Ctrl-C\n", name, command[0])
	return w.Run(cmd.Context())
}

// oneShot runs a command once for each event.
type oneShot struct {
	command  []string
	out, err io.Writer
}

func (o *oneShot) handle(ctx context.Context, e events.Event) error {
	text, err := e.Encode()
	if err != nil {
		return err
	}
	said := &tail{to: o.err}
	c := exec.CommandContext(ctx, o.command[0], o.command[1:]...)
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(append(text, '\n')), o.out, said
	c.Env = append(os.Environ(), "USHER_EVENT_TYPE="+e.Type, "USHER_EVENT_ID="+e.ID, "USHER_ATTEMPT="+strconv.Itoa(workers.AttemptNumber(ctx)))
	ownGroup(c)
	c.WaitDelay = time.Second
	err = c.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("killed: %w", context.Cause(ctx))
	case errors.As(err, &exit) && exit.ExitCode() == exitNever:
		return workers.Permanent(said.reason("exit 65"))
	case errors.As(err, &exit) && exit.ExitCode() == exitAgain:
		return said.reason("exit 75")
	case errors.Is(err, exec.ErrWaitDelay), strings.Contains(err.Error(), "broken pipe"):
		return nil // it has ended with 0 and left a child, or did not read its input
	}
	return said.reason(err.Error())
}

// tail passes standard error on and keeps the end of it.
type tail struct {
	to   io.Writer
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	t.kept = t.kept[max(0, len(t.kept)-maxOutput):]
	return t.to.Write(p)
}

// reason is the last line that was said, or else.
func (t *tail) reason(otherwise string) error {
	lines := strings.Split(strings.TrimSpace(string(t.kept)), "\n")
	return errors.New(cmp.Or(strings.TrimSpace(lines[len(lines)-1]), otherwise))
}
