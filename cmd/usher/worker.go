package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func workerCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Write, run and look after workers",
		Long: `A worker is a program that gets events, each at least once, from a durable
consumer of its own. 'usher worker new' writes one and declares it to a running
server; no file of the server changes and nothing is started again.`,
	}
	cmd.AddCommand(workerNewCommand(g), workerRunCommand(), workerListCommand(g), workerShowCommand(g),
		workerPauseCommand(g), workerResumeCommand(g), workerRotateCommand(g), workerRemoveCommand(g))
	return cmd
}

const routeHooks = "/admin/hooks"

// hookView is a hook in answers of /admin/hooks.
type hookView struct {
	Name      string     `json:"name"`
	Kind      string     `json:"kind"`
	Events    []string   `json:"events"`
	Traits    []string   `json:"traits"`
	URL       string     `json:"url,omitempty"`
	Declared  string     `json:"declared"`
	Disabled  string     `json:"disabled,omitempty"`
	CreatedAt *time.Time `json:"created_at,omitempty"`
	Consumer  *struct {
		Pending     uint64     `json:"pending"`
		AckPending  int        `json:"ack_pending"`
		Redelivered int        `json:"redelivered"`
		Waiting     int        `json:"waiting"`
		PausedUntil *time.Time `json:"paused_until,omitempty"`
		DeliveredAt *time.Time `json:"delivered_at,omitempty"`
	} `json:"consumer"`
	Failures struct {
		Waiting   int64 `json:"waiting"`
		Dead      int64 `json:"dead"`
		Discarded int64 `json:"discarded"`
	} `json:"failures"`
}

// accessView is a new hook and what it is reached with.
type accessView struct {
	Hook       hookView `json:"hook"`
	Credential string   `json:"credential,omitempty"`
	BusURL     string   `json:"nats_url,omitempty"`
	Secret     string   `json:"secret,omitempty"`
}

func (c *adminClient) hooks(ctx context.Context) ([]hookView, error) {
	var all struct {
		Hooks []hookView `json:"hooks"`
	}
	return all.Hooks, c.get(ctx, routeHooks, nil, &all)
}

// hookPath is the path of a hook, or of what is done with it.
func hookPath(name string, more ...string) string {
	return strings.Join(append([]string{routeHooks, url.PathEscape(name)}, more...), "/")
}

// state says in a word how a hook does.
func (h *hookView) state() string {
	c := h.Consumer
	switch {
	case h.Disabled != "":
		return "disabled"
	case h.Kind == "answer":
		return "asked"
	case c == nil:
		return "unknown"
	case c.PausedUntil != nil:
		return "paused"
	case h.Failures.Waiting > 0:
		return "failing"
	case c.Waiting == 0 && c.AckPending == 0 && c.Pending > 0:
		return "lagging" // nobody asks for what waits
	case c.Waiting == 0 && c.AckPending == 0:
		return "not running"
	}
	return "running"
}

func workerListCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List workers and other hooks, and how they do",
		Example: "  usher worker list",
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
			fmt.Fprintln(w, "NAME\tKIND\tSTATE\tWAIT\tIN WORK\tRETRIES\tDEAD\tEVENTS")
			for _, h := range all {
				var pending uint64
				inWork := 0
				if h.Consumer != nil {
					pending, inWork = h.Consumer.Pending, h.Consumer.AckPending
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\n", h.Name, h.Kind, h.state(), pending, inWork, h.Failures.Waiting, h.Failures.Dead, orDash(strings.Join(h.Events, " ")))
			}
			return w.Flush()
		},
	}
}

func workerShowCommand(g *global) *cobra.Command {
	return g.onHook("show NAME", "Show a worker and how it does", http.MethodGet, "")
}

func workerResumeCommand(g *global) *cobra.Command {
	return g.onHook("resume NAME", "Let a paused worker have its events again", http.MethodPost, "resume")
}

func workerPauseCommand(g *global) *cobra.Command {
	cmd := g.onHook("pause NAME", "Let a worker get nothing for a while; its events wait in the stream", http.MethodPost, "pause")
	cmd.Flags().Duration("for", 0, "how long, such as 10m (default: until it is resumed)")
	return cmd
}

// onHook is a command that does something with one hook and shows it.
func (g *global) onHook(use, short, method, action string) *cobra.Command {
	return &cobra.Command{
		Use:               use,
		Short:             short,
		Args:              oneName,
		ValidArgsFunction: g.completeHooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			path, body := hookPath(args[0]), any(nil)
			if action != "" {
				path = hookPath(args[0], action)
			}
			if long, err := cmd.Flags().GetDuration("for"); err == nil && long != 0 {
				body = map[string]string{"for": long.String()}
			}
			var h hookView
			if err := c.do(cmd.Context(), method, path, body, &h); err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), h)
			}
			return h.print(cmd)
		},
	}
}

func (h *hookView) print(cmd *cobra.Command) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\t%s, %s\n", h.Name, h.Kind, cmp.Or(h.Disabled, h.state()))
	for _, row := range [][2]string{
		{"url", h.URL}, {"events", strings.Join(h.Events, " ")}, {"may read", strings.Join(h.Traits, " ")},
	} {
		if row[1] != "" {
			fmt.Fprintf(w, "  %s\t%s\n", row[0], row[1])
		}
	}
	if c := h.Consumer; c != nil {
		fmt.Fprintf(w, "  waiting\t%d, %d in work\n", c.Pending, c.AckPending)
		for name, at := range map[string]*time.Time{"paused until": c.PausedUntil, "last delivery": c.DeliveredAt} {
			if at != nil {
				fmt.Fprintf(w, "  %s\t%s\n", name, at.Local().Format(time.DateTime))
			}
		}
	}
	fmt.Fprintf(w, "  retries\t%d\n  dead letters\t%d\n", h.Failures.Waiting, h.Failures.Dead)
	return w.Flush()
}

func workerRotateCommand(g *global) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "rotate NAME",
		Short: "Make a new credential for a worker",
		Long: `Makes a new credential for a worker, good for 90 days, and writes it to a file.
The former one is good until it expires: remove the worker to end it at once.
A worker of the kit reads the file again by itself.`,
		Example:           "  usher worker rotate hello --creds hello/hello.creds",
		Args:              oneName,
		ValidArgsFunction: g.completeHooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			var a accessView
			if err := c.do(cmd.Context(), http.MethodPost, hookPath(args[0], "rotate"), nil, &a); err != nil {
				return err
			}
			at := cmp.Or(file, args[0]+".creds")
			if err := writePrivate(at, a.Credential); err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), map[string]string{"name": args[0], "credential_file": at})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "wrote %s, good for 90 days\n", at)
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "creds", "", "file to write (default: NAME.creds)")
	return cmd
}

// writePrivate replaces a file that only its owner may read.
func writePrivate(path, text string) error {
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func workerRemoveCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:               "remove NAME",
		Short:             "Remove a worker: its credential is powerless at once, its dead letters are forgotten",
		Args:              oneName,
		ValidArgsFunction: g.completeHooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			if err := c.do(cmd.Context(), http.MethodDelete, hookPath(args[0]), nil, nil); err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), map[string]string{"removed": args[0]})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "removed %s\n", args[0])
			return nil
		},
	}
}

// completeHooks completes the names of hooks by asking the server.
func (g *global) completeHooks(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := g.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	all, err := c.hooks(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := make([]string, len(all))
	for n, h := range all {
		names[n] = h.Name
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
