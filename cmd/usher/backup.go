package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/services/store"
)

func databaseCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "database", Short: "Back up the database inside the process"}
	cmd.AddCommand(backupCommand(g))
	return cmd
}

func backupCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a copy of the SQLite database, while servers go on",
		Long: `Writes all that is committed in the SQLite database of the configuration (give -c
FILE, or USHER_DATA_DIR, as the server has it) to a new file, which can take its
place. Servers go on meanwhile. A PostgreSQL is backed up by pg_dump.

The copy holds personal data, and keys that are sealed with secrets.cipher: it is
worth nothing without that secret, which is kept elsewhere.`,
		Example: "  usher database backup usher.backup.db -c usher.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := g.store(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { _ = s.Close() }() // the answer is more than that
			err = s.BackUp(cmd.Context(), args[0])
			switch {
			case errors.Is(err, store.ErrNotEmbedded):
				return fmt.Errorf("%s is a PostgreSQL: back it up with pg_dump, see deploy/backup.md", s.name)
			case err != nil:
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), map[string]string{"database": s.name, "file": args[0]})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "wrote %s, a copy of %s\n", args[0], s.name)
			return nil
		},
	}
}
