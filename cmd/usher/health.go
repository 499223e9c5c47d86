package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// healthTime is how long a process may take to say how it is: its own checks take two
// seconds at most.
const healthTime = 4 * time.Second

func healthCommand(g *global) *cobra.Command {
	var live, accepting, ready bool
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask the process of this configuration on this machine how it is",
		Long: `Asks the admin listener of the configuration on this machine, whatever its base_url
says, and exits with 0 if it is well. For containers, whose images hold no other client.`,
		Example: "  usher health -c usher.yaml\n  usher health --live",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			what := "ready"
			switch {
			case live:
				what = "alive"
			case accepting:
				what = "accepting"
			}
			if err := g.health(cmd.Context(), what); err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), map[string]string{"status": "ok"})
			}
			fmt.Fprintln(cmd.OutOrStdout(), what)
			return nil
		},
	}
	cmd.Flags().BoolVar(&live, "live", false, "only whether it answers")
	cmd.Flags().BoolVar(&accepting, "accepting", false, "whether it takes requests, and is not to end, whatever it needs is away")
	cmd.Flags().BoolVar(&ready, "ready", false, "whether it can do its work, and is not to end (the default)")
	cmd.MarkFlagsMutuallyExclusive("live", "accepting", "ready")
	return cmd
}

func (g *global) health(ctx context.Context, what string) error {
	c, err := g.ownClient()
	if err != nil {
		return err
	}
	c.http.Timeout = healthTime
	return c.get(ctx, "/health/"+what, nil, nil)
}

// ownClient asks the process of this machine, or the one that --admin names.
func (g *global) ownClient() (*adminClient, error) {
	if g.admin != "" {
		return g.client()
	}
	found, err := g.findAdmin()
	if err != nil {
		return nil, err
	}
	return g.clientOf(found.Own, found.From, found.Certificate)
}
