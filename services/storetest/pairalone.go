package storetest

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Alone has the primary wait for no standby, as whoever watches a pair does when
// the standby is gone. Until then its commits wait.
func (p *Pair) Alone() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	db, err := sql.Open("postgres", p.Primary.DSN())
	if err != nil {
		return err
	}
	defer db.Close()
	for _, query := range []string{`ALTER SYSTEM SET synchronous_standby_names = ''`, `SELECT pg_reload_conf()`} {
		if _, failed := db.ExecContext(ctx, query); failed != nil {
			err = errors.Join(err, failed)
		}
	}
	return err
}
