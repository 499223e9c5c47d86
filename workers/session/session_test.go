package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/session"
	worker "github.com/usher-auth/usher/workers/session"
)

// patience is a deadline that no test is to reach, and that a worker may have.
const patience = 4 * time.Second

func request() session.Request {
	now := time.Now().UTC()
	return session.Request{
		ID:          uuid.NewString(),
		Deadline:    now.Add(patience).Truncate(time.Millisecond), // the precision of the bus
		GrantID:     uuid.New(),
		FlowID:      uuid.New(),
		IdentityID:  uuid.New(),
		Method:      "oidc",
		Provider:    "acme",
		AAL:         "aal1",
		Digest:      session.NewToken(session.NativePrefix).Digest(),
		Epoch:       7,
		Lifespan:    24 * time.Hour,
		ClientAddr:  "192.0.2.77:4711",
		UserAgent:   "test/1",
		TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		HTTPRequest: "http-1",
		RequestedAt: now,
		Bypass:      true,
	}
}

// issued is the session that r asks for.
func issued(r session.Request) *session.Session {
	now := time.Now().UTC().Truncate(time.Microsecond)
	if r.Refresh != uuid.Nil { // it began long ago, and an administrator has extended it
		s := issued(session.Request{IdentityID: r.IdentityID, AAL: r.AAL, Epoch: r.Epoch, Method: r.Method, Lifespan: 3 * r.Lifespan})
		s.ID, s.IssuedAt = r.Refresh, now.Add(-r.Lifespan)
		return s
	}
	return &session.Session{
		ID:              uuid.New(),
		IdentityID:      r.IdentityID,
		AAL:             r.AAL,
		Methods:         []session.Method{{Method: r.Method, AAL: r.AAL, Provider: r.Provider, CompletedAt: now}},
		Devices:         []session.Device{{ID: uuid.New(), Address: r.ClientAddr, UserAgent: r.UserAgent}},
		Epoch:           r.Epoch,
		AuthenticatedAt: now,
		IssuedAt:        now,
		ExpiresAt:       now.Add(r.Lifespan),
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]session.Request{"of a registration": request(), "of a login": login(), "of a refresh": refresh()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBus(t)
			r.Deadline = time.Now().Add(patience).Round(0)
			want := issued(r)
			var kicks atomic.Int32
			var asked []session.Request
			b.run(t, worker.Options{
				Kick:        func() { kicks.Add(1) },
				Concurrency: 1,
				Service: issuer(func(_ context.Context, in session.Request) (*session.Session, error) {
					asked = append(asked, in)
					return want, nil
				}),
			})
			for range 2 { // the service is to recognise the second by its id
				got, err := b.client.Issue(t.Context(), r)
				if err != nil {
					t.Fatalf("Issue: %v", err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("Issue gave another session than the worker (-want +got):\n%s", diff)
				}
			}
			if diff := cmp.Diff([]session.Request{r, r}, asked, cmpopts.EquateApproxTime(10*time.Millisecond)); diff != "" {
				t.Errorf("the worker was asked for something else (-want +got):\n%s", diff)
			}
			if got := kicks.Load(); got != 2 {
				t.Errorf("the relay was kicked %d times after 2 commits", got)
			}
		})
	}
}

func login() session.Request {
	r := request()
	r.GrantID, r.FlowID, r.Provider, r.Bypass = uuid.Nil, uuid.Nil, "", false
	r.Login = uuid.Must(uuid.NewV7())
	return r
}

func refresh() session.Request {
	r := login()
	r.Refresh = uuid.New()
	return r
}

