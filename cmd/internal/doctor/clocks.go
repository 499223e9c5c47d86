package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/usher-auth/usher/events"
)

const (
	checkClockDB  = "clocks.database"
	checkClockBus = "clocks.bus"
	checkNTP      = "clocks.synchronised"
)

var clockLooks = []look{
	{[]Check{{checkClockDB, "the clock of the database's server"}}, (*Doctor).lookClockDB, false},
	{[]Check{{checkClockBus, "the clock of the bus's server"}}, (*Doctor).lookClockBus, false},
	{[]Check{{checkNTP, "this machine's clock is kept right"}}, (*Doctor).lookNTP, false},
}

// How far two clocks may be apart: flows, codes and credentials end by them.
const (
	apartYellow = time.Second
	apartRed    = 5 * time.Second
)

func judgeClock(f *findings, check, whose string, ahead, within time.Duration) {
	apart := max(ahead.Abs()-within, 0) // as far as it is sure
	direction := "before"
	if ahead < 0 {
		direction = "behind"
	}
	seen := fmt.Sprintf("%s is %s %s this machine (within %s)", whose, short(ahead.Abs()), direction, short(within))
	const mend = "keep all machines' clocks right by NTP: chronyd or systemd-timesyncd"
	switch {
	case apart > apartRed:
		f.add(Red, check, seen+": sessions, codes and credentials end at other times than they say", mend)
	case apart > apartYellow:
		f.add(Yellow, check, seen, mend)
	default:
		f.green(check, "%s", seen)
	}
}

func (d *Doctor) lookClockDB(ctx context.Context) (f findings) {
	db, err := d.db(ctx)
	switch {
	case err != nil:
		f.skip(noDatabase, checkClockDB)
	case db.Postgres == nil:
		f.green(checkClockDB, "SQLite has the clock of this machine")
	default:
		ahead, within, err := db.Clock(ctx)
		if err != nil {
			f.skip(noDatabase, checkClockDB)
			return f
		}
		judgeClock(&f, checkClockDB, "the database", ahead, within)
	}
	return f
}

func (d *Doctor) lookClockBus(ctx context.Context) (f findings) {
	b, ok := d.reached(ctx, &f, checkClockBus)
	if !ok {
		return f
	}
	for _, s := range b.states {
		judgeClock(&f, checkClockBus, "server "+s.Name, s.Ahead, s.Within)
	}
	if len(f) > 0 {
		return f
	}
	nc, ok := b.as(events.UserProvision, events.UserDelivery)
	if !ok {
		f.skip("no credential here may look, see "+checkCredentials, checkClockBus)
		return f
	}
	state, _, err := events.Compare(ctx, nc, events.StreamOptions{}, nil)
	if err != nil || state.Peers == 0 {
		f.skip("there is no stream, see "+checkStream, checkClockBus)
		return f
	}
	judgeClock(&f, checkClockBus, "the server of the stream", state.Ahead, state.Within)
	return f
}

func (d *Doctor) lookNTP(context.Context) (f findings) {
	synchronised, known := clockSynchronised()
	switch {
	case !known:
		f.skip("this system does not tell", checkNTP)
	case !synchronised:
		f.add(Yellow, checkNTP, "the kernel says that nothing keeps this machine's clock right", "start chronyd or systemd-timesyncd; for a container, on its host")
	default:
		f.green(checkNTP, "something keeps this machine's clock right")
	}
	return f
}
