package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/cmd/internal/app"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/console"
	"github.com/usher-auth/usher/services/operator"
)

var roles = []string{string(operator.RoleOperator), string(operator.RoleOwner)}

// commandLine is who acts here, as events name them.
var commandLine = audit.Author{Actor: "admin:local"}

func consoleCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "console", Short: "Manage access to the console"}
	user := &cobra.Command{Use: "user", Short: "Manage the operators who sign in to the console"}
	user.AddCommand(userAddCommand(g), userListCommand(g), userRoleCommand(g), userRemoveCommand(g), userResetCommand(g))
	cmd.AddCommand(user)
	return cmd
}

// operators are those of the database of the configuration.
type operators struct {
	*operator.Service
	database
	admin string // base URL of the admin listener
}

// withOperators runs work on the operators of the configuration's database.
func (g *global) withOperators(ctx context.Context, work func(operators) error) error {
	cfg, err := g.load()
	if err != nil {
		return err
	}
	s, err := g.store(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // the answer is more than that
	service, err := app.NewOperators(s.Store)
	if err != nil {
		return err
	}
	return work(operators{service, s, cfg.AdminURL()})
}

func userAddCommand(g *global) *cobra.Command {
	var role string
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Add an operator and print their set-up link",
		Long: `Adds an operator to the database of the configuration (give -c FILE, or
USHER_DATA_DIR, as the server has it) and prints the link that sets their password:
once, within 24 hours. Whoever opens it first is that operator.`,
		Example: "  usher console user add ann --role owner -c usher.yaml",
		Args:    oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("role", role, roles); err != nil {
				return err
			}
			return g.withOperators(cmd.Context(), func(o operators) error {
				link, err := o.Add(cmd.Context(), commandLine, args[0], operator.Role(role))
				switch {
				case errors.Is(err, operator.ErrExists):
					return fmt.Errorf("there is an operator %q already: 'usher console user reset %[1]s' makes a new set-up link", args[0])
				case errors.Is(err, operator.ErrTokenExists):
					return fmt.Errorf("a token of the admin listener has the name %q: the audit trail could not tell them apart", args[0])
				case err != nil:
					return err
				}
				return g.printLink(cmd, o, args[0], link)
			})
		},
	}
	cmd.Flags().StringVar(&role, "role", string(operator.RoleOperator), "operator, or owner, who also manages operators, tokens and secrets")
	_ = cmd.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(roles, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// printLink prints a set-up link, which cannot be printed again.
func (g *global) printLink(cmd *cobra.Command, o operators, name string, link operator.Secret) error {
	url := console.SetUpURL(o.admin, link)
	if g.json {
		return printJSON(cmd.OutOrStdout(), map[string]any{"name": name, "link": url, "expires_at": time.Now().Add(operator.LinkLife).UTC().Truncate(time.Second)})
	}
	fmt.Fprintln(cmd.OutOrStdout(), url)
	fmt.Fprintf(cmd.ErrOrStderr(), "this link sets the password of %q, once, within %.0f hours, for servers of the database %s; it is not shown again\n", name, operator.LinkLife.Hours(), o.name)
	return nil
}

func userListCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the operators by name",
		Example: "  usher console user list -c usher.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.withOperators(cmd.Context(), func(o operators) error {
				all, err := o.List(cmd.Context())
				if err != nil {
					return err
				}
				if g.json {
					return printJSON(cmd.OutOrStdout(), shownOperators(all))
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "NAME\tROLE\tPASSWORD\tADDED")
				for _, one := range all {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", one.Name, one.Role, passwordState(one), one.CreatedAt.Format(time.DateTime))
				}
				return w.Flush()
			})
		},
	}
}

// passwordState says whether somebody can sign in, and until when they can see to it.
func passwordState(o operator.Operator) string {
	switch {
	case o.SetUp:
		return "set"
	case o.SetUpUntil.After(time.Now()):
		return "link until " + o.SetUpUntil.Format(time.DateTime)
	}
	return "link is over"
}

type shownOperator struct {
	Name       string     `json:"name"`
	Role       string     `json:"role"`
	SetUp      bool       `json:"set_up"`
	SetUpUntil *time.Time `json:"set_up_until,omitempty"`
	CreatedAt  time.Time  `json:"created_at"`
}

func shownOperators(all []operator.Operator) []shownOperator {
	shown := make([]shownOperator, len(all))
	for n, o := range all {
		shown[n] = shownOperator{Name: o.Name, Role: string(o.Role), SetUp: o.SetUp, CreatedAt: o.CreatedAt}
		if !o.SetUpUntil.IsZero() {
			shown[n].SetUpUntil = &o.SetUpUntil
		}
	}
	return shown
}

func userRemoveCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:               "remove NAME",
		Short:             "Remove an operator; their sessions end within five seconds",
		Example:           "  usher console user remove ann -c usher.yaml",
		Args:              oneName,
		ValidArgsFunction: operatorNames(g),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withOperators(cmd.Context(), func(o operators) error {
				if err := o.Remove(cmd.Context(), commandLine, args[0]); err != nil {
					return explainOperator(err, args[0])
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

func userResetCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "reset NAME",
		Short: "Take an operator's password and print a new set-up link",
		Long: `Takes an operator's password, ends their sessions (within five seconds) and prints
a link that sets a new password: for one that is lost, or for a link that is over.`,
		Example:           "  usher console user reset owner -c usher.yaml",
		Args:              oneName,
		ValidArgsFunction: operatorNames(g),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withOperators(cmd.Context(), func(o operators) error {
				link, err := o.Reset(cmd.Context(), commandLine, args[0])
				if err != nil {
					return explainOperator(err, args[0])
				}
				return g.printLink(cmd, o, args[0], link)
			})
		},
	}
}

func userRoleCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:     "role NAME ROLE",
		Short:   "Give an operator another role; they sign in again",
		Example: "  usher console user role ann owner -c usher.yaml",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("role", args[1], roles); err != nil {
				return err
			}
			return g.withOperators(cmd.Context(), func(o operators) error {
				if err := o.ChangeRole(cmd.Context(), commandLine, args[0], operator.Role(args[1])); err != nil {
					return explainOperator(err, args[0])
				}
				if g.json {
					return printJSON(cmd.OutOrStdout(), map[string]string{"name": args[0], "role": args[1]})
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s is %s\n", args[0], args[1])
				return nil
			})
		},
		ValidArgsFunction: operatorNames(g),
	}
}

// explainOperator says what to do about a refusal.
func explainOperator(err error, name string) error {
	switch {
	case errors.Is(err, operator.ErrNotFound):
		return fmt.Errorf("there is no operator %q: 'usher console user list' shows all", name)
	case errors.Is(err, operator.ErrLastOwner):
		return fmt.Errorf("%q stays: nobody else who can sign in is an owner; 'usher console user add NAME --role owner' makes another, who then sets a password", name)
	}
	return err
}

// operatorNames completes the name of an operator.
func operatorNames(g *global) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, start string) (names []string, _ cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), completing)
		defer cancel()
		_ = g.withOperators(ctx, func(o operators) error { // no database, no names
			all, err := o.List(ctx)
			for _, one := range all {
				if strings.HasPrefix(one.Name, start) {
					names = append(names, one.Name)
				}
			}
			return err
		})
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
