package events_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usher-auth/usher/events"
)

var declared = []events.Durable{
	{Name: "crm-sync", Types: []string{"identity.created"}},
	{Name: "audit", Types: []string{"session.issued", "identity.created", "session.issued"}},
}

func provision(t *testing.T, b *bus, o events.StreamOptions, durables []events.Durable) ([]string, error) {
	t.Helper()
	return events.Provision(t.Context(), b.connect(events.UserProvision), o, durables)
}

func TestProvisionIsIdempotent(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	changes, err := provision(t, b, events.StreamOptions{}, declared)
	want := []string{"created stream USHER_EVENTS", "created durable consumer crm-sync", "created durable consumer audit"}
	if !slices.Equal(changes, want) || err != nil {
		t.Errorf("Provision = %q, %v, want %q", changes, err, want)
	}
	for round := range 2 {
		if changes, err := provision(t, b, events.StreamOptions{}, declared); len(changes) != 0 || err != nil {
			t.Errorf("Provision again (%d) = %q, %v, want no change", round, changes, err)
		}
		b.server.Close()
		b.start()
	}
}

func TestProvisionDeclaresWhatUsherReliesOn(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	js := b.provision(events.StreamOptions{}, declared...)
	stream, err := js.Stream(t.Context(), events.Stream)
	if err != nil {
		t.Fatal(err)
	}
	is := stream.CachedInfo().Config
	want := is
	want.Subjects = []string{"usher.evt.v1.>", "usher.hook.v1.*.retry"}
	want.Storage, want.Retention, want.Discard = jetstream.FileStorage, jetstream.LimitsPolicy, jetstream.DiscardNew
	want.Duplicates, want.MaxAge, want.MaxBytes, want.MaxMsgs, want.Replicas = 10*time.Minute, 7*24*time.Hour, -1, -1, 1
	want.DenyDelete, want.DenyPurge, want.AllowDirect, want.AllowAtomicPublish = true, true, true, true
	want.PersistMode = jetstream.DefaultPersistMode
	if diff := cmp.Diff(want, is); diff != "" {
		t.Errorf("stream (-want +got):\n%s", diff)
	}

	consumer, err := js.Consumer(t.Context(), events.Stream, "audit")
	if err != nil {
		t.Fatal(err)
	}
	got := consumer.CachedInfo().Config
	expected := got
	expected.AckPolicy, expected.AckWait, expected.MaxAckPending = jetstream.AckExplicitPolicy, 30*time.Second, 10_000
	expected.MaxDeliver, expected.BackOff, expected.SampleFrequency = -1, nil, "100"
	expected.DeliverPolicy, expected.ReplayPolicy = jetstream.DeliverAllPolicy, jetstream.ReplayInstantPolicy
	expected.FilterSubjects = []string{"usher.evt.v1.identity.created", "usher.evt.v1.session.issued", "usher.hook.v1.audit.retry"}
	if diff := cmp.Diff(expected, got); diff != "" {
		t.Errorf("durable consumer (-want +got):\n%s", diff)
	}
}

