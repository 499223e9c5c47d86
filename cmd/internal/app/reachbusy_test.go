package app

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/natsserver"
	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/storetest"
)

// A process whose connections were all in use was taken for one that is cut off, and its
// load moved on to the others.
func TestABusyProcessIsNotAlone(t *testing.T) {
	t.Parallel()
	bare := storetest.PostgreSQL(t)
	dsn, err := url.Parse(bare)
	if err != nil {
		t.Fatal(err)
	}
	q := dsn.Query()
	for name, value := range map[string]string{"max_conns": "4", "lock_timeout": "60000", "statement_timeout": "60000"} {
		q.Set(name, value)
	}
	dsn.RawQuery = q.Encode()
	p, _ := overlaid(t, map[string]any{"dsn": dsn.String(), "secrets.cipher": []any{storetest.Secret}})
	p.bus, p.events, p.stages = &bus{}, otherAPI(t), newStages(p.log)
	defer holdAll(t, p.store, bare)()
	if err := p.startReach(t.Context()); err != nil {
		t.Fatal(err)
	}
	var answers atomic.Int64
	_, err = p.events.Subscribe(events.SubjectDatabase, func(m *nats.Msg) {
		var said reaching
		if json.Unmarshal(m.Data, &said) == nil && said.Instance == p.reach.instance && said.Reaches {
			answers.Add(1)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	// On a slow machine one look or another takes too long; through the full pool all do.
	soonThat(t, "it has said five times that it reaches the database", func() bool {
		if err := p.events.Publish(events.SubjectDatabase, []byte(`{"instance":"who asks","reaches":false}`)); err != nil {
			t.Fatal(err)
		}
		return answers.Load() >= 5
	})
	if err := p.stages.stop(); err != nil {
		t.Fatal(err)
	}
	cutOff := func() float64 {
		return scrape(t, p.metrics.handler())["usher_db_cut_off"].GetMetric()[0].GetGauge().GetValue()
	}
	p.reach.see(nil, false)
	if got := cutOff(); got != 0 {
		t.Errorf("usher_db_cut_off of a process that reaches it = %v, want 0", got)
	}
	p.reach.see(context.DeadlineExceeded, false)
	soonThat(t, "one that is cut off is told so", func() bool { return cutOff() == 1 })
}

// otherAPI gives a connection to a bus on which another process reaches the database.
func otherAPI(t *testing.T) *nats.Conn {
	t.Helper()
	server, err := natsserver.Start(t.Context(), fmt.Sprintf("port: -1, store_dir: %q", t.TempDir()), natsserver.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	var both [2]*nats.Conn
	for i := range both {
		if both[i], err = nats.Connect("", nats.InProcessServer(server)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(both[i].Close)
	}
	answer, err := json.Marshal(reaching{Instance: "the other", Reaches: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = both[1].Subscribe(events.SubjectDatabase, func(m *nats.Msg) {
		if !strings.Contains(string(m.Data), "the other") {
			_ = both[1].Publish(events.SubjectDatabase, answer)
		}
	})
	if err == nil {
		err = both[1].Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return both[0]
}

// holdAll has all connections of the durable pool in use until release.
func holdAll(t *testing.T, s *store.Store, dsn string) (release func()) {
	t.Helper()
	add := func(n byte) {
		if err := s.AddAdminToken(t.Context(), string('a'+rune(n)), "admin", [32]byte{n}); err != nil {
			t.Errorf("AddAdminToken: %v", err)
		}
	}
	add(0)                               // those that are held do not wait for each other to prepare it
	db, err := sql.Open("postgres", dsn) // the driver that package store brings
	if err != nil {
		t.Fatal(err)
	}
	lock, err := db.BeginTx(t.Context(), nil)
	if err == nil {
		_, err = lock.ExecContext(t.Context(), `LOCK TABLE admin_tokens`)
	}
	if err != nil {
		t.Fatal(err)
	}
	full := s.Pools()[0].Max
	var held sync.WaitGroup
	for n := range full {
		held.Go(func() { add(byte(1 + n)) })
	}
	soonThat(t, "all connections are in use", func() bool { return s.Pools()[0].Used == full })
	return func() {
		_ = lock.Rollback()
		held.Wait()
		_ = db.Close()
	}
}
