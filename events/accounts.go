package events

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// ServerOptions are what differs between servers.
type ServerOptions struct {
	// Listen is host:port; port -1 is any free one.
	Listen string
	// StoreDir holds the streams. Two servers must not share it.
	StoreDir string
	// Name of the server; needed, and different for each server of a cluster.
	Name string
	// Cluster is zero for a server that is alone.
	Cluster Cluster
}

// serverConfig is a nats-server configuration. It holds no secret, but that of a cluster.
const serverConfig = `# Made by "usher bus config". Accounts and rights stand in the tokens below.
server_name: %s
listen: %s
max_payload: 256KB

# A worker that hangs is noticed within 15 seconds.
ping_interval: "5s"
ping_max: 2

jetstream {
  store_dir: %s
  # An acknowledged event is on the disk: without this a power cut loses minutes of them.
  sync_interval: always
}
%s
operator: %s
system_account: %s
resolver: MEMORY
resolver_preload {
%s}
`

// ServerConfig gives the text of a nats-server configuration with Usher's
// accounts. Any server that was given one accepts all credentials of k.
func (k *Keys) ServerConfig(o ServerOptions) (string, error) {
	operator, err := k.operatorToken()
	if err != nil {
		return "", fmt.Errorf("bus configuration: %w", err)
	}
	accounts, err := k.accounts()
	if err != nil {
		return "", fmt.Errorf("bus configuration: %w", err)
	}
	var preload string
	for _, claims := range accounts {
		token, err := claims.Encode(k.operator)
		if err != nil {
			return "", fmt.Errorf("bus configuration: account %s: %w", claims.Name, err)
		}
		preload += fmt.Sprintf("  # %s\n  %s: %s\n", claims.Name, claims.Subject, token)
	}
	system, err := k.system.PublicKey()
	if err != nil {
		return "", fmt.Errorf("bus configuration: %w", err)
	}
	cluster, err := k.clusterConfig(o.Cluster)
	if err != nil {
		return "", fmt.Errorf("bus configuration: %w", err)
	}
	return fmt.Sprintf(serverConfig, strconv.Quote(o.Name), strconv.Quote(o.Listen), strconv.Quote(o.StoreDir),
		cluster, operator, system, preload), nil
}

// Credentials gives the text of a .creds file for one of Usher's own users. It
// does not expire.
func (k *Keys) Credentials(user string) ([]byte, error) {
	r, ok := rightOf(user)
	if !ok {
		return nil, fmt.Errorf("credentials: the bus has no user %q", user)
	}
	signer, issuer := k.auth, ""
	if r.account == accountEvents {
		var err error
		if issuer, err = k.events.PublicKey(); err != nil {
			return nil, fmt.Errorf("credentials: %w", err)
		}
		signer = k.parts
	}
	return credentials(signer, issuer, func(claims *jwt.UserClaims) {
		claims.Name = user
		claims.Permissions = r.permissions()
	})
}

// WorkerCredentials is that of [Minter].
func (k *Keys) WorkerCredentials(name string, expires time.Time) ([]byte, error) {
	m, err := k.Minter()
	if err != nil {
		return nil, err
	}
	return m.WorkerCredentials(name, expires)
}

// Write writes into dir what an external server and Usher's parts need:
// [ServerOptions.File], creds/<user>.creds, and what [LoadMinter] reads from creds.
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
	if err := os.WriteFile(filepath.Join(dir, o.File()), []byte(config), mode); err != nil {
		return fmt.Errorf("write bus configuration: %w", err)
	}
	for _, r := range rights {
		text, err := k.Credentials(r.user)
		if err != nil {
			return err
		}
		if err := writeSecret(filepath.Join(creds, r.user+".creds"), text); err != nil {
			return fmt.Errorf("write credentials: %w", err)
		}
	}
	m, err := k.Minter()
	if err != nil {
		return err
	}
	return m.write(creds)
}

func (k *Keys) operatorToken() (string, error) {
	public, err := k.operator.PublicKey()
	if err != nil {
		return "", err
	}
	claims := jwt.NewOperatorClaims(public)
	claims.Name = "usher"
	if claims.SystemAccount, err = k.system.PublicKey(); err != nil {
		return "", err
	}
	return claims.Encode(k.operator)
}

// accounts makes the claims of all accounts. A credential that names no
// permissions has none; only EVENTS can hold streams, and only on disk. What
// workers may ask of EVENTS they are answered in WORKERS: nothing that the bus
// sends them can get into a stream.
func (k *Keys) accounts() ([]*jwt.AccountClaims, error) {
	var list []*jwt.AccountClaims
	for _, a := range []struct {
		name string
		pair nkeys.KeyPair
	}{{"SYS", k.system}, {accountAuth, k.auth}, {accountEvents, k.events}, {accountWorkers, k.workers}} {
		public, err := a.pair.PublicKey()
		if err != nil {
			return nil, err
		}
		claims := jwt.NewAccountClaims(public)
		claims.Name = a.name
		claims.DefaultPermissions = nothing()
		list = append(list, claims)
	}
	auth, events, workers := list[1], list[2], list[3]
	events.Limits.JetStreamLimits = jwt.JetStreamLimits{
		DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit,
		MaxAckPending: jwt.NoLimit, DiskMaxStreamBytes: jwt.NoLimit,
	}
	parts, err := k.parts.PublicKey()
	if err != nil {
		return nil, err
	}
	events.SigningKeys.Add(parts)
	share(events, workers, inEvents, jwt.ResponseTypeSingleton)
	share(workers, events, inWorkers, jwt.ResponseTypeStream)
	if err := addRole(workers, "worker", k.minted, roleWorker); err != nil {
		return nil, err
	}
	if err := addRole(auth, "answer", k.answers, roleAnswer); err != nil {
		return nil, err
	}
	return list, nil
}

// share lets another account ask for subjects of one. Each request gets answers
// on an address of the server's own, which leads to where the request said, but
// in the other account: no answer becomes a message of this one.
func share(account, with *jwt.AccountClaims, subjects []string, answers jwt.ResponseType) {
	for _, s := range subjects {
		each := answers
		if s == pulls {
			each = jwt.ResponseTypeStream
		}
		account.Exports.Add(&jwt.Export{Name: s, Subject: jwt.Subject(s), Type: jwt.Service, ResponseType: each})
		with.Imports.Add(&jwt.Import{Name: s, Subject: jwt.Subject(s), Account: account.Subject, Type: jwt.Service})
	}
}

// addRole makes what signer signs good for r in an account, and for nothing else.
func addRole(account *jwt.AccountClaims, name string, signer nkeys.KeyPair, r right) (err error) {
	scope := jwt.NewUserScope()
	scope.Role = name
	scope.Template.Permissions = r.rolePermissions()
	if scope.Key, err = signer.PublicKey(); err != nil {
		return err
	}
	account.SigningKeys.AddScopedSigner(scope)
	return nil
}

// credentials makes a user with a key of its own and gives both as a .creds
// file. The issuer is the account's public key, empty if it signs itself.
func credentials(signer nkeys.KeyPair, issuer string, fill func(*jwt.UserClaims)) ([]byte, error) {
	user, err := nkeys.CreateUser()
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	defer user.Wipe()
	public, err := user.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	claims := jwt.NewUserClaims(public)
	claims.IssuerAccount = issuer
	fill(claims)
	token, err := claims.Encode(signer)
	if err != nil {
		return nil, fmt.Errorf("credentials of %s: %w", claims.Name, err)
	}
	seed, err := user.Seed()
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	return jwt.FormatUserConfig(token, seed)
}
