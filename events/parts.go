package events

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// administers are the users of the parts that look after hooks, workers and settings.
var administers = []string{UserAPIAuth, UserAPIEvents, UserProvision, UserDelivery, UserAdminAuth, UserAdminEvents}

// Parts are the parts of Usher that run on their own, in the order in which documents
// name them.
func Parts() []string { return []string{"api", "session", "hooks", "console"} }

// CredentialsOf gives the names of the files in creds/ that a part uses, in order. It
// needs no others, and what it is not given it cannot lose. It is nil for what is not
// one of [Parts].
//
// The api and the console can both declare workers, so both mint their credentials.
func CredentialsOf(part string) (files []string) {
	var users []string
	switch part {
	case "api", "console":
		users, files = administers, []string{mintFile}
	case "session":
		users = []string{UserSession, UserSessionEvents}
	case "hooks":
		users = []string{UserHooks, UserDelivery}
	}
	for _, user := range users {
		files = append(files, user+".creds")
	}
	slices.Sort(files)
	return files
}

// GiveCredentials copies what the parts use from a folder creds/ that [Keys.Write] wrote
// into another one, which it makes. A process that reads one of them meanwhile has the
// former or the new one.
func GiveCredentials(from, to string, parts ...string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return fmt.Errorf("give credentials: %w", err)
	}
	for _, part := range parts {
		files := CredentialsOf(part)
		if files == nil {
			return fmt.Errorf("give credentials: no part %q", part)
		}
		for _, file := range files {
			text, err := os.ReadFile(filepath.Join(from, file))
			if err == nil {
				err = replaceFile(filepath.Join(to, file), text, 0o600)
			}
			if err != nil {
				return fmt.Errorf("give credentials of %s: %w", part, err)
			}
		}
	}
	return nil
}
