package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/webhook"
)

func webhookCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "webhook",
		Short: "Send events to endpoints of your own, signed",
		Long: `Declares webhooks of a running server and looks after them. An endpoint gets
each event of its types as it is on the bus, signed as Standard Webhooks 1.0.0
say (https://www.standardwebhooks.com). It answers 2xx within 15 seconds, or the
event comes again: ten times within some three days, then it is a dead letter. It may
get an event twice, under the same webhook-id.`,
	}
	cmd.AddCommand(
		webhookAddCommand(g), webhookListCommand(g), webhookShowCommand(g), webhookTestCommand(g),
		webhookRotateCommand(g), webhookEnableCommand(g), webhookRemoveCommand(g), webhookSecretCommand(g),
	)
	return cmd
}

// webhookState is an answer of /admin/webhooks.
type webhookState struct {
	Name      string     `json:"name"`
	URL       string     `json:"url"`
	Events    []string   `json:"events"`
	Disabled  string     `json:"disabled,omitempty"`
	InFile    bool       `json:"in_file"`
	Secrets   int        `json:"secrets"`
	CreatedAt *time.Time `json:"created_at,omitempty"`
	UpdatedAt *time.Time `json:"updated_at,omitempty"`
}

// newSecret is an answer that shows a secret.
type newSecret struct {
	webhookState
	Secret string `json:"secret"`
	Ready  bool   `json:"ready"`
}

// webhookTest is an answer of /admin/webhooks/{name}/test.
type webhookTest struct {
	EventID string  `json:"event_id"`
	Status  int     `json:"status"`
	TookMS  float64 `json:"took_ms"`
	Failed  string  `json:"failed,omitempty"`
}

const webhooksPath = "/admin/webhooks"

func webhookPath(name string) string { return webhooksPath + "/" + url.PathEscape(name) }

func webhookAddCommand(g *global) *cobra.Command {
	var types []string
	var reuse bool
	cmd := &cobra.Command{
		Use:   "add NAME URL --events TYPE,…",
		Short: "Declare a webhook and print its signing secret, once",
		Long: `Declares a webhook: from now on its endpoint gets the events of the types. The
signing secret that is printed is shown this once. The address must be on the
public internet unless clients.http.private_ip_exception_urls lets it through,
or the server runs for development.

The name of a worker that was removed is refused as long as a credential of it is
good: it could take the webhook's events. If none has leaked, --reuse-name takes
the name.`,
		Example: "  usher webhook add crm https://crm.example.org/usher --events identity.created,identity.deleted",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(types) == 0 {
				return fmt.Errorf("which events? --events TYPE,…: %s", strings.Join(delivery.EventTypes(), ", "))
			}
			for _, t := range types {
				if err := oneOf("events", t, delivery.EventTypes()); err != nil {
					return err
				}
			}
			c, err := g.client()
			if err != nil {
				return err
			}
			in := map[string]any{"name": args[0], "url": args[1], "events": types}
			if reuse {
				in["reuse_name"] = true
			}
			var made newSecret
			if err := c.do(cmd.Context(), http.MethodPost, webhooksPath, in, &made); err != nil {
				return err
			}
			if webhook.WrittenPrivate(args[1]) {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s is a private address: it is called where clients.http.private_ip_exception_urls names it, or in development\n", args[1])
			}
			return made.print(cmd, g.json, "usher webhook test "+made.Name)
		},
	}
	cmd.Flags().StringSliceVar(&types, "events", nil, "the types of the events that it gets")
	_ = cmd.RegisterFlagCompletionFunc("events", cobra.FixedCompletions(delivery.EventTypes(), cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().BoolVar(&reuse, "reuse-name", false, "have the name of a worker that was removed, whose credentials work again then")
	return cmd
}

// print shows a secret to whoever asked, and what to do next to the person there.
func (n newSecret) print(cmd *cobra.Command, asJSON bool, next string) error {
	if !n.Ready {
		fmt.Fprintf(cmd.ErrOrStderr(), "the bus does not have %q yet: it gets its events, from now on, once the server has provisioned it\n", n.Name)
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), n)
	}
	fmt.Fprintln(cmd.OutOrStdout(), n.Secret)
	fmt.Fprintf(cmd.ErrOrStderr(), "this is the signing secret of %q; it is not shown again\nnext: %s\n", n.Name, next)
	return nil
}

func webhookListCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the webhooks, how far they are, and what they have failed at",
		Example: "  usher webhook list --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			all := []webhookState{}
			if err := c.get(cmd.Context(), webhooksPath, nil, &all); err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), all)
			}
			hooks, err := c.hooks(cmd.Context(), "webhook")
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tSTATE\tPENDING\tRETRYING\tDEAD\tURL\tEVENTS\tDECLARED")
			for _, h := range all {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", h.Name, h.progress(hooks), h.URL, strings.Join(h.Events, ","), h.declared())
			}
			return w.Flush()
		},
	}
}

// progress is how a webhook is and how far, in four columns, by what is known of hooks.
func (h webhookState) progress(hooks []hook) string {
	at := slices.IndexFunc(hooks, func(one hook) bool { return one.Name == h.Name })
	if at < 0 {
		return h.state() + "\t-\t-\t-"
	}
	state := h.state()
	if state == active {
		state = hooks[at].state()
	}
	pending := "-"
	if c := hooks[at].Consumer; c != nil {
		pending = strconv.FormatUint(c.Pending, 10)
	}
	return fmt.Sprintf("%s\t%s\t%d\t%d", state, pending, hooks[at].Failures.Waiting, hooks[at].Failures.Dead)
}

