package storetest

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/relay"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/store"
)

func sequence(n int) string { return strconv.Itoa(n) }

func testAppend(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	about := func(subject string) events.Event {
		e := newRefused(s.clock(), r)
		e.Subject = subject
		return e
	}
	given := about(r.Identity.ID.String())
	given.Sequence = "77"
	for _, e := range []events.Event{about(r.Identity.ID.String()), given, about(uuid.NewString()), about("")} {
		s.must(st.Append(s.ctx(), e))
	}
	s.must(st.AppendSoon(s.ctx(), about(r.Identity.ID.String())))
	want := []string{"identity.created 1", "session.refused 2", "session.refused 77", "session.refused ", "session.refused ", "session.refused "}
	if got := s.types(st); !slices.Equal(got, want) {
		t.Errorf("outbox = %q, want %q", got, want)
	}
	s.must(st.Append(s.ctx(), about("something"))) // which no event is about
	rows, err := st.Pending(s.ctx(), 10)
	s.must(err)
	if e, err := events.Decode(rows[len(rows)-1].Payload); err != nil || e.Subject != "something" || e.Sequence != "" {
		t.Errorf("an event about something has sequence %q, %v, want none", e.Sequence, err)
	}
	rows, err = st.Pending(s.ctx(), 2)
	s.must(err)
	if len(rows) != 2 || rows[1].IdentityID != r.Identity.ID.String() || rows[1].Type != "session.refused" || !rows[1].CreatedAt.Equal(s.clock()) {
		t.Errorf("Pending(2) = %+v, want the two oldest", rows)
	}
	if depth, oldest, err := st.OutboxStats(s.ctx()); err != nil || depth != 7 || !oldest.Equal(s.clock()) {
		t.Errorf("OutboxStats = %d, %v, %v, want 7 since %v", depth, oldest, err, s.clock())
	}
	if err := st.Append(s.ctx(), events.Event{ID: "x", Type: "session.refused"}); err == nil {
		t.Error("Append stored an event without a proper id")
	}
}

// publish takes what is pending as the relay does.
func (s *suite) publish(st *store.Store, limit int) []relay.Published {
	s.t.Helper()
	rows, err := st.Pending(s.ctx(), limit)
	s.must(err)
	published := make([]relay.Published, len(rows))
	for n, r := range rows {
		published[n] = relay.Published{Row: r, StreamSeq: uint64(100 + r.ID)}
	}
	return published
}

// people registers n.
func (s *suite) people(st *store.Store, n int) {
	s.t.Helper()
	for range n {
		s.registered(st, uuid.NewString()+"@example.org")
	}
}

// chain checks that the log holds n records in a whole chain, and gives them.
func (s *suite) chain(st *store.Store, n int) []audit.Record {
	s.t.Helper()
	records, err := st.Events(s.ctx(), audit.Query{Limit: n + 1})
	s.must(err)
	if len(records) != n {
		s.t.Errorf("the log holds %d records, want %d", len(records), n)
	}
	var former audit.Hash
	seen := map[string]bool{}
	for i, r := range records {
		if r.Seq != int64(i+1) || r.Former != former || r.Hash != audit.Next(former, r.Payload) || seen[r.EventID] {
			s.t.Fatalf("record %d = %+v does not follow %x", i+1, r, former)
		}
		former, seen[r.EventID] = r.Hash, true
	}
	seq, hash, err := st.EventHead(s.ctx())
	if err != nil || seq != int64(len(records)) || hash != former {
		s.t.Errorf("EventHead = %d, %x, %v, want %d, %x", seq, hash, err, len(records), former)
	}
	return records
}

func testMove(t *testing.T, s *suite) {
	st := s.store(nil)
	s.chain(st, 0)
	s.people(st, 5)
	rows := s.publish(st, 3)
	s.must(st.Move(s.ctx(), rows))
	s.must(st.Move(s.ctx(), nil))
	records := s.chain(st, 3)
	first := audit.Record{
		Seq: 1, EventID: rows[0].EventID, StreamSeq: rows[0].StreamSeq, Type: "identity.created", Subject: rows[0].IdentityID,
		Payload: rows[0].Payload, Hash: audit.Next(audit.Hash{}, rows[0].Payload), LoggedAt: s.clock(),
	}
	if diff := cmp.Diff(first, records[0]); diff != "" {
		t.Errorf("the first record: want(-) got(+):\n%s", diff)
	}
	if got := len(s.pending(st)); got != 2 {
		t.Errorf("%d rows are left in the outbox, want 2", got)
	}
	s.must(st.Move(s.ctx(), s.publish(st, 10)))
	s.chain(st, 5)

	s.people(st, 40) // more than are prepared one by one
	s.must(st.Move(s.ctx(), s.publish(st, 100)))
	s.chain(st, 45)
	if depth, oldest, err := st.OutboxStats(s.ctx()); err != nil || depth != 0 || !oldest.IsZero() {
		t.Errorf("OutboxStats = %d, %v, %v, want none", depth, oldest, err)
	}
}

