package store

import (
	"strings"
	"testing"

	"github.com/lib/pq"
)

// twoServers gives those of a DSN with two hosts, and how often connections were dropped.
func twoServers(t *testing.T) (s *servers, one, two pq.Config, dropped *int) {
	t.Helper()
	config, _, err := parseDSN("postgres://usher:hunter2@127.0.0.1:5432,127.0.0.1:5433/usher")
	if err != nil {
		t.Fatal(err)
	}
	dropped = new(int)
	s = newServers(config, func() { *dropped++ })
	hosts := s.hosts()
	if len(hosts) != 2 || hosts[0].Port != 5432 || hosts[1].Port != 5433 {
		t.Fatalf("hosts = %v", hosts)
	}
	return s, hosts[0], hosts[1], dropped
}

func TestALostServerIsTriedLast(t *testing.T) {
	t.Parallel()
	s, one, _, dropped := twoServers(t)
	doubt := s.doubt()
	age := s.age.Load()
	s.lost(one, age)
	if first := s.hosts()[0].Port; first != 5433 || *dropped != 1 {
		t.Errorf("after the loss of the first %d is tried first, dropped %d times", first, *dropped)
	}
	select {
	case <-doubt:
	default:
		t.Error("nobody is told to doubt a connection to it")
	}
	// What comes late about it takes no connections to the other.
	s.lost(one, age)
	if *dropped != 1 {
		t.Errorf("dropped %d times, want once", *dropped)
	}
}

func TestAFormerPrimaryIsRefused(t *testing.T) {
	t.Parallel()
	s, one, two, dropped := twoServers(t)
	if _, err := s.accept(one, history{"a", 1}); err != nil || *dropped != 0 {
		t.Fatalf("accept = %v, dropped %d times", err, *dropped)
	}
	if _, err := s.accept(two, history{"a", 2}); err != nil || *dropped != 1 || s.hosts()[0].Port != two.Port {
		t.Errorf("accept of the new primary = %v, dropped %d times, first is %d", err, *dropped, s.hosts()[0].Port)
	}
	_, err := s.accept(one, history{"a", 1})
	if err == nil || !strings.Contains(err.Error(), "former primary") || s.hosts()[0].Port != two.Port {
		t.Errorf("accept of the former primary = %v", err)
	}
	if _, err := s.accept(one, history{"a", 3}); err != nil {
		t.Errorf("accept of one that was promoted again = %v", err)
	}
	if _, err := s.accept(two, history{"b", 9}); err == nil || !strings.Contains(err.Error(), "another cluster") || s.hosts()[0].Port != one.Port {
		t.Errorf("accept of another cluster = %v", err)
	}
}

// With one host too, what old connections say late is no news of the new ones.
func TestLateNewsOfOneServer(t *testing.T) {
	t.Parallel()
	config, _, err := parseDSN("postgres://usher:hunter2@127.0.0.1:5432/usher")
	if err != nil {
		t.Fatal(err)
	}
	dropped := 0
	s := newServers(config, func() { dropped++ })
	old := s.age.Load()
	s.lost(config, old)
	doubt := s.doubt()
	s.lost(config, old)
	select {
	case <-doubt:
		t.Error("a late time-out takes the lead from a new connection")
	default:
	}
	if dropped != 1 {
		t.Errorf("dropped %d times, want once", dropped)
	}
}
