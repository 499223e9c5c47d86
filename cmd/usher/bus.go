package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/events"
)

func busCommand(g *global) *cobra.Command {
	cmd := &cobra.Command{Use: "bus", Short: "Set up an external bus"}
	cmd.AddCommand(busConfigCommand(g), busCredentialsCommand(g))
	return cmd
}

// maxStore is the one flag that --again changes: disks grow.
const maxStore = "max-store"

// busConfig are the flags of "usher bus config".
type busConfig struct {
	out     string
	makeTLS bool
	again   bool
	server  events.ServerOptions
	store   config.Size
	given   *pflag.FlagSet
}

func busConfigCommand(g *global) *cobra.Command {
	var b busConfig
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Write a nats-server configuration, accounts and credentials",
		Long: `Writes a configuration for a nats-server with Usher's accounts, a credential for
each part, and what the API makes workers' credentials with.

With --cluster it writes that of one server of several, as NAME.conf: run it once
for each, on the same folder. They know each other by a password in there.

--again writes all that is in the folder anew, each configuration with the flags
that it was made with, which stand in its head. The keys stay, and so do all
credentials: do so after an update of Usher, and start the servers one after
another. --max-store beside it is taken for all of them.

--tls-cert, --tls-key and --tls-ca name files as the server finds them; they need
not be here. --tls-make makes a certificate authority of the bus's own, and a
certificate for the server, for a year: run again it makes a new one.

A tag such as zone:a says where the server is. No two copies of an event are in
one zone then.`,
		Example: `  usher bus config --out ./bus && nats-server -c ./bus/nats-server.conf
  usher bus config --out ./bus --name n1 --listen 10.0.0.1:4222 --cluster 10.0.0.1:6222 --routes 10.0.0.1:6222,10.0.0.2:6222,10.0.0.3:6222 --tags zone:a --tls-make
  usher bus config --out /bus --name nats-1 --listen 0.0.0.0:4222 --advertise nats-1:4222 --store /data --cluster 0.0.0.0:6222 --cluster-advertise nats-1:6222 --routes nats-1:6222,nats-2:6222,nats-3:6222 --tls-make
  usher bus config --out ./bus --again
  usher bus config --out ./bus --again --max-store 50GB`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if b.again {
				return b.makeAgain(cmd.OutOrStdout(), g.json)
			}
			if err := b.make(); err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), b.wrote())
			}
			b.explain(cmd.OutOrStdout())
			return nil
		},
	}
	b.flags(cmd)
	return cmd
}

func (b *busConfig) flags(cmd *cobra.Command) {
	f, o := cmd.Flags(), &b.server
	b.given = f
	f.StringVar(&b.out, "out", "", "folder to write into (needed)")
	f.StringVar(&o.Name, "name", "usher", "name of the server, another for each of a cluster")
	f.StringVar(&o.Listen, "listen", "127.0.0.1:4222", "address that the server will listen on")
	f.StringVar(&o.Advertise, "advertise", "", "address under which clients find it, where --listen is 0.0.0.0")
	f.StringVar(&o.Monitor, "http", "", "address of the server's monitoring, such as 127.0.0.1:8222; it asks nobody who they are (default: none)")
	f.StringVar(&o.StoreDir, "store", "", "folder of the server's streams (default: OUT/data)")
	f.TextVar(&b.store, maxStore, config.Size(0), "how much the streams may have on the disk, such as 50GB (default: three quarters of what is free at the start)")
	f.StringSliceVar(&o.Tags, "tags", nil, "where the server is, such as zone:a")
	f.StringVar(&o.UniqueTag, "unique-tag", "", "how the tags begin of which no two copies of an event may share one (default: zone:, with such a tag)")
	f.StringVar(&o.Cluster.Listen, "cluster", "", "address that the server will listen on for the others of its cluster")
	f.StringVar(&o.Cluster.Advertise, "cluster-advertise", "", "address under which the others find it, where --cluster is 0.0.0.0")
	f.StringSliceVar(&o.Cluster.Routes, "routes", nil, "with --cluster: such addresses of all servers")
	f.StringVar(&o.TLS.Cert, "tls-cert", "", "file with the server's certificate: clients and the other servers speak TLS 1.3")
	f.StringVar(&o.TLS.Key, "tls-key", "", "file with its key")
	f.StringVar(&o.TLS.CA, "tls-ca", "", "file with who signs the certificates of the cluster's servers, and of clients")
	f.BoolVar(&o.TLS.Verify, "tls-verify", false, "refuse clients without a certificate of that CA")
	f.BoolVar(&b.makeTLS, "tls-make", false, "make certificate and CA")
	f.BoolVar(&b.again, "again", false, "write what is in the folder anew, with the flags that it was made with")
	for _, flag := range []string{"out", "store"} {
		_ = cmd.MarkFlagDirname(flag)
	}
	for _, flag := range []string{"tls-cert", "tls-key", "tls-ca"} {
		_ = cmd.MarkFlagFilename(flag)
	}
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Name != "out" && flag.Name != "again" && flag.Name != maxStore {
			cmd.MarkFlagsMutuallyExclusive("again", flag.Name)
		}
	})
	cmd.MarkFlagsMutuallyExclusive("tls-make", "tls-cert")
	cmd.MarkFlagsMutuallyExclusive("tls-make", "tls-key")
	cmd.MarkFlagsMutuallyExclusive("tls-make", "tls-ca")
}

