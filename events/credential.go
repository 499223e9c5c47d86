package events

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"
)

// credential is what a connection says who it is with. That of a file is read
// again each time; one that cannot be used leaves the former in force.
type credential struct {
	user, file string
	log        *slog.Logger

	mu   sync.Mutex
	text []byte // the last that was good
	last string // why the file cannot be used
}

func newCredential(o ConnectOptions) (*credential, error) {
	c := &credential{user: o.User, file: o.CredentialsFile, log: o.Log.With("bus_user", o.User), text: o.Credentials}
	if c.file != "" {
		var err error
		if c.text, err = os.ReadFile(c.file); err != nil {
			return nil, fmt.Errorf("credential: %w", err)
		}
	}
	return c, checkCredential(c.text, c.user, time.Now())
}

// token is called first when a connection is made.
func (c *credential) token() (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file != "" {
		c.reread()
	}
	return jwt.ParseDecoratedJWT(c.text)
}

// sign signs with the key that belongs to the token.
func (c *credential) sign(nonce []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pair, err := jwt.ParseDecoratedUserNKey(c.text)
	if err != nil {
		return nil, err
	}
	defer pair.Wipe()
	return pair.Sign(nonce)
}

func (c *credential) reread() {
	text, err := os.ReadFile(c.file)
	if err == nil {
		err = checkCredential(text, c.user, time.Now())
	}
	if err == nil {
		c.text, c.last = text, ""
		return
	}
	if reason := err.Error(); reason != c.last {
		c.last = reason
		c.log.Error("bus: the credential in the file cannot be used, the former is kept", "file", c.file, "err", reason)
	}
}

// CredentialOf tells whose credential the text of a .creds file is, and when it
// ends; zero if never. It does not check who signed it: the bus does.
func CredentialOf(creds []byte) (user string, expires time.Time, err error) {
	token, err := jwt.ParseDecoratedJWT(creds)
	if err != nil {
		return "", time.Time{}, errors.New("it is no .creds file")
	}
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil {
		return "", time.Time{}, errors.New("it is no .creds file of a user")
	}
	if claims.Expires > 0 {
		expires = time.Unix(claims.Expires, 0)
	}
	return claims.Name, expires, nil
}

// checkCredential says what the bus would refuse without saying why.
func checkCredential(creds []byte, user string, now time.Time) error {
	whose, expires, err := CredentialOf(creds)
	switch {
	case err != nil:
		return fmt.Errorf("credential: %w", err)
	case whose != user:
		return fmt.Errorf("the credential is that of %s", whose)
	case !expires.IsZero() && !now.Before(expires):
		return fmt.Errorf("the credential expired at %s; a new one: %s", expires.UTC().Format(time.RFC3339), Mend(user))
	}
	return nil
}
