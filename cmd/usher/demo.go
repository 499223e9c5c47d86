package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/cmd/internal/app"
	"github.com/usher-auth/usher/cmd/internal/config"
)

func demoCommand(g *global) *cobra.Command {
	var once bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Start everything in a temporary folder, register two people, and watch what happens",
		Long: `Starts everything on embedded parts (SQLite, the bus) in a temporary folder and on
free ports; registers a person as an app would and another as a browser would,
prints both answers, asks whoami with each, and shows the events and their
hooks while they happen. The first of them comes back: refused until the address
is verified with the code from the mailbox. Then it stays up until Ctrl-C.`,
		Example: "  usher demo --once",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if g.file != "" || g.json {
				return errors.New("demo makes its own configuration and prints for people: leave out --config and --json")
			}
			// A reader that goes ("demo | head") ends the demo in order.
			signal.Ignore(syscall.SIGPIPE)
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			return runDemo(ctx, read{cmd.OutOrStdout(), cancel}, cmd.ErrOrStderr(), once)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "end after the first round; status 0 only if all of it happened")
	return cmd
}

// read is written to for as long as somebody reads it.
type read struct {
	io.Writer
	gone context.CancelFunc
}

func (r read) Write(p []byte) (int, error) {
	n, err := r.Writer.Write(p)
	if err != nil {
		r.gone()
	}
	return n, err
}

// runDemo starts the server, plays the round against it, and stops it in order.
func runDemo(ctx context.Context, out, errOut io.Writer, once bool) error {
	dir, err := os.MkdirTemp("", "usher-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	endpoint, err := newDemoEndpoint(ctx)
	if err != nil {
		return err
	}
	defer endpoint.Close()

	began := time.Now()
	load := func() (*config.Config, []config.Warning, error) {
		return config.Load(config.Options{Dev: true, Overrides: map[string]any{
			"data_dir":          dir,
			"serve.public.port": 0,
			"serve.admin.port":  0,
			"selfservice.flows.registration.after.password.hooks": []any{
				map[string]any{"hook": "web_hook", "config": map[string]any{
					"id": "welcome-mail", "url": endpoint.URL, "method": "POST", "body": demoBody,
					"response": map[string]any{"ignore": true},
				}},
				map[string]any{"hook": "show_verification_ui"},
				map[string]any{"hook": "session"},
			},
			"selfservice.flows.login.after.password.hooks": []any{
				map[string]any{"hook": "require_verified_address"},
			},
		}})
	}
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	ready := make(chan app.Addresses, 1)
	stopped := make(chan error, 1)
	go func() {
		stopped <- app.Serve(serving, app.Options{
			Load:    load,
			Parts:   app.Everything,
			Version: version(),
			Log:     slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: slog.LevelError})),
			Ready:   func(a app.Addresses) { ready <- a },
		})
	}()
	var at app.Addresses
	select {
	case err := <-stopped:
		return fmt.Errorf("start: %w", err)
	case at = <-ready:
	}
	fmt.Fprintf(out, "Usher is up after %s: API %s, bus %s, data in %s\n", since(began), at.Public, at.Bus, dir)

	round := demoRound{out: out, at: at, endpoint: endpoint}
	err = round.play(ctx)
	if err == nil && !once {
		err = round.stay(ctx)
	}
	cancel()
	return errors.Join(err, <-stopped)
}

// stay prints what to try and the live events until ctx ends.
func (d *demoRound) stay(ctx context.Context) error {
	before, usher := self(ctx, os.Args[0])
	fmt.Fprintf(d.out, `
Try it yourself, in another terminal:

  flow=$(curl -s %[1]s/self-service/registration/api | sed 's/.*"action":"\([^"]*\)".*/\1/')
  curl -s -H 'Content-Type: application/json' "$flow" -d '{"method":"password",
    "traits":{"email":"you@example.org"},"password":"correct horse battery"}'

or in a browser: %[1]s/ui/registration
The code that a page asks for:  %[4]s mail show --code --admin %[2]s
The operators' console, set up by this link: %[3]s
Events as they are logged (Ctrl-C ends):

`, d.at.Public, d.at.Admin, d.at.SetUp, before+usher)
	var all filter
	c := &adminClient{base: d.at.Admin}
	err := all.tail(ctx, c, latest, tailWait, func(page eventPage) error { return printEvents(d.out, page.Events, false) })
	if errors.Is(err, context.Canceled) {
		err = nil // Ctrl-C is how it is meant to end
	}
	return err
}

func since(t time.Time) time.Duration {
	return time.Since(t).Round(100 * time.Microsecond)
}
