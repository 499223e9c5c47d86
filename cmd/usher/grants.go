package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func grantsCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "grants",
		Short: "Look at the one-time rights that registrations gave",
		Long: `Looks at the grants of a running server. A registration leaves one grant: its
one-time right to a session, whether that session bypasses verification, and
the session that has used it.`,
	}
	cmd.AddCommand(grantsShowCommand(g))
	return cmd
}

// grant is an answer of /admin/identities/{id}/grants.
type grant struct {
	ID                 string    `json:"id"`
	FlowID             string    `json:"flow_id"`
	FlowType           string    `json:"flow_type"`
	Method             string    `json:"method"`
	Bypass             bool      `json:"bypass"`
	SessionID          string    `json:"session_id,omitempty"`
	VerificationFlowID string    `json:"verification_flow_id,omitempty"`
	CreatedAt          time.Time `json:"created_at"`
}

func grantsShowCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:     "show IDENTITY",
		Short:   "Show the grants of an identity, by its id, by what it signs in with or as external:ID",
		Example: "  usher grants show you@example.org",
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
			var grants []grant
			if err := c.get(cmd.Context(), "/admin/identities/"+url.PathEscape(id)+"/grants", nil, &grants); err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), grants)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "TIME\tMETHOD\tFLOW\tBYPASSES VERIFICATION\tUSED BY SESSION")
			for _, r := range grants {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.CreatedAt.Local().Format(time.DateTime), r.Method, r.FlowType, yesNo(r.Bypass), orDash(r.SessionID))
			}
			return w.Flush()
		},
	}
}

// byExternalID begins what is an external id, so that nobody can sign up with the name of
// another's.
const byExternalID = "external:"

// identityID finds the identity that signs in with a name, unless that is an id or
// begins with [byExternalID].
func (c *adminClient) identityID(ctx context.Context, name string) (string, error) {
	if len(name) == 36 && strings.Count(name, "-") == 4 && !strings.Contains(name, "@") {
		return name, nil
	}
	type identity struct {
		ID string `json:"id"`
	}
	if external, ok := strings.CutPrefix(name, byExternalID); ok {
		var i identity
		err := c.get(ctx, "/admin/identities/by/external/"+url.PathEscape(external), nil, &i)
		return i.ID, err
	}
	var found []identity
	if err := c.get(ctx, "/admin/identities", url.Values{"credentials_identifier": {name}}, &found); err != nil {
		return "", err
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("nobody signs in with %q", name)
	case 1:
		return found[0].ID, nil
	}
	return "", fmt.Errorf("%d identities sign in with %q, one by entering it and one as an account at a provider: name one by its id", len(found), name)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