// What is moved again, wholly or in part, is in the log once and leaves the outbox.
func testMoveAgain(_ *testing.T, s *suite) {
	st := s.store(nil)
	s.people(st, 3)
	rows := s.publish(st, 10)
	s.must(st.Move(s.ctx(), rows))
	s.people(st, 2)
	s.must(st.Move(s.ctx(), append(slices.Clone(rows), s.publish(st, 1)...)))
	s.must(st.Move(s.ctx(), rows))
	s.must(st.Move(s.ctx(), s.publish(st, 10)))
	s.chain(st, 5)
}

// A power cut takes back what did not wait for the disk: the log goes on from
// where it ends, not from where this process remembers.
func testMoveAfterAPowerCut(_ *testing.T, s *suite) {
	st := s.store(nil)
	s.people(st, 5)
	s.must(st.Move(s.ctx(), s.publish(st, 3)))
	s.exec(`DELETE FROM event_log WHERE seq = 3`)
	s.must(st.Move(s.ctx(), s.publish(st, 10)))
	s.chain(st, 4)
}

// Accounts, grants, sessions and their events are on the disk when their commit
// returns, whether it is shared or not.
func testDurable(t *testing.T, s *suite) {
	st := s.store(nil)
	s.exec(`CREATE TABLE relaxed (name text)`)
	for _, table := range []string{"identities", "grants", "sessions", "outbox", "credentials", "handles", "messages", "codes", "hooks", "hook_names", "hook_failures", "checkpoints"} {
		if s.Driver == "postgres" {
			s.exec(`CREATE FUNCTION durable_` + table + `() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				IF current_setting('synchronous_commit') <> 'on' THEN INSERT INTO relaxed VALUES ('` + table + `'); END IF;
				RETURN NULL; END $$`)
			s.exec(`CREATE TRIGGER durable AFTER INSERT ON ` + table + ` EXECUTE FUNCTION durable_` + table + `()`)
			continue
		}
		s.exec(`CREATE TRIGGER durable_` + table + ` AFTER INSERT ON ` + table + ` BEGIN
			INSERT INTO relaxed SELECT '` + table + `' WHERE (SELECT synchronous FROM pragma_synchronous) < 2; END`)
	}
	people := make([]registration.Record, 40)
	for n := range people {
		people[n] = s.record(fmt.Sprintf("person-%d@example.org", n))
	}
	for _, err := range atOnce(len(people), func(n int) error { return st.Register(s.ctx(), people[n]) }) {
		s.must(err)
	}
	issue := func(again bool) {
		for _, err := range atOnce(len(people), func(n int) error {
			i := s.issueFor(people[n])
			i.Request.Again = again
			_, err := st.IssueSession(s.ctx(), i)
			return err
		}) {
			s.must(err)
		}
	}
	issue(false)
	s.advance(time.Second)
	issue(true) // in the place of the former ones
	for _, err := range atOnce(len(people), func(n int) error {
		_, err := st.IssueSession(s.ctx(), s.loginFor(people[n]))
		return err
	}) {
		s.must(err)
	}
	s.must(s.link(st, people[0].Identity.ID, "seven", nil))
	_, err := st.Verify(s.ctx(), s.proof(s.mail(st, people[0], 0), rightCode))
	s.must(err)
	_, err = st.RevokeSessions(s.ctx(), session.Which{IdentityID: people[0].Identity.ID}, s.revocation(people[0]))
	s.must(err)
	s.must(st.Append(s.ctx(), newRefused(s.clock(), people[0])))
	s.must(st.CreateHook(s.ctx(), delivery.Hook{Name: "crm", CredentialUntil: s.clock().Add(time.Hour)}, s.acted("hook.create", "crm")))
	s.save(st, nil, s.failure("crm"))
	s.must(st.Move(s.ctx(), s.publish(st, 1)))
	s.must(st.SaveCheckpoint(s.ctx(), s.checkpoint(st, 1)))
	var relaxed int
	s.must(s.raw().QueryRowContext(s.ctx(), `SELECT count(*) FROM relaxed`).Scan(&relaxed))
	if relaxed > 0 {
		t.Errorf("%d inserts did not wait for the disk", relaxed)
	}
}

