package store_test

import (
	"path/filepath"
	"testing"

	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/storetest"
)

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Database {
		dir := t.TempDir()
		return storetest.Database{
			Options: store.Options{DataDir: dir},
			Driver:  "sqlite", Source: filepath.Join(dir, "usher.db") + "?_pragma=busy_timeout(5000)",
		}
	})
}

func TestPostgreSQL(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Database {
		dsn := storetest.PostgreSQL(t)
		return storetest.Database{Options: store.Options{DSN: dsn}, Driver: "postgres", Source: dsn}
	})
}
