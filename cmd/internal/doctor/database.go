package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/usher-auth/usher/services/store"
)

const (
	checkDatabase    = "database.reachable"
	checkVersion     = "database.version"
	checkMigrations  = "database.migrations"
	checkKeys        = "database.keys"
	checkDurable     = "database.durable"
	checkPrimary     = "database.primary"
	checkReplicas    = "database.replication"
	checkConnections = "database.connections"
	checkLimit       = "database.statement_timeout"
	checkEncrypted   = "database.tls"
	checkOutbox      = "database.outbox"
	checkVacuum      = "database.vacuum"
	checkRetries     = "database.retries"
	checkLetters     = "database.dead_letters"
	checkSize        = "database.size"
)

var databaseLooks = []look{
	{[]Check{{checkDatabase, "it answers, and how soon"}}, (*Doctor).lookDatabase, false},
	{[]Check{{checkMigrations, "its tables are of this version"}, {checkKeys, "its keys are there and open with secrets.cipher"}}, (*Doctor).lookSchema, false},
	{[]Check{
		{checkVersion, "version of the server or library"},
		{checkDurable, "what is acknowledged survives a power cut"},
		{checkPrimary, "it takes writes"},
		{checkReplicas, "who follows it, and how far behind"},
		{checkConnections, "connections that it has, and that the pools want"},
		{checkLimit, "no statement may take for ever"},
		{checkEncrypted, "TLS beyond loopback"},
		{checkVacuum, "the outbox is vacuumed"},
		{checkSize, "how large it is"},
	}, (*Doctor).lookServer, false},
	hostsLook,
	{[]Check{{checkOutbox, "events that wait to be published"}, {checkRetries, "events that hooks fail at again and again"}, {checkLetters, "events that hooks have given up"}}, (*Doctor).lookWork, false},
}

// database is the opened one.
type database struct {
	*store.Inspection
	took time.Duration
}

func (d *Doctor) db(ctx context.Context) (*database, error) {
	return d.database.get(ctx, func(ctx context.Context) (*database, error) {
		i, err := store.Inspect(store.Options{DSN: d.Config.DSN.Reveal(), DataDir: d.Config.DataDir})
		if err != nil {
			return nil, err
		}
		db := &database{Inspection: i}
		if db.took, err = i.Ping(ctx); err != nil {
			return nil, errors.Join(err, i.Close())
		}
		return db, nil
	})
}

// databaseName is the database for people, without a secret.
func (d *Doctor) databaseName() string {
	dsn := d.Config.DSN.Reveal()
	if strings.HasPrefix(dsn, "postgres") {
		return store.ServerName(dsn)
	}
	if path, ok := strings.CutPrefix(dsn, "sqlite://"); ok {
		return "SQLite " + path
	}
	return "SQLite " + d.Config.DataDir + "/usher.db"
}

// slow is an answer that makes itself felt in each request.
const slow = 50 * time.Millisecond

func (d *Doctor) lookDatabase(ctx context.Context) (f findings) {
	db, err := d.db(ctx)
	switch {
	case errors.Is(err, store.ErrNoDatabase) && d.Config.DSN.Reveal() == "memory":
		f.add(Yellow, checkDatabase, oneLine(err), "nothing of it stays when the server stops: leave dsn out, or postgres://…")
	case errors.Is(err, store.ErrNoDatabase) && d.Config.Dev:
		f.add(Yellow, checkDatabase, oneLine(err), "'usher serve"+d.Flags+"' makes it; or say where the server has it: -c FILE, USHER_DATA_DIR")
	case errors.Is(err, store.ErrNoDatabase):
		f.add(Red, checkDatabase, oneLine(err), "'usher migrate"+d.Flags+"' makes it; or say where the server has it: -c FILE, USHER_DATA_DIR")
	case err != nil:
		f.add(Red, checkDatabase, fmt.Sprintf("%s: %s", d.databaseName(), oneLine(err)), mendRefused(err)+"; requests are answered with 503 until then")
	case db.took > slow:
		f.add(Yellow, checkDatabase, fmt.Sprintf("%s takes %s for an answer", d.databaseName(), short(db.took)), "bring it nearer: a registration waits for it several times")
	default:
		f.green(checkDatabase, "%s answers in %s", d.databaseName(), short(db.took))
	}
	return f
}

