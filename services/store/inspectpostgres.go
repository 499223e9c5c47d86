package store

import (
	"context"
	"time"
)

// PostgresFacts are what a server of PostgreSQL says of itself and of the
// database. What the role may not see is zero.
type PostgresFacts struct {
	Version       string `db:"version"`
	VersionNumber int    `db:"version_number"` // 150004 is 15.4
	// Standby tells whether it only follows another server.
	Standby bool `db:"standby"`
	// ReadOnly tells whether it refuses to write by default, though it is none.
	ReadOnly bool
	// Fsync, FullPageWrites, SynchronousCommit and Autovacuum are its settings of that name.
	Fsync             bool   `db:"fsync"`
	FullPageWrites    bool   `db:"full_page_writes"`
	SynchronousCommit string `db:"synchronous_commit"`
	Autovacuum        bool   `db:"autovacuum"`
	// SynchronousStandbys is synchronous_standby_names.
	SynchronousStandbys string `db:"synchronous_standbys"`
	// MaxConnections are those that are left for roles like this one, Connections those in use.
	MaxConnections int `db:"max_connections"`
	Connections    int `db:"connections"`
	// TLS tells whether this connection is encrypted.
	TLS bool `db:"tls"`
	// Bytes is the size of the database.
	Bytes int64 `db:"bytes"`
	// OutboxDead are rows of the outbox that wait for the vacuum.
	OutboxDead int64 `db:"outbox_dead"`
	// Monitors tells whether the role may see how the servers that follow are:
	// without it Replicas have nothing but their number.
	Monitors bool `db:"monitors"`
	// Replicas are the servers that follow this one.
	Replicas []Replica
}

// Replica is a server that follows the one that was asked.
type Replica struct {
	Name  string `db:"name"`
	State string `db:"state"`
	// Sync is sync or quorum where commits wait for it, else async or potential.
	Sync string `db:"sync"`
	// Lag is how far behind it is; zero too where nothing was written of late.
	Lag     time.Duration
	Seconds float64 `db:"lag"`
	// Bytes is how much of what was written it has not stored.
	Bytes int64 `db:"bytes"`
}

// Each setting is read with a default, so that a role or a version that does
// not have it is told by what is missing and not by an error.
const postgresFacts = `SELECT
	current_setting('server_version') AS version,
	current_setting('server_version_num')::int AS version_number,
	pg_is_in_recovery() AS standby,
	current_setting('fsync') = 'on' AS fsync,
	current_setting('full_page_writes') = 'on' AS full_page_writes,
	current_setting('synchronous_commit') AS synchronous_commit,
	current_setting('autovacuum') = 'on' AS autovacuum,
	current_setting('synchronous_standby_names') AS synchronous_standbys,
	current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS max_connections,
	(SELECT count(*) FROM pg_stat_activity WHERE datname IS NOT NULL)::int AS connections,
	coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS tls,
	pg_database_size(current_database()) AS bytes,
	pg_has_role('pg_read_all_stats', 'USAGE') AS monitors,
	coalesce((SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = to_regclass('outbox')), 0) AS outbox_dead`

const postgresReplicas = `SELECT
	coalesce(application_name, '') AS name, coalesce(state, '') AS state, coalesce(sync_state, '') AS sync,
	coalesce(extract(epoch FROM replay_lag), 0)::float8 AS lag,
	CASE WHEN pg_is_in_recovery() THEN 0 ELSE coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), flush_lsn), 0) END::bigint AS bytes
	FROM pg_stat_replication ORDER BY application_name`

// PostgreSQL gives the facts of a server of PostgreSQL.
func (i *Inspection) PostgreSQL(ctx context.Context) (f PostgresFacts, err error) {
	if err := i.db.GetContext(ctx, &f, postgresFacts); err != nil {
		return f, err
	}
	if err := i.db.SelectContext(ctx, &f.Replicas, postgresReplicas); err != nil {
		return f, err
	}
	if err := i.asSession(ctx, i.config, &f.ReadOnly, `SELECT current_setting('default_transaction_read_only') = 'on'`); err != nil {
		return f, err
	}
	for n := range f.Replicas {
		f.Replicas[n].Lag = time.Duration(f.Replicas[n].Seconds * float64(time.Second))
	}
	return f, nil
}

// Leads tells whether a process holds the lead, see [Store.Lead]. It asks PostgreSQL.
func (i *Inspection) Leads(ctx context.Context) (leads bool, err error) {
	err = i.db.GetContext(ctx, &leads, `SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted
		AND classid = 0 AND objid = $1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`, lockLead)
	return leads, err
}

// Clock gives how far the clock of PostgreSQL is before that of this machine,
// and by how much that may be wrong.
func (i *Inspection) Clock(ctx context.Context) (ahead, within time.Duration, err error) {
	if _, err := i.Ping(ctx); err != nil { // so that no connection is made meanwhile
		return 0, 0, err
	}
	var there time.Time
	before := time.Now()
	if err := i.db.GetContext(ctx, &there, `SELECT clock_timestamp()`); err != nil {
		return 0, 0, err
	}
	within = time.Since(before) / 2
	return there.Sub(before.Add(within)), within, nil
}
