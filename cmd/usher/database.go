package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/usher-auth/usher/cmd/internal/app"
	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/store"
)

// database is an opened one, with its name for people.
type database struct {
	*store.Store
	name string
}

// store opens the database of the configuration, which must be there and of
// this version: nothing is made. A command of another folder than the server's
// would look into one that is empty.
func (g *global) store(ctx context.Context) (database, error) {
	cfg, err := g.load()
	if err != nil {
		return database{}, err
	}
	name, file := databaseOf(cfg)
	where := fmt.Sprintf("the configuration is %s: give -c FILE or USHER_DATA_DIR as the server has it", g.options().Sources(cfg))
	switch _, err := os.Stat(file); {
	case file == inMemory:
		return database{}, fmt.Errorf("no database %s: set dsn to sqlite://PATH or postgres://…, for the server too", name)
	case file != "" && err != nil:
		return database{}, fmt.Errorf("no database %s: start 'usher serve' once, or 'usher migrate'\n%s", name, where)
	}
	s, err := app.OpenStore(ctx, cfg, nil)
	if err != nil {
		return database{}, err
	}
	ready, err := s.Migrated(ctx)
	if err == nil && !ready {
		err = fmt.Errorf("the database %s is not of this version: run 'usher migrate' with the same configuration\n%s", name, where)
	}
	if err != nil {
		return database{}, errors.Join(err, s.Close())
	}
	return database{s, name}, nil
}

// inMemory is the file of no database.
const inMemory = ":memory:"

// databaseOf names the database of a configuration, without a secret, and its
// file if it is one.
func databaseOf(cfg *config.Config) (name, file string) {
	dsn := cfg.DSN.Reveal()
	switch path, inFile := strings.CutPrefix(dsn, "sqlite://"); {
	case inFile:
		file = path
	case dsn == "":
		file = filepath.Join(cfg.DataDir, "usher.db")
	case dsn == "memory":
		return "in the memory of a server, which no other process can read", inMemory
	default:
		return cmp.Or(store.ServerName(dsn), "that dsn names"), ""
	}
	if absolute, err := filepath.Abs(file); err == nil {
		return absolute, file
	}
	return file, file
}