// mendRefused is what to do about a database that lets nobody in.
func mendRefused(err error) string {
	var refusal *store.Refusal
	switch {
	case errors.Is(err, store.ErrTooMuch):
		return "mend the host and port in dsn: what answers there is no PostgreSQL, or a broken one"
	case !errors.As(err, &refusal):
		return "start it, or mend the host and port in dsn"
	}
	switch refusal.Code {
	case "28P01": // a role that is not there looks the same where passwords are asked for
		return "put the password of that role into dsn or the file that gives it, or set another in psql: ALTER ROLE … PASSWORD"
	case "28000":
		return "name a role in dsn that is there, or make it: createuser ROLE; and give it a line in pg_hba.conf"
	case "3D000":
		return "mend the name of the database in dsn, or make it: createdb -O ROLE DATABASE"
	case "53300":
		return "raise max_connections; or set a smaller max_conns in dsn, for each process"
	}
	if strings.HasPrefix(refusal.Code, "53") {
		return "make room there: its disk or its memory is full, as its log says"
	}
	return "see the log of the server, and wait if it is starting"
}

const noDatabase = "the database cannot be looked at, see " + checkDatabase

func (d *Doctor) lookSchema(ctx context.Context) (f findings) {
	db, err := d.db(ctx)
	if err != nil {
		f.skip(noDatabase, checkMigrations, checkKeys)
		return f
	}
	v, err := db.Schema(ctx)
	switch {
	case err != nil:
		f.add(Red, checkMigrations, oneLine(err), "the role of dsn must be the owner of the tables; if a migration is missing among others, restore the backup")
	case v.Pending:
		f.add(Red, checkMigrations, fmt.Sprintf("the tables are of version %d, this program wants %d: it does not start", v.Is, v.Wanted), "usher migrate"+d.Flags)
		f.skip("the tables are of another version, see "+checkMigrations, checkKeys)
		return f
	case v.Least > v.Wanted:
		f.add(Red, checkMigrations, fmt.Sprintf("the tables are of version %d, which wants a program of version %d at least; this one is of %d and does not start", v.Is, v.Least, v.Wanted), "use the newer program; to go back, restore the backup from before it")
	case v.Is > v.Wanted:
		f.add(Yellow, checkMigrations, fmt.Sprintf("the tables are of version %d, and this program is of version %d: they were made by a newer one", v.Is, v.Wanted), "go on with the update; to go back, restore the backup from before it")
	default:
		f.green(checkMigrations, "version %d, as this program wants", v.Is)
	}
	f = append(f, d.lookKeys(ctx, db)...)
	return f
}

func (d *Doctor) lookKeys(ctx context.Context, db *database) (f findings) {
	have, want, err := db.Keys(ctx, d.Config.CipherSecrets())
	switch {
	case len(d.Config.CipherSecrets()) == 0:
		f.skip("there is no secrets.cipher, see "+checkStrength, checkKeys)
	case errors.Is(err, store.ErrSecret):
		f.add(Red, checkKeys, "the keys in the database do not open with secrets.cipher: nothing starts", "add the former secret to the end of secrets.cipher, and run 'usher migrate"+d.Flags+"'")
	case err != nil:
		f.add(Red, checkKeys, oneLine(err), "see whether the role of dsn may read the table keys; if it may, restore the backup")
	case have < want:
		f.add(Red, checkKeys, fmt.Sprintf("%d of %d keys are there", have, want), "usher migrate"+d.Flags)
	default:
		f.green(checkKeys, "all %d keys are there and open with secrets.cipher", want)
	}
	return f
}

func (d *Doctor) lookServer(ctx context.Context) (f findings) {
	all := []string{checkVersion, checkDurable, checkPrimary, checkReplicas, checkConnections, checkLimit, checkEncrypted, checkVacuum, checkSize}
	db, err := d.db(ctx)
	if err != nil {
		f.skip(noDatabase, all...)
		return f
	}
	if db.Postgres == nil {
		return lookSQLite(ctx, db)
	}
	facts, err := db.PostgreSQL(ctx)
	if err != nil {
		f.add(Yellow, checkVersion, "the server does not tell: "+oneLine(err), "see whether the role of dsn may read pg_stat_activity and pg_settings")
		f.skip("the server does not tell, see "+checkVersion, all[1:]...)
		return f
	}
	for _, judge := range []func(*findings, store.PostgresFacts, *store.InspectedDSN){
		version, durability, primary, replication, connections, timeLimit, encryption, vacuum,
	} {
		judge(&f, facts, db.Postgres)
	}
	f.green(checkSize, "%s", size(facts.Bytes))
	return f
}

// oldestPostgres is the oldest version that is maintained and tried.
const oldestPostgres = 14

func version(f *findings, p store.PostgresFacts, _ *store.InspectedDSN) {
	if p.VersionNumber/10_000 < oldestPostgres {
		f.add(Red, checkVersion, "PostgreSQL "+p.Version, fmt.Sprintf("PostgreSQL %d or later: older ones are not maintained", oldestPostgres))
		return
	}
	f.green(checkVersion, "PostgreSQL %s", p.Version)
}

