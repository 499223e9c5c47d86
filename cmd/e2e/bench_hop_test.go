package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/natsserver"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/storetest"
	workersession "github.com/usher-auth/usher/workers/session"
)

// hop measures the whole hop to the session worker against its parts: a plain
// request-reply over the same server, plus the same commit run directly. The
// three take turns, so that the machine's moods hit all alike.
func (b *bench) hop() {
	ctx, cancel := context.WithCancel(b.t.Context())
	defer cancel()
	s := b.openStore(ctx)
	defer s.Close()
	asking, answering, stop := b.openBus(ctx)
	defer stop()
	service := &session.Service{Store: s, Now: time.Now}
	served := make(chan error, 1)
	ready := make(chan struct{})
	go func() {
		served <- workersession.Run(ctx, answering, workersession.Options{
			Service: service, Version: "0.0.1", Log: slog.New(slog.DiscardHandler), Ready: func() { close(ready) },
		})
	}()
	defer func() { cancel(); <-served }()
	<-ready
	plainAsking, plainAnswering, stopPlain := b.openBus(ctx) // another server: the subject is the service's alone
	defer stopPlain()
	if _, err := plainAnswering.QueueSubscribe(events.SubjectSessionIssue, "q", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
		b.t.Fatal(err)
	}
	client := &workersession.Client{Conn: asking}
	payload, err := json.Marshal(events.SessionIssue{FlowID: uuid.NewString(), IdentityID: uuid.NewString(), Digest: session.Digest{}.String()})
	if err != nil {
		b.t.Fatal(err)
	}

	const warm, n = 200, 2000
	var hop, commit, plain []time.Duration
	for range warm + n {
		first, second := b.newRequest(ctx, s), b.newRequest(ctx, s)
		hop = append(hop, b.took(func() error { _, err := client.Issue(ctx, first); return err }))
		commit = append(commit, b.took(func() error { _, err := service.Issue(ctx, second); return err }))
		plain = append(plain, b.took(func() error {
			_, err := plainAsking.Request(events.SubjectSessionIssue, payload, time.Second)
			return err
		}))
	}
	p50 := func(all []time.Duration) time.Duration {
		all = slices.Clone(all[warm:])
		slices.Sort(all)
		return all[len(all)/2]
	}
	floor := p50(plain) + p50(commit)
	b.row("session hop, one at a time, PostgreSQL, bus in process", ms(p50(hop)),
		fmt.Sprintf("request-reply %s + commit %s", ms(p50(plain)), ms(p50(commit))),
		fmt.Sprintf("%.2f ×", p50(hop).Seconds()/floor.Seconds()), "≤ 1.25 ×")
}

func (b *bench) took(f func() error) time.Duration {
	at := time.Now()
	if err := f(); err != nil {
		b.t.Fatal(err)
	}
	return time.Since(at)
}

func (b *bench) openStore(ctx context.Context) *store.Store {
	s, err := store.Open(ctx, store.Options{DSN: storetest.PostgreSQL(b.t), CipherSecrets: []string{"a secret of the benchmark, long enough"}})
	if err == nil {
		err = s.Migrate(ctx)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// openBus gives a connection of the API and one of the session worker to a
// server in this process, as "usher serve" has them.
func (b *bench) openBus(ctx context.Context) (asking, answering *nats.Conn, stop func()) {
	connect, stop := b.startBus(ctx)
	return connect(events.UserAPIAuth), connect(events.UserSession), stop
}

// startBus starts a server in this process, and gives how to connect to it;
// stop closes the connections too.
func (b *bench) startBus(ctx context.Context) (connect func(user string) *nats.Conn, stop func()) {
	log := slog.New(slog.DiscardHandler)
	dir := b.t.TempDir()
	keys, err := events.LoadOrMakeKeys(filepath.Join(dir, "keys"))
	if err != nil {
		b.t.Fatal(err)
	}
	text, err := keys.ServerConfig(events.ServerOptions{Listen: "127.0.0.1:-1", StoreDir: filepath.Join(dir, "streams"), Name: "bench"})
	if err != nil {
		b.t.Fatal(err)
	}
	server, err := natsserver.Start(ctx, text, natsserver.Options{Log: log})
	if err != nil {
		b.t.Fatal(err)
	}
	var open []*nats.Conn
	connect = func(user string) *nats.Conn {
		creds, err := keys.Credentials(user)
		if err != nil {
			b.t.Fatal(err)
		}
		nc, err := events.Connect(ctx, events.ConnectOptions{InProcess: server, Credentials: creds, User: user, Name: "bench", Log: log})
		if err != nil {
			b.t.Fatal(err)
		}
		open = append(open, nc)
		return nc
	}
	return connect, func() {
		for _, nc := range open {
			nc.Close()
		}
		server.Close()
	}
}

// newRequest registers a person and gives the request for the session.
func (b *bench) newRequest(ctx context.Context, s *store.Store) session.Request {
	now := time.Now().UTC().Truncate(time.Microsecond)
	i := &identity.Identity{ID: uuid.New(), SchemaID: "default", State: identity.Active, StateChangedAt: now, Traits: []byte(`{}`), CreatedAt: now, UpdatedAt: now}
	e := events.New(events.IdentityCreated{IdentityID: i.ID.String()}, now, events.About{Source: "/usher/bench", Subject: i.ID.String(), Actor: "client"})
	e.Sequence = "1"
	g := registration.Grant{ID: uuid.New(), FlowID: uuid.New(), IdentityID: i.ID, EventID: uuid.MustParse(e.ID), FlowType: flow.API, Method: "password", CreatedAt: now}
	if err := s.Register(ctx, registration.Record{Identity: i, Grant: g, Event: e}); err != nil {
		b.t.Fatal(err)
	}
	return session.Request{
		ID: uuid.NewString(), Deadline: now.Add(5 * time.Second), RequestedAt: now, GrantID: g.ID, FlowID: g.FlowID, IdentityID: i.ID,
		Method: "password", AAL: "aal1", Digest: session.NewToken(session.NativePrefix).Digest(), Lifespan: time.Hour,
		ClientAddr: "127.0.0.1:1234", UserAgent: "bench",
	}
}
