package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

const routeLetters = "/admin/dead-letters"

func dlqCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "dlq",
		Aliases: []string{"dead-letters"},
		Short:   "Look at what hooks have given up, and deliver it again",
		Long: `An event that a hook has failed at for the last time is a dead letter: it is kept
until somebody delivers it again, to that hook only, or decides that it stays dead.`,
	}
	cmd.AddCommand(dlqListCommand(g), dlqShowCommand(g), dlqRedeliverCommand(g), dlqDiscardCommand(g))
	return cmd
}

// letterView is a failure in answers of /admin/dead-letters.
type letterView struct {
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

var letterStates = []string{"dead", "waiting", "discarded", "done"}

func dlqListCommand(g *global) *cobra.Command {
	var hook, state string
	var limit int
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List dead letters, the oldest first; --state waiting lists what comes again",
		Example: "  usher dlq list --hook crm\n  usher dlq list --state waiting",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			var page struct {
				Letters []letterView `json:"dead_letters"`
				Next    string       `json:"next"`
			}
			q := url.Values{"state": {state}, "limit": {strconv.Itoa(limit)}}
			if hook != "" {
				q.Set("hook", hook)
			}
			if err := c.get(cmd.Context(), routeLetters, q, &page); err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), page.Letters)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "LAST TRY\tHOOK\tEVENT\tTRIES\tNEXT\tREASON")
			for _, l := range page.Letters {
				next := "-"
				if l.NextAt != nil {
					next = l.NextAt.Local().Format(time.DateTime)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", l.LastAt.Local().Format(time.DateTime), l.Hook, l.EventID, l.Attempts, next, l.Reason)
			}
			if page.Next != "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "usher: these are the oldest %d; there may be more, see --limit\n", limit)
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVar(&hook, "hook", "", "only of this hook")
	cmd.Flags().StringVar(&state, "state", "dead", "dead, waiting, discarded or done")
	cmd.Flags().IntVar(&limit, "limit", 100, "how many at most, up to 1000")
	_ = cmd.RegisterFlagCompletionFunc("hook", g.completeHooks)
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(letterStates, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func dlqShowCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:     "show HOOK EVENT",
		Short:   "Show a dead letter with its event",
		Example: "  usher dlq show crm 01a2157e-9f0b-7cc1-a5ad-4a2f5f0c9a51",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			var l letterView
			if err := c.get(cmd.Context(), routeLetters+"/"+url.PathEscape(args[0])+"/"+url.PathEscape(args[1]), nil, &l); err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), l)
		},
	}
}

// letterChange is what a redelivery or a discard is about.
type letterChange struct {
	Hook   string `json:"hook,omitempty"`
	Event  string `json:"event,omitempty"`
	All    bool   `json:"all,omitempty"`
	Reason string `json:"reason,omitempty"`
	Limit  int    `json:"limit"`

	yes bool
}

func dlqRedeliverCommand(g *global) *cobra.Command {
	return g.changeLetters("redeliver", "Deliver dead letters again, each to the hook that failed at it", "redelivered", func(*cobra.Command, *letterChange) {})
}

func dlqDiscardCommand(g *global) *cobra.Command {
	return g.changeLetters("discard", "Decide that dead letters stay dead, and why", "discarded", func(cmd *cobra.Command, l *letterChange) {
		cmd.Flags().StringVar(&l.Reason, "reason", "", "why; it stands in the audit trail")
		_ = cmd.MarkFlagRequired("reason")
	})
}

// changeLetters is a command that changes one dead letter, those of a hook, or all.
func (g *global) changeLetters(name, short, done string, more func(*cobra.Command, *letterChange)) *cobra.Command {
	var l letterChange
	cmd := &cobra.Command{
		Use:     name + " [HOOK EVENT | --hook HOOK | --all]",
		Short:   short,
		Example: "  usher dlq " + name + " crm 01a2157e-9f0b-7cc1-a5ad-4a2f5f0c9a51\n  usher dlq " + name + " --hook crm",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 2 {
				l.Hook, l.Event = args[0], args[1]
			} else if len(args) > 0 || l.Hook == "" && !l.All {
				return errors.New("say which: HOOK EVENT, --hook HOOK or --all")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			if l.All && !l.yes && !confirmed(cmd, "all dead letters of all hooks") {
				return errors.New("nothing was done; --yes does it without asking")
			}
			total, err := l.apply(cmd.Context(), c, name, progressFor(cmd, done))
			if err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), map[string]int{"count": total})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s %d\n", done, total)
			return nil
		},
	}
	cmd.Flags().StringVar(&l.Hook, "hook", "", "all of this hook")
	cmd.Flags().BoolVar(&l.All, "all", false, "all of all hooks")
	cmd.Flags().BoolVar(&l.yes, "yes", false, "do not ask")
	_ = cmd.RegisterFlagCompletionFunc("hook", g.completeHooks)
	more(cmd, &l)
	return cmd
}

// apply asks for bounded pieces until there is no more.
func (l *letterChange) apply(ctx context.Context, c *adminClient, action string, progress func(int)) (total int, err error) {
	l.Limit = 100
	for {
		var piece struct {
			Count int  `json:"count"`
			More  bool `json:"more"`
		}
		if err := c.do(ctx, http.MethodPost, routeLetters+"/"+action, l, &piece); err != nil {
			return total, err
		}
		total += piece.Count
		progress(piece.Count)
		if l.Event != "" && total == 0 {
			return 0, fmt.Errorf("hook %s has no dead letter of event %s", l.Hook, l.Event)
		}
		if !piece.More {
			return total, nil
		}
	}
}

// progressFor shows on a terminal how far it is.
func progressFor(cmd *cobra.Command, what string) func(int) {
	if f, ok := cmd.ErrOrStderr().(*os.File); !ok || !isatty.IsTerminal(f.Fd()) {
		return func(int) {}
	}
	bar := progressbar.NewOptions(-1, progressbar.OptionSetWriter(cmd.ErrOrStderr()), progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(), progressbar.OptionClearOnFinish())
	return func(n int) { _ = bar.Add(n) }
}

// confirmed asks on a terminal; without one the answer is no.
func confirmed(cmd *cobra.Command, what string) bool {
	if f, ok := cmd.InOrStdin().(*os.File); !ok || !isatty.IsTerminal(f.Fd()) {
		return false
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s? [y/N] ", what)
	answer, _ := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(answer)), "y")
}
