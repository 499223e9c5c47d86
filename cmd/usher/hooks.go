package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/cmd/internal/app"
	"github.com/usher-auth/usher/cmd/internal/config"
)

func hooksCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "hooks", Short: "Look at the hooks of registration, login and verification"}
	cmd.AddCommand(hooksPlanCommand(g))
	return cmd
}

func hooksPlanCommand(g *global) *cobra.Command {
	var check, live bool
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Print what runs at a registration or login, when, and in which order",
		Long: `Prints the plan that the configuration is compiled into: per flow, method and
flow type what may refuse, what the answer waits for, and what runs from the
event. The session step is last wherever it was written.`,
		Example: "  usher hooks plan --check -c usher.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			plans, err := g.plans(cmd, live)
			if err != nil {
				return err
			}
			if g.json {
				if err := printJSON(cmd.OutOrStdout(), plans); err != nil {
					return err
				}
			} else if err := printPlans(cmd.OutOrStdout(), plans); err != nil {
				return err
			}
			if check && len(plans.Notes) > 0 {
				return exitError(1)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "exit 1 if something that may modify the answer is written after session")
	cmd.Flags().BoolVar(&live, "live", false, "ask a running server instead of reading the configuration")
	return cmd
}

func (g *global) plans(cmd *cobra.Command, live bool) (app.Plans, error) {
	if live {
		c, err := g.client()
		if err != nil {
			return app.Plans{}, err
		}
		var plans app.Plans
		return plans, c.get(cmd.Context(), "/admin/plan", nil, &plans)
	}
	o := g.options()
	o.NoSecrets = true // a plan needs none
	cfg, _, err := config.Load(o)
	if err != nil {
		return app.Plans{}, err
	}
	return app.PlansOf(cfg), nil
}

func printPlans(out io.Writer, plans app.Plans) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FLOW\tMETHOD\tTYPE\tWHEN\tSTEP\tWRITTEN IN LINE")
	for _, r := range plans.Rows {
		line := "-"
		if r.Line > 0 {
			line = fmt.Sprint(r.Line)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Flow, r.Method, r.FlowType, r.When, r.Step, line)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, n := range plans.Notes {
		fmt.Fprintf(out, "\nline %d: %s\n", n.Line, n.Text)
	}
	for _, text := range plans.Warnings {
		fmt.Fprintf(out, "\nwarning: %s\n", text)
	}
	return nil
}
