package app

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/relay"
	"github.com/usher-auth/usher/services/session"
	workersession "github.com/usher-auth/usher/workers/session"
)

// connectAPI makes the API's connections, before any part runs that uses them.
func (p *process) connectAPI(ctx context.Context) error {
	auth, err := p.bus.connect(ctx, events.UserAPIAuth)
	if err != nil {
		return err
	}
	p.issuer = &workersession.Client{Conn: auth}
	p.answers = p.newAnswers(auth)
	if p.provisioner, err = p.bus.connect(ctx, events.UserProvision); err != nil {
		return err
	}
	p.connectPresence(ctx)
	p.events, err = p.bus.connect(ctx, events.UserAPIEvents)
	return err
}

// startSession runs the session worker.
func (p *process) startSession(ctx context.Context) error {
	nc, err := p.bus.connect(ctx, events.UserSession)
	if err != nil {
		return err
	}
	if !p.Parts.API {
		if p.kicker, err = p.bus.connect(ctx, events.UserSessionEvents); err != nil {
			return err
		}
		p.hears = p.kicker
	}
	options := workersession.Options{
		Service: &session.Service{Store: crashSessions(p.store), Now: time.Now},
		Version: p.Version,
		Log:     p.log,
		Tracer:  p.traces.tracer(),
		Observe: p.metrics.issue,
	}
	p.stages.start(ctx, "session worker", func(ctx context.Context) error { return workersession.Run(ctx, nc, options) })
	return nil
}

// gather is how far apart the relay's windows begin under load: events that
// come together share two statements and a wait for the stream.
const gather = 2 * time.Millisecond

// startRelay runs the relay, which leads or waits to; the leader provisions the bus.
func (p *process) startRelay(ctx context.Context) error {
	publisher, err := events.NewPublisher(p.events)
	if err != nil {
		return err
	}
	if _, err := p.events.Subscribe(events.SubjectOutboxKick, func(*nats.Msg) { p.wakeRelay() }); err != nil {
		return fmt.Errorf("subscribe %s: %w", events.SubjectOutboxKick, err)
	}
	p.audit = newAuditor(p)
	r := &relay.Relay{
		Store:     crashOutbox(p.store),
		Publisher: crashPublisher(broadcasting{publisher, p.events}),
		Lead:      p.lead,
		Kick:      p.kicks,
		Log:       p.log,
		Gather:    gather,
		Tracer:    p.traces.tracer(),
		Observe: func(s relay.Stats) {
			p.metrics.relay(s)
			p.audit.logged(s.Published)
			p.bus.revive(ctx, s.Stalled, s.Err)
		},
	}
	p.metrics.leads(p.leading.Load)
	p.metrics.outbox(p.store.OutboxStats, time.Now)
	p.metrics.hashQueue(func() int { return p.live.now().passwords.Stats().Waiting })
	p.stages.start(ctx, "relay", r.Run)
	p.sayCheckpoints(ctx)
	return nil
}

// lead makes this process the leader once it has the database's lock and has
// provisioned the bus. What only a leader does ends with the lead: it has ended
// before release gives the lead to another.
func (p *process) lead(ctx context.Context) (release func(), lost <-chan struct{}, err error) {
	unlock, lost, err := p.store.Lead(ctx)
	if err != nil {
		return nil, nil, err
	}
	p.leading.Store(true) // a reload from here on provisions what it brings
	end := func() {}
	release = func() { p.leading.Store(false); end(); unlock() }
	if err := p.provision(ctx); err != nil {
		release()
		return nil, nil, err
	}
	end = whileLeading(ctx, lost, p.sweep, p.keepProvisioned, p.audit.sign, p.audit.send, p.watchWaiting)
	return release, lost, nil
}

// whileLeading runs each work until the lead is lost or end, which waits for
// them. The end of ctx does not end them: who leads gives the lead back.
func whileLeading(ctx context.Context, lost <-chan struct{}, works ...func(context.Context)) (end func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var all sync.WaitGroup
	for _, work := range works {
		all.Go(func() { work(ctx) })
	}
	all.Go(func() {
		select {
		case <-lost:
			cancel()
		case <-ctx.Done():
		}
	})
	return func() { cancel(); all.Wait() }
}
