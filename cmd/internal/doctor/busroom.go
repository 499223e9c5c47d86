package doctor

import (
	"context"
	"fmt"
	"math"

	"github.com/usher-auth/usher/events"
)

const checkRoom = "bus.room"

var roomLook = look{[]Check{{checkRoom, "the stream and the servers' stores have room for more events"}}, (*Doctor).lookRoom, false}

func (d *Doctor) lookRoom(ctx context.Context) (f findings) {
	b, ok := d.reached(ctx, &f, checkRoom)
	if !ok || b.minority(&f, checkRoom) {
		return f
	}
	nc, ok := b.as(events.UserProvision, events.UserDelivery)
	if !ok {
		f.skip("no credential here may look, see "+checkCredentials, checkRoom)
		return f
	}
	stream, err := events.StreamNow(ctx, nc)
	if err != nil {
		f.skip("see "+checkStream, checkRoom)
		return f
	}
	judgeRoom(&f, "the stream", stream.Bytes, stream.MaxBytes, "a higher bus.max_bytes, which is taken at once, if the disks have room; else wait: an event leaves the stream after seven days")
	for _, s := range b.states {
		if s.Streams {
			judgeRoom(&f, "the store of "+s.Name, s.Store, s.MaxStore, "more disk and a higher --max-store of 'usher bus config --again', and start that server again; an embedded one takes three quarters of what it holds and of what is free when it starts, and starts again by itself where it is full and that has become more")
		}
	}
	if len(f) == 0 {
		f.green(checkRoom, "the stream has no limit of its own (bus.max_bytes); those of the servers' stores are seen where system.creds is")
	}
	return f
}

const (
	// fillsUp is from where on somebody should know, as the alerts have it.
	fillsUp = 0.8
	// largestEvent is more than any event takes.
	largestEvent = 64 << 10
)

// judgeRoom judges what has used so much of what it may; without a limit it says nothing.
func judgeRoom(f *findings, whose string, used, most uint64, mend string) {
	if most == 0 {
		return
	}
	share := float64(used) / float64(most)
	seen := fmt.Sprintf("%s holds %s of %s", whose, size(int64(min(used, math.MaxInt64))), size(int64(min(most, math.MaxInt64))))
	switch {
	case used+largestEvent > most:
		f.add(Red, checkRoom, seen+": the next event may find no room; those that do not fit wait in the database: no hook gets them, and none is lost", mend)
	case share >= fillsUp:
		f.add(Yellow, checkRoom, fmt.Sprintf("%s, %d %%: when it is full events wait in the database", seen, int(100*share)), mend)
	default:
		f.green(checkRoom, "%s", seen)
	}
}