func durability(f *findings, p store.PostgresFacts, _ *store.InspectedDSN) {
	switch {
	case !p.Fsync:
		f.add(Red, checkDurable, "fsync is off: a power cut may destroy the database", "fsync = on in postgresql.conf, and reload")
	case !p.FullPageWrites:
		f.add(Red, checkDurable, "full_page_writes is off: a power cut may destroy pages", "full_page_writes = on in postgresql.conf, and reload")
	case p.SynchronousCommit == "off":
		f.add(Red, checkDurable, "synchronous_commit is off: a power cut loses registrations that were acknowledged", "synchronous_commit = on, for the server, the database and the role; Usher switches it off itself where that is safe")
	case p.SynchronousCommit == "local" && p.SynchronousStandbys != "":
		f.add(Yellow, checkDurable, "synchronous_commit is local: commits do not wait for the synchronous standby, and a failover loses some", "synchronous_commit = on")
	default:
		f.green(checkDurable, "fsync and full_page_writes are on, synchronous_commit is %s", p.SynchronousCommit)
	}
}

func primary(f *findings, p store.PostgresFacts, _ *store.InspectedDSN) {
	switch {
	case p.Standby:
		f.add(Red, checkPrimary, "this is a standby: it refuses every write", "name all servers in dsn, host=a,b with target_session_attrs=read-write; or promote it, if the primary is lost")
	case p.ReadOnly:
		f.add(Red, checkPrimary, "default_transaction_read_only is on for this role or database", "switch it off: ALTER ROLE … or ALTER DATABASE … RESET default_transaction_read_only")
	default:
		f.green(checkPrimary, "it takes writes")
	}
}

// lateReplica is how far a standby may be behind.
const (
	lateReplica    = 10 * time.Second
	lateReplicaLog = 256 << 20
)

func replication(f *findings, p store.PostgresFacts, _ *store.InspectedDSN) {
	if len(p.Replicas) > 0 && !p.Monitors {
		f.skip(fmt.Sprintf("%d standbys, and the role of dsn may not see how they are; to let it: GRANT pg_monitor TO that role", len(p.Replicas)), checkReplicas)
		return
	}
	var all []string
	waited := 0
	for _, r := range p.Replicas {
		all = append(all, fmt.Sprintf("%s (%s, %s behind)", r.Name, r.Sync, short(r.Lag)))
		if r.Sync == "sync" || r.Sync == "quorum" {
			waited++
		}
		if r.State != "streaming" || r.Lag > lateReplica || r.Bytes > lateReplicaLog {
			f.add(Yellow, checkReplicas, fmt.Sprintf("standby %s is %s, %s and %s behind", r.Name, r.State, short(r.Lag), size(r.Bytes)), "look at the log of that server, and at the network to it")
		}
	}
	switch {
	case p.SynchronousStandbys != "" && waited == 0 && !p.Standby:
		f.add(Red, checkReplicas, fmt.Sprintf("synchronous_standby_names is %q and no such standby is connected: every commit hangs", p.SynchronousStandbys), "start the standby; or empty synchronous_standby_names and reload, and be without a copy")
	case len(*f) > 0 && (*f)[len(*f)-1].Check == checkReplicas: // said
	case len(all) > 0 && waited == 0:
		f.add(Yellow, checkReplicas, strings.Join(all, ", ")+": commits wait for none, and a failover loses the last ones", "set synchronous_standby_names = 'ANY 1 (…)' there, if none may be lost")
	case len(all) > 0:
		f.green(checkReplicas, "%s", strings.Join(all, ", "))
	default:
		f.green(checkReplicas, "no standby: what it has is on one server and in your backups")
	}
}

func connections(f *findings, p store.PostgresFacts, dsn *store.InspectedDSN) {
	seen := fmt.Sprintf("%d of %d in use, a process opens up to %d", p.Connections, p.MaxConnections, dsn.Conns)
	switch {
	case dsn.Conns > p.MaxConnections:
		f.add(Red, checkConnections, seen, fmt.Sprintf("set max_conns=%d or less in dsn, or raise max_connections", p.MaxConnections))
	case p.Connections*10 > p.MaxConnections*9:
		f.add(Yellow, checkConnections, seen, "raise max_connections above max_conns × processes; or set a smaller max_conns in dsn")
	default:
		f.green(checkConnections, "%s", seen)
	}
}

