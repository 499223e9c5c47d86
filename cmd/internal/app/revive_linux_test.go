package app

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/usher-auth/usher/events"
)

// The embedded bus was started while its disk was nearly full. A server chooses at its
// start what it may store, which was less than it had: it refused all events for ever,
// whatever was freed.
func TestABusThatWasStartedOnANearlyFullDiskTakesEventsAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=40m"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("a small file system cannot be mounted here: " + err.Error())
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	log := &lockedLog{}
	b := embeddedBus(t, log, dir)
	nc, err := b.connect(t.Context(), events.UserProvision)
	if err == nil {
		_, err = events.Provision(t.Context(), nc, events.StreamOptions{}, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	api, err := b.connect(t.Context(), events.UserAPIEvents)
	if err != nil {
		t.Fatal(err)
	}
	publisher, err := events.NewPublisher(api)
	if err != nil {
		t.Fatal(err)
	}
	publish := func(id string, size int) error {
		return publisher.Publish(t.Context(), []events.Message{{ID: id, Type: "test.filler", Payload: make([]byte, size)}})[0].Err
	}
	for n := range 50 {
		if err := publish(string(rune('a'+n)), 200<<10); err != nil {
			t.Fatal(err)
		}
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, int64(disk.Bavail)*disk.Bsize-2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.embedded.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	soonThat(t, "the bus says that its store is full", func() bool {
		err = publish("more", 1<<10)
		return events.IsStoreFull(err)
	})
	started := func() int { return strings.Count(log.String(), "started again") }
	b.revive(t.Context(), time.Minute, err)
	if started() != 0 {
		t.Error("the bus was started again although that gives it no room")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	b.revive(t.Context(), time.Minute, &jetstream.APIError{Description: "maximum bytes exceeded"})
	if started() != 0 {
		t.Error("the bus was started again because of a limit of the stream's own")
	}
	b.revive(t.Context(), time.Minute, err)
	if started() != 1 {
		t.Errorf("with room again the bus was started again %d times, want once", started())
	}
	soonThat(t, "the bus takes events again", func() bool { return publish("more", 1<<10) == nil })
}
