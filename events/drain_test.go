package events_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
)

// TestDrainingLosesNoAnswer ends the service while requests are handled, and
// while more wait for a place.
func TestDrainingLosesNoAnswer(t *testing.T) {
	t.Parallel()
	for _, requests := range []int{4, 20} { // there are 4 places
		b := startBus(t)
		release, begun := make(chan struct{}), make(chan struct{}, requests)
		session, api := b.connectTCP(events.UserSession), b.connectTCP(events.UserAPIAuth)
		stop := serve(t, session, func(context.Context, events.Request) ([]byte, error) {
			begun <- struct{}{}
			<-release
			time.Sleep(10 * time.Millisecond) // whoever does not wait for it is too early
			return []byte("done"), nil
		})
		answers := request(t, api, requests)
		<-begun

		stopped := make(chan error, 1)
		go func() {
			err := stop()
			session.Close() // as a process that ends
			stopped <- err
		}()
		eventually(t, "the service leaves", func() bool {
			_, err := events.Ask(t.Context(), api, events.SubjectSessionIssue, "", time.Now().Add(10*time.Millisecond), nil)
			return errors.Is(err, events.ErrNoWorker)
		})
		close(release)
		if err := <-stopped; err != nil {
			t.Errorf("Serve() = %v, want nil", err)
		}
		for n := range requests {
			if m, err := answers.NextMsg(5 * time.Second); err != nil || string(m.Data) != "done" {
				t.Fatalf("answer %d of %d = %v, want done", n+1, requests, err)
			}
		}
	}
}

// request sends n requests, each with a reply subject of its own, and returns
// when the bus has accepted them.
func request(t *testing.T, nc *nats.Conn, n int) (answers *nats.Subscription) {
	t.Helper()
	inbox := nc.NewInbox()
	answers, err := nc.SubscribeSync(inbox + ".*")
	if err != nil {
		t.Fatal(err)
	}
	for n := range n {
		if err := nc.PublishRequest(events.SubjectSessionIssue, fmt.Sprint(inbox, ".", n), nil); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, nc)
	return answers
}

// TestDrainingUnderLoadLosesNoAnswer ends the service while requests are on
// their way: each is answered, or it is known at once that nobody was there.
func TestDrainingUnderLoadLosesNoAnswer(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	for range 5 {
		session, api := b.connectTCP(events.UserSession), b.connectTCP(events.UserAPIAuth)
		var answered atomic.Int64
		stop := serve(t, session, func(context.Context, events.Request) ([]byte, error) { return nil, nil })
		var clients sync.WaitGroup
		for range 16 {
			clients.Go(func() {
				for {
					_, err := events.Ask(t.Context(), api, events.SubjectSessionIssue, "", soon(), nil)
					if errors.Is(err, events.ErrNoWorker) {
						return
					}
					if err != nil {
						t.Errorf("Ask of a service that ends = %v, want an answer or ErrNoWorker", err)
						return
					}
					answered.Add(1)
				}
			})
		}
		eventually(t, "requests are answered", func() bool { return answered.Load() > 100 })
		if err := stop(); err != nil {
			t.Errorf("Serve() = %v, want nil", err)
		}
		session.Close()
		clients.Wait()
	}
}

func TestServeEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	nc := b.connect(events.UserSession)
	ready, done := make(chan struct{}), make(chan error, 1)
	s := service(b.log, func(context.Context, events.Request) ([]byte, error) { return nil, nil })
	s.Ready = func() { close(ready) }
	go func() { done <- events.Serve(t.Context(), nc, s) }()
	<-ready
	nc.Close()
	if err := <-done; !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("Serve on a connection that was closed = %v, want ErrConnectionClosed", err)
	}
}

func TestServeSurvivesARestartOfTheBus(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	bus := &flaky{}
	bus.point(b)
	connect := func(user string) *nats.Conn { return b.dial(events.ConnectOptions{User: user, InProcess: bus}) }
	serve(t, connect(events.UserSession), func(context.Context, events.Request) ([]byte, error) { return nil, nil })
	api := connect(events.UserAPIAuth)
	b.server.Close()
	b.start()
	bus.point(b)
	eventually(t, "the service answers again", func() bool {
		_, err := events.Ask(t.Context(), api, events.SubjectSessionIssue, "", time.Now().Add(time.Second), nil)
		return err == nil
	})
}
