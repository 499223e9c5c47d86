package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
)

func eventsCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "events", Short: "Read the event log of a running server, and replay it"}
	cmd.AddCommand(eventsListCommand(g), eventsShowCommand(g), eventsTailCommand(g), eventsReplayCommand(g), eventsExportCommand(g))
	return cmd
}

// filter are the flags that select events.
type filter struct {
	types   []string
	subject string
	order   string // empty is that of the log

	actor, since, until string // with the newest first
}

func (f *filter) flags(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.types, "type", nil, "only events of these types, such as identity.created")
	_ = cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(delivery.EventTypes(), cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().StringVar(&f.subject, "subject", "", "only events of this identity")
}

// check refuses what selects nothing.
func (f *filter) check() error {
	for _, t := range f.types {
		if err := oneOf("type", t, delivery.EventTypes()); err != nil {
			return err
		}
	}
	return nil
}

// query selects the events behind a cursor.
func (f *filter) query(after string) url.Values {
	q := url.Values{"type": f.types}
	for key, value := range map[string]string{"after": after, "subject": f.subject, "order": f.order, "actor": f.actor, "since": f.since, "until": f.until} {
		if value != "" {
			q.Set(key, value)
		}
	}
	return q
}

// page asks for the events behind a cursor. While there are none the server
// waits for the given time.
func (f *filter) page(ctx context.Context, c *adminClient, after string, limit int, wait time.Duration) (page eventPage, err error) {
	q := f.query(after)
	q.Set("limit", strconv.Itoa(limit))
	if wait > 0 {
		q.Set("wait", strconv.FormatFloat(wait.Seconds(), 'f', -1, 64))
	}
	return page, c.get(ctx, "/admin/events", q, &page)
}

// eventPage is an answer of /admin/events.
type eventPage struct {
	Events []json.RawMessage `json:"events"`
	Next   string            `json:"next"`
}

func eventsListCommand(g *global) *cobra.Command {
	var f filter
	var limit int
	var newest bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List events in the order of the log, oldest first, or backwards from its end",
		Long:    "Lists events in the order of the log, oldest first, or with --newest backwards\nfrom its end. Of more than --limit the rest is left out: without --newest that is\nwhat has happened last. With --json each line is one CloudEvent.",
		Example: "  usher events list --type identity.created --json\n  usher events list --newest --limit 20\n  usher events list --newest --actor admin:ann --since 2026-11-26T12:00:00Z",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return fmt.Errorf("--limit %d: want 1 or more", limit)
			}
			if err := f.check(); err != nil {
				return err
			}
			c, err := g.client()
			if err != nil {
				return err
			}
			which, see := "oldest", "--newest and --limit"
			if !newest && f.actor+f.since+f.until != "" {
				return errors.New("--actor, --since and --until go with --newest")
			}
			if newest {
				f.order, which, see = "newest", "newest", "--limit"
			}
			more, err := f.list(cmd, c, limit, g.json)
			if err == nil && more {
				fmt.Fprintf(cmd.ErrOrStderr(), "usher: these are the %s %d; there are more, see %s\n", which, limit, see)
			}
			return err
		},
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&newest, "newest", false, "list the newest first")
	cmd.Flags().StringVar(&f.actor, "actor", "", "with --newest: only what this actor did, such as admin:ann")
	cmd.Flags().StringVar(&f.since, "since", "", "with --newest: only what was logged at this time (2026-11-26T12:00:00Z) or later")
	cmd.Flags().StringVar(&f.until, "until", "", "with --newest: only what was logged before this time")
	cmd.Flags().IntVar(&limit, "limit", 100, "how many at most")
	return cmd
}

func eventsShowCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:     "show ID",
		Short:   "Print one event with its place in the log and the hashes that bind it",
		Example: "  usher events show 0193600d-7d8b-7000-8000-000000000001",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			var record json.RawMessage
			if err := c.get(cmd.Context(), "/admin/events/"+url.PathEscape(args[0]), nil, &record); err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), record)
		},
	}
}

// list prints so many events at most, and tells whether there are more.
func (f *filter) list(cmd *cobra.Command, c *adminClient, limit int, asJSON bool) (more bool, err error) {
	after := ""
	for left := limit; left > 0; {
		page, err := f.page(cmd.Context(), c, after, min(left, 1000), 0)
		if err != nil {
			return false, err
		}
		if err := printEvents(cmd.OutOrStdout(), page.Events, asJSON); err != nil {
			return false, err
		}
		left -= len(page.Events)
		if after = page.Next; after == "" || len(page.Events) == 0 && f.order == "" {
			return false, nil // backwards a page may be empty with more behind it
		}
	}
	page, err := f.page(cmd.Context(), c, after, 1, 0)
	return err == nil && len(page.Events) > 0, nil // that there are more is a hint
}

func eventsTailCommand(g *global) *cobra.Command {
	var f filter
	var from position
	var fromStart bool
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Print events as they are logged, until interrupted",
		Long: `Prints events as they are logged, until interrupted: from the end of the log on,
or with --from-start all that it holds first. With --json each line is one
CloudEvent. With --cursor the next call goes on where this one ended: what was
printed just before may come once more, nothing is left out.`,
		Example: "  usher events tail --type session.issued\n  usher events tail --json --from-start --cursor tail.cursor | my-program\n  usher events tail --json --cursor tail.cursor | my-program",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			c, err := g.client()
			if err != nil {
				return err
			}
			begin := latest
			if fromStart {
				begin = ""
			}
			after, err := from.read(begin)
			if err != nil {
				return err
			}
			err = f.tail(cmd.Context(), c, after, tailWait, func(page eventPage) error {
				if err := printEvents(cmd.OutOrStdout(), page.Events, g.json); err != nil {
					return err
				}
				return from.save(page.Next)
			})
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		},
	}
	f.flags(cmd)
	from.flags(cmd)
	cmd.Flags().BoolVar(&fromStart, "from-start", false, "begin with the first event of the log, unless the cursor file says otherwise")
	cmd.MarkFlagsMutuallyExclusive("after", "from-start")
	return cmd
}

const (
	// latest is the cursor at the end of the log.
	latest = "latest"
	// tailWait is how long the server waits for events.
	tailWait = 20 * time.Second
)

// tail gives every event behind the cursor to show until ctx ends; while there
// are none, it calls show after each wait. Where the log ends is asked for at
// once, so that show knows where to go on before an event comes.
func (f *filter) tail(ctx context.Context, c *adminClient, after string, wait time.Duration, show func(eventPage) error) error {
	for {
		waiting := wait
		if after == latest {
			waiting = 0
		}
		page, err := f.page(ctx, c, after, 1000, waiting)
		if err != nil {
			return err
		}
		if err := show(page); err != nil {
			return err
		}
		after = page.Next
	}
}

// printEvents prints one event a line.
func printEvents(w io.Writer, page []json.RawMessage, asJSON bool) error {
	for _, raw := range page {
		if asJSON {
			fmt.Fprintf(w, "%s\n", raw)
			continue
		}
		e, err := events.Decode(raw)
		if err != nil {
			return fmt.Errorf("event: %w", err)
		}
		fmt.Fprintf(w, "%s  %-22s %-36s %s\n", e.Time.Format("2006-01-02 15:04:05.000"), e.Type, e.Subject, e.Data)
	}
	return nil
}
