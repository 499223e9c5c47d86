package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
)

func workerRunCommand(g *global) *cobra.Command {
	var creds, bus string
	var lines, identity bool
	var timeout time.Duration
	var concurrency int
	cmd := &cobra.Command{
		Use:   "run NAME -- COMMAND [ARGUMENT]...",
		Short: "Run a command for each event of a worker, until interrupted",
		Long: `Runs a command for each event of a worker, until interrupted. The event is one
JSON on the command's standard input; USHER_EVENT_ID, USHER_EVENT_TYPE and
USHER_ATTEMPT are in its environment, and USHER_CHECK=1 if it is one of 'usher
worker check'. How it exits decides:

  0         done
  75        again later, by the worker's ladder
  65        a dead letter at once
  else      failed: again later, and the last line of its standard error is the
            reason that operators see

With --identity the event has one more member, "identity": the person that it is
about as they are now, with the traits that the worker was declared with, such as
{"identity_id": …, "state": "active", "traits": {"email": …}}; null if the person
has been deleted, or the event is about nobody.

With --lines the command goes on running: it reads one event a line and answers
each with one line, {"id": …, "ok": true} or {"id": …, "error": "why",
"permanent": true, "after": SECONDS}, the last two if it likes. It is started
again when it ends.

A command that takes longer than --timeout is killed, and its event comes again.
With it goes all that it started: what is in its process group, and on Linux what
has USHER_COMMAND in its environment too. When 'usher worker run' itself is
killed, Linux kills the command, but not what that has started. The bus is NATS_URL
or --url, the worker's credential NATS_CREDS, --creds, or else NAME.creds or
NAME/NAME.creds in this directory, NATS_CA who signs the certificates of a bus
with TLS.`,
		Example: "  usher worker run hello -- sh -c 'jq .type'\n  usher worker run hello --identity -- sh -c 'jq .identity.traits'\n  usher worker run hello --lines --concurrency 4 -- python3 worker.py",
		Args: func(cmd *cobra.Command, args []string) error {
			if dash := cmd.ArgsLenAtDash(); dash != 1 || len(args) < 2 {
				return fmt.Errorf("want a NAME, and behind -- the command: %s", cmd.UseLine())
			}
			return nil
		},
		ValidArgsFunction: hookNames(g, "worker"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if concurrency < 1 {
				return fmt.Errorf("--concurrency %d: want 1 or more", concurrency)
			}
			if timeout <= 0 {
				return fmt.Errorf("--timeout %s: want a time above 0, such as 30s", timeout)
			}
			if _, err := exec.LookPath(args[1]); err != nil {
				return fmt.Errorf("the command: %w", err)
			}
			if err := workerEnvironment(args[0], creds, bus); err != nil {
				return err
			}
			w := workers.New(args[0], workers.Concurrency(concurrency), workers.Timeout(timeout))
			p := program{command: args[1:], identity: identity, out: unguarded(cmd.OutOrStdout()), errOut: cmd.ErrOrStderr()}
			handle := p.once
			if lines {
				keep := newKept(&p, concurrency)
				defer keep.end()
				handle = keep.handle
			}
			workers.OnAny(w, func(ctx context.Context, e events.Event) error {
				return handle(ctx, e, workers.AttemptNumber(ctx))
			})
			return w.Run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&creds, "creds", "", "file with the worker's credential (default: NATS_CREDS, else NAME.creds or NAME/NAME.creds)")
	cmd.Flags().StringVar(&bus, "url", "", "URL of the bus (default: NATS_URL, else "+nats.DefaultURL+")")
	cmd.Flags().BoolVar(&lines, "lines", false, "keep the command running: one event a line in, one result a line out")
	cmd.Flags().BoolVar(&identity, "identity", false, "put the person with the declared traits into each event, as its member identity")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long one event may take")
	cmd.Flags().IntVar(&concurrency, "concurrency", 1, "how many commands run at the same time")
	return cmd
}

// workerEnvironment puts what flags say where the kit reads it.
func workerEnvironment(name, creds, bus string) error {
	creds = cmp.Or(creds, os.Getenv("NATS_CREDS"), credentialFile(name))
	if creds == "" {
		return fmt.Errorf("no credential of a worker %q: neither --creds nor NATS_CREDS names one, and there is no %[1]s.creds here, nor %[1]s/%[1]s.creds\n"+
			"'usher worker list' shows the workers; 'usher worker rotate %[1]s' writes a new credential, 'usher worker new %[1]s' makes a new worker", name)
	}
	if err := os.Setenv("NATS_CREDS", creds); err != nil {
		return err
	}
	return os.Setenv("NATS_URL", cmp.Or(bus, os.Getenv("NATS_URL")))
}

// credentialFile is where this directory has a worker's credential: in itself,
// or in the folder that was made for the worker. It is empty if it has none.
func credentialFile(name string) string {
	for _, file := range []string{name + ".creds", filepath.Join(name, name+".creds")} {
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return ""
}

// program is the command that a worker runs.
type program struct {
	command     []string
	identity    bool // give it the person, too
	out, errOut io.Writer
}

// input is what the command is told of an event.
func (p *program) input(ctx context.Context, e events.Event) ([]byte, error) {
	if !p.identity {
		return line(e)
	}
	with := struct {
		events.Event
		Identity *events.IdentityGetReply `json:"identity"`
	}{Event: e}
	if e.Subject == "" {
		return line(with)
	}
	switch found, err := workers.Identity(ctx); {
	case err == nil:
		with.Identity = &found
	case !errors.Is(err, workers.ErrGone):
		return nil, err
	}
	return line(with)
}

// line is a value as one line of JSON.
func line(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, workers.Permanent(err)
	}
	return append(text, '\n'), nil
}

// start makes a process group of its own for the command, which ends with ctx.
func (p *program) start(ctx context.Context) *exec.Cmd {
	c := exec.CommandContext(ctx, p.command[0], p.command[1:]...) //nolint:gosec // what the operator wants run
	mark := "USHER_COMMAND=" + rand.Text()
	c.Env = append(os.Environ(), mark)
	c.SysProcAttr = ownGroup()
	c.Cancel = func() error {
		defer killMarked(mark)
		return killGroup(c)
	}
	c.WaitDelay = time.Second
	return c
}

// killGroup kills a command with all that is in its process group.
func killGroup(c *exec.Cmd) error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
