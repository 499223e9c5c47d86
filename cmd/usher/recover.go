package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// handedOut is an answer of /admin/recovery/code or /link: a secret.
type handedOut struct {
	Link      string    `json:"recovery_link"`
	Code      string    `json:"recovery_code,omitempty"`
	ExpiresAt time.Time `json:"expires_at"`
}

func recoverCommand(g *global) *cobra.Command {
	var link bool
	var expires time.Duration
	cmd := &cobra.Command{
		Use:   "recover IDENTITY",
		Short: "Make a code or link that signs somebody in who cannot",
		Long: `Makes a code, or with --link a link, that signs in the identity, by its id, by what it
signs in with or as external:ID: for who has lost the password and has no address that is
read. No mail takes it anywhere, it is shown once, and whoever has it can use it, once:
hand it over by a way that only they read. Once it is used all former sessions end.

A link is used up by whatever opens it first. Messengers open links to preview them: a
code is safer there.`,
		Example: "  usher identities recover you@example.org\n  usher identities recover you@example.org --link --expires-in 24h",
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
			asked, path := map[string]string{"identity_id": id}, "/admin/recovery/code"
			if link {
				path = "/admin/recovery/link"
			}
			if cmd.Flags().Changed("expires-in") {
				asked["expires_in"] = expires.String()
			}
			var h handedOut
			if err := c.post(cmd.Context(), path, asked, &h); err != nil {
				return err
			}
			return g.printHandedOut(cmd, h)
		},
	}
	cmd.Flags().BoolVar(&link, "link", false, "a link, which signs in by being opened, instead of a code")
	cmd.Flags().DurationVar(&expires, "expires-in", 0, "how long it is good for, up to 720h (default: as selfservice.methods.code.config.lifespan says, or that of link)")
	return cmd
}

// printHandedOut prints what is to be handed over; what is said of it goes to the other
// stream.
func (g *global) printHandedOut(cmd *cobra.Command, h handedOut) error {
	out := cmd.OutOrStdout()
	if g.json {
		return printJSON(out, h)
	}
	what := "link"
	if h.Code != "" {
		what = "code, which is entered at the link"
		fmt.Fprintln(out, h.Code)
	}
	fmt.Fprintln(out, h.Link)
	fmt.Fprintf(cmd.ErrOrStderr(), "this is the %s; it is good until %s, once, and not shown again\n", what, h.ExpiresAt.Local().Format(time.DateTime))
	return nil
}
