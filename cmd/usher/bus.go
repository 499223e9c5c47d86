package main

import (
	"errors"
	"fmt"
	"net"
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
	var out, storeDir string
	o := events.ServerOptions{}
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Write a nats-server configuration, accounts and credentials",
		Long: `Writes a configuration for a nats-server with Usher's accounts, a credential for
each part, and what the API mints workers' credentials with. Run again on the same
folder it keeps the keys, so that the credentials stay valid: do so after an
update of Usher, and start the servers and the API again.

With --cluster it writes that of one server of several, as NAME.conf: run it once
for each, on the same folder. They know each other by a password in there.`,
		Example: `  usher bus config --out ./bus && nats-server -c ./bus/nats-server.conf
  usher bus config --out ./bus --name n1 --listen 10.0.0.1:4222 --cluster 10.0.0.1:6222 --routes 10.0.0.1:6222,10.0.0.2:6222,10.0.0.3:6222`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return errors.New("--out DIR says where to write")
			}
			if err := checkCluster(cmd, o); err != nil {
				return err
			}
			if storeDir == "" {
				storeDir = filepath.Join(out, "data")
			}
			var err error
			if o.StoreDir, err = filepath.Abs(storeDir); err != nil {
				return err // the server may be started in any folder
			}
			keys, err := events.LoadOrMakeKeys(filepath.Join(out, "keys"))
			if err != nil {
				return err
			}
			if err := keys.Write(out, o); err != nil {
				return err
			}
			conf, creds := filepath.Join(out, o.File()), filepath.Join(out, "creds")
			if g.json {
				return printJSON(cmd.OutOrStdout(), map[string]string{"config": conf, "credentials": creds})
			}
			fmt.Fprintf(cmd.OutOrStdout(), `wrote %[1]s
start the bus:    nats-server -c %[1]s
tell Usher:       bus: {url: "nats://%[2]s", credentials: %[3]q}
for the API only: %[5]s (mints credentials of workers)
keep secret:      %[4]s (whoever has it can make any credential; no part needs it)
`, conf, o.Listen, creds, filepath.Join(out, "keys"), filepath.Join(creds, "mint.json"))
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "folder to write into (needed)")
	cmd.Flags().StringVar(&o.Name, "name", "usher", "name of the server, another for each of a cluster")
	cmd.Flags().StringVar(&o.Listen, "listen", "127.0.0.1:4222", "address that the server will listen on")
	cmd.Flags().StringVar(&storeDir, "store", "", "folder of the server's streams (default: OUT/data)")
	cmd.Flags().StringVar(&o.Cluster.Listen, "cluster", "", "address that the server will listen on for the others of its cluster")
	cmd.Flags().StringSliceVar(&o.Cluster.Routes, "routes", nil, "with --cluster: such addresses of all servers")
	_ = cmd.MarkFlagDirname("out")
	return cmd
}

// checkCluster refuses what would leave a server alone, or in the place of another.
func checkCluster(cmd *cobra.Command, o events.ServerOptions) error {
	if (o.Cluster.Listen == "") != (len(o.Cluster.Routes) == 0) {
		return errors.New("--cluster and --routes: a server of a cluster needs both")
	}
	if o.Cluster.Listen != "" && !cmd.Flags().Changed("name") {
		return errors.New("--name NAME: the servers of a cluster need a name each")
	}
	if err := events.CheckName(o.Name); err != nil {
		return fmt.Errorf("--name: %w", err)
	}
	for _, address := range o.Cluster.Routes {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("--routes: want host:port, not %q", address)
		}
	}
	return nil
}
