package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/usher-auth/usher/cmd/internal/app"
	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
)

const (
	checkStream      = "bus.stream"
	checkConsumers   = "bus.consumers"
	checkCopies      = "bus.replication"
	checkSync        = "bus.sync_interval"
	checkPayload     = "bus.max_payload"
	checkSessions    = "bus.session_workers"
	checkHookWorkers = "bus.hook_workers"
	checkLag         = "bus.lag"
)

var streamLook = look{[]Check{
	{checkStream, "the stream is as declared"},
	{checkConsumers, "each hook's durable consumer is as declared"},
	{checkCopies, "the stream is on as many servers as it should be, and all have all of it"},
}, (*Doctor).lookStream, false}

// mendsItself is what to do about what a leader provisions by itself.
const mendsItself = "a process with the API mends it within 30 seconds; if it stays, its log says why: usher serve"

func (d *Doctor) lookStream(ctx context.Context) (f findings) {
	all := []string{checkStream, checkConsumers, checkCopies}
	b, ok := d.reached(ctx, &f, all...)
	if !ok || b.minority(&f, all...) {
		return f
	}
	nc, ok := b.as(events.UserProvision, events.UserDelivery)
	if !ok {
		f.skip("no credential here may look, see "+checkCredentials, all...)
		return f
	}
	durables, note := d.durables(ctx)
	state, drift, err := events.Compare(ctx, nc, app.StreamOptionsOf(d.Config), durables)
	if err != nil {
		f.add(Red, checkStream, "the bus does not answer for its streams, as if most of their servers were away: "+cause(err), "start most of the servers of the cluster; if they run, see their logs and disks")
		f.skip("see "+checkStream, checkConsumers, checkCopies)
		return f
	}
	if missing := slices.IndexFunc(drift, func(d events.Drift) bool { return d.Name == events.Stream && d.Missing }); missing >= 0 {
		f.add(Red, checkStream, "there is no stream "+events.Stream+": no hook gets an event", mendsItself+d.Flags)
		f.skip("there is no stream, see "+checkStream, checkConsumers, checkCopies)
		return f
	}
	d.judgeDrift(&f, state, drift, len(durables), note)
	d.judgeCopies(&f, state)
	return f
}

// durables are those that are declared; note says what of that is not known.
func (d *Doctor) durables(ctx context.Context) (list []events.Durable, note string) {
	table, err := d.table(ctx)
	if err != nil {
		note = "; those of the database are not known"
	}
	_, list = app.Declared(d.Config, table)
	return list, note
}

// table gives the hooks in the database.
func (d *Doctor) table(ctx context.Context) ([]delivery.Hook, error) {
	db, err := d.db(ctx)
	if err != nil {
		return nil, err
	}
	return db.Hooks(ctx)
}

func (d *Doctor) judgeDrift(f *findings, state events.StreamState, drift []events.Drift, declared int, note string) {
	stream, consumers := true, 0
	for _, one := range drift {
		switch {
		case one.Name == events.Stream:
			stream = false
			f.add(Red, checkStream, fmt.Sprintf("stream %s: %s", one.Name, one.Differences), mendsItself+d.Flags)
		case one.Missing:
			consumers++
			f.add(Red, checkConsumers, fmt.Sprintf("durable consumer %s is missing: nobody gets its events", one.Name), mendsItself+d.Flags)
		default:
			consumers++
			f.add(Red, checkConsumers, fmt.Sprintf("durable consumer %s: %s", one.Name, one.Differences), mendsItself+d.Flags)
		}
	}
	if stream {
		f.green(checkStream, "%s is as declared: %d messages, %s", events.Stream, state.Messages, size(int64(min(state.Bytes, 1<<62))))
	}
	if consumers == 0 {
		f.green(checkConsumers, "%d are as declared%s", declared, note)
	}
}

func (d *Doctor) judgeCopies(f *findings, state events.StreamState) {
	want := d.Config.Bus.Replicas
	servers := strings.Count(d.Config.Bus.URL, ",") + 1
	switch {
	case state.Peers > 1 && state.Leader == "":
		f.add(Red, checkCopies, "the stream has no leader: it stores nothing", "start the servers that are away: most of them are needed")
	case len(state.Behind) > 0:
		f.add(Yellow, checkCopies, strings.Join(state.Behind, ", "), "start that server, or wait until it has caught up; another loss may stop the bus")
	case want == 0 && state.Replicas == 1 && servers >= 3:
		f.add(Yellow, checkCopies, fmt.Sprintf("each event is on one of %d servers: when that is away, all stands still", servers), "bus.replicas: 3")
	case state.Peers < state.Replicas:
		f.add(Yellow, checkCopies, fmt.Sprintf("%d of %d copies are there", state.Peers, state.Replicas), "start the servers that are away")
	case state.Replicas == 1:
		f.green(checkCopies, "each event is on one server")
	default:
		f.green(checkCopies, "each event is on %d servers, all have all of it, %s leads", state.Replicas, state.Leader)
	}
}

var syncLook = look{[]Check{{checkSync, "the servers wait for their disks before they acknowledge"}}, (*Doctor).lookSync, false}

// lookSync asks the servers, which a part may not.
func (d *Doctor) lookSync(ctx context.Context) (f findings) {
	if d.embedded() {
		f.green(checkSync, "always, as the embedded bus is told")
		return f
	}
	b, ok := d.reached(ctx, &f, checkSync)
	if !ok {
		return f
	}
	for _, s := range b.states {
		if s.Streams {
			judgeSync(&f, s.SyncAlways, "at "+s.Name)
		}
	}
	if len(f) == 0 {
		f.skip("seen where system.creds of 'usher bus config' is, beside the folder of bus.credentials or in it", checkSync)
	}
	return f
}

func judgeSync(f *findings, always bool, where string) {
	if always {
		f.green(checkSync, "always, %s", where)
		return
	}
	f.add(Red, checkSync, "not always, "+where+": a power cut loses minutes of events that were acknowledged",
		"write jetstream { sync_interval: always } into its configuration, as 'usher bus config' writes it, and start it again")
}

var payloadLook = look{[]Check{{checkPayload, "how large a message may be"}}, (*Doctor).lookPayload, false}

func (d *Doctor) lookPayload(ctx context.Context) (f findings) {
	b, ok := d.reached(ctx, &f, checkPayload)
	if !ok {
		return f
	}
	nc, ok := b.as(sorted(b.conns)...)
	if !ok {
		f.skip("no credential is taken, see "+checkCredentials, checkPayload)
		return f
	}
	if most := nc.MaxPayload(); most < events.MaxPayload {
		f.add(Yellow, checkPayload, fmt.Sprintf("%d bytes: sessions of people with large traits cannot be issued", most), fmt.Sprintf("write max_payload: %dKB into the configuration of the servers, and start them again", events.MaxPayload>>10))
		return f
	}
	f.green(checkPayload, "%d bytes", nc.MaxPayload())
	return f
}
