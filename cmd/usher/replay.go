package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

func eventsReplayCommand(g *global) *cobra.Command {
	var hook, since string
	var types []string
	var rate int
	cmd := &cobra.Command{
		Use:   "replay --hook NAME --since TIME",
		Short: "Deliver events of the log to one hook again",
		Long: `Delivers events of the event log to one hook again, and to no other, in the order
of the log and at a pace. They have their former ids: a hook that is idempotent
does nothing twice.`,
		Example: "  usher events replay --hook crm --since 2h\n  usher events replay --hook crm --since 2026-11-01T00:00:00Z --type identity.created",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, err := parseSince(since, time.Now())
			if err != nil {
				return err
			}
			c, err := g.client()
			if err != nil {
				return err
			}
			progress, total := progressFor(cmd, "replayed"), 0
			in := map[string]any{"since": from, "types": types, "per_second": rate}
			for {
				var piece struct {
					ID    string `json:"id"`
					After int64  `json:"after"`
					Count int    `json:"count"`
					More  bool   `json:"more"`
				}
				if err := c.do(cmd.Context(), http.MethodPost, hookPath(hook, "replay"), in, &piece); err != nil {
					return fmt.Errorf("after %d events: %w", total, err)
				}
				total += piece.Count
				progress(piece.Count)
				in["id"], in["after"] = piece.ID, piece.After
				if !piece.More {
					break
				}
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), map[string]int{"count": total})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "replayed %d events to %s\n", total, hook)
			return nil
		},
	}
	cmd.Flags().StringVar(&hook, "hook", "", "the hook that gets them")
	cmd.Flags().StringVar(&since, "since", "", "from when: a duration such as 2h, or a time in RFC 3339")
	cmd.Flags().StringSliceVar(&types, "type", nil, "only events of these types (default: all that the hook gets)")
	cmd.Flags().IntVar(&rate, "rate", 100, "how many a second")
	for _, needed := range []string{"hook", "since"} {
		_ = cmd.MarkFlagRequired(needed)
	}
	_ = cmd.RegisterFlagCompletionFunc("hook", g.completeHooks)
	return cmd
}

// parseSince reads a time, or how long ago it was.
func parseSince(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return now.Add(-d), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("--since %q: want a duration such as 2h, or a time such as 2026-11-01T00:00:00Z", text)
	}
	return at, nil
}
