//go:build crash

package app

import (
	"context"
	"os"
	"slices"
	"syscall"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/recovery"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/relay"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/settings"
	"github.com/usher-auth/usher/services/verification"
	"github.com/usher-auth/usher/services/webhook"
	workerwebhook "github.com/usher-auth/usher/workers/webhook"
)

// crash ends the process as kill -9 does, when USHER_TEST_CRASH names the point.
func crash(point string) {
	if os.Getenv("USHER_TEST_CRASH") == point {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until the signal is there
	}
}

type registrations struct{ registration.Store }

func crashRegistrations(s registration.Store) registration.Store { return registrations{s} }

func (s registrations) Register(ctx context.Context, r registration.Record) error {
	crash("before-commit")
	err := s.Store.Register(ctx, r)
	crash("after-commit")
	return err
}

type sessions struct{ session.Store }

func crashSessions(s session.Store) session.Store { return sessions{s} }

func (s sessions) IssueSession(ctx context.Context, i session.Issue) (*session.Session, error) {
	crash("before-issue")
	issued, err := s.Store.IssueSession(ctx, i)
	crash("after-issue")
	return issued, err
}

type verifications struct{ verification.Store }

func crashVerifications(s verification.Store) verification.Store { return verifications{s} }

func (s verifications) Verify(ctx context.Context, p verification.Proof) (verification.Verified, error) {
	crash("before-verify")
	v, err := s.Store.Verify(ctx, p)
	crash("after-verify")
	return v, err
}

type recoveries struct{ recovery.Store }

func crashRecoveries(s recovery.Store) recovery.Store { return recoveries{s} }

func (s recoveries) Recover(ctx context.Context, p recovery.Proof) (recovery.Recovered, error) {
	crash("before-recover")
	r, err := s.Store.Recover(ctx, p)
	crash("after-recover")
	return r, err
}

type changedSettings struct{ settings.Store }

func crashChanges(s settings.Store) settings.Store { return changedSettings{s} }

func (s changedSettings) ChangeIdentity(ctx context.Context, id, by uuid.UUID, decide func(*identity.Identity, *session.Session) (*settings.Change, error)) error {
	crash("before-change")
	err := s.Store.ChangeIdentity(ctx, id, by, decide)
	if err == nil { // it is decided more than once, and stored the last time
		crash("after-change")
	}
	return err
}

type messages struct{ courier.Store }

func crashMessages(s courier.Store) courier.Store { return messages{s} }

func (s messages) Queue(ctx context.Context, m courier.Message, code *courier.Code) (*courier.Message, error) {
	crash("before-queue")
	queued, err := s.Store.Queue(ctx, m, code)
	crash("after-queue")
	return queued, err
}

func (s messages) Settle(ctx context.Context, id uuid.UUID, status courier.Status, attempts int, keep bool, e *events.Event) error {
	crash("before-settle")
	err := s.Store.Settle(ctx, id, status, attempts, keep, e)
	crash("after-settle")
	return err
}

type outbox struct{ relay.Store }

func crashOutbox(s relay.Store) relay.Store { return outbox{s} }

func (s outbox) Move(ctx context.Context, rows []relay.Published) error {
	err := s.Store.Move(ctx, rows)
	if slices.ContainsFunc(rows, func(r relay.Published) bool { return r.Type == registered }) {
		crash("after-move")
	}
	return err
}

// registered is the type of the events that the points of the relay are about:
// others, such as that of a link to the console, come by at any time.
var registered = events.IdentityCreated{}.EventType()

type publisher struct{ relay.Publisher }

func crashPublisher(p relay.Publisher) relay.Publisher { return publisher{p} }

func (p publisher) Publish(ctx context.Context, messages []events.Message) []events.Ack {
	about := slices.ContainsFunc(messages, func(m events.Message) bool { return m.Type == registered })
	if about {
		crash("before-publish")
	}
	acks := p.Publisher.Publish(ctx, messages)
	if about {
		crash("after-publish")
	}
	return acks
}

func (p publisher) PublishTogether(ctx context.Context, messages []events.Message) ([]events.Ack, error) {
	crash("before-publish")
	acks, err := p.Publisher.PublishTogether(ctx, messages)
	crash("after-publish")
	return acks, err
}

type endpoints struct{ workerwebhook.Endpoints }

func crashEndpoints(e workerwebhook.Endpoints) workerwebhook.Endpoints { return endpoints{e} }

func (e endpoints) Deliver(ctx context.Context, endpoint string, call *webhook.Call) error {
	crash("before-deliver")
	err := e.Endpoints.Deliver(ctx, endpoint, call)
	crash("after-deliver")
	return err
}

type heads struct{ audit.Heads }

func crashHeads(h audit.Heads) audit.Heads { return heads{h} }

func (h heads) SaveCheckpoint(ctx context.Context, c audit.Checkpoint) error {
	crash("before-checkpoint")
	err := h.Heads.SaveCheckpoint(ctx, c)
	crash("after-checkpoint")
	return err
}
