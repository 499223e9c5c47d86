package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/events"
)

func busCredentialsCommand(g *global) *cobra.Command {
	var from, to string
	cmd := &cobra.Command{
		Use:   "credentials [PART...]",
		Short: "Copy the credentials of parts, and no others",
		Long: `Copies what parts need of the folder that "usher bus config" wrote, for a machine
or a container where these parts run: what is not there cannot be lost. Without a
part it lists which files each one uses.`,
		Example:   "  usher bus credentials\n  usher bus credentials api console --from ./bus/creds --out ./host-1/creds",
		ValidArgs: events.Parts(),
		RunE: func(cmd *cobra.Command, parts []string) error {
			if len(parts) == 0 {
				return printCredentials(g, cmd)
			}
			for _, part := range parts {
				if !slices.Contains(events.Parts(), part) {
					return fmt.Errorf("no part %q: there are %s", part, strings.Join(events.Parts(), ", "))
				}
			}
			if from == "" || to == "" {
				return errors.New("--from DIR says where the credentials are, --out DIR where to")
			}
			return events.GiveCredentials(from, to, parts...)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "folder creds of what \"usher bus config\" wrote")
	cmd.Flags().StringVar(&to, "out", "", "folder to copy into, which bus.credentials names there")
	_ = cmd.MarkFlagDirname("from")
	_ = cmd.MarkFlagDirname("out")
	return cmd
}

func printCredentials(g *global, cmd *cobra.Command) error {
	all := map[string][]string{}
	for _, part := range events.Parts() {
		all[part] = events.CredentialsOf(part)
	}
	if g.json {
		return printJSON(cmd.OutOrStdout(), all)
	}
	for _, part := range events.Parts() {
		fmt.Fprintf(cmd.OutOrStdout(), "%-8s %s\n", part, strings.Join(all[part], " "))
	}
	return nil
}
