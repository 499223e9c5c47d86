package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/services/delivery"
)

func dlqCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "Look after dead letters: events that a worker or webhook has failed at for good",
	}
	cmd.AddCommand(dlqListCommand(g), dlqShowCommand(g), dlqRedeliverCommand(g), dlqDiscardCommand(g))
	return cmd
}

// letter is an answer of /admin/dead-letters.
type letter struct {
	Hook      string          `json:"hook"`
	EventID   string          `json:"event_id"`
	State     string          `json:"state"`
	Attempts  int             `json:"attempts"`
	Round     int             `json:"round"`
	Reason    string          `json:"reason"`
	FirstAt   time.Time       `json:"first_at"`
	LastAt    time.Time       `json:"last_at"`
	NextAt    *time.Time      `json:"next_at,omitempty"`
	EventType string          `json:"event_type,omitempty"`
	Event     json.RawMessage `json:"event,omitempty"`
}

// attempts are the failed ones since it was redelivered, if there are any.
func (l *letter) attempts() string {
	if l.Attempts == 0 {
		return "-"
	}
	return strconv.Itoa(l.Attempts)
}

// next is the next attempt, which a hook may have before it.
func (l *letter) next() string {
	if l.State == "waiting" && l.NextAt == nil {
		return "under way"
	}
	return when(l.NextAt)
}

// reason is that of the last failure, also once it is done after all.
func (l *letter) reason() string {
	if l.State == "done" {
		return "done; before: " + l.Reason
	}
	return l.Reason
}

type letterPage struct {
	Letters []letter `json:"dead_letters"`
	Next    string   `json:"next"`
}

const lettersPath = "/admin/dead-letters"

// letterStates are the states of what a hook has failed at.
var letterStates = []string{"dead", "waiting", "discarded", "done"}

// letterFilter narrows which dead letters a command is about.
type letterFilter struct{ eventType, reason string }

func (f *letterFilter) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.eventType, "type", "", "only those of events of this type")
	cmd.Flags().StringVar(&f.reason, "reason-contains", "", "only those whose reason holds this text")
	_ = cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(delivery.EventTypes(), cobra.ShellCompDirectiveNoFileComp))
}

// set gives what is filtered by, as the server names it, or says what is wrong.
func (f *letterFilter) set() (map[string]string, error) {
	set := map[string]string{}
	if f.eventType != "" {
		set["type"] = f.eventType
		if err := oneOf("type", f.eventType, delivery.EventTypes()); err != nil {
			return nil, err
		}
	}
	if f.reason != "" {
		set["reason_contains"] = f.reason
	}
	return set, nil
}

func dlqListCommand(g *global) *cobra.Command {
	var name, state string
	var filter letterFilter
	var limit int
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List dead letters, oldest first",
		Long:    "Lists dead letters, oldest first, or with --state what waits for its next attempt,\nwas discarded, or is done after all.",
		Example: "  usher dlq list --hook hello\n  usher dlq list --state waiting --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > 1000 {
				return fmt.Errorf("--limit %d: want 1 to 1000", limit)
			}
			if err := oneOf("state", state, letterStates); err != nil {
				return err
			}
			narrow, err := filter.set()
			if err != nil {
				return err
			}
			c, err := g.client()
			if err != nil {
				return err
			}
			q := url.Values{"limit": {strconv.Itoa(limit)}, "state": {state}}
			if name != "" {
				q.Set("hook", name)
			}
			for key, value := range narrow {
				q.Set(key, value)
			}
			var page letterPage
			if err := c.get(cmd.Context(), lettersPath, q, &page); err != nil {
				return err
			}
			if len(page.Letters) == 0 && name != "" {
				if err := c.mustHave(cmd.Context(), name); err != nil {
					return err
				}
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), page.Letters)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "LAST ATTEMPT\tHOOK\tEVENT\tSTATE\tATTEMPTS\tNEXT\tREASON")
			for _, l := range page.Letters {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", when(&l.LastAt), l.Hook, l.EventID, l.State, l.attempts(), l.next(), l.reason())
			}
			if err := w.Flush(); err != nil {
				return err
			}
			if page.Next != "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "usher: these are the oldest %d; there may be more, see --limit\n", len(page.Letters))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "hook", "", "only those of this worker or webhook")
	filter.flags(cmd)
	cmd.Flags().StringVar(&state, "state", "dead", "state: "+strings.Join(letterStates, ", "))
	cmd.Flags().IntVar(&limit, "limit", 100, "how many at most")
	_ = cmd.RegisterFlagCompletionFunc("hook", hookNames(g))
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(letterStates, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func dlqShowCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:     "show HOOK EVENT",
		Short:   "Show what a hook has failed at, and the event",
		Example: "  usher dlq show hello 0193600d-7d8b-7000-8000-000000000001",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("want a HOOK and an EVENT: %s", cmd.UseLine())
			}
			return nil
		},
		ValidArgsFunction: hookAndEvent(g),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			var l letter
			if err := c.get(cmd.Context(), lettersPath+"/"+url.PathEscape(args[0])+"/"+url.PathEscape(args[1]), nil, &l); err != nil {
				return cmp.Or(c.mustHave(cmd.Context(), args[0]), err)
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), l)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "HOOK\t%s\nEVENT\t%s %s\nSTATE\t%s\nATTEMPTS\t%s in round %d\nREASON\t%s\n", l.Hook, l.EventID, l.EventType, l.State, l.attempts(), l.Round, l.reason())
			fmt.Fprintf(w, "FIRST ATTEMPT\t%s\nLAST ATTEMPT\t%s\nNEXT ATTEMPT\t%s\n", when(&l.FirstAt), when(&l.LastAt), l.next())
			if err := w.Flush(); err != nil {
				return err
			}
			if len(l.Event) == 0 || string(l.Event) == "null" {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), "\nThe log does not hold the event any more.")
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout())
			return printJSON(cmd.OutOrStdout(), l.Event)
		},
	}
}

