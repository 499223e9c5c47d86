package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/usher-auth/usher/services/store"
)

const checkHosts = "database.hosts"

var hostsLook = look{[]Check{{checkHosts, "of the hosts in dsn one takes writes, and the others follow it"}}, (*Doctor).lookHosts, false}

func (d *Doctor) lookHosts(ctx context.Context) (f findings) {
	db, err := d.db(ctx)
	switch {
	case err != nil:
		f.skip(noDatabase, checkHosts)
	case db.Postgres == nil:
		f.green(checkHosts, "SQLite is a file of this machine")
	case db.Postgres.Hosts == 1:
		f.green(checkHosts, "dsn names one")
	default:
		judgeHosts(&f, db.Hosts(ctx))
	}
	return f
}

func judgeHosts(f *findings, hosts []store.Host) {
	var servers, writers []store.Host
	for _, h := range hosts {
		if n := slices.IndexFunc(servers, func(s store.Host) bool { return same(s, h) }); n >= 0 {
			f.add(Yellow, checkHosts, h.Name+" and "+servers[n].Name+" are one server, in whose place nothing comes", "take one out of dsn, or name a standby instead")
			continue
		}
		servers = append(servers, h)
		if h.Err == nil && h.Writes {
			writers = append(writers, h)
		}
	}
	slices.SortStableFunc(writers, func(a, b store.Host) int {
		return cmp.Or(cmp.Compare(b.Timeline, a.Timeline), cmp.Compare(b.LastEvent, a.LastEvent))
	})
	if len(writers) > 1 {
		forked(f, writers)
	}
	for _, h := range servers {
		switch {
		case h.Err != nil:
			f.add(Yellow, checkHosts, fmt.Sprintf("%s: %s; while it is away nothing takes the place of the other", h.Name, oneLine(h.Err)), mendHost(h.Err))
		case len(writers) == 1 && h.System != writers[0].System:
			f.add(Red, checkHosts, fmt.Sprintf("%s has the data of another cluster than %s, and cannot take its place", h.Name, writers[0].Name), "make it a standby anew: pg_basebackup from "+writers[0].Name+"; or take it out of dsn")
		}
	}
	switch {
	case len(*f) > 0:
	case len(writers) == 0: // the one that was asked before has changed meanwhile
		f.add(Red, checkHosts, "none takes writes", "promote the standby that is the furthest: SELECT pg_promote()")
	default:
		f.green(checkHosts, "%s takes writes, %d others follow", writers[0].Name, len(hosts)-1)
	}
}

// same tells whether two hosts that have answered are one server by two names.
func same(a, b store.Host) bool {
	return a.Err == nil && b.Err == nil && a.Started != "" && a.System == b.System && a.Started == b.Started
}

// mendHost is what to do about one of several hosts.
func mendHost(err error) string {
	if errors.As(err, new(*store.Refusal)) {
		return mendRefused(err)
	}
	return "start it as a standby; if it is gone for good, take it out of dsn"
}

// forked says that several hosts take writes, the newest timeline first.
func forked(f *findings, writers []store.Host) {
	var all, others []string
	for n, h := range writers {
		all = append(all, fmt.Sprintf("%s (timeline %d, event log up to %d, %d connections)", h.Name, h.Timeline, h.LastEvent, h.Used))
		if n > 0 {
			others = append(others, h.Name)
		}
	}
	mend := "keep " + writers[0].Name + ", which was promoted last: stop " + strings.Join(others, " and ") + " now, and keep what is there. Then make it a standby (pg_rewind, or pg_basebackup)"
	switch {
	case slices.ContainsFunc(writers, func(h store.Host) bool { return h.System != writers[0].System }):
		f.add(Red, checkHosts, strings.Join(all, " and ")+" take writes at once, and are of different clusters", "take out of dsn those that are not Usher's, before a process writes there")
		return
	case writers[1].Timeline == writers[0].Timeline:
		mend = "choose one, by the event log: stop the other now, and keep what is there. Then make it a standby anew (pg_basebackup; pg_rewind sees no difference on one timeline)"
	}
	f.add(Red, checkHosts, strings.Join(all, " and ")+" take writes at once: what is written to one the others lack, and people who registered are unknown there",
		mend+". Step by step: deploy/RUNBOOK.md#two-databases-take-writes")
}
