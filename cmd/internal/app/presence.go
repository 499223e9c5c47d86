package app

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
	workersession "github.com/usher-auth/usher/workers/session"
)

// presenceWait is how long running workers are listened for: longer than an
// answer takes in a cluster, and no more than a list may take.
const presenceWait = 300 * time.Millisecond

// connectPresence connects what sees which workers run. Without those credentials
// it is not seen, and all else goes on.
func (p *process) connectPresence(ctx context.Context) {
	var err error
	if p.adminAuth, err = p.bus.connect(ctx, events.UserAdminAuth); err == nil {
		p.adminEvents, err = p.bus.connect(ctx, events.UserAdminEvents)
	}
	if err != nil {
		p.log.Warn("which workers run is not seen", "error", err)
	}
}

// presence sees running workers, answering ones in the account AUTH.
type presence struct{ auth, events *nats.Conn }

// Instances is that of [delivery.Presence].
func (p presence) Instances(ctx context.Context, all []delivery.Hook) (map[string][]delivery.Instance, error) {
	var workers, answers []string
	for _, h := range all {
		switch h.Kind {
		case delivery.Worker:
			workers = append(workers, h.Name)
		case delivery.Answer:
			answers = append(answers, h.Name)
		case delivery.Webhook: // is no program
		}
	}
	var found, more map[string][]delivery.Instance
	var err1, err2 error
	var both sync.WaitGroup
	both.Go(func() { found, err1 = instances(ctx, p.events, workers) })
	both.Go(func() { more, err2 = instances(ctx, p.auth, answers) })
	both.Wait()
	for name, list := range more {
		found[name] = list
	}
	return found, errors.Join(err1, err2)
}

// errNotSeen says why session workers are not seen.
var errNotSeen = errors.New("the bus is away, or there is no credential " + events.UserAdminAuth)

// SessionWorkers is that of [api.SessionWorkers].
func (p presence) SessionWorkers(ctx context.Context) ([]delivery.Instance, error) {
	if p.auth == nil || !p.auth.IsConnected() {
		return nil, errNotSeen
	}
	found, err := events.Instances(ctx, p.auth, []string{workersession.Name}, presenceWait)
	return found[workersession.Name], err
}

func instances(ctx context.Context, nc *nats.Conn, names []string) (map[string][]delivery.Instance, error) {
	if nc == nil || !nc.IsConnected() || len(names) == 0 {
		return map[string][]delivery.Instance{}, nil
	}
	found, err := events.Instances(ctx, nc, names, presenceWait)
	if found == nil {
		found = map[string][]delivery.Instance{}
	}
	return found, err
}
