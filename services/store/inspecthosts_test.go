package store_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/storetest"
)

// TestHostsOfADSN looks at a primary with its standby, then at two primaries on one
// timeline, each with a process of its own, and then at one that is gone.
func TestHostsOfADSN(t *testing.T) {
	t.Parallel()
	p, err := storetest.StartPair(serverDir(t))
	noPostgreSQL(t, err)
	t.Cleanup(p.Stop)
	look := func() (one, two store.Host) {
		t.Helper()
		hosts := inspect(t, store.Options{DSN: p.DSN()}).Hosts(t.Context())
		if len(hosts) != 2 || !strings.Contains(p.DSN(), hosts[0].Name+","+hosts[1].Name) {
			t.Fatalf("Hosts = %+v, want both of %s", hosts, p.DSN())
		}
		return hosts[0], hosts[1]
	}
	one, two := look()
	if !one.Writes || two.Writes || one.Err != nil || two.Err != nil || one.System == "" || one.System != two.System || one.Timeline != 1 {
		t.Errorf("Hosts of a pair = %+v, %+v", one, two)
	}
	if err := p.Fork(); err != nil {
		t.Fatal(err)
	}
	// What starts goes to the first that takes writes: nothing tells it of the other.
	for _, dsn := range []string{p.DSN(), otherOrder(t, p.DSN())} {
		s, err := store.Open(t.Context(), store.Options{DSN: dsn, CipherSecrets: []string{storetest.Secret}})
		if err != nil {
			t.Fatalf("Open beside another primary: %v", err)
		}
		t.Cleanup(func() { _ = s.Close() })
	}
	execute(t, p.Primary.DSN(), `SET synchronous_commit = local; CREATE TABLE event_log AS SELECT 7::bigint AS seq`) // the other has none
	one, two = look()
	if one.Err != nil || two.Err != nil || one.LastEvent+two.LastEvent != 7 {
		t.Errorf("Hosts after a fork = %+v, %+v, want one with 7 events and one of which that is not known", one, two)
	}
	if !one.Writes || !two.Writes || one.Timeline != 2 || two.Timeline != 2 || one.System != two.System || one.Used == 0 || two.Used == 0 {
		t.Errorf("Hosts after a fork = %+v, %+v, want two that take writes on timeline 2, and are used", one, two)
	}
	if err := p.Primary.Kill(); err != nil {
		t.Fatal(err)
	}
	if one, two = look(); one.Err == nil || two.Err != nil || !two.Writes {
		t.Errorf("Hosts with one that is gone = %+v, %+v", one, two)
	}
}

// otherOrder gives a DSN with its hosts the other way round.
func otherOrder(t *testing.T, dsn string) string {
	t.Helper()
	begin := strings.Index(dsn, "@") + 1
	end := begin + strings.Index(dsn[begin:], "/")
	hosts := strings.Split(dsn[begin:end], ",")
	slices.Reverse(hosts)
	return dsn[:begin] + strings.Join(hosts, ",") + dsn[end:]
}

// TestInspectSeesADatabaseThatRefusesWrites: that the inspection itself is read-only
// must not hide it.
func TestInspectSeesADatabaseThatRefusesWrites(t *testing.T) {
	t.Parallel()
	dsn := storetest.PostgreSQL(t)
	at, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	for _, refuses := range []bool{false, true} {
		if refuses {
			execute(t, dsn, `ALTER DATABASE `+strings.TrimPrefix(at.Path, "/")+` SET default_transaction_read_only = on`)
		}
		i := inspect(t, store.Options{DSN: dsn})
		if facts, err := i.PostgreSQL(t.Context()); err != nil || facts.ReadOnly != refuses {
			t.Errorf("ReadOnly = %v, %v, want %v", facts.ReadOnly, err, refuses)
		}
		if hosts := i.Hosts(t.Context()); len(hosts) != 1 || hosts[0].Err != nil || hosts[0].Writes == refuses {
			t.Errorf("Hosts = %+v, want one that writes: %v", hosts, !refuses)
		}
	}
}
