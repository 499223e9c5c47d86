package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
)

// lost says which credential would be lost: whoever had a second factor must not be
// without one unnoticed. That of a code follows from the traits, and one with a config
// that is empty was never made use of.
func (l *Line) lost() error {
	for name, of := range l.Credentials {
		switch name {
		case "code", identity.MethodPassword, identity.MethodOIDC:
		default:
			if !saysNothing(of.Config) {
				return fmt.Errorf("credentials of the type %q are not imported (an empty one would be: list with include_credential=%[1]s)", name)
			}
		}
	}
	return nil
}

// unlisted says that a credential was listed without what makes it one.
func unlisted(kind string) error {
	return fmt.Errorf("the credential of the type %q has no config: list identities with include_credential=%[1]s", kind)
}

// password gives c the one of the line, if there is one.
func (l *Line) password(c *admin.Creation) error {
	of, ok := l.Credentials[identity.MethodPassword]
	switch {
	case !ok:
		return nil
	case of.Config == nil:
		return unlisted(identity.MethodPassword)
	case saysNothing(of.Config): // it names what a password would be for
		return nil
	}
	var config struct {
		Password  string `json:"password"`
		Hashed    string `json:"hashed_password"`
		Elsewhere bool   `json:"use_password_migration_hook"`
	}
	d := json.NewDecoder(bytes.NewReader(of.Config))
	d.DisallowUnknownFields()
	if err := d.Decode(&config); err != nil {
		return errors.New("config of the password must hold password or hashed_password, and nothing else")
	}
	switch {
	case config.Elsewhere:
		return errors.New("use_password_migration_hook is not supported: the password is elsewhere")
	case config.Password != "":
		c.Password = password.New(config.Password)
	}
	c.HashedPassword = config.Hashed
	return nil
}

// accounts are those at providers. Tokens of theirs are not kept.
func (l *Line) accounts() (all []identity.Account, err error) {
	of, ok := l.Credentials[identity.MethodOIDC]
	switch {
	case !ok:
		return nil, nil
	case of.Config == nil:
		return nil, unlisted(identity.MethodOIDC)
	}
	var config struct {
		Providers []struct {
			identity.Account
			Organization string `json:"organization"`
			AutoLink     bool   `json:"use_auto_link"`
		} `json:"providers"`
	}
	if json.Unmarshal(of.Config, &config) != nil {
		return nil, errors.New("config of oidc must hold providers, each with provider and subject")
	}
	for _, p := range config.Providers {
		if p.Organization != "" || p.AutoLink {
			return nil, errors.New("organization and use_auto_link are not supported")
		}
		all = append(all, p.Account)
	}
	return all, nil
}