func TestRefusalsSurviveTheBus(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	var answer error
	kicks := 0
	b.run(t, worker.Options{
		Kick:        func() { kicks++ },
		Concurrency: 1,
		Service: issuer(func(_ context.Context, r session.Request) (*session.Session, error) {
			return nil, fmt.Errorf("issue session for %s: %w", r.IdentityID, answer)
		}),
	})
	all := []error{
		session.ErrGrantUsed, session.ErrIdentityGone, session.ErrIdentityInactive, session.ErrLate, session.ErrInvalid,
		session.ErrUnavailable, session.ErrNotFound,
	}
	for _, want := range []struct{ said, got error }{
		{session.ErrGrantUsed, session.ErrGrantUsed},
		{session.ErrIdentityGone, session.ErrIdentityGone},
		{session.ErrIdentityInactive, session.ErrIdentityInactive},
		{session.ErrLate, session.ErrLate},
		{session.ErrInvalid, session.ErrInvalid},
		{errors.New("the database is down"), session.ErrUnavailable},
	} {
		answer = want.said
		r := request()
		_, err := b.client.Issue(t.Context(), r)
		for _, known := range all {
			if errors.Is(err, known) != errors.Is(known, want.got) {
				t.Errorf("Issue when the worker says %q = %q, want that it is %q only", want.said, err, want.got)
			}
		}
		if err != nil && (strings.Contains(err.Error(), r.IdentityID.String()) || strings.Contains(err.Error(), "database")) {
			t.Errorf("the bus carried more than a code: %v", err)
		}
	}
	if kicks != 0 {
		t.Errorf("the relay was kicked %d times although nothing was stored", kicks)
	}
	if log := b.log.String(); !strings.Contains(log, "the database is down") {
		t.Errorf("the worker did not log why it failed:\n%s", log)
	}
}

func TestPanicIsAnAnswer(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.run(t, worker.Options{Service: issuer(func(context.Context, session.Request) (*session.Session, error) { panic("bug") })})
	for range 2 {
		if _, err := b.client.Issue(t.Context(), request()); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("Issue from a worker that panics = %v, want ErrUnavailable", err)
		}
	}
}

func TestNobodyThereIsKnownAtOnce(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	began := time.Now()
	_, err := b.client.Issue(t.Context(), request())
	if !errors.Is(err, session.ErrUnavailable) || !errors.Is(err, events.ErrNoWorker) {
		t.Errorf("Issue without a worker = %v, want ErrUnavailable because there is none", err)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("Issue without a worker took %v, want no wait", took)
	}
	b.api.Close()
	if _, err := b.client.Issue(t.Context(), request()); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("Issue without a bus = %v, want ErrUnavailable", err)
	}
}

// A worker that goes over to another credential is away for some milliseconds.
func TestAWorkerThatComesBackIsAskedOnceMore(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	before, got := b.api.Stats().OutMsgs, make(chan error, 1)
	go func() { _, err := b.client.Issue(t.Context(), request()); got <- err }()
	for b.api.Stats().OutMsgs == before {
		time.Sleep(time.Millisecond) // nobody is asked yet
	}
	b.run(t, worker.Options{Service: issuer(func(_ context.Context, r session.Request) (*session.Session, error) { return issued(r), nil })})
	if err := <-got; err != nil {
		t.Errorf("Issue of a worker that came after it was asked = %v, want a session", err)
	}
}

// So is the API, and with its connection all that it had asked is gone: also after
// nobody was there before.
func TestAConnectionThatBreaksIsAskedOverAgain(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	before, got := b.api.Stats().OutMsgs, make(chan error, 1)
	go func() {
		r := request()
		r.Deadline = time.Now().Add(6 * time.Second)
		_, err := b.client.Issue(t.Context(), r)
		got <- err
	}()
	for b.api.Stats().OutMsgs == before {
		time.Sleep(time.Millisecond) // nobody is asked yet
	}
	asked := 0
	b.run(t, worker.Options{Concurrency: 1, Service: issuer(func(_ context.Context, r session.Request) (*session.Session, error) {
		if asked++; asked < 3 {
			return nil, b.api.ForceReconnect()
		}
		return issued(r), nil
	})})
	if err := <-got; err != nil {
		t.Errorf("Issue over a connection that broke twice = %v, want a session", err)
	}
}

// A worker that goes over to another credential while it works cannot answer any more:
// another question does, and nobody is told to mend rights that are as they must be.
func TestAWorkersConnectionThatBreaksIsAskedPast(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	asked := 0
	b.run(t, worker.Options{Concurrency: 1, Service: issuer(func(_ context.Context, r session.Request) (*session.Session, error) {
		if asked++; asked == 1 {
			err := b.session.ForceReconnect()
			for !b.session.IsConnected() {
				time.Sleep(time.Millisecond)
			}
			return issued(r), err
		}
		return issued(r), nil
	})})
	r := request()
	r.Deadline = time.Now().Add(4 * time.Second)
	if _, err := b.client.Issue(t.Context(), r); err != nil {
		t.Errorf("Issue by a worker whose connection broke = %v, want a session", err)
	}
	if err := b.session.Flush(); err != nil {
		t.Fatal(err)
	}
	if log := b.log.String(); !strings.Contains(log, "an answer is not delivered") || strings.Contains(log, "no right") {
		t.Errorf("log is %s, want a warning of the answer", log)
	}
}

