package events_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/natsserver"
)

func TestCompareChangesNothingAndNamesWhatDiffers(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	nc := b.connect(events.UserProvision)
	compare := func(o events.StreamOptions) (events.StreamState, []events.Drift) {
		t.Helper()
		state, drift, err := events.Compare(t.Context(), nc, o, declared)
		if err != nil {
			t.Fatalf("Compare: %v", err)
		}
		return state, drift
	}
	for range 2 { // the second time it is still missing: the first has made nothing
		if _, drift := compare(events.StreamOptions{}); !slices.Equal(drift, []events.Drift{{Name: events.Stream, Missing: true}}) {
			t.Errorf("Compare without a stream = %v, want the stream to be missing", drift)
		}
	}
	if _, err := events.StreamNow(t.Context(), nc); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("StreamNow without a stream = %v, want ErrStreamNotFound", err)
	}
	js := b.provision(events.StreamOptions{}, declared[0])
	state, drift := compare(events.StreamOptions{})
	if !slices.Equal(drift, []events.Drift{{Name: "audit", Missing: true}}) || state.Replicas != 1 || state.Peers != 1 {
		t.Errorf("Compare = %+v, %v, want audit to be missing, on one server", state, drift)
	}
	if state.Ahead.Abs() > state.Within+10*time.Millisecond {
		t.Errorf("the bus of this process is %s ahead (within %s)", state.Ahead, state.Within)
	}
	consumer, err := js.Consumer(t.Context(), events.Stream, "crm-sync")
	if err != nil {
		t.Fatal(err)
	}
	config := consumer.CachedInfo().Config
	config.AckWait = time.Second
	if _, err := js.UpdateConsumer(t.Context(), events.Stream, config); err != nil {
		t.Fatal(err)
	}
	if now, err := events.StreamNow(t.Context(), b.connect(events.UserDelivery)); err != nil || now.MaxBytes != 0 || now.Bytes != 0 {
		t.Errorf("StreamNow = %+v, %v, want an empty stream without a limit", now, err)
	}
	b.provision(events.StreamOptions{MaxBytes: 2 << 20})
	publish(t, b, messages(1, 10)...)
	if now, err := events.StreamNow(t.Context(), b.connect(events.UserDelivery)); err != nil || now.MaxBytes != 2<<20 || now.Messages != 10 || now.Bytes == 0 {
		t.Errorf("StreamNow = %+v, %v, want ten events and the limit", now, err)
	}
	_, drift = compare(events.StreamOptions{MaxBytes: 1 << 20})
	if len(drift) != 3 || drift[0].Name != events.Stream || !strings.Contains(drift[0].Differences, "max_bytes") ||
		drift[1].Name != "crm-sync" || drift[1].Differences != "ack_wait is 1000000000, want 30000000000" {
		t.Errorf("Compare = %v, want max_bytes of the stream and ack_wait of crm-sync", drift)
	}
}

func TestRightsDrift(t *testing.T) {
	t.Parallel()
	keys, err := events.LoadOrMakeKeys(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	creds := func(user string) []byte {
		text, err := keys.Credentials(user)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for _, user := range events.Users() {
		if drift, err := events.RightsDrift(creds(user), user); err != nil || len(drift) > 0 {
			t.Errorf("RightsDrift of %s = %q, %v, want none", user, drift, err)
		}
	}
	drift, err := events.RightsDrift(creds(events.UserAdminAuth), events.UserSession)
	for _, want := range []string{
		"has too much: publish $SRV.>", "lacks subscribe usher.svc.v1.session.issue q", "answers 0 times to a request, want 1",
	} {
		if err != nil || !slices.Contains(drift, want) {
			t.Errorf("RightsDrift of another user's = %q, %v, want %q", drift, err, want)
		}
	}
}

func TestReadKeysMakesNone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	if _, err := events.ReadKeys(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadKeys of no folder = %v, want fs.ErrNotExist", err)
	}
	if _, err := events.LoadOrMakeKeys(dir); err != nil {
		t.Fatal(err)
	}
	keys, err := events.ReadKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Credentials(events.UserHooks); err != nil {
		t.Errorf("keys that were read make no credential: %v", err)
	}
}

func TestMayBeyond(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	try := func(user, url string) ([]string, error) {
		return events.MayBeyond(t.Context(), events.ConnectOptions{
			URL: url, User: user, Credentials: b.credentials(user), Name: "test", Log: slog.New(slog.DiscardHandler),
		})
	}
	for _, user := range events.Users() {
		if allowed, err := try(user, b.server.ClientURL()); err != nil || len(allowed) > 0 {
			t.Errorf("MayBeyond as %s = %q, %v, want nothing", user, allowed, err)
		}
	}
	open, err := natsserver.Start(t.Context(), fmt.Sprintf("listen: \"127.0.0.1:-1\"\njetstream { store_dir: %q }", t.TempDir()), natsserver.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(open.Close)
	if allowed, err := try(events.UserHooks, open.ClientURL()); err != nil || len(allowed) != 2 {
		t.Errorf("MayBeyond on a server without rights = %q, %v, want both", allowed, err)
	}
}

func TestAskAsWorker(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.provision(events.StreamOptions{})
	creds, err := b.keys.WorkerCredentials("probe", time.Now().Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	nc, err := events.Connect(t.Context(), events.ConnectOptions{
		InProcess: b.server, Credentials: creds, User: "probe", Name: "probe", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := events.AskAsWorker(t.Context(), nc, "probe"); err != nil {
		t.Errorf("AskAsWorker = %v, want nil", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := events.AskAsWorker(ctx, b.connect(events.UserAdminAuth), "probe"); err == nil {
		t.Error("AskAsWorker as somebody without the right = nil, want an error")
	}
}

func TestServers(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	all, err := events.Servers(t.Context(), b.connect(events.UserSystem), 300*time.Millisecond)
	if err != nil || len(all) != 1 || !all[0].Streams || !all[0].SyncAlways || all[0].Version == "" || all[0].Ahead.Abs() > all[0].Within+10*time.Millisecond {
		t.Errorf("Servers = %+v, %v, want one that always syncs, with the clock of this machine", all, err)
	}
	if all, err := events.Servers(t.Context(), b.connect(events.UserAdminAuth), 100*time.Millisecond); len(all) > 0 {
		t.Errorf("Servers as somebody without the right = %+v, %v, want none", all, err)
	}
}