// Two relays by accident: whatever each is told, the log is whole and holds
// each event once.
func testMoveTwoAtOnce(t *testing.T, s *suite) {
	one, two := s.store(nil), s.store(nil)
	const people = 60
	s.people(one, people)
	for range 200 {
		a, b := s.publish(one, 7), s.publish(two, 5)
		errs := atOnce(2, func(n int) error {
			if n == 0 {
				return one.Move(s.ctx(), a)
			}
			return two.Move(s.ctx(), b)
		})
		if errs[0] != nil && errs[1] != nil {
			t.Fatalf("Move: %v and %v, want one to succeed", errs[0], errs[1])
		}
		if len(a) == 0 {
			break
		}
	}
	s.chain(one, people)
}

// What is asked of tables that may be large does not read through them.
func testIndexes(t *testing.T, s *suite) {
	s.store(nil)
	for index, query := range map[string]string{
		"hook_inputs_created_at_idx": `SELECT event_id FROM hook_inputs WHERE created_at < 5 ORDER BY created_at LIMIT 10`,
		"event_log_type_idx":         `SELECT payload FROM event_log WHERE seq > 0 AND type = 'mail.abandoned' ORDER BY seq LIMIT 10`,
		"deliveries_event_id_idx":    `SELECT took FROM deliveries WHERE event_id IN ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000002')`,
		"flows_exchange_idx":         `SELECT id FROM flows WHERE exchange = '\x07' AND exchange_return = '\x09'`,
	} {
		if index == "flows_exchange_idx" && s.Driver != "postgres" {
			continue // SQLite has the flows in a file of their own
		}
		if plan := s.plan(query); !contains(plan, index) {
			t.Errorf("%s goes by\n%s\nwant %s", query, plan, index)
		}
	}
}

// plan is how the database goes about a query that has one step.
func (s *suite) plan(query string) (plan string) {
	s.t.Helper()
	if s.Driver == "postgres" {
		s.must(s.raw().QueryRowContext(s.ctx(), `EXPLAIN (FORMAT JSON) `+query).Scan(&plan))
		return plan
	}
	s.must(s.raw().QueryRowContext(s.ctx(), `EXPLAIN QUERY PLAN `+query).Scan(new(int), new(int), new(int), &plan))
	return plan
}

func testEvents(t *testing.T, s *suite) {
	st := s.store(nil)
	ann := s.registered(st, "ann@example.org")
	for n := range 6 {
		s.registered(st, fmt.Sprintf("a%d@example.org", n))
		s.must(st.Append(s.ctx(), newRefused(s.clock(), ann)))
	}
	s.must(st.Move(s.ctx(), s.publish(st, 100)))
	s.chain(st, 13)
	for name, c := range map[string]struct {
		query audit.Query
		want  []int64
	}{
		"after":       {audit.Query{After: 10}, []int64{11, 12, 13}},
		"type":        {audit.Query{Types: []string{"session.refused"}}, []int64{3, 5, 7, 9, 11, 13}},
		"subject":     {audit.Query{Subject: ann.Identity.ID.String()}, []int64{1, 3, 5, 7, 9, 11, 13}},
		"limit":       {audit.Query{Limit: 4}, []int64{1, 2, 3, 4}},
		"none":        {audit.Query{After: 13}, nil},
		"all of them": {audit.Query{After: 3, Types: []string{"session.refused"}, Subject: ann.Identity.ID.String(), Limit: 2}, []int64{5, 7}},
	} {
		got, err := st.Events(s.ctx(), c.query)
		var seqs []int64
		for _, r := range got {
			seqs = append(seqs, r.Seq)
		}
		if err != nil || !slices.Equal(seqs, c.want) {
			t.Errorf("%s: Events(%+v) = records %d, %v, want %d", name, c.query, seqs, err, c.want)
		}
	}
}

func testLeadIsReleased(t *testing.T, s *suite) {
	st := s.store(nil)
	release, lost, err := st.Lead(s.ctx())
	s.must(err)
	select {
	case <-lost:
		t.Error("the lead is lost at once")
	default:
	}
	release()
	release, _, err = s.store(nil).Lead(s.ctx())
	s.must(err)
	release()
}