func TestFrozenWorkerCostsTheDeadline(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	over := make(chan time.Time, 1)
	b.run(t, worker.Options{Service: issuer(func(ctx context.Context, _ session.Request) (*session.Session, error) {
		<-ctx.Done()
		over <- time.Now()
		return nil, ctx.Err()
	})})
	r := request()
	r.Deadline = time.Now().Add(200 * time.Millisecond).Truncate(time.Millisecond)
	_, err := b.client.Issue(t.Context(), r)
	if !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("Issue from a frozen worker = %v, want ErrUnavailable", err)
	}
	if early := time.Until(r.Deadline); early > 0 {
		t.Errorf("Issue gave up %v before the deadline", early)
	}
	if at := <-over; at.Before(r.Deadline) {
		t.Errorf("the worker's context ended %v before the deadline", r.Deadline.Sub(at))
	}
}

// One of two workers is frozen: the same request, asked again, gets its session. The
// second question says that it is one: its session may be stored already.
func TestAFrozenWorkerIsAskedPast(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	asked := make(chan session.Request, 2)
	b.run(t, worker.Options{Service: issuer(func(ctx context.Context, r session.Request) (*session.Session, error) {
		asked <- r
		if len(asked) == 1 {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return issued(r), nil
	})})
	r := request()
	r.Deadline = time.Now().Add(time.Second)
	if _, err := b.client.Issue(t.Context(), r); err != nil {
		t.Errorf("Issue with a frozen worker = %v, want the other's session", err)
	}
	first, second := <-asked, <-asked
	if first.ID != r.ID || second.ID != r.ID {
		t.Errorf("the workers were asked for %s and %s, want %s twice", first.ID, second.ID, r.ID)
	}
	if first.Again || !second.Again {
		t.Errorf("asked again: %t, then %t; want the second question only to say so", first.Again, second.Again)
	}
}

// Whoever answers only once it is asked again is slow, and must not have everybody asked
// at every step: a question more is earned by a quick answer.
func TestAQuickAnswerEarnsAQuestion(t *testing.T) {
	t.Parallel()
	for name, slow := range map[string]bool{"quick": false, "slow": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBus(t)
			again, end := make(chan struct{}, 8), make(chan struct{})
			b.run(t, worker.Options{Service: issuer(func(_ context.Context, r session.Request) (*session.Session, error) {
				switch {
				case r.Again:
					again <- struct{}{}
					<-end // the first one is to be the answer
				case slow:
					<-again
				}
				return issued(r), nil
			})})
			defer close(end)
			b.client.UseSpare(worker.MaxSpare) // so that it is asked again at half of the time only
			r := request()
			r.Deadline = time.Now().Add(patience)
			if _, err := b.client.Issue(t.Context(), r); err != nil {
				t.Fatalf("Issue = %v, want a session", err)
			}
			want := worker.MaxSpare
			if !slow {
				want--
			}
			if got := b.client.UsedSpare(); got != want {
				t.Errorf("%d questions are used up behind a %s answer, want %d", got, name, want)
			}
		})
	}
}

