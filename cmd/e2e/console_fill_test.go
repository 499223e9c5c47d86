package e2e_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// filled is what the statements of [fillConsole] have in common: n counts people, at
// is when, within 300 days, something about them happened. Everybody has the password
// of the tests and a session with [filledToken], and can sign in where addressKey is
// the key of the database's addresses.
func filled(addressKey []byte) *strings.Replacer {
	key := `sha256(n::text::bytea)`
	if addressKey != nil {
		key = fmt.Sprintf(`hmac(convert_to('email', 'UTF8') || '\x00'::bytea || convert_to('filled-' || n || '@example.org', 'UTF8'), '\x%x'::bytea, 'sha256')`, addressKey)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(goodPassword), 4)
	if err != nil {
		panic(err) // the cost is a constant
	}
	return strings.NewReplacer(
		"$key", key,
		"$hash", string(hash),
		"$digest", `sha256(convert_to('ory_st_' || lpad(n::text, 32, '0'), 'UTF8'))`,
		"$id", `md5('person ' || n)::uuid`,
		"$people", `(SELECT n, now_us - year + n * (year / $3::bigint) AS at
		FROM generate_series($1::bigint, $2::bigint) n, (SELECT (extract(epoch FROM now()) * 1e6)::bigint AS now_us, (300 * 86400 * 1e6)::bigint AS year) t) made`,
	)
}

// filledAddress and filledToken are what the n-th of those has that [fillConsole] made.
func filledAddress(n int) string { return fmt.Sprintf("filled-%d@example.org", n) }
func filledToken(n int) string   { return fmt.Sprintf("ory_st_%032d", n) }

// eventsOfPerson is how many events [fillConsole] makes for each.
const eventsOfPerson = 10

// fillPeople are statements that make what there is of each person from $1 to $2 of $3.
var fillPeople = []string{
	`INSERT INTO identities (id, schema_id, state, state_changed_at, traits, epoch, sequence, created_at, updated_at)
		SELECT $id, 'default', CASE WHEN n % 50 = 0 THEN 'inactive' ELSE 'active' END, at,
			json_build_object('email', 'filled-' || n || '@example.org'), 0, 10, at, at FROM $people`,
	`INSERT INTO credentials (identity_id, type, identifiers, config, created_at, updated_at)
		SELECT $id, 'password', json_build_array('filled-' || n || '@example.org'),
			'{"hashed_password":"$hash"}', at, at FROM $people`,
	`INSERT INTO addresses (id, identity_id, position, via, value, address_key, state, verifiable, recovery, identifier, verified, status, created_at, updated_at)
		SELECT md5('address ' || n)::uuid, $id, 0, 'email', 'filled-' || n || '@example.org', $key,
			'owned', true, true, true, false, 'pending', at, at FROM $people`,
	`INSERT INTO sessions (id, identity_id, token_digest, aal, methods, devices, epoch, revoked, authenticated_at, issued_at, expires_at)
		SELECT md5('session ' || n)::uuid, $id, $digest, 'aal1', '[]', '[]', 0, n % 7 = 0, at, at, 9e15::bigint FROM $people`,
	`INSERT INTO grants (id, flow_id, identity_id, event_id, flow_type, return_to, method, provider, bypass, steps, session_id, request_id, digest, requested_at, issued_at, created_at)
		SELECT md5('grant ' || n)::uuid, md5('flow ' || n)::uuid, $id, md5('event ' || n)::uuid, 'api', '', 'password', '', false, '{}',
			md5('session ' || n)::uuid, md5('request ' || n), $digest, at, at, at FROM $people`,
	`INSERT INTO messages (id, event_id, identity_id, status, template, recipient, recipient_key, attempts, expires_at, created_at, updated_at)
		SELECT md5('message ' || n)::uuid, md5('mail ' || n)::uuid, $id, 'sent', 'verification_code_valid', '\x00', sha256(n::text::bytea), 1, at, at, at FROM $people`,
}

