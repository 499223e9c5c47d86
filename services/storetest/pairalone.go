package storetest

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// KillStandby ends all processes of the standby with kill -9. Commits wait for
// it until [Pair.Alone] or [Pair.Rejoin].
func (p *Pair) KillStandby() error { return p.standby.kill() }

// Alone has the primary wait for no standby, as whoever watches a pair does when
// the standby is gone.
func (p *Pair) Alone() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	db, err := sql.Open("postgres", p.primary.dsn())
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
