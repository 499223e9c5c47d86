package events

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
)

// ServerOptions are what differs between servers. StoreDir and Name are needed.
type ServerOptions struct {
	// Listen is host:port; port -1 is any free one.
	Listen string
	// Advertise is host:port under which clients find the server, where Listen does
	// not say it: 0.0.0.0 in a container.
	Advertise string
	// Monitor is host:port of the server's monitoring, which asks nobody who they
	// are: keep it on loopback. None without it.
	Monitor string
	// StoreDir holds the streams. Two servers must not share it.
	StoreDir string
	// MaxStore is how many bytes of streams it takes; 0 is what nats-server chooses,
	// three quarters of what the disk has free, and the streams have, when it starts.
	MaxStore uint64
	// Name of the server; needed, and different for each server of a cluster.
	Name string
	// Tags say where the server is, such as "zone:a"; placement chooses by them.
	Tags []string
	// UniqueTag is how such a tag begins, "zone:": no two copies of a stream are on
	// servers with the same one.
	UniqueTag string
	// TLS is that of clients and of the other servers. Without it both are in clear.
	TLS TLS
	// Cluster is zero for a server that is alone.
	Cluster Cluster
	// Flags stand in the head of the configuration, one a line: with them whoever
	// wrote it writes it anew. No secrets.
	Flags []string
}

// TLS names the files of a server's certificate, as the server finds them. It
// takes TLS 1.3 only.
type TLS struct {
	Cert, Key string
	// CA signs the certificates of the servers of a cluster, and those of clients.
	CA string
	// Verify refuses clients without a certificate of CA. Servers always need one.
	Verify bool
}

// MaxPayload is how large a message may be, in bytes: the answer with a session of
// somebody with large traits fits.
const MaxPayload = 256 << 10

func payload() string { return fmt.Sprintf("%dKB", MaxPayload>>10) }

// Check says what is missing, or fits nothing.
func (o ServerOptions) Check() error {
	switch {
	case o.Name == "" || o.StoreDir == "":
		return errors.New("a server needs a name and a folder for its streams")
	case (o.TLS.Cert == "") != (o.TLS.Key == ""):
		return errors.New("TLS: a certificate and its key go together")
	case o.TLS.Cert == "" && (o.TLS.CA != "" || o.TLS.Verify):
		return errors.New("TLS: it needs a certificate of the server's own")
	case o.TLS.CA == "" && o.TLS.Verify:
		return errors.New("TLS: certificates of clients are checked against a CA: name its file")
	case o.TLS.Cert != "" && o.TLS.CA == "" && o.Cluster.Listen != "":
		return errors.New("TLS: the servers of a cluster check each other's certificates against a CA: name its file")
	case (o.Cluster.Listen == "") != (len(o.Cluster.Routes) == 0):
		return errors.New("a server of a cluster needs an address for the others, and those of all")
	}
	for _, tag := range o.Tags {
		if tag != strings.ToLower(strings.TrimSpace(tag)) || strings.ContainsAny(tag, " \t\n\"") || tag == "" {
			return fmt.Errorf("tag %q: want one such as zone:a, in lower case", tag)
		}
	}
	if o.UniqueTag != "" && !strings.Contains(strings.Join(append([]string{""}, o.Tags...), "\n"), "\n"+o.UniqueTag) {
		return fmt.Errorf("the server has no tag that begins with %q: it would get no stream", o.UniqueTag)
	}
	for _, address := range append([]string{o.Listen, o.Advertise, o.Monitor, o.Cluster.Listen, o.Cluster.Advertise}, o.Cluster.Routes...) {
		if _, _, err := net.SplitHostPort(address); address != "" && err != nil {
			return fmt.Errorf("want host:port, not %q", address)
		}
	}
	return nil
}

