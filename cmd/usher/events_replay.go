package main

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/services/delivery"
)

// replayed is a piece of a replay.
type replayed struct {
	ID    string `json:"id"`
	After int64  `json:"after"`
	Until string `json:"until"`
	Count int    `json:"count"`
	More  bool   `json:"more"`
}

func eventsReplayCommand(g *global) *cobra.Command {
	var name, since string
	var types []string
	var rate int
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Give events of the log to one hook again",
		Long: `Gives events of the log to one worker or webhook again, oldest first, with their
ids: only those of the types that it is declared for. An interrupted replay can
be begun anew; the hook gets what it has had once more.`,
		Example: "  usher events replay --hook hello --since 2h\n  usher events replay --hook hello --since 2026-11-24T17:00:00Z --type identity.created --rate 50",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if name == "" {
				return errors.New("--hook: say which worker or webhook gets the events; 'usher worker list' shows the workers")
			}
			from, err := sinceTime(since, time.Now())
			if err != nil {
				return err
			}
			if rate < 0 {
				return fmt.Errorf("--rate %d: want 1 or more", rate)
			}
			for _, t := range types {
				if err := oneOf("type", t, delivery.EventTypes()); err != nil {
					return err
				}
			}
			body := map[string]any{"since": from.UTC().Format(time.RFC3339Nano), "types": types, "per_second": rate}
			return g.replay(cmd, name, body)
		},
	}
	cmd.Flags().StringVar(&name, "hook", "", "the worker or webhook that gets them")
	cmd.Flags().StringVar(&since, "since", "", "from when on: how long ago, such as 2h, or a time in RFC 3339")
	cmd.Flags().StringSliceVar(&types, "type", nil, "only events of these types")
	cmd.Flags().IntVar(&rate, "rate", 0, "how many a second (default: the server's)")
	_ = cmd.RegisterFlagCompletionFunc("hook", hookNames(g))
	_ = cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(delivery.EventTypes(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// replay asks for piece after piece.
func (g *global) replay(cmd *cobra.Command, name string, body map[string]any) error {
	c, err := g.client()
	if err != nil {
		return err
	}
	bar, total := newBar(cmd, g.json, "replay"), 0
	for more := true; more; {
		var piece replayed
		if err := c.post(cmd.Context(), hookPath(name)+"/replay", body, &piece); err != nil {
			_ = bar.Exit()
			if total > 0 {
				err = fmt.Errorf("after %d events: %w", total, err)
			}
			return cmp.Or(c.mustHave(cmd.Context(), name), err)
		}
		body["id"], body["after"], body["until"] = piece.ID, piece.After, piece.Until
		total, more = total+piece.Count, piece.More
		_ = bar.Add(piece.Count)
	}
	_ = bar.Finish()
	if g.json {
		return printJSON(cmd.OutOrStdout(), map[string]int{"count": total})
	}
	fmt.Fprintln(cmd.OutOrStdout(), "replayed", total)
	return nil
}

// sinceTime reads how long ago, or a time.
func sinceTime(text string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	return time.Time{}, fmt.Errorf("--since %q: want how long ago, such as 2h, or a time such as 2026-11-24T17:00:00Z", text)
}
