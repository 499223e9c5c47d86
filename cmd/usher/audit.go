package main

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/cmd/internal/app"
	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/store"
)

func auditCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "audit", Short: "Verify the event log, and manage the keys that sign it"}
	cmd.AddCommand(auditVerifyCommand(g), auditKeysCommand(g), auditCheckpointsCommand(g))
	return cmd
}

func auditKeysCommand(g *global) *cobra.Command {
	var rotate bool
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Print the public keys of checkpoints, the current one first",
		Long: `Prints the public keys that checkpoints are verified with, the current one first,
from the database of the configuration. Keep them where nobody who can write to
the database can write: 'usher audit verify --key KEY' takes no other.

With --rotate checkpoints are signed with a new key from now on; the former ones
still verify what they signed.`,
		Example: "  usher audit keys -c usher.yaml\n  usher audit keys --rotate -c usher.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := g.store(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { _ = s.Close() }() // the answer is more than that
			if rotate {
				if err := s.RotateKey(cmd.Context(), store.KeyCheckpoint, acted("audit.key.rotate", "")); err != nil {
					return err
				}
			}
			return g.printKeys(cmd, s.Store)
		},
	}
	cmd.Flags().BoolVar(&rotate, "rotate", false, "make a new key, which signs from now on")
	return cmd
}

func auditCheckpointsCommand(g *global) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:     "checkpoints",
		Short:   "List the signed heads of the event log of a running server, newest first",
		Example: "  usher audit checkpoints --limit 1 --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			var page struct {
				Checkpoints []struct {
					Seq       int64     `json:"seq"`
					Head      string    `json:"head"`
					At        time.Time `json:"at"`
					KeyID     string    `json:"key_id"`
					Signature string    `json:"signature"`
				} `json:"checkpoints"`
			}
			if err := c.get(cmd.Context(), "/admin/audit/checkpoints", url.Values{"limit": {strconv.Itoa(limit)}}, &page); err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), page.Checkpoints)
			}
			for _, c := range page.Checkpoints {
				fmt.Fprintf(cmd.OutOrStdout(), "%s  %10d  %s  key %s\n", c.At.Format("2006-01-02 15:04:05"), c.Seq, c.Head, c.KeyID)
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 20, "how many at most, up to 1000")
	return cmd
}

// acted is the event of what a command does to the database.
func acted(action, target string) events.Event {
	return audit.Author{Actor: "admin:local"}.Acted(action, target, time.Now())
}

func (g *global) printKeys(cmd *cobra.Command, s *store.Store) error {
	keys, err := app.AuditLog(s).AuditKeys(cmd.Context())
	if err != nil {
		return err
	}
	type shown struct {
		ID      string `json:"id"`
		Key     string `json:"key"`
		Current bool   `json:"current"`
	}
	all := make([]shown, len(keys))
	for n, k := range keys {
		all[n] = shown{k.ID(), k.String(), n == 0}
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), all)
	}
	for _, k := range all {
		state := "former"
		if k.Current {
			state = "current"
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  %s\n", k.Key, k.ID, state)
	}
	return nil
}
