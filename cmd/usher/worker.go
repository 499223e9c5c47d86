package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func workerCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Write, run and look after workers of your own",
		Long: `Writes, runs and looks after workers: programs in any language that do something
for each event, each with a durable consumer and a credential of its own. What
a worker fails at comes again, and is a dead letter in the end ('usher dlq').`,
	}
	cmd.AddCommand(
		workerNewCommand(g), workerRunCommand(g), workerCheckCommand(g), workerListCommand(g), workerShowCommand(g),
		workerPauseCommand(g), workerResumeCommand(g), workerRotateCommand(g), workerRemoveCommand(g), workerSessionsCommand(g),
	)
	return cmd
}

// hookAccess is a hook with what it connects with, which is shown once.
type hookAccess struct {
	Hook       hook   `json:"hook"`
	Credential string `json:"credential,omitempty"`
	BusURL     string `json:"nats_url,omitempty"`
	BusCA      string `json:"nats_ca,omitempty"`
}

// workerKinds are the kinds of hooks that are programs on the bus.
var workerKinds = []string{"worker", "answer"}

func workerListCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the workers and all other hooks, how far they are, and what they have failed at",
		Example: "  usher worker list --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			all, err := c.hooks(cmd.Context())
			if err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), all)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tKIND\tSTATE\tSEEN\tPENDING\tIN WORK\tRETRYING\tDEAD\tLAST DELIVERY\tEVENTS")
			for _, h := range all {
				at := consumer{}
				if h.Consumer != nil {
					at = *h.Consumer
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\n", h.Name, h.Kind, h.state(), h.runs(), at.Pending, at.AckPending,
					h.Failures.Waiting, h.Failures.Dead, when(at.DeliveredAt), orDash(strings.Join(h.Events, ",")))
			}
			return w.Flush()
		},
	}
}

func workerShowCommand(g *global) *cobra.Command {
	return hookAction(g, &cobra.Command{Use: "show NAME", Short: "Show a worker", Example: "  usher worker show hello"},
		func(ctx context.Context, c *adminClient, name string, h *hook) error {
			return c.get(ctx, hookPath(name), nil, h)
		})
}

func workerPauseCommand(g *global) *cobra.Command {
	var long time.Duration
	cmd := hookAction(g, &cobra.Command{
		Use: "pause NAME", Short: "Let a worker get no events for a while; they wait",
		Example: "  usher worker pause hello --for 10m",
	}, func(ctx context.Context, c *adminClient, name string, h *hook) error {
		if long < 0 {
			return fmt.Errorf("--for %s: want a time above 0, such as 10m", long)
		}
		body := map[string]string{}
		if long > 0 {
			body["for"] = long.String()
		}
		return c.post(ctx, hookPath(name)+"/pause", body, h)
	})
	cmd.Flags().DurationVar(&long, "for", 0, "how long (default: until it is resumed)")
	return cmd
}

func workerResumeCommand(g *global) *cobra.Command {
	return hookAction(g, &cobra.Command{Use: "resume NAME", Short: "Let a paused worker get events again", Example: "  usher worker resume hello"},
		func(ctx context.Context, c *adminClient, name string, h *hook) error {
			return c.post(ctx, hookPath(name)+"/resume", map[string]string{}, h)
		})
}

func workerRotateCommand(g *global) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "rotate NAME",
		Short: "Give a worker a new credential",
		Long: `Gives a worker a new credential, good for 90 days, and writes it to a file, over
the former one. A worker that runs takes it up when it connects next.

The former credential stays good until it expires. One that has leaked is ended
by 'usher worker remove'; 'usher worker new' makes the worker again under another
name, and 'usher events replay' gives it what it has missed.`,
		Example: "  usher worker rotate hello\n  usher worker rotate hello --creds /etc/hello/hello.creds",
		Args:    oneName, ValidArgsFunction: hookNames(g, workerKinds...),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			if file == "" {
				file = cmp.Or(credentialFile(args[0]), args[0]+".creds")
			}
			if _, err := os.Stat(filepath.Dir(file)); err != nil {
				return fmt.Errorf("--creds: %w", err)
			}
			var a hookAccess
			if err := c.post(cmd.Context(), hookPath(args[0])+"/rotate", map[string]string{}, &a); err != nil {
				return named(err)
			}
			if a.Credential == "" {
				return errors.New("the server has given no credential: it has no keys of the bus")
			}
			if err := writeCredential(file, a.Credential); err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), map[string]string{"name": args[0], "credential": file})
			}
			fmt.Fprintln(cmd.OutOrStdout(), "wrote", file)
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "creds", "", "file that takes the credential (default: NAME.creds, or NAME/NAME.creds where that is)")
	return cmd
}

// writeCredential puts a credential in a file that nobody else can read, whole
// or not at all.
func writeCredential(file, credential string) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".creds-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.WriteString(credential)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

func workerRemoveCommand(g *global) *cobra.Command {
	var sure consent
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a worker: its credential ends, what waits for it is gone",
		Long: `Removes a worker: its credential ends at once, what waits for it and what it has
failed at is gone. Its folder stays.`,
		Example: "  usher worker remove hello --yes",
		Args:    oneName, ValidArgsFunction: hookNames(g, workerKinds...),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			var h hook
			if err := c.get(cmd.Context(), hookPath(args[0]), nil, &h); err != nil {
				return named(err)
			}
			if !slices.Contains(workerKinds, h.Kind) {
				return fmt.Errorf("%s is a %s: 'usher %[2]s remove %[1]s' removes it", h.Name, h.Kind)
			}
			if err := sure.confirm(cmd, "Remove "+h.Name+" with all that waits for it?"); err != nil {
				return err
			}
			if err := c.delete(cmd.Context(), hookPath(h.Name)); err != nil {
				return named(err)
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), map[string]string{"removed": h.Name})
			}
			fmt.Fprintln(cmd.OutOrStdout(), "removed", h.Name)
			return nil
		},
	}
	sure.flags(cmd)
	return cmd
}

// sessionWorker is one of an answer of /admin/session-workers.
type sessionWorker struct {
	ID        string     `json:"id"`
	Version   string     `json:"version"`
	StartedAt *time.Time `json:"started_at,omitempty"`
	RoundTrip float64    `json:"round_trip_ms"`
	Answered  int64      `json:"answered"`
	Refused   int64      `json:"refused"`
	Late      int64      `json:"late"`
	Failed    int64      `json:"failed"`
	Running   int64      `json:"running"`
	Average   float64    `json:"average_ms"`
}

func workerSessionsCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:     "sessions",
		Short:   "List the session workers that answer now, and how quickly",
		Example: "  usher worker sessions --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			var list struct {
				Workers []sessionWorker `json:"session_workers"`
			}
			if err := c.get(cmd.Context(), "/admin/session-workers", nil, &list); err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), list.Workers)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tVERSION\tSTARTED\tROUND TRIP\tANSWERED\tREFUSED\tLATE\tFAILED\tAVERAGE")
			for _, s := range list.Workers {
				fmt.Fprintf(w, "%s\t%s\t%s\t%.1f ms\t%d\t%d\t%d\t%d\t%.1f ms\n",
					s.ID, s.Version, when(s.StartedAt), s.RoundTrip, s.Answered, s.Refused, s.Late, s.Failed, s.Average)
			}
			return w.Flush()
		},
	}
}
