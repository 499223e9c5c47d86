package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/cmd/internal/app"
	"github.com/usher-auth/usher/cmd/internal/config"
)

func hooksCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "hooks", Short: "Look at the hooks of all flows"}
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
event. The session step is last wherever it was written. The first line says what
was read: a file or the built-in defaults, development, and variables. --live
asks a running server for the plan that it has in force.`,
		Example: "  usher hooks plan --check -c usher.yaml\n  usher hooks plan --live",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			plan, err := g.plan(cmd, live)
			if err != nil {
				return err
			}
			if g.json {
				if err := printJSON(cmd.OutOrStdout(), plan); err != nil {
					return err
				}
			} else if err := plan.print(cmd.OutOrStdout()); err != nil {
				return err
			}
			if check && len(plan.Notes) > 0 {
				return exitError(1)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "exit 1 if something that may modify the answer is written after session")
	cmd.Flags().BoolVar(&live, "live", false, "ask a running server instead of reading the configuration")
	return cmd
}

// shownPlan is the plans, and what they are the plans of.
type shownPlan struct {
	Configuration string `json:"configuration"`
	app.Plans
}

func (g *global) plan(cmd *cobra.Command, live bool) (p shownPlan, err error) {
	if live {
		c, err := g.client()
		if err != nil {
			return p, err
		}
		err = c.get(cmd.Context(), "/admin/plan", nil, &p.Plans)
		p.Configuration = fmt.Sprintf("in force at %s, revision %d", c.base, p.Generation)
		return p, err
	}
	o := g.options()
	o.NoSecrets = true // a plan needs none
	cfg, _, err := config.Load(o)
	if err != nil {
		return p, err
	}
	return shownPlan{o.Sources(cfg), app.PlansOf(cfg)}, nil
}

func (p shownPlan) print(out io.Writer) error {
	fmt.Fprintf(out, "configuration: %s\n\n", p.Configuration)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FLOW\tMETHOD\tTYPE\tWHEN\tSTEP\tWRITTEN IN LINE")
	for _, r := range p.Rows {
		line := "-"
		if r.Line > 0 {
			line = fmt.Sprint(r.Line)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Flow, r.Method, r.FlowType, r.When, r.Step, line)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, n := range p.Notes {
		fmt.Fprintf(out, "\nline %d: %s\n", n.Line, n.Text)
	}
	for _, text := range slices.Concat(p.Warnings, p.Unknown()) {
		fmt.Fprintf(out, "\nwarning: %s\n", text)
	}
	return nil
}