// hookAndEvent completes a hook, and an event that it has failed at.
func hookAndEvent(g *global) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, start string) (ids []string, _ cobra.ShellCompDirective) {
		if len(args) != 1 {
			return hookNames(g)(cmd, args, start)
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), completing)
		defer cancel()
		c, err := g.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var page letterPage
		_ = c.get(ctx, lettersPath, url.Values{"hook": {args[0]}}, &page) // no server, no ids
		for _, l := range page.Letters {
			if strings.HasPrefix(l.EventID, start) {
				ids = append(ids, l.EventID)
			}
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}

// chosen are the dead letters that a command is about.
type chosen struct {
	hook   string
	all    bool
	filter letterFilter
	sure   consent
}

// body is what the server is asked about them.
func (s *chosen) body(cmd *cobra.Command, args []string) (map[string]any, error) {
	narrow, err := s.filter.set()
	if err != nil {
		return nil, err
	}
	var body map[string]any
	switch {
	case len(args) == 2 && s.hook == "" && !s.all && len(narrow) == 0:
		return map[string]any{"hook": args[0], "event": args[1]}, nil
	case len(args) == 0 && s.hook != "" && !s.all:
		body = map[string]any{"hook": s.hook}
	case len(args) == 0 && s.hook == "" && s.all:
		body = map[string]any{"all": true}
	default:
		return nil, fmt.Errorf("want one of: HOOK EVENT, --hook NAME, --all, the last two with --type or --reason-contains if you like: %s", cmd.UseLine())
	}
	for key, value := range narrow {
		body[key] = value
	}
	return body, nil
}

func (s *chosen) flags(g *global, cmd *cobra.Command) {
	cmd.ValidArgsFunction = hookAndEvent(g)
	cmd.Flags().StringVar(&s.hook, "hook", "", "all of this worker or webhook")
	cmd.Flags().BoolVar(&s.all, "all", false, "all that there are")
	s.filter.flags(cmd)
	s.sure.flags(cmd)
	cmd.Flags().Lookup("yes").Usage = "do not ask before --all (needed where there is no terminal to ask on)"
	_ = cmd.RegisterFlagCompletionFunc("hook", hookNames(g))
}

// lettersPiece is how many one request changes.
const lettersPiece = 200

// change changes the chosen dead letters, piece by piece.
func (s *chosen) change(g *global, cmd *cobra.Command, args []string, verb, done, reason string) error {
	body, err := s.body(cmd, args)
	if err != nil {
		return err
	}
	c, err := g.client()
	if err != nil {
		return err
	}
	if s.all {
		if err := s.sure.confirm(cmd, verb+" all dead letters of all hooks?"); err != nil {
			return err
		}
	}
	body["limit"] = lettersPiece
	if reason != "" {
		body["reason"] = reason
	}
	bar, total := newBar(cmd, g.json, verb), 0
	for more := true; more; {
		var piece struct {
			Count int  `json:"count"`
			More  bool `json:"more"`
		}
		if err := c.post(cmd.Context(), lettersPath+"/"+verb, body, &piece); err != nil {
			_ = bar.Exit()
			if total > 0 {
				err = fmt.Errorf("after %d: %w", total, err)
			}
			return err
		}
		total, more = total+piece.Count, piece.More
		_ = bar.Add(piece.Count)
	}
	_ = bar.Finish()
	if name := cmp.Or(s.hook, strings.Join(args[:min(len(args), 1)], "")); total == 0 && name != "" {
		if err := c.mustHave(cmd.Context(), name); err != nil {
			return err
		}
	}
	if total == 0 && len(args) == 2 {
		return fmt.Errorf("%s has no dead letter of event %s: 'usher dlq list --hook %[1]s' shows all", args[0], args[1])
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), map[string]int{"count": total})
	}
	fmt.Fprintln(cmd.OutOrStdout(), done, total)
	return nil
}

// newBar is a progress bar of unknown length on a terminal, and nothing elsewhere.
func newBar(cmd *cobra.Command, quiet bool, what string) *progressbar.ProgressBar {
	return progressbar.NewOptions(-1, progressbar.OptionSetDescription(what), progressbar.OptionSetWriter(cmd.ErrOrStderr()),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetVisibility(!quiet && isatty.IsTerminal(os.Stderr.Fd())))
}

func dlqRedeliverCommand(g *global) *cobra.Command {
	var s chosen
	cmd := &cobra.Command{
		Use:   "redeliver [HOOK EVENT]",
		Short: "Give dead letters to the hook that failed, and to no other, once more",
		Long: `Gives dead letters once more to the hook that failed, and to no other: the same
event with the same id, and a new round of attempts.`,
		Example: "  usher dlq redeliver --hook hello\n  usher dlq redeliver --all --reason-contains 'connection refused'\n  usher dlq redeliver hello 0193600d-7d8b-7000-8000-000000000001",
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.change(g, cmd, args, "redeliver", "redelivered", "")
		},
	}
	s.flags(g, cmd)
	return cmd
}

func dlqDiscardCommand(g *global) *cobra.Command {
	var s chosen
	var reason string
	cmd := &cobra.Command{
		Use:     "discard [HOOK EVENT]",
		Short:   "Discard dead letters, for a reason that is kept",
		Example: "  usher dlq discard --hook hello --reason 'the CRM was retired'",
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" {
				return errors.New("--reason: say why; it is kept in the event log")
			}
			return s.change(g, cmd, args, "discard", "discarded", reason)
		},
	}
	s.flags(g, cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "why; it is kept, and holds nothing about a person")
	return cmd
}