// complete fills in what is not said, and refuses what would leave a server alone
// or in the place of another.
func (b *busConfig) complete() (err error) {
	o := &b.server
	if b.out == "" {
		return errors.New("--out DIR says where to write")
	}
	if (o.Cluster.Listen == "") != (len(o.Cluster.Routes) == 0) {
		return errors.New("--cluster and --routes: a server of a cluster needs both")
	}
	if o.Cluster.Listen != "" && !b.given.Changed("name") {
		return errors.New("--name NAME: the servers of a cluster need a name each")
	}
	if err := events.CheckName(o.Name); err != nil {
		return fmt.Errorf("--name: %w", err)
	}
	const zone = "zone:"
	if o.UniqueTag == "" && slices.ContainsFunc(o.Tags, func(tag string) bool { return strings.HasPrefix(tag, zone) }) {
		o.UniqueTag = zone
	}
	if b.out, err = filepath.Abs(b.out); err != nil {
		return err // the server may be started in any folder
	}
	for _, path := range []*string{&o.StoreDir, &o.TLS.Cert, &o.TLS.Key, &o.TLS.CA} {
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	if o.Flags, err = made(b.given); err != nil {
		return err
	}
	o.StoreDir, o.MaxStore = cmp.Or(o.StoreDir, filepath.Join(b.out, "data")), uint64(b.store)
	verify := *o
	if b.makeTLS {
		verify.TLS.Verify = false // its files are made yet
		if len(o.Hosts()) == 0 {
			return errors.New("--tls-make: --advertise says what the server is called; --listen does not")
		}
	}
	return verify.Check()
}

// make completes, checks and writes.
func (b *busConfig) make() error {
	if err := b.complete(); err != nil {
		return err
	}
	if err := b.refuseStray(); err != nil {
		return err
	}
	return b.write()
}

// makeAgain writes what is there anew, and says so.
func (b *busConfig) makeAgain(out io.Writer, asJSON bool) error {
	all, err := b.writeAgain()
	if err != nil {
		return err
	}
	wrote := []map[string]string{}
	for _, one := range all {
		wrote = append(wrote, one.wrote())
		if !asJSON {
			fmt.Fprintln(out, "wrote", one.config())
		}
	}
	if asJSON {
		return printJSON(out, wrote)
	}
	_, err = fmt.Fprintln(out, "copy what is new, and start the servers again one after another")
	return err
}

func (b *busConfig) wrote() map[string]string {
	return map[string]string{"config": b.config(), "credentials": b.credentials(), "ca": b.server.TLS.CA}
}

func (b *busConfig) write() error {
	dir := filepath.Join(b.out, "keys")
	keys, err := events.LoadOrMakeKeys(dir)
	if err != nil {
		return err
	}
	if b.makeTLS {
		if err := b.makeCertificates(dir); err != nil {
			return err
		}
	}
	return keys.Write(b.out, b.server)
}

// makeCertificates makes that of the server, and one for clients where they need it.
func (b *busConfig) makeCertificates(keys string) error {
	authority, err := events.LoadOrMakeAuthority(keys)
	if err != nil {
		return err
	}
	o := &b.server
	verify := o.TLS.Verify
	if o.TLS, err = authority.WriteServer(filepath.Join(b.out, "tls"), o.Name, o.Hosts()); err != nil {
		return err
	}
	o.TLS.Verify = verify
	if verify {
		_, err = authority.WriteClient(filepath.Join(b.out, "tls"))
	}
	return err
}

func (b *busConfig) config() string      { return filepath.Join(b.out, b.server.File()) }
func (b *busConfig) credentials() string { return filepath.Join(b.out, "creds") }

// explain says what was written, for whom, and what to do now.
func (b *busConfig) explain(out io.Writer) {
	o := b.server
	scheme, more := "nats", ""
	if o.TLS.Cert != "" {
		scheme = "tls"
	}
	if o.TLS.CA != "" {
		more = fmt.Sprintf(", tls: {ca: %q}", o.TLS.CA)
	}
	if o.TLS.Verify {
		cert, key := "CERTIFICATE", "KEY"
		if b.makeTLS {
			cert, key = filepath.Join(b.out, "tls", "client.pem"), filepath.Join(b.out, "tls", "client.key")
		}
		more = fmt.Sprintf(", tls: {ca: %q, cert: %q, key: %q}", o.TLS.CA, cert, key)
	}
	if len(o.Cluster.Routes) > 2 {
		more += ", replicas: 3"
	}
	var urls []string
	for _, address := range b.addresses() {
		urls = append(urls, scheme+"://"+address)
	}
	fmt.Fprintf(out, `wrote %[1]s
start the bus:    nats-server -c %[1]s
tell Usher:       bus: {url: %[2]q, credentials: %[3]q%[6]s}
give each part:   its own of them ("usher bus credentials"; %[5]s makes those of workers)
for who watches:  %[7]s (asks the servers how they are; system-admin.creds beside it moves leaders and removes servers)
keep secret:      %[4]s (whoever has it can make any credential; no part needs it)
`, b.config(), strings.Join(urls, ","), b.credentials(), filepath.Join(b.out, "keys"), filepath.Join(b.credentials(), "mint.json"),
		more, filepath.Join(b.out, events.UserSystem+".creds"))
}