// active is a webhook whose declaration says nothing else.
const active = "active"

func (h webhookState) state() string {
	switch {
	case h.Disabled != "":
		return "disabled (" + h.Disabled + ")"
	case h.Secrets > 1:
		return "rotating"
	}
	return active
}

func (h webhookState) declared() string {
	if h.InFile {
		return "in the file"
	}
	if h.CreatedAt == nil {
		return "-"
	}
	return h.CreatedAt.Local().Format(time.DateTime)
}

func webhookShowCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:               "show NAME",
		Short:             "Show a webhook",
		Example:           "  usher webhook show crm",
		Args:              oneName,
		ValidArgsFunction: hookNames(g, "webhook"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			var h webhookState
			if err := c.get(cmd.Context(), webhookPath(args[0]), nil, &h); err != nil {
				return namedIn("webhook", err)
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), h)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "name\t%s\nstate\t%s\nurl\t%s\nevents\t%s\nsecrets\t%d\ndeclared\t%s\n",
				h.Name, h.state(), h.URL, strings.Join(h.Events, ", "), h.Secrets, h.declared())
			return w.Flush()
		},
	}
}

func webhookTestCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "test NAME",
		Short: "Send a signed test event and show what is answered",
		Long: `Sends a signed event of type webhook.test to the endpoint of a webhook, once, and
shows the status and how long it took. It is in no log and does not come again.
The exit status is 1 unless the endpoint takes it.`,
		Example:           "  usher webhook test crm",
		Args:              oneName,
		ValidArgsFunction: hookNames(g, "webhook"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			var t webhookTest
			if err := c.do(cmd.Context(), http.MethodPost, webhookPath(args[0])+"/test", nil, &t); err != nil {
				return namedIn("webhook", err)
			}
			if g.json {
				err = printJSON(cmd.OutOrStdout(), t)
			} else if t.Failed == "" {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d in %.1f ms, webhook-id %s\n", t.Status, t.TookMS, t.EventID)
			} else {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "not taken after %.1f ms: %s\n", t.TookMS, t.Failed)
			}
			if err == nil && t.Failed != "" {
				return exitError(1)
			}
			return err
		},
	}
}

func webhookRotateCommand(g *global) *cobra.Command {
	var finish bool
	cmd := &cobra.Command{
		Use:   "rotate NAME",
		Short: "Give a webhook another signing secret; the former one goes on signing too",
		Long: `Gives a webhook another signing secret and prints it, once. Messages are signed
with both until --finish ends the former one, so that the endpoint can change
over without a gap. A rotation that has begun must be finished before the next.`,
		Example:           "  usher webhook rotate crm\n  usher webhook rotate crm --finish",
		Args:              oneName,
		ValidArgsFunction: hookNames(g, "webhook"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			path := webhookPath(args[0]) + "/rotate"
			if finish {
				if err := c.do(cmd.Context(), http.MethodPost, path+"/finish", nil, nil); err != nil {
					return namedIn("webhook", err)
				}
				return saying(cmd, g.json, "finished", args[0])
			}
			var made newSecret
			if err := c.do(cmd.Context(), http.MethodPost, path, nil, &made); err != nil {
				return namedIn("webhook", err)
			}
			return made.print(cmd, g.json, "give it to the endpoint, then usher webhook rotate "+made.Name+" --finish")
		},
	}
	cmd.Flags().BoolVar(&finish, "finish", false, "end the former secret")
	return cmd
}

func webhookEnableCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "enable NAME",
		Short: "Send events again to an endpoint that had answered 410",
		Long: `Ends that a webhook is disabled, which it is once its endpoint answers 410. It
gets what has come meanwhile, of the last seven days. The events that it had
answered 410 to are dead letters.`,
		Example:           "  usher webhook enable crm",
		Args:              oneName,
		ValidArgsFunction: hookNames(g, "webhook"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			if err := c.do(cmd.Context(), http.MethodPost, webhookPath(args[0])+"/enable", nil, nil); err != nil {
				return namedIn("webhook", err)
			}
			return saying(cmd, g.json, "enabled", args[0])
		},
	}
}

func webhookRemoveCommand(g *global) *cobra.Command {
	var sure consent
	cmd := &cobra.Command{
		Use:               "remove NAME",
		Short:             "Remove a webhook with all that waits for it or that it has failed at",
		Example:           "  usher webhook remove crm --yes",
		Args:              oneName,
		ValidArgsFunction: hookNames(g, "webhook"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			if err := sure.confirm(cmd, "Remove "+args[0]+" with all that waits for it?"); err != nil {
				return err
			}
			if err := c.delete(cmd.Context(), webhookPath(args[0])); err != nil {
				return namedIn("webhook", err)
			}
			return saying(cmd, g.json, "removed", args[0])
		},
	}
	sure.flags(cmd)
	return cmd
}

// saying says what was done to a webhook.
func saying(cmd *cobra.Command, asJSON bool, done, name string) error {
	if asJSON {
		return printJSON(cmd.OutOrStdout(), map[string]string{done: name})
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), done, name)
	return err
}

func webhookSecretCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:     "secret",
		Short:   "Print a new signing secret, for secret_file in the configuration",
		Example: "  (umask 077; usher webhook secret > crm.secret)",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			secret := webhook.NewSigningSecret().Reveal()
			if g.json {
				return printJSON(cmd.OutOrStdout(), map[string]string{"secret": secret})
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), secret)
			return err
		},
	}
}
