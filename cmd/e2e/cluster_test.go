package e2e_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/usher-auth/usher/events"
)

// TestWorkersOnACluster is the story of [TestAWorkerFromNothing] on a bus of
// three servers, with workers in every language: one server at a time may die,
// the one that leads the stream included, and all of them go on.
func TestWorkersOnACluster(t *testing.T) {
	t.Parallel()
	began := time.Now()
	s := newSystem(t, cluster, hooks(sessionHook))
	s.streamInSync()
	t.Logf("three servers are one bus after %s", time.Since(began).Round(time.Millisecond))
	y := beginStory(t, s)
	all := append([]*ownWorker{y.hello, y.other}, y.otherLanguages()...)

	y.missNothing()
	y.failOnce()
	y.failAndRedeliver()

	for range 2 { // the second time another one leads
		leader := s.streamInSync()
		s.processes[leader].kill()
		began := time.Now()
		id := y.register() // perhaps without its session
		for _, w := range all {
			w.prints(1, id)
			t.Logf("%s has the next event %s after %s died", w.name, time.Since(began).Round(time.Millisecond), leader)
		}
		s.signsIn()
		s.restart(leader)
	}
	s.chainIsWhole()
}

// otherLanguages makes and starts a worker in each, and waits for its first event.
func (y *story) otherLanguages() (all []*ownWorker) {
	y.t.Helper()
	for _, lang := range []string{"go", "node", "python"} {
		began := time.Now()
		w := y.newWorker(y.t, lang+"-worker", lang)
		if lacks := w.lacks(lang); lacks != "" {
			y.t.Log("left out: " + lacks)
			y.usher(y.t, "worker", "remove", w.name, "--yes")
			continue
		}
		w.start()
		w.prints(1, y.register())
		y.t.Logf("%s: from nothing to the first event: %s", lang, time.Since(began).Round(time.Millisecond))
		all = append(all, w)
	}
	return all
}

// signsIn waits until a registration has its session again.
func (s *system) signsIn() {
	s.t.Helper()
	eventually(s.t, 30*time.Second, func() error {
		if status, session := registerOnce(s.t, s.api(0)); !session {
			return fmt.Errorf("registered with %d, without a session", status)
		}
		return nil
	})
}

// streamInSync waits until all three servers have the whole stream, and tells
// which of them leads it.
func (s *system) streamInSync() (leader string) {
	s.t.Helper()
	creds, err := os.ReadFile(filepath.Join(s.dir, "bus", "creds", events.UserProvision+".creds"))
	if err != nil {
		s.t.Fatal(err)
	}
	nc, err := events.Connect(s.t.Context(), events.ConnectOptions{
		URL: s.busURL, Credentials: creds, User: events.UserProvision, Name: "test", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, 30*time.Second, func() error {
		stream, err := js.Stream(s.t.Context(), events.Stream)
		if err != nil {
			return err
		}
		c := stream.CachedInfo().Cluster
		if c == nil || c.Leader == "" || len(c.Replicas) != 2 {
			return fmt.Errorf("the stream is not on three servers: %+v", c)
		}
		for _, r := range c.Replicas {
			if !r.Current || r.Offline {
				return fmt.Errorf("a server lags: %+v", *r)
			}
		}
		leader = c.Leader
		return nil
	})
	return leader
}