// fillEvents makes the events from $1 to $2, where there are $3: the first of
// everybody, then the second of everybody, and so on, so that those of one person lie
// as far apart as they can.
const fillEvents = `INSERT INTO event_log (seq, event_id, stream_seq, type, subject, payload, former, hash, logged_at)
	SELECT seq, event_id, seq, type, id, convert_to('{"actor":"person:' || id || '","data":{"flow_id":"' || flow || '","flow_type":"api","identity_id":"' || id
		|| '","method":"password","network":"192.0.2.0/24","schema_id":"default","session_planned":true,"state":"active"},"datacontenttype":"application/json","dataschema":"urn:usher:event:'
		|| type || ':1","id":"' || event_id || '","requestid":"' || replace(flow, '-', '') || '","sequence":"' || e + 1 || '","source":"/usher/registration","specversion":"1.0","subject":"' || id
		|| '","time":"' || to_char(to_timestamp(at / 1e6) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '","traceparent":"00-' || replace(flow, '-', '') || '-d564417ac337e7e9-01","type":"' || type || '"}', 'UTF8'),
		sha256(''), sha256(''), at
	FROM (
		SELECT seq, e, at, $id::text AS id, md5('flow ' || n)::uuid::text AS flow,
			(lpad(to_hex(at / 1000), 12, '0') || '70008000' || lpad(to_hex(seq), 12, '0'))::uuid AS event_id,
			(ARRAY['identity.created','session.issued','mail.sent','login.succeeded','session.issued','login.succeeded','session.issued','session.revoked','login.failed','login.succeeded'])[e + 1] AS type
		FROM (SELECT n AS seq, at, (n - 1) / ($3::bigint / 10) AS e, (n - 1) % ($3::bigint / 10) + 1 AS n FROM $people) counted
	) made`

// fillFailures makes what hooks could not do: ten thousand are dead letters.
const fillFailures = `INSERT INTO hook_failures (hook, event_id, state, attempts, round, reason, stream_seq, first_at, last_at)
	SELECT 'webhook-crm', event_id, CASE WHEN seq % 10 = 0 THEN 'dead' ELSE 'done' END, 6, 0, 'error: 502 Bad Gateway', seq, logged_at, logged_at
	FROM event_log ORDER BY seq LIMIT 100000`

// fillConsole fills a database, which no program uses yet, with so many people and
// ten times as many events. The chain of hashes is not right. See [filled].
func fillConsole(t testing.TB, dsn string, people int, addressKey []byte) {
	t.Helper()
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	made := filled(addressKey)
	drop, again := indexesOf(t, db, "event_log")
	orders := [][]order{
		append(drop, order{text: `ALTER TABLE event_log SET UNLOGGED`}),
		append(inParts(fillEvents, eventsOfPerson*people), inParts(strings.Join(fillPeople, ";"), people)...),
		append(again, order{text: fillFailures}),
		{{text: `VACUUM ANALYZE`}},
	}
	for _, all := range orders {
		if err := inParallel(t.Context(), db, made, all); err != nil {
			t.Fatal(err)
		}
	}
}

// order is one or more statements with the arguments of each.
type order struct {
	text string
	args []any
}

// inParts makes orders of what makes so many of a kind.
func inParts(text string, of int) (all []order) {
	const parts = 8
	for part := range parts {
		all = append(all, order{text, []any{of*part/parts + 1, of * (part + 1) / parts, of}})
	}
	return all
}

// indexesOf gives orders that take from a table the indexes that would be kept up row
// by row, all but its key, and that make them again.
func indexesOf(t testing.TB, db *sql.DB, table string) (drop, again []order) {
	t.Helper()
	rows, err := db.Query(`
		SELECT format('ALTER TABLE %I DROP CONSTRAINT %I', $1::text, conname), format('ALTER TABLE %I ADD CONSTRAINT %I %s', $1::text, conname, pg_get_constraintdef(oid))
			FROM pg_constraint WHERE conrelid = $1::regclass AND contype = 'u'
		UNION ALL
		SELECT format('DROP INDEX %I', indexname), indexdef
			FROM pg_indexes WHERE tablename = $1 AND indexname NOT IN (SELECT conname FROM pg_constraint)`, table)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var d, a order
		if err := rows.Scan(&d.text, &a.text); err != nil {
			t.Fatal(err)
		}
		drop, again = append(drop, d), append(again, a)
	}
	if rows.Err() != nil || len(drop) == 0 {
		t.Fatalf("table %s has %d indexes: %v", table, len(drop), rows.Err())
	}
	return drop, again
}

// inParallel carries out orders, two at a time. References between rows are not
// checked.
func inParallel(ctx context.Context, db *sql.DB, made *strings.Replacer, all []order) error {
	work := make(chan order, len(all))
	for _, o := range all {
		work <- o
	}
	close(work)
	errs := make([]error, 2)
	var wg sync.WaitGroup
	for worker := range errs {
		wg.Go(func() {
			conn, err := db.Conn(ctx)
			if err != nil {
				errs[worker] = err
				return
			}
			defer conn.Close()
			for o := range work {
				errs[worker] = errors.Join(errs[worker], o.carryOut(ctx, conn, made))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (o order) carryOut(ctx context.Context, conn *sql.Conn, made *strings.Replacer) error {
	if _, err := conn.ExecContext(ctx, `SET session_replication_role = replica`); err != nil {
		return err
	}
	for text := range strings.SplitSeq(o.text, ";") {
		if _, err := conn.ExecContext(ctx, made.Replace(text), o.args...); err != nil {
			return err
		}
	}
	return nil
}
