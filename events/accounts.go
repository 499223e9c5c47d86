package events

import (
	"fmt"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// Credentials gives the text of a .creds file for one of Usher's own users. It
// does not expire.
func (k *Keys) Credentials(user string) ([]byte, error) {
	r, ok := rightOf(user)
	if !ok {
		return nil, fmt.Errorf("credentials: the bus has no user %q", user)
	}
	signer, issuer := k.auth, ""
	switch r.account {
	case accountSystem:
		signer = k.system
	case accountEvents:
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
	}{{accountSystem, k.system}, {accountAuth, k.auth}, {accountEvents, k.events}, {accountWorkers, k.workers}} {
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
