package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/usher-auth/usher/events"
)

func busCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "bus", Short: "Set up an external bus"}
	cmd.AddCommand(busConfigCommand(g))
	return cmd
}

func busConfigCommand(g *global) *cobra.Command {
	var out, listen, storeDir string
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Write a nats-server configuration, accounts and credentials",
		Long: `Writes a configuration for a nats-server with Usher's accounts, a credential for
each part, and what the API mints workers' credentials with. Run again on the same
folder it keeps the keys, so that the credentials stay valid: do so after an
update of Usher, and have the servers read the configuration again.`,
		Example: "  usher bus config --out ./bus && nats-server -c ./bus/nats-server.conf",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return errors.New("--out DIR says where to write")
			}
			if storeDir == "" {
				storeDir = filepath.Join(out, "data")
			}
			var err error
			if storeDir, err = filepath.Abs(storeDir); err != nil {
				return err // the server may be started in any folder
			}
			keys, err := events.LoadOrMakeKeys(filepath.Join(out, "keys"))
			if err != nil {
				return err
			}
			if err := keys.Write(out, events.ServerOptions{Listen: listen, StoreDir: storeDir, Name: "usher"}); err != nil {
				return err
			}
			conf, creds := filepath.Join(out, "nats-server.conf"), filepath.Join(out, "creds")
			if g.json {
				return printJSON(cmd.OutOrStdout(), map[string]string{"config": conf, "credentials": creds})
			}
			fmt.Fprintf(cmd.OutOrStdout(), `wrote %[1]s
start the bus:    nats-server -c %[1]s
tell Usher:       bus: {url: "nats://%[2]s", credentials: %[3]q}
for the API only: %[5]s (mints credentials of workers)
keep secret:      %[4]s (whoever has it can make any credential; no part needs it)
`, conf, listen, creds, filepath.Join(out, "keys"), filepath.Join(creds, "mint.json"))
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "folder to write into (needed)")
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:4222", "address that the server will listen on")
	cmd.Flags().StringVar(&storeDir, "store", "", "folder of the server's streams (default: OUT/data)")
	_ = cmd.MarkFlagDirname("out")
	return cmd
}
