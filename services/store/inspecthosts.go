package store

import (
	"context"
	"database/sql"
	"net"
	"strconv"
	"sync"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Host is one of the hosts that a DSN names, as it sees itself.
type Host struct {
	// Name is host:port.
	Name string
	// Err says why it does not tell; nothing below is known then.
	Err error
	// Writes tells whether it takes writes: it follows no other server, and does not
	// refuse them by default.
	Writes bool
	// System is the number that all servers of one cluster share; Started tells them
	// apart: two hosts with both the same are one server.
	System, Started string
	// Timeline counts the promotions before it; 0 for a standby.
	Timeline uint64
	// Used is how many connections others have to the database.
	Used int
	// LastEvent is the newest number of its event log; 0 for a standby, and where that
	// cannot be read.
	LastEvent int64
}

const hostQuery = `SELECT
	NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off' AS writes,
	(SELECT system_identifier::text FROM pg_control_system()) AS system, pg_postmaster_start_time()::text AS started,
	CASE WHEN pg_is_in_recovery() THEN '0' ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END AS timeline,
	(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name <> '` + doctorName + `')::int AS used`

// Hosts asks each host of the DSN by itself, side by side, and gives them in its
// order; none for SQLite. One alone takes writes where all is well.
func (i *Inspection) Hosts(ctx context.Context) []Host {
	if i.Postgres == nil {
		return nil
	}
	hosts := newServers(i.config, func() {}).hosts()
	all := make([]Host, len(hosts))
	var asked sync.WaitGroup
	for n, config := range hosts {
		asked.Go(func() { all[n] = i.host(ctx, config) })
	}
	asked.Wait()
	return all
}

func (i *Inspection) host(ctx context.Context, config pq.Config) (h Host) {
	name := config.Host
	if config.Hostaddr.IsValid() {
		name = config.Hostaddr.String()
	}
	h.Name = net.JoinHostPort(name, strconv.Itoa(int(config.Port)))
	config.TargetSessionAttrs = pq.TargetSessionAttrsAny
	var row struct {
		Writes   bool   `db:"writes"`
		System   string `db:"system"`
		Started  string `db:"started"`
		Timeline string `db:"timeline"`
		Used     int    `db:"used"`
	}
	if err := i.asSession(ctx, config, &row, hostQuery); err != nil {
		h.Err = i.plainly(err)
		return h
	}
	h.Writes, h.System, h.Started, h.Used = row.Writes, row.System, row.Started, row.Used
	if h.Timeline, h.Err = strconv.ParseUint(row.Timeline, 16, 64); h.Err == nil && h.Writes {
		// Another cluster may have no such table: that is no error of the host.
		_ = i.asSession(ctx, config, &h.LastEvent, `SELECT coalesce(max(seq), 0) FROM event_log`)
	}
	return h
}

// asSession asks one thing on a connection of its own, which may write: only so a
// server says what a session of Usher may.
func (i *Inspection) asSession(ctx context.Context, config pq.Config, into any, query string) error {
	db := inspected{sqlx.NewDb(sql.OpenDB(i.connector(config, nil)), "postgres")}
	defer func() { _ = db.Close() }() // it was only read
	return db.GetContext(ctx, into, query)
}
