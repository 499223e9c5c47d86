package main

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/services/timeline"
)

func timelineCommand(g *global) *cobra.Command {
	var flow string
	cmd := &cobra.Command{
		Use:   "timeline IDENTITY",
		Short: "Show what became of a registration, by the identity's id, by what it signs in with or as external:ID",
		Long: `Shows the way of a registration: the steps of its answer, then each of its events
with what the hooks did with it, and what is still to come.`,
		Example: "  usher timeline you@example.org",
		Args:    oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			id, err := c.identityID(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			query := url.Values{}
			if flow != "" {
				query.Set("flow", flow)
			}
			var t timeline.Timeline
			if err := c.get(cmd.Context(), "/admin/identities/"+url.PathEscape(id)+"/timeline", query, &t); err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), t)
			}
			return printTimeline(cmd.OutOrStdout(), t)
		},
	}
	cmd.Flags().StringVar(&flow, "flow", "", "id of the registration flow; the first one where it is left out")
	return cmd
}

// printTimeline counts all times from the request, where there was one.
func printTimeline(out io.Writer, t timeline.Timeline) error {
	if why := t.Unregistered(); why != "" {
		_, err := fmt.Fprintln(out, "There is no registration to show:", why+".")
		return err
	}
	after := func(at time.Time) string {
		if at.IsZero() {
			return "-"
		}
		return "+" + at.Sub(t.ReceivedAt).Round(time.Microsecond).String()
	}
	took := func(from, to time.Time) string {
		if from.IsZero() || to.IsZero() {
			return "-"
		}
		return to.Sub(from).Round(time.Microsecond).String()
	}
	fmt.Fprintf(out, "received %s  trace %s\n", t.ReceivedAt.Local().Format("2006-01-02 15:04:05.000"), orDash(t.TraceID))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tFROM\tTOOK\tOUTCOME")
	for _, s := range t.Answer {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.Name, after(cmp.Or(s.StartedAt, s.EndedAt)), took(s.StartedAt, s.EndedAt), strings.TrimSpace(string(s.State)+" "+s.Detail))
	}
	for _, e := range t.Events {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.Type, after(e.At), took(e.At, e.LoggedAt), logState(e))
		for _, r := range e.Hooks {
			var from, to time.Time
			if n := len(r.Attempts); n > 0 {
				from, to = r.Attempts[0].DeliveredAt, r.Attempts[n-1].EndedAt
			}
			outcome := string(r.State)
			if !r.NextAt.IsZero() {
				outcome += ", again " + r.NextAt.Local().Format(time.DateTime)
			}
			if r.Reason != "" {
				outcome += " (" + r.Reason + ")"
			}
			fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", r.Hook, after(from), took(from, to), outcome)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(t.Lacks) > 0 {
		fmt.Fprintln(out, "could not be had just now:", strings.Join(t.Lacks, ", "))
	}
	return nil
}

func logState(e timeline.Event) string {
	if e.LoggedAt.IsZero() {
		return "in the outbox"
	}
	return "logged"
}
