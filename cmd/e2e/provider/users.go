package main

import (
	"encoding/hex"
	"strings"

	"github.com/zitadel/oidc/v3/example/server/storage"
	"golang.org/x/text/language"
)

// password is everybody's.
const password = "verysecure"

// users has whoever is asked for. A username that is an address is the user's
// e-mail, which is verified, unless it begins with "unverified."; one that is
// none has no e-mail.
type users struct{}

func (users) GetUserByUsername(name string) *storage.User {
	if name == "" {
		return nil
	}
	first, domain, _ := strings.Cut(name, "@")
	u := &storage.User{
		ID: hex.EncodeToString([]byte(name)), Username: name, Password: password,
		FirstName: first, LastName: "Example", PreferredLanguage: language.English,
	}
	if domain != "" {
		u.Email, u.EmailVerified = name, !strings.HasPrefix(name, "unverified.")
	}
	return u
}

func (s users) GetUserByID(id string) *storage.User {
	name, err := hex.DecodeString(id)
	if err != nil {
		return nil
	}
	return s.GetUserByUsername(string(name))
}

func (users) ExampleClientID() string { return storage.ServiceUserID }
