package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/cmd/internal/app"
	"github.com/usher-auth/usher/cmd/internal/config"
)

func serveCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve everything, or one part of it",
		Long: `Serves everything in one process. Without a file it runs at once on SQLite and the
embedded bus. The parts run in any number of processes each, which meet on an
external bus (bus.url) and in PostgreSQL.`,
		Example: "  usher serve\n  usher serve api -c usher.yaml",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return g.serve(cmd, app.Everything) },
	}
	for _, part := range []struct {
		use, short string
		parts      app.Parts
	}{
		{"api", "Serve the HTTP API, the pages and the relay", app.Parts{API: true}},
		{"session", "Serve the session worker", app.Parts{Session: true}},
		{"hooks", "Serve the background hooks", app.Parts{Hooks: true}},
		{"console", "Serve the operators' pages", app.Parts{Console: true}},
	} {
		cmd.AddCommand(&cobra.Command{
			Use:     part.use,
			Short:   part.short,
			Example: "  usher serve " + part.use + " -c usher.yaml",
			Args:    noArgs,
			RunE:    func(cmd *cobra.Command, _ []string) error { return g.serve(cmd, part.parts) },
		})
	}
	return cmd
}

func (g *global) serve(cmd *cobra.Command, parts app.Parts) error {
	return app.Serve(cmd.Context(), app.Options{
		Load:    func() (*config.Config, []config.Warning, error) { return config.Load(g.options()) },
		Parts:   parts,
		Version: version(),
		Output:  cmd.ErrOrStderr(),
	})
}

func (g *global) options() config.Options {
	return config.Options{File: g.file, Dev: g.dev}
}

// load reads the configuration; its warnings are the server's to say.
func (g *global) load() (*config.Config, error) {
	cfg, _, err := config.Load(g.options())
	return cfg, err
}

func migrateCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:     "migrate",
		Short:   "Bring the database to this version, and make its keys",
		Long:    "Brings the database to this version and makes its keys. It may be run by several\nat once and any number of times.",
		Example: "  usher migrate -c usher.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := g.load()
			if err != nil {
				return err
			}
			if err := app.Migrate(cmd.Context(), cfg, cmd.ErrOrStderr()); err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), map[string]bool{"migrated": true})
			}
			fmt.Fprintln(cmd.OutOrStdout(), "the database is up to date")
			return nil
		},
	}
}
