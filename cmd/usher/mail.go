package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/services/courier"
)

func mailCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mail",
		Short: "Read the mails of a running server",
		Long: `Reads the mails that a running server has sent, or is about to. What they say,
their codes included, only a server in development mode shows: with a mail
server (courier.smtp.connection_uri) or an API (courier.http) as long as a mail waits
to be sent, without either for good, for then it sends none and this is its mailbox.
Any other server shows neither subjects nor bodies.`,
	}
	cmd.AddCommand(mailListCommand(g), mailShowCommand(g))
	return cmd
}

// message is an answer of /admin/courier/messages.
type message struct {
	ID        string    `json:"id"`
	Status    string    `json:"status"`
	Recipient string    `json:"recipient"`
	Subject   string    `json:"subject"`
	Body      string    `json:"body"`
	Template  string    `json:"template_type"`
	Attempts  int       `json:"send_count"`
	LastError string    `json:"last_error,omitempty"`
	CreatedAt time.Time `json:"created_at"`
}

// statuses are the states of a mail.
var statuses = []string{string(courier.Queued), string(courier.Processing), string(courier.Sent), string(courier.Abandoned)}

// mails asks for the newest messages to an address and of a status, "" for any.
func (c *adminClient) mails(ctx context.Context, to, status string, limit int) (page []message, err error) {
	q := url.Values{"page_size": {strconv.Itoa(limit)}}
	if to != "" {
		q.Set("recipient", to)
	}
	if status != "" {
		q.Set("status", status)
	}
	return page, c.get(ctx, "/admin/courier/messages", q, &page)
}

func mailListCommand(g *global) *cobra.Command {
	var to, status string
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List mails, newest first",
		Long: `Lists mails, newest first. The last column says why the last attempt failed, of
those that have not been sent.`,
		Example: "  usher mail list --to you@example.org\n  usher mail list --status queued",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > 1000 {
				return fmt.Errorf("--limit %d: want 1 to 1000", limit)
			}
			if err := oneOf("status", status, statuses); err != nil {
				return err
			}
			c, err := g.client()
			if err != nil {
				return err
			}
			page, err := c.mails(cmd.Context(), to, status, limit)
			if err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), page)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "TIME\tSTATUS\tTO\tMAIL\tATTEMPTS\tID\tLAST ERROR")
			for _, m := range page {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", m.CreatedAt.Local().Format(time.DateTime), m.Status, m.Recipient, m.Template, m.Attempts, m.ID, orDash(m.LastError))
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "only mails to this address")
	cmd.Flags().StringVar(&status, "status", "", "only mails that are "+strings.Join(statuses, ", "))
	_ = cmd.RegisterFlagCompletionFunc("status", cobra.FixedCompletions(statuses, cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().IntVar(&limit, "limit", 20, "how many at most")
	return cmd
}

func mailShowCommand(g *global) *cobra.Command {
	var to, flow string
	var codeOnly bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "show [ID]",
		Short: "Show a mail, the newest if none is named",
		Example: `  usher mail show --to you@example.org --wait 10s
  code=$(usher mail show --to you@example.org --code)`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			var m message
			if len(args) == 1 {
				err = c.get(cmd.Context(), "/admin/courier/messages/"+url.PathEscape(args[0]), nil, &m)
			} else {
				m, err = c.newest(cmd.Context(), to, flow, wait)
			}
			if err != nil {
				return err
			}
			return m.print(cmd.OutOrStdout(), codeOnly, g.json)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "the newest mail to this address")
	cmd.Flags().StringVar(&flow, "flow", "", "the newest mail that leads to this verification flow")
	cmd.Flags().BoolVar(&codeOnly, "code", false, "print only the code that the mail holds")
	cmd.Flags().DurationVar(&wait, "wait", 0, "how long to wait for a mail")
	return cmd
}

// mailPoll is how often the server is asked while a mail is waited for.
const mailPoll = 100 * time.Millisecond

// newest gives the newest mail to an address that leads to a flow, "" for any,
// and waits for one if there is none.
func (c *adminClient) newest(ctx context.Context, to, flow string, wait time.Duration) (message, error) {
	deadline := time.Now().Add(wait)
	for {
		page, err := c.mails(ctx, to, "", 100)
		if err != nil {
			return message{}, err
		}
		for _, m := range page {
			if strings.Contains(m.Body, flow) {
				return m, nil
			}
		}
		if !time.Now().Before(deadline) {
			return message{}, errors.New("there is no such mail (yet): 'usher mail list' shows all")
		}
		select {
		case <-ctx.Done():
			return message{}, ctx.Err()
		case <-time.After(mailPoll):
		}
	}
}

var codePattern = regexp.MustCompile(`\b\d{6}\b`)

func (m message) print(out io.Writer, codeOnly, asJSON bool) error {
	if codeOnly {
		code := codePattern.FindString(m.Body)
		if code == "" {
			return errors.New("the mail shows no code: only a server in development mode shows what its mails say, and one with a mail server only until they are sent")
		}
		_, err := fmt.Fprintln(out, code)
		return err
	}
	if asJSON {
		return printJSON(out, m)
	}
	_, err := fmt.Fprintf(out, "To: %s\nSubject: %s\nDate: %s\nStatus: %s\n", m.Recipient, m.Subject, m.CreatedAt.Local().Format(time.RFC1123Z), m.Status)
	if err == nil && m.LastError != "" {
		_, err = fmt.Fprintf(out, "Last error: %s\n", m.LastError)
	}
	if err == nil {
		_, err = fmt.Fprintf(out, "\n%s\n", m.Body)
	}
	return err
}