func TestProvisionMendsWhatDiffers(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	js := b.provision(events.StreamOptions{}, declared...)
	stream, err := js.Stream(t.Context(), events.Stream)
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	config.Discard, config.Duplicates, config.MaxMsgs, config.Description = jetstream.DiscardOld, time.Minute, 5000, "by hand"
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	consumer, err := js.Consumer(t.Context(), events.Stream, "crm-sync")
	if err != nil {
		t.Fatal(err)
	}
	durable := consumer.CachedInfo().Config
	durable.MaxDeliver, durable.BackOff, durable.AckWait = 3, []time.Duration{time.Second}, time.Second
	durable.FilterSubjects = []string{"usher.evt.v1.session.issued"}
	if _, err := js.UpdateConsumer(t.Context(), events.Stream, durable); err != nil {
		t.Fatal(err)
	}

	changes, err := provision(t, b, events.StreamOptions{MaxBytes: 1 << 20}, declared)
	if err != nil || len(changes) != 2 {
		t.Fatalf("Provision = %q, %v, want two mends", changes, err)
	}
	for n, parts := range [][]string{
		{"mended stream USHER_EVENTS", "discard is old, want new", "duplicate_window is 60000000000, want 600000000000", "max_bytes is -1, want 1048576"},
		{"mended durable consumer crm-sync", "ack_wait", "max_deliver is 3, want -1", "usher.evt.v1.identity.created"},
	} {
		for _, part := range parts {
			if !strings.Contains(changes[n], part) {
				t.Errorf("Provision said %q, want %q in it", changes[n], part)
			}
		}
	}
	if changes, err := provision(t, b, events.StreamOptions{}, declared); len(changes) != 0 || err != nil {
		t.Errorf("Provision after mending = %q, %v, want no change", changes, err)
	}
	if _, err := stream.Info(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c := stream.CachedInfo().Config; c.MaxMsgs != 5000 || c.Description != "by hand" || c.MaxBytes != 1<<20 {
		t.Errorf("stream = %+v, want what an operator chose to stay", c)
	}
	changes, err = provision(t, b, events.StreamOptions{MaxBytes: events.NoLimit}, declared)
	if err != nil || len(changes) != 1 || !strings.Contains(changes[0], "max_bytes is 1048576, want -1") {
		t.Errorf("Provision without a limit = %q, %v, want it taken away", changes, err)
	}
}

// TestProvisionKeepsPauseAndPlace: mending a durable neither wakes what an
// operator paused nor loses what waits.
func TestProvisionKeepsPauseAndPlace(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	js := b.provision(events.StreamOptions{}, declared...)
	publish(t, b, messages(1, 5)...)
	hooks, err := jetstream.New(b.connect(events.UserHooks))
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := hooks.Consumer(t.Context(), events.Stream, "crm-sync")
	if err != nil {
		t.Fatal(err)
	}
	m, err := consumer.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := js.PauseConsumer(t.Context(), events.Stream, "crm-sync", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	more := []events.Durable{{Name: "crm-sync", Types: []string{"identity.created", "session.revoked"}}}
	if changes, err := provision(t, b, events.StreamOptions{}, more); len(changes) != 1 || err != nil {
		t.Fatalf("Provision = %q, %v, want one mend", changes, err)
	}
	info, err := consumer.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !info.Paused || info.AckFloor.Stream != 1 || info.NumPending != 4 {
		t.Errorf("durable after mending: paused %t, acked to %d, %d pending, want paused, 1, 4", info.Paused, info.AckFloor.Stream, info.NumPending)
	}
}

// TestProvisionStartsWhereItIsToldTo: a durable that says since when starts
// there, and is the same to whoever provisions it again.
func TestProvisionStartsWhereItIsToldTo(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	js := b.provision(events.StreamOptions{})
	publish(t, b, messages(1, 3)...)
	since := time.Now()
	publish(t, b, messages(4, 5)...)
	late := []events.Durable{{Name: "crm-sync", Types: []string{"identity.created"}, Since: since}}
	if changes, err := provision(t, b, events.StreamOptions{}, late); len(changes) != 1 || err != nil {
		t.Fatalf("Provision = %q, %v, want the durable created", changes, err)
	}
	consumer, err := js.Consumer(t.Context(), events.Stream, "crm-sync")
	if err != nil {
		t.Fatal(err)
	}
	if n := consumer.CachedInfo().NumPending; n != 2 {
		t.Errorf("%d events are pending, want the 2 behind the start", n)
	}
	for _, again := range []time.Time{since, {}, time.Now()} {
		late[0].Since = again
		if changes, err := provision(t, b, events.StreamOptions{}, late); len(changes) != 0 || err != nil {
			t.Errorf("Provision again = %q, %v, want no change", changes, err)
		}
	}
}

func TestProvisionSaysWhatItCannotMend(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	js := b.provision(events.StreamOptions{})
	_, err := js.CreatePushConsumer(t.Context(), events.Stream, jetstream.ConsumerConfig{Durable: "crm-sync", DeliverSubject: "x"})
	if err != nil {
		t.Fatal(err)
	}
	changes, err := provision(t, b, events.StreamOptions{Replicas: 1}, declared)
	if err == nil || !strings.Contains(err.Error(), "durable consumer crm-sync") {
		t.Errorf("Provision beside a push consumer = %v, want an error that names it", err)
	}
	if !slices.Equal(changes, []string{"created durable consumer audit"}) {
		t.Errorf("Provision = %q, want the other durable all the same", changes)
	}

	if events.OnlyKept(err) {
		t.Errorf("Provision = %v, of use as it is; want the durable missing", err)
	}

	changes, err = provision(t, b, events.StreamOptions{Replicas: 3}, []events.Durable{{Name: "late", Types: declared[0].Types}})
	if err == nil || !strings.Contains(err.Error(), "num_replicas is 1, want 3") || !events.OnlyKept(err) {
		t.Errorf("Provision of three replicas on one server = %v, want an error that says so, and that the stream is of use", err)
	}
	if !slices.Equal(changes, []string{"created durable consumer late"}) {
		t.Errorf("Provision = %q, want the durable all the same", changes)
	}
}

func TestProvisionRefusesWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	for _, d := range []events.Durable{
		{Name: "Crm", Types: []string{"identity.created"}},
		{Name: "crm.sync", Types: []string{"identity.created"}},
		{Name: "crm"},
		{Name: "crm", Types: []string{"identity.*"}},
		{Name: "crm", Types: []string{">"}},
		{Name: "crm", Types: []string{""}},
		{Name: "crm", Types: []string{"identity..created"}},
	} {
		changes, err := provision(t, b, events.StreamOptions{}, []events.Durable{d})
		if err == nil {
			t.Errorf("Provision(%+v) = %q, want an error", d, changes)
		}
	}
}

// TestProvisionSince: a new durable gets the events from its Since on, not the
// whole stream; one that was deleted is made again, and it is said.
func TestProvisionSince(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	d := events.Durable{Name: "late", Types: []string{"identity.created"}, Since: time.Now()}
	for _, want := range [][]string{{"created stream USHER_EVENTS", "created durable consumer late"}, {"created durable consumer late"}} {
		changes, err := provision(t, b, events.StreamOptions{}, []events.Durable{d})
		if !slices.Equal(changes, want) || err != nil {
			t.Errorf("Provision = %q, %v, want %q", changes, err, want)
		}
		js, err := jetstream.New(b.connect(events.UserProvision))
		if err != nil {
			t.Fatal(err)
		}
		c, err := js.Consumer(t.Context(), events.Stream, "late")
		if err != nil {
			t.Fatal(err)
		}
		is := c.CachedInfo().Config
		if is.DeliverPolicy != jetstream.DeliverByStartTimePolicy || is.OptStartTime == nil || !is.OptStartTime.Equal(d.Since) {
			t.Errorf("the durable starts by %v at %v, want at %v", is.DeliverPolicy, is.OptStartTime, d.Since)
		}
		if err := js.DeleteConsumer(t.Context(), events.Stream, "late"); err != nil {
			t.Fatal(err)
		}
	}
}
