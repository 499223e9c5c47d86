package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/services/operator"
)

func adminCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "admin", Short: "Manage access to the admin listener"}
	token := &cobra.Command{Use: "token", Short: "Manage the tokens that the admin listener wants beyond loopback"}
	token.AddCommand(tokenNewCommand(g), tokenListCommand(g), tokenRemoveCommand(g))
	cmd.AddCommand(token)
	return cmd
}

func tokenNewCommand(g *global) *cobra.Command {
	var scope, from string
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Make a token; it is shown once, only its digest is stored",
		Long: `Makes a token in the database of the configuration: give -c FILE, or
USHER_DATA_DIR, as the server has it. The token is shown once, only its digest
is stored.

With --from the token is the one in a file, which something else has made, such as
the Secret that a scraper reads too: "usher_at_" and 32 letters and digits or more.
It replaces a former one of the same name; run again it changes nothing.`,
		Example: `  usher admin token new grafana --scope metrics -c usher.yaml
  usher admin token new scraper --scope metrics --from scraper.token -c usher.yaml`,
		Args: oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withOperators(cmd.Context(), func(o operators) error {
				if from != "" {
					return tokenErr(args[0], g.keepToken(cmd, o, args[0], scope, from))
				}
				token, err := o.AddToken(cmd.Context(), commandLine, args[0], scope)
				if err != nil {
					return tokenErr(args[0], err)
				}
				if g.json {
					return printJSON(cmd.OutOrStdout(), map[string]string{"name": args[0], "scope": scope, "token": token.Reveal()})
				}
				fmt.Fprintln(cmd.OutOrStdout(), token.Reveal())
				fmt.Fprintf(cmd.ErrOrStderr(), "this is the token %q, for servers of the database %s; it is not shown again\n", args[0], o.name)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&scope, "scope", operator.ScopeAdmin, "what the token is for: "+strings.Join(operator.Scopes(), ", "))
	cmd.Flags().StringVar(&from, "from", "", "file with the token, instead of making one")
	_ = cmd.RegisterFlagCompletionFunc("scope", cobra.FixedCompletions(operator.Scopes(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// keepToken stores the token in a file, and says whether that changed anything.
func (g *global) keepToken(cmd *cobra.Command, o operators, name, scope, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	changed, err := o.KeepToken(cmd.Context(), commandLine, name, scope, operator.NewSecret(strings.TrimSpace(string(text))))
	if err != nil {
		return err
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), map[string]any{"name": name, "scope": scope, "changed": changed})
	}
	said := "stored"
	if !changed {
		said = "is there already"
	}
	fmt.Fprintf(cmd.OutOrStdout(), "token %q: %s\n", name, said)
	return nil
}

// tokenErr says what to do about a name that is taken.
func tokenErr(name string, err error) error {
	switch {
	case errors.Is(err, operator.ErrExists):
		return fmt.Errorf("an operator of the console has the name %q: the audit trail could not tell them apart", name)
	case errors.Is(err, operator.ErrTokenTaken):
		return errors.New("another name has this token: 'usher admin token list' shows all")
	case errors.Is(err, operator.ErrTokenExists):
		return fmt.Errorf("there is a token %q already: 'usher admin token list' shows all", name)
	}
	return err
}

func tokenListCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the tokens by name",
		Example: "  usher admin token list -c usher.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := g.store(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { _ = s.Close() }() // the answer is more than that
			tokens, err := s.AdminTokens(cmd.Context())
			if err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), tokens)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tSCOPE\tMADE")
			for _, t := range tokens {
				fmt.Fprintf(w, "%s\t%s\t%s\n", t.Name, t.Scope, t.CreatedAt.Format(time.DateTime))
			}
			return w.Flush()
		},
	}
}

func tokenRemoveCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Short:   "Remove a token: it stops working at once",
		Example: "  usher admin token remove grafana -c usher.yaml",
		Args:    oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withOperators(cmd.Context(), func(o operators) error {
				err := o.RemoveToken(cmd.Context(), commandLine, args[0])
				if errors.Is(err, operator.ErrNoToken) {
					return fmt.Errorf("there is no token %q: 'usher admin token list' shows all", args[0])
				}
				if err != nil {
					return err
				}
				if g.json {
					return printJSON(cmd.OutOrStdout(), map[string]string{"removed": args[0]})
				}
				fmt.Fprintln(cmd.OutOrStdout(), "removed", args[0])
				return nil
			})
		},
	}
}