func timeLimit(f *findings, _ store.PostgresFacts, dsn *store.InspectedDSN) {
	switch t := dsn.StatementTimeout; {
	case t == 0:
		f.add(Yellow, checkLimit, "statement_timeout=0 in dsn: a frozen server holds requests as long as the kernel does", fmt.Sprintf("leave it out of dsn: then it is %s", store.DefaultStatement))
	case t > 30*time.Second:
		f.add(Yellow, checkLimit, fmt.Sprintf("a statement may take %s", t), fmt.Sprintf("statement_timeout=%d in dsn, or leave it out", store.DefaultStatement.Milliseconds()))
	default:
		f.green(checkLimit, "%s", t)
	}
}

func encryption(f *findings, p store.PostgresFacts, dsn *store.InspectedDSN) {
	switch {
	case p.TLS:
		f.green(checkEncrypted, "encrypted")
	case dsn.Loopback:
		f.green(checkEncrypted, "not encrypted, on this machine")
	default:
		f.add(Red, checkEncrypted, "not encrypted, over a network: hashes, addresses and the password of dsn can be read", "write sslmode=verify-full and sslrootcert=FILE into dsn")
	}
}

func vacuum(f *findings, p store.PostgresFacts, _ *store.InspectedDSN) {
	switch {
	case !p.Autovacuum:
		f.add(Red, checkVacuum, "autovacuum is off: the outbox grows, and each round of the relay gets slower", "autovacuum = on in postgresql.conf, and reload")
	case p.OutboxDead > 200_000:
		f.add(Yellow, checkVacuum, fmt.Sprintf("%d dead rows in the outbox", p.OutboxDead), "end transactions that are open for long (pg_stat_activity), then VACUUM outbox")
	default:
		f.green(checkVacuum, "%d dead rows in the outbox", p.OutboxDead)
	}
}

func lookSQLite(ctx context.Context, db *database) (f findings) {
	facts, err := db.SQLite(ctx)
	if err != nil {
		f.add(Red, checkVersion, oneLine(err), "restore the backup")
		return f
	}
	f.green(checkVersion, "SQLite %s", facts.Version)
	if facts.Journal == "wal" {
		f.green(checkDurable, "write-ahead log, and each durable commit waits for the disk")
	} else {
		f.add(Yellow, checkDurable, "journal_mode is not WAL: it was made by another program", "the next start of Usher sets it")
	}
	if facts.Log > 1<<30 {
		f.add(Yellow, checkSize, fmt.Sprintf("%s and %s of log: a reader that does not end keeps it", size(facts.Bytes), size(facts.Log)), "end programs that have the file open, and start the server again")
	} else {
		f.green(checkSize, "%s and %s of log", size(facts.Bytes), size(facts.Log))
	}
	return f
}

// How long an event may wait to be published.
const (
	lateEvent  = 10 * time.Second
	stuckEvent = time.Minute
)

func (d *Doctor) lookWork(ctx context.Context) (f findings) {
	db, err := d.db(ctx)
	if err != nil {
		f.skip(noDatabase, checkOutbox, checkRetries, checkLetters)
		return f
	}
	depth, oldest, err := db.Outbox(ctx)
	if err != nil {
		f.skip("there is no outbox yet, see "+checkMigrations, checkOutbox, checkRetries, checkLetters)
		return f
	}
	age := d.Now().Sub(oldest)
	const mend = "see whether the bus is there and a process with the API runs; its log says why the relay fails"
	switch {
	case depth > 0 && age > stuckEvent:
		f.add(Red, checkOutbox, fmt.Sprintf("%d events wait, the oldest for %s: hooks and mails do not happen", depth, short(age)), mend)
	case depth > 0 && age > lateEvent:
		f.add(Yellow, checkOutbox, fmt.Sprintf("%d events wait, the oldest for %s", depth, short(age)), mend)
	default:
		f.green(checkOutbox, "%d events wait to be published", depth)
	}
	letters, err := db.DeadLetters(ctx)
	retries, err2 := db.Retries(ctx)
	if err != nil || err2 != nil {
		f.skip("there are no hooks yet, see "+checkMigrations, checkRetries, checkLetters)
		return f
	}
	for _, name := range sorted(retries) {
		f.add(Yellow, checkRetries, fmt.Sprintf("%s has failed at %d events, each twice or more: they come again", name, retries[name]), "'usher worker show "+name+d.Flags+"' says how it is, 'usher dlq list --state waiting --hook "+name+d.Flags+"' why; mend it, or its endpoint")
	}
	if len(retries) == 0 {
		f.green(checkRetries, "none")
	}
	if len(letters) == 0 {
		f.green(checkLetters, "none")
	}
	for _, name := range sorted(letters) {
		f.add(Yellow, checkLetters, fmt.Sprintf("%s has given up %d events", name, letters[name]), "'usher dlq list --hook "+name+d.Flags+"' shows why; 'usher dlq redeliver' or 'usher dlq discard' ends it")
	}
	return f
}
