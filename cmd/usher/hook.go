package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/agnivade/levenshtein"
	"github.com/spf13/cobra"
)

// hook is an answer of /admin/hooks.
type hook struct {
	Name      string     `json:"name"`
	Kind      string     `json:"kind"`
	Events    []string   `json:"events"`
	Traits    []string   `json:"traits"`
	URL       string     `json:"url,omitempty"`
	Declared  string     `json:"declared"`
	Disabled  string     `json:"disabled,omitempty"`
	CreatedAt *time.Time `json:"created_at,omitempty"`
	Consumer  *consumer  `json:"consumer"`
	Failures  struct {
		Waiting   int64 `json:"waiting"`
		Dead      int64 `json:"dead"`
		Discarded int64 `json:"discarded"`
	} `json:"failures"`
	Instances []instance `json:"instances"`

	busAway bool // so that nobody knows the consumer
}

// instance is a program that is seen on the bus.
type instance struct {
	ID        string     `json:"id"`
	Version   string     `json:"version"`
	StartedAt *time.Time `json:"started_at,omitempty"`
}

// runs is how many programs are seen, and of which versions.
func (h *hook) runs() string {
	if len(h.Instances) == 0 {
		return "-"
	}
	var versions []string
	for _, i := range h.Instances {
		versions = append(versions, i.Version)
	}
	slices.Sort(versions)
	return fmt.Sprintf("%d (%s)", len(h.Instances), strings.Join(slices.Compact(versions), ", "))
}

// consumer is how far a hook's durable consumer is.
type consumer struct {
	Pending     uint64     `json:"pending"`
	AckPending  int        `json:"ack_pending"`
	Redelivered int        `json:"redelivered"`
	Waiting     int        `json:"waiting"` // pulls
	PausedUntil *time.Time `json:"paused_until,omitempty"`
	DeliveredAt *time.Time `json:"delivered_at,omitempty"`
}

// state is what an operator has to know first.
func (h *hook) state() string {
	switch c := h.Consumer; {
	case h.Disabled != "":
		return "disabled"
	case h.Kind == "answer" && len(h.Instances) > 0:
		return "running"
	case h.Kind == "answer":
		return "not seen" // has no consumer that knows better
	case c == nil && h.busAway:
		return "unknown, the bus is away"
	case c == nil:
		return "no consumer"
	case c.PausedUntil != nil:
		return "paused"
	case h.Failures.Waiting > 0:
		return "failing"
	case c.Waiting > 0 || c.AckPending > 0:
		return "running"
	case c.Pending > 0:
		return "lagging, nobody pulls"
	default:
		return "idle"
	}
}

// hooks asks for those of some kinds, all if none is named.
func (c *adminClient) hooks(ctx context.Context, kinds ...string) ([]hook, error) {
	var page struct {
		Hooks []hook `json:"hooks"`
	}
	err := c.get(ctx, "/admin/hooks", nil, &page)
	if busAway(page.Hooks) {
		for n := range page.Hooks {
			page.Hooks[n].busAway = true
		}
	}
	return slices.DeleteFunc(page.Hooks, func(h hook) bool { return len(kinds) > 0 && !slices.Contains(kinds, h.Kind) }), err
}

// busAway tells whether nothing is known of any consumer: those of Usher's own
// parts are there whenever there is a bus.
func busAway(all []hook) bool {
	own := slices.ContainsFunc(all, func(h hook) bool { return h.Declared == "fixed" && h.Kind != "answer" })
	return own && !slices.ContainsFunc(all, func(h hook) bool { return h.Consumer != nil })
}

// mustHave gives an error about the name of a hook that a server does not have,
// and says which was probably meant. If it cannot be asked, that is no error here.
func (c *adminClient) mustHave(ctx context.Context, name string) error {
	all, err := c.hooks(ctx)
	if err != nil {
		return nil //nolint:nilerr // what was asked for before says more
	}
	near := ""
	for _, h := range all {
		if h.Name == name {
			return nil
		}
		if levenshtein.ComputeDistance(name, h.Name) <= 2 {
			near = "did you mean " + h.Name + "? "
		}
	}
	return fmt.Errorf("no worker or webhook has the name %q; %s'usher worker list' shows all", name, near)
}

func hookPath(name string) string { return "/admin/hooks/" + url.PathEscape(name) }

// completing is how long a shell waits for the names.
const completing = 2 * time.Second

// hookNames completes the first argument with the names that a server has, of
// hooks of some kinds.
func hookNames(g *global, kinds ...string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, start string) (names []string, _ cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), completing)
		defer cancel()
		c, err := g.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		all, _ := c.hooks(ctx, kinds...) // no server, no names
		for _, h := range all {
			if strings.HasPrefix(h.Name, start) {
				names = append(names, h.Name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// when is a time for people, as far as there is one.
func when(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

// untilWhen is the end of a pause for people. One without an end is a century long.
func untilWhen(end, now time.Time) string {
	if end.After(now.AddDate(50, 0, 0)) {
		return "it is resumed"
	}
	return when(&end)
}

// print shows one hook.
func (h *hook) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "NAME\t%s\nKIND\t%s\nSTATE\t%s\n", h.Name, h.Kind, h.state())
	fmt.Fprintf(w, "EVENTS\t%s\nTRAITS\t%s\nDECLARED\t%s %s\n", orDash(strings.Join(h.Events, ", ")), orDash(strings.Join(h.Traits, ", ")), h.Declared, when(h.CreatedAt))
	for _, i := range h.Instances {
		fmt.Fprintf(w, "SEEN\t%s, version %s, since %s\n", i.ID, i.Version, when(i.StartedAt))
	}
	if h.Disabled != "" {
		fmt.Fprintf(w, "DISABLED\t%s\n", h.Disabled)
	}
	if c := h.Consumer; c != nil {
		fmt.Fprintf(w, "PENDING\t%d\nIN WORK\t%d, %d of them delivered again\nLAST DELIVERY\t%s\n", c.Pending, c.AckPending, c.Redelivered, when(c.DeliveredAt))
		if c.PausedUntil != nil {
			fmt.Fprintf(w, "PAUSED UNTIL\t%s\n", untilWhen(*c.PausedUntil, time.Now()))
		}
	}
	fmt.Fprintf(w, "RETRYING\t%d\nDEAD\t%d\nDISCARDED\t%d\n", h.Failures.Waiting, h.Failures.Dead, h.Failures.Discarded)
	return w.Flush()
}

// hookAction is a command that does something to one hook and shows it then.
func hookAction(g *global, cmd *cobra.Command, do func(ctx context.Context, c *adminClient, name string, h *hook) error) *cobra.Command {
	cmd.Args = oneName
	cmd.ValidArgsFunction = hookNames(g)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := g.client()
		if err != nil {
			return err
		}
		var h hook
		if err := do(cmd.Context(), c, args[0], &h); err != nil {
			return named(err)
		}
		if g.json {
			return printJSON(cmd.OutOrStdout(), h)
		}
		return h.print(cmd.OutOrStdout())
	}
	return cmd
}

// named says where the names are to an error about one that no worker has.
func named(err error) error { return namedIn("worker", err) }

// namedIn is named for what another command lists.
func namedIn(command string, err error) error {
	var r *refusal
	if errors.As(err, &r) && r.status == http.StatusNotFound && !strings.Contains(r.text, "admin listener") {
		return fmt.Errorf("%w 'usher %s list' shows all", err, command)
	}
	return err
}
