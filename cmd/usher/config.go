package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/cmd/internal/app"
	"github.com/usher-auth/usher/cmd/internal/config"
)

func configCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check and print the configuration"}
	cmd.AddCommand(configCheckCommand(g), configPrintCommand(g))
	return cmd
}

func configCheckCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:     "check",
		Short:   "Check the configuration without starting anything",
		Example: "  usher config check -c usher.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, warnings, err := config.Load(g.options())
			if err == nil {
				var more []config.Warning
				more, err = app.Check(cfg)
				warnings = append(warnings, more...)
			}
			if err != nil {
				if g.json {
					_ = printJSON(cmd.OutOrStdout(), map[string]any{"ok": false, "problems": strings.Split(err.Error(), "\n")})
					return exitError(1)
				}
				return err
			}
			said := []string{}
			for _, w := range warnings {
				said = append(said, w.String())
			}
			plans := app.PlansOf(cfg)
			for _, n := range plans.Notes {
				said = append(said, n.In(g.file))
			}
			said = append(append(said, plans.Warnings...), plans.Unknown()...)
			if g.json {
				return printJSON(cmd.OutOrStdout(), map[string]any{"ok": true, "warnings": said, "social_sign_in": app.SocialSignIn(cfg)})
			}
			for _, text := range said {
				fmt.Fprintln(cmd.OutOrStdout(), "warning:", text)
			}
			if social := app.SocialSignIn(cfg); social != "" {
				fmt.Fprintln(cmd.OutOrStdout(), social)
			}
			fmt.Fprintln(cmd.OutOrStdout(), "the configuration can be used")
			return nil
		},
	}
}

func configPrintCommand(g *global) *cobra.Command {
	return &cobra.Command{
		Use:     "print",
		Short:   "Print the configuration in force, defaults and environment included, without secrets",
		Example: "  usher config print -c usher.yaml",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := g.load()
			if err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), cfg)
			}
			text, err := cfg.Print()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
}
