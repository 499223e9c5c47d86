package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/services/delivery"
)

// checkedCase is an answer of /admin/hooks/NAME/check.
type checkedCase struct {
	Case       string `json:"case"`
	Type       string `json:"type"`
	Verdict    string `json:"verdict"`
	TookMS     int64  `json:"took_ms"`
	Events     int    `json:"events"`
	Settled    int    `json:"settled"`
	Deliveries int    `json:"deliveries"`
	Reason     string `json:"reason,omitempty"`
	Note       string `json:"note,omitempty"`
}

// checkedWorker is what a check says in the end.
type checkedWorker struct {
	Worker string        `json:"worker"`
	OK     bool          `json:"ok"`
	Left   int           `json:"left"` // cases that were not tried: nobody takes events
	Cases  []checkedCase `json:"cases"`
}

func workerCheckCommand(g *global) *cobra.Command {
	var limit time.Duration
	var types []string
	var backlog int
	cmd := &cobra.Command{
		Use:   "check NAME",
		Short: "Give a running worker good, repeated, many and poisonous events, and say what it did",
		Long: `Gives a running worker events that nobody meant, one case after another, and says
what it did: an event of each type that it takes, one of them twice, many at once,
one of a type that it cannot know, one without data, and a body that is no JSON.
The events reach this worker alone and are kept nowhere; what it fails at is no
dead letter.

The worker runs its code for real. Their person does not exist, and their source is
"/usher/check" (in Go workers.Checked, under 'usher worker run' USHER_CHECK=1): a
worker that others would feel looks at that first. One that dies of an event or never
answers gets it again and again, as it would any other.

Exit status 1 if anything is not as it should be.`,
		Example: "  usher worker check hello\n  usher worker check hello --type identity.created --timeout 2m --json",
		Args:    oneName, ValidArgsFunction: hookNames(g, "worker"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit <= 0 || limit > 5*time.Minute {
				return fmt.Errorf("--timeout %s: want up to 5m", limit)
			}
			if backlog < 1 || backlog > delivery.MaxCheckBacklog {
				return fmt.Errorf("--backlog %d: want a number from 1 to %d", backlog, delivery.MaxCheckBacklog)
			}
			c, err := g.client()
			if err != nil {
				return err
			}
			var h hook
			if err := c.get(cmd.Context(), hookPath(args[0]), nil, &h); err != nil {
				return named(err)
			}
			if len(h.Events) == 0 {
				return fmt.Errorf("%s gets no events: only a worker that does can be checked", h.Name)
			}
			for _, t := range types {
				if !slices.Contains(h.Events, t) {
					return fmt.Errorf("--type %s: the worker does not take it; it takes %v", t, h.Events)
				}
			}
			if len(types) == 0 {
				types = h.Events
			}
			c.http = http.Client{Timeout: limit + 30*time.Second}
			done, err := g.checkWorker(cmd, c, h.Name, casesOf(types, backlog), limit)
			if err != nil {
				return err
			}
			if g.json {
				err = printJSON(cmd.OutOrStdout(), done)
			} else {
				err = done.print(cmd.OutOrStdout())
			}
			if err == nil && !done.OK {
				err = exitError(1)
			}
			return err
		},
	}
	cmd.Flags().DurationVar(&limit, "timeout", 45*time.Second, "how long one case may take; what is over 30s shows whether it says that it is still at it")
	cmd.Flags().StringSliceVar(&types, "type", nil, "only events of these types (default: all that the worker takes)")
	cmd.Flags().IntVar(&backlog, "backlog", 20, "how many events are given at once")
	_ = cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(delivery.EventTypes(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// casesOf are the bodies that are asked with: an event of each type, the other
// cases with the first of them.
func casesOf(types []string, backlog int) (all []map[string]any) {
	for _, of := range delivery.CheckCases() {
		some := types[:min(1, len(types))]
		if of == delivery.CheckEvent {
			some = types
		}
		for _, t := range some {
			body := map[string]any{"case": of, "type": t}
			if of == delivery.CheckBacklog {
				body["count"] = backlog
			}
			all = append(all, body)
		}
	}
	return all
}

// checkWorker asks for case after case, until nobody takes events.
func (g *global) checkWorker(cmd *cobra.Command, c *adminClient, name string, cases []map[string]any, limit time.Duration) (done checkedWorker, err error) {
	done = checkedWorker{Worker: name, OK: true, Cases: []checkedCase{}}
	bar := newBar(cmd, g.json, "check "+name)
	bar.ChangeMax(len(cases))
	defer func() { _ = bar.Finish() }()
	for n, body := range cases {
		body["for"] = limit.String()
		var one checkedCase
		ctx, cancel := context.WithTimeout(cmd.Context(), limit+30*time.Second)
		err := c.post(ctx, hookPath(name)+"/check", body, &one)
		cancel()
		if err != nil {
			return done, err
		}
		_ = bar.Add(1)
		done.Cases = append(done.Cases, one)
		done.OK = done.OK && one.Verdict == string(delivery.CheckOK)
		if one.Verdict == string(delivery.CheckAbsent) {
			done.Left = len(cases) - n - 1
			break
		}
	}
	return done, nil
}

func (d checkedWorker) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CASE\tEVENT\tVERDICT\tTOOK\tSETTLED\tDELIVERIES\tREPORTED\tNOTE")
	good := 0
	for _, c := range d.Cases {
		if c.Verdict == string(delivery.CheckOK) {
			good++
		}
		took := time.Duration(c.TookMS) * time.Millisecond
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d of %d\t%d\t%s\t%s\n", c.Case, c.Type, c.Verdict, took, c.Settled, c.Events, c.Deliveries, orDash(c.Reason), orDash(c.Note))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%s: %d of %d as it should be", d.Worker, good, len(d.Cases))
	if d.Left > 0 {
		fmt.Fprintf(out, ", %d not tried", d.Left)
	}
	_, err := fmt.Fprintln(out)
	return err
}