// One of two workers is frozen for many: hardly anybody goes without a session,
// and when nobody answers quickly, few requests are sent more than twice.
func TestManyAskPastAFrozenWorker(t *testing.T) {
	t.Parallel()
	for _, slow := range []bool{false, true} {
		b := newBus(t)
		asked := atomic.Int64{}
		b.run(t, worker.Options{Concurrency: 10_000, Service: issuer(func(ctx context.Context, r session.Request) (*session.Session, error) {
			if asked.Add(1)%2 == 0 || slow {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return issued(r), nil
		})})
		const people = 200
		var missing atomic.Int64
		var all sync.WaitGroup
		for range people {
			all.Go(func() {
				r := request()
				r.ID, r.Deadline = uuid.NewString(), time.Now().Add(time.Second)
				if _, err := b.client.Issue(t.Context(), r); err != nil {
					missing.Add(1)
				}
			})
		}
		all.Wait()
		switch {
		case !slow && missing.Load() > people/20:
			t.Errorf("with a frozen worker %d of %d went without a session, want hardly anybody", missing.Load(), people)
		case slow && asked.Load() > 2*people+people/2+10:
			t.Errorf("%d requests were sent for %d people while all workers are slow, want twice as many", asked.Load(), people)
		}
		t.Logf("slow: %t; %d people, %d requests, %d without a session", slow, people, asked.Load(), missing.Load())
	}
}

func TestDrainLosesNoAnswer(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	const accepted = 8
	begun, release := make(chan struct{}, 1000), make(chan struct{})
	stop := b.run(t, worker.Options{
		Concurrency: 1000,
		Service: issuer(func(_ context.Context, r session.Request) (*session.Session, error) {
			begun <- struct{}{}
			<-release
			return issued(r), nil
		}),
	})
	answers := make(chan error, accepted)
	for range accepted {
		go func() {
			_, err := b.client.Issue(t.Context(), request())
			answers <- err
		}()
	}
	for range accepted {
		<-begun
	}
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for off := false; !off; {
		probe := request()
		probe.Deadline = time.Now().Add(20 * time.Millisecond)
		_, err := b.client.Issue(t.Context(), probe)
		off = errors.Is(err, events.ErrNoWorker)
	}
	select {
	case err := <-stopped:
		t.Fatalf("Run = %v before its requests were answered", err)
	default:
	}
	close(release)
	for range accepted {
		if err := <-answers; err != nil {
			t.Errorf("Issue during the drain: %v", err)
		}
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

func TestForeignAnswersAreRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*session.Session){
		"another identity":   func(s *session.Session) { s.IdentityID = uuid.New() },
		"no identity":        func(s *session.Session) { s.IdentityID = uuid.Nil },
		"no id":              func(s *session.Session) { s.ID = uuid.Nil },
		"another AAL":        func(s *session.Session) { s.AAL = "aal2" },
		"lives too long":     func(s *session.Session) { s.ExpiresAt = s.ExpiresAt.Add(time.Second) },
		"expired from birth": func(s *session.Session) { s.ExpiresAt = s.IssuedAt },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBus(t)
			b.run(t, worker.Options{Service: issuer(func(_ context.Context, r session.Request) (*session.Session, error) {
				s := issued(r)
				change(s)
				return s, nil
			})})
			got, err := b.client.Issue(t.Context(), request())
			if !errors.Is(err, session.ErrUnavailable) || got != nil {
				t.Errorf("Issue = %v, %v, want ErrUnavailable", got, err)
			}
		})
	}
}

func TestUnreadableRequestsAreInvalid(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	b.run(t, worker.Options{Service: issuer(func(context.Context, session.Request) (*session.Session, error) {
		t.Error("the service was asked for what cannot be read")
		return nil, errors.New("no")
	})})
	digest := strings.Repeat("ab", 32)
	for name, payload := range map[string]string{
		"empty":          ``,
		"not JSON":       `{`,
		"a list":         `[]`,
		"no digest":      `{}`,
		"a short digest": `{"digest":"abab"}`,
		"a long digest":  `{"digest":"` + digest + `ab"}`,
		"not hex":        `{"digest":"` + strings.Repeat("zz", 32) + `"}`,
		"no such id":     `{"digest":"` + digest + `","identity_id":"me"}`,
		"no such grant":  `{"digest":"` + digest + `","grant_id":"42"}`,
		"no such flow":   `{"digest":"` + digest + `","flow_id":"` + strings.Repeat("0", 100_000) + `"}`,
	} {
		_, err := events.Ask(t.Context(), b.api, events.SubjectSessionIssue, "r", time.Now().Add(patience), []byte(payload))
		if !errors.Is(err, &events.Refused{Code: events.CodeInvalid}) {
			t.Errorf("%s: Ask = %v, want it refused as invalid", name, err)
		}
	}
}

func BenchmarkHop(b *testing.B) {
	bus := newBus(b)
	bus.run(b, worker.Options{Service: issuer(func(_ context.Context, r session.Request) (*session.Session, error) { return issued(r), nil })})
	for b.Loop() {
		if _, err := bus.client.Issue(b.Context(), request()); err != nil {
			b.Fatal(err)
		}
	}
}
