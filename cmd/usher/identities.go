package main

import "github.com/spf13/cobra"

func identitiesCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "identities", Short: "Move identities in and out, and recover them"}
	cmd.AddCommand(importCommand(g), exportCommand(g), recoverCommand(g))
	return cmd
}