// serverConfig is a nats-server configuration. It holds no secret, but that of a cluster.
//
// The times are what a frozen peer costs. A client that says nothing for a second
// is asked twice: it is gone after three to four seconds, and what was sent to it
// goes to others. Servers ask each other all the time, and give up after one to
// one and a half. One who does not take what is sent, as over a network that drops
// it, holds its server up for two seconds.
var serverConfig = template.Must(template.New("nats-server.conf").Funcs(template.FuncMap{"quote": strconv.Quote, "payload": payload}).Parse(
	`# Made by "usher bus config", with the flags below; --again makes it anew.
{{- range .Flags}}
#   {{.}}
{{- end}}
# Accounts and rights stand in the tokens.
server_name: {{quote .Name}}
listen: {{quote .Listen}}
{{- with .Advertise}}
client_advertise: {{quote .}}
{{- end}}
{{- with .Monitor}}
http: {{quote .}} # it asks nobody who they are
{{- end}}
{{- if .Tags}}
server_tags: [{{range $n, $tag := .Tags}}{{if $n}}, {{end}}{{quote $tag}}{{end}}]
{{- end}}
max_payload: {{payload}}

# A client that hangs is noticed within four seconds, one that takes nothing in two.
ping_interval: "1s"
ping_max: 2
write_deadline: "2s"

# SIGUSR2 sends the clients away before the server ends, SIGTERM does not.
lame_duck_duration: "30s"
lame_duck_grace_period: "1s"
{{if .TLS.Cert}}
tls {
  cert_file: {{quote .TLS.Cert}}
  key_file: {{quote .TLS.Key}}
{{- with .TLS.CA}}
  ca_file: {{quote .}}
{{- end}}
  min_version: "1.3"
  verify: {{.TLS.Verify}}
  timeout: "5s"
}
{{end}}
jetstream {
  store_dir: {{quote .StoreDir}}
  # An acknowledged event is on the disk: without this a power cut loses minutes of them.
  sync_interval: always
{{- with .MaxStore}}
  max_file_store: {{.}} # bytes; what is beyond waits in Usher's database
{{- end}}
{{- with .UniqueTag}}
  unique_tag: {{quote .}} # no two copies of an event on servers with the same one
{{- end}}
}
{{if .Cluster.Listen}}
cluster {
  name: {{quote .ClusterName}}
  listen: {{quote .Cluster.Listen}}
{{- with .Cluster.Advertise}}
  cluster_advertise: {{quote .}}
{{- end}}
  authorization { user: usher, password: {{quote .Password}}, timeout: 5 }
  # A server that hangs is noticed within one and a half seconds.
  ping_interval: "500ms"
  ping_max: 2
  write_deadline: "2s"
{{- if .TLS.Cert}}
  tls { # both sides show a certificate
    cert_file: {{quote .TLS.Cert}}
    key_file: {{quote .TLS.Key}}
    ca_file: {{quote .TLS.CA}}
    min_version: "1.3"
    verify: true
    timeout: "5s"
  }
{{- end}}
  routes: [
{{- range .RouteURLs}}
    {{quote .}}
{{- end}}
  ]
}
{{end}}
operator: {{.Operator}}
system_account: {{.System}}
resolver: MEMORY
resolver_preload {
{{- range .Accounts}}
  # {{.Name}}
  {{.Subject}}: {{.Token}}
{{- end}}
}
`))

// serverValues are what serverConfig takes.
type serverValues struct {
	ServerOptions
	ClusterName, Password, Operator, System string
	RouteURLs                               []string
	Accounts                                []accountToken
}

type accountToken struct{ Name, Subject, Token string }

// ServerConfig gives the text of a nats-server configuration with Usher's
// accounts. Any server that was given one accepts all credentials of k.
func (k *Keys) ServerConfig(o ServerOptions) (string, error) {
	text, err := k.serverConfig(o)
	if err != nil {
		return "", fmt.Errorf("bus configuration: %w", err)
	}
	return text, nil
}

func (k *Keys) serverConfig(o ServerOptions) (string, error) {
	if err := o.Check(); err != nil {
		return "", err
	}
	v := serverValues{ServerOptions: o, ClusterName: clusterName}
	var err error
	if v.Operator, err = k.operatorToken(); err != nil {
		return "", err
	}
	if v.System, err = k.system.PublicKey(); err != nil {
		return "", err
	}
	accounts, err := k.accounts()
	if err != nil {
		return "", err
	}
	for _, claims := range accounts {
		token, err := claims.Encode(k.operator)
		if err != nil {
			return "", fmt.Errorf("account %s: %w", claims.Name, err)
		}
		v.Accounts = append(v.Accounts, accountToken{claims.Name, claims.Subject, token})
	}
	if o.Cluster.Listen != "" {
		if v.Password, err = k.clusterPassword(); err != nil {
			return "", fmt.Errorf("cluster: %w", err)
		}
		v.RouteURLs = o.Cluster.routeURLs(v.Password)
	}
	var text strings.Builder
	if err := serverConfig.Execute(&text, v); err != nil {
		return "", err
	}
	return text.String(), nil
}

// File is the name of a server's configuration: nats-server.conf, or that of the
// server in a cluster, whose configurations differ.
func (o ServerOptions) File() string {
	if o.Cluster.Listen == "" {
		return "nats-server.conf"
	}
	return o.Name + ".conf"
}

// Write writes into dir what an external server and Usher's parts need:
// [ServerOptions.File], creds/<user>.creds, and what [LoadMinter] reads from
// creds. The credentials of the system account are beside, in dir itself: no
// part of Usher has them.
func (k *Keys) Write(dir string, o ServerOptions) error {
	config, err := k.ServerConfig(o)
	if err != nil {
		return err
	}
	creds := filepath.Join(dir, "creds")
	if err := os.MkdirAll(creds, 0o700); err != nil {
		return fmt.Errorf("write bus configuration: %w", err)
	}
	mode := os.FileMode(0o644)
	if o.Cluster.Listen != "" {
		mode = 0o600 // it holds what the servers know each other by
	}
	if err := replaceFile(filepath.Join(dir, o.File()), []byte(config), mode); err != nil {
		return fmt.Errorf("write bus configuration: %w", err)
	}
	for _, r := range rights {
		to := creds
		if r.account == accountSystem {
			to = dir
		}
		text, err := k.Credentials(r.user)
		if err != nil {
			return err
		}
		if err := replaceFile(filepath.Join(to, r.user+".creds"), text, 0o600); err != nil {
			return fmt.Errorf("write credentials: %w", err)
		}
	}
	m, err := k.Minter()
	if err != nil {
		return err
	}
	return m.write(creds)
}

// replaceFile writes a file so that whoever reads it, a process that follows its
// credential, has the former or the new one, and never half of it.
func replaceFile(path string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".new-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // nothing, once it has its name
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
