package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/audit"
)

// withSink signs in, and keeps checkpoints in a file of the test.
func withSink(sink string) settings {
	return merge(hooks(sessionHook), settings{"audit": settings{"checkpoint": settings{"sink": sink}}})
}

// verify runs usher audit verify and gives what it prints.
func (s *system) verify(args ...string) (said string, code int) {
	s.t.Helper()
	stdout, stderr, code := usher(s.t, nil, append([]string{"audit", "verify", "--dev", "-c", s.config, "--admin", s.admins[0]}, args...)...)
	return stdout + stderr, code
}

// signed waits until a file holds a checkpoint that the event log has grown
// behind, and gives all that are in it.
func (s *system) signed(sink string, behind int64) (all []audit.Checkpoint) {
	s.t.Helper()
	eventually(s.t, 30*time.Second, func() error {
		all = nil
		file, err := os.Open(sink)
		if err != nil {
			return err
		}
		defer file.Close()
		err = audit.Read(file, audit.Handler{Checkpoint: func(c audit.Checkpoint) error { all = append(all, c); return nil }})
		if err == nil && (len(all) == 0 || all[len(all)-1].Seq <= behind) {
			err = fmt.Errorf("no checkpoint behind record %d in %s", behind, sink)
		}
		return err
	})
	return all
}

// makeCheckpointDue fills the event log: the next checkpoint is due a minute after
// the former or behind so many records.
func (s *system) makeCheckpointDue() {
	for range audit.SignRecords {
		resp, err := http.Get(s.admins[0] + "/admin/identities?page_size=1") // each read is an event
		if err != nil {
			return // it has died of it
		}
		resp.Body.Close()
	}
}

// TestAuditTrail is what an operator does with the event log: verify, export,
// keep keys, and see that somebody has changed it.
func TestAuditTrail(t *testing.T) {
	t.Parallel()
	for _, shape := range shapes {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			sink := filepath.Join(t.TempDir(), "checkpoints.jsonl")
			s := newSystem(t, shape, withSink(sink))
			app := newApp(t, s.api(0))
			for range 3 {
				app.register(newAddress())
			}
			s.signed(sink, 0)
			said, code := s.verify("--checkpoint", sink)
			if code != 0 || !strings.Contains(said, " records, 1 checkpoint, intact") || strings.Contains(said, "cut off") {
				t.Errorf("verify = %d: %s, want it intact", code, said)
			}
			if said, code = s.verify("--database"); code != 0 || !strings.Contains(said, "intact") || !strings.Contains(said, "cut off cannot be seen") {
				t.Errorf("verify --database = %d: %s, want it intact, and what cannot be seen", code, said)
			}

			s.verifiesItself()

			// An export goes on where the former one ended.
			export, cursor := filepath.Join(s.dir, "export.jsonl"), filepath.Join(s.dir, "cursor")
			var whole string
			for range 2 {
				stdout, stderr, code := usher(t, nil, "events", "export", "--admin", s.admins[0], "--cursor", cursor)
				if code != 0 {
					t.Fatalf("events export = %d: %s", code, stderr)
				}
				whole += stdout
				app.register(newAddress())
			}
			write(t, export, whole)
			if said, code = s.verify("--checkpoint", sink, export); code != 0 {
				t.Errorf("verify of the export = %d: %s", code, said)
			}
			changed := strings.Replace(whole, `"method":"password"`, `"method":"passworb"`, 1)
			write(t, export, changed)
			if said, code = s.verify(export); code != 1 || !strings.Contains(said, "altered") {
				t.Errorf("verify of a changed export = %d: %s, want the record named", code, said)
			}

			// A new key signs from now on, the former one still verifies.
			keys := func(more ...string) []string {
				stdout, stderr, code := usher(t, nil, append([]string{"audit", "keys", "--dev", "-c", s.config}, more...)...)
				if code != 0 {
					t.Fatalf("audit keys %v = %d: %s", more, code, stderr)
				}
				return strings.Fields(stdout)
			}
			former, now := keys(), keys("--rotate")
			if len(now) != 6 || now[3] != former[0] || now[0] == former[0] || now[2] != "current" || now[5] != "former" {
				t.Errorf("keys = %q, want a new one and the former %q", now, former)
			}
			if said, code = s.verify("--key", former[0], "--checkpoint", sink); code != 0 {
				t.Errorf("verify with the former key = %d: %s", code, said)
			}
			if said, code = s.verify("--key", now[0], "--checkpoint", sink); code != 1 || !strings.Contains(said, "forged") {
				t.Errorf("verify with a key that has signed nothing = %d: %s, want it forged", code, said)
			}
			if n := len(s.events("type=admin.acted")); n == 0 {
				t.Error("no event tells of exports and the new key")
			}
		})
	}
}

// TestKilledAroundACheckpoint: behind a kill -9 between the move and the
// checkpoint, and between the checkpoint and its event, the log verifies and the
// sink gets what it has missed.
func TestKilledAroundACheckpoint(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"before-checkpoint", "after-checkpoint"} {
		for _, shape := range shapes {
			t.Run(point+"/"+shape, func(t *testing.T) {
				t.Parallel()
				sink := filepath.Join(t.TempDir(), "checkpoints.jsonl")
				s := newSystem(t, shape, withSink(sink))
				behind := int64(0)
				if shape != "parts" { // where a console has begun the log
					s.signed(sink, 0)
					behind = audit.SignRecords
				}
				s.crash(point, "api") // nothing behind that was signed
				address := newAddress()
				status, _ := registerOnce(t, s.api(0))
				if behind > 0 {
					s.makeCheckpointDue()
				}
				if s.reviveDead(20*time.Second) == 0 {
					t.Fatalf("nobody died at %s; the registration was answered with %d", point, status)
				}
				eventually(t, 20*time.Second, func() error {
					_, err := newApp(t, s.api(0)).initAPI()
					return err
				})
				newApp(t, s.api(0)).register(address)
				signed := s.signed(sink, behind)
				said, code := s.verify("--checkpoint", sink)
				if code != 0 || !strings.Contains(said, fmt.Sprintf(" %d checkpoint", len(signed))) || !strings.Contains(said, ", intact") {
					t.Errorf("verify = %d: %s, want %d checkpoints, intact", code, said, len(signed))
				}
				s.chainIsWhole()
			})
		}
	}
}

// TestAStreamEndsWithItsServer: readers that wait do not hold up its end.
func TestAStreamEndsWithItsServer(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "sqlite", hooks(sessionHook))
	var waiting sync.WaitGroup
	for _, path := range []string{"/admin/events/stream?after=latest", "/admin/events?after=latest&wait=50"} {
		begun := make(chan struct{})
		begin := sync.OnceFunc(func() { close(begun) })
		waiting.Go(func() {
			defer begin()
			trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { begin() }}
			req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, s.admins[0]+path, nil)
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				return
			}
			defer resp.Body.Close()
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Errorf("%s ends with %v", path, err)
			}
		})
		<-begun
	}
	began := time.Now()
	s.processes["serve"].stop(t)
	waiting.Wait()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("with two readers the end took %s", took)
	}
}

// operations are those of S82 that are built, each with what does it and the
// event that tells of it.
var operations = []struct {
	name, event, says string
	do                func(o *operator)
}{
	{"registration", "identity.created", `"method":"password"`, func(o *operator) { o.person = o.app.register(o.address) }},
	{"its session", "session.issued", "", func(*operator) {}},
	{"sign-in", "login.succeeded", "", func(o *operator) { o.session = login(o.t, o.app, o.address, goodPassword).SessionToken }},
	{"refused sign-in", "login.failed", `"reason":"credentials"`, func(o *operator) { login(o.t, o.app, o.address, "not that one, surely") }},
	{"session end", "session.revoked", `"reason":"logout"`, func(o *operator) { o.canLogOut(o.app, o.session) }},
	{"a change by an administrator", "identity.updated", "metadata_public", func(o *operator) {
		o.admin.must("PATCH", "/admin/identities/"+o.person.Identity.ID, asJSON, []byte(`[{"op":"add","path":"/metadata_public","value":{"a":1}}]`))
	}},
	{"a look at a person", "admin.acted", "identity.read", func(o *operator) { o.admin.must("GET", "/admin/identities/"+o.person.Identity.ID, nil, nil) }},
	{"a list of people", "admin.acted", "identity.list", func(o *operator) { o.admin.must("GET", "/admin/identities", nil, nil) }},
	{"a look at mails", "admin.acted", "message.list", func(o *operator) { o.admin.must("GET", "/admin/courier/messages", nil, nil) }},
	{"a longer session", "admin.acted", "session.extend", func(o *operator) {
		o.admin.must("PATCH", "/admin/sessions/"+o.person.Session.ID+"/extend", asJSON, nil)
	}},
	{"a recovery handed out", "admin.acted", "recovery.code", func(o *operator) {
		o.admin.must("POST", "/admin/recovery/code", asJSON, []byte(`{"identity_id":"`+o.person.Identity.ID+`"}`))
	}},
	{"an export", "admin.acted", "audit.export", func(o *operator) { o.admin.must("GET", "/admin/audit/export", nil, nil) }},
	{"a session ended by an administrator", "session.revoked", `"reason":"admin"`, func(o *operator) {
		o.admin.must("DELETE", "/admin/sessions/"+o.person.Session.ID, nil, nil)
	}},
	{"a deletion", "identity.deleted", "", func(o *operator) { o.admin.must("DELETE", "/admin/identities/"+o.person.Identity.ID, nil, nil) }},
	{"a new token", "admin.acted", "token.create", func(o *operator) { o.command("admin", "token", "new", "ops") }},
	{"a token's end", "admin.acted", "token.remove", func(o *operator) { o.command("admin", "token", "remove", "ops") }},
	{"a new key", "admin.acted", "audit.key.rotate", func(o *operator) { o.command("audit", "keys", "--rotate") }},
}

// operator does what operations say.
type operator struct {
	*system
	app, admin *client
	address    string
	person     registered
	session    string
}

func (o *operator) command(args ...string) {
	if _, stderr, code := usher(o.t, nil, append(args, "--dev", "-c", o.config)...); code != 0 {
		o.t.Errorf("usher %v = %d: %s", args, code, stderr)
	}
}

// TestEveryOperationHasAnEvent is S82: id, time, actor and outcome of each.
func TestEveryOperationHasAnEvent(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "sqlite", merge(hooks(sessionHook), settings{"selfservice": settings{"flows": settings{"recovery": settings{"enabled": true}}}}))
	o := &operator{system: s, app: newApp(t, s.api(0)), admin: newApp(t, s.admins[0]), address: newAddress()}
	after := ""
	for _, op := range operations {
		op.do(o)
		eventually(t, 10*time.Second, func() error {
			var page struct {
				Events []events.Event
				Next   string
			}
			o.admin.must("GET", "/admin/events?type="+op.event+"&after="+after, nil, nil).json(t, &page)
			for _, e := range page.Events {
				if strings.Contains(string(e.Data), op.says) {
					if e.ID == "" || e.Time.IsZero() || e.Actor == "" || strings.Contains(string(e.Data), o.address) {
						t.Errorf("%s: event %+v lacks who or when, or holds an address", op.name, e)
					}
					return nil
				}
			}
			return fmt.Errorf("%s: no %s that says %s", op.name, op.event, op.says)
		})
	}
}

// TestAllConsumersAgree reads events in four ways while people register at once:
// pages with long polls, a stream, exports, and a durable consumer. All give the
// same ones, and those of each identity in the same order.
func TestAllConsumersAgree(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "parts", hooks(sessionHook))
	const writers, each = 8, 5
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	types := []string{"identity.created", "session.issued"}
	reading := map[string]func(context.Context, func([]byte) bool) error{
		"pages": s.readPages, "stream": s.readStream, "durable": s.durable(types),
	}
	got := map[string]map[string][]string{} // by way and identity: ids in their order
	var mu sync.Mutex
	var readers sync.WaitGroup
	for way, read := range reading {
		got[way] = map[string][]string{}
		readers.Go(func() {
			seen := 0
			err := read(ctx, func(raw []byte) bool {
				e, err := events.Decode(raw)
				if err != nil || !slices.Contains(types, e.Type) {
					return true
				}
				mu.Lock()
				defer mu.Unlock()
				if ids := got[way][e.Subject]; slices.Contains(ids, e.ID) {
					return true // a durable may give it again
				}
				got[way][e.Subject] = append(got[way][e.Subject], e.ID)
				seen++
				return seen < 2*writers*each
			})
			if err != nil {
				t.Errorf("%s: %v", way, err)
			}
		})
	}
	var registering sync.WaitGroup
	for n := range writers {
		registering.Go(func() {
			app := newApp(t, s.api(n))
			for range each {
				app.register(newAddress())
			}
		})
	}
	registering.Wait()
	readers.Wait()

	want := map[string][]string{}
	stdout, stderr, code := usher(t, nil, "events", "export", "--admin", s.admins[1], "--type", strings.Join(types, ","))
	if code != 0 {
		t.Fatalf("events export = %d: %s", code, stderr)
	}
	for line := range strings.Lines(stdout) {
		var l struct{ Record struct{ Event events.Event } }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if e := l.Record.Event; e.ID != "" {
			want[e.Subject] = append(want[e.Subject], e.ID)
		}
	}
	if len(want) != writers*each {
		t.Errorf("the export has %d people, want %d", len(want), writers*each)
	}
	for way, events := range got {
		if d := cmp.Diff(want, events); d != "" {
			t.Errorf("%s differs from the export (-, +):\n%s", way, d)
		}
	}
}

// readPages reads pages, waiting for more, until take has enough.
func (s *system) readPages(ctx context.Context, take func([]byte) bool) error {
	c := newApp(s.t, s.admins[0])
	for after := ""; ctx.Err() == nil; {
		a, err := c.do("GET", "/admin/events?limit=7&wait=5&type=identity.created&type=session.issued&after="+after, nil, nil)
		if err != nil {
			return err
		}
		var page struct {
			Events []json.RawMessage
			Next   string
		}
		if err := json.Unmarshal(a.body, &page); err != nil {
			return err
		}
		after = page.Next
		for _, raw := range page.Events {
			if !take(raw) {
				return nil
			}
		}
	}
	return ctx.Err()
}

// readStream reads the stream, and connects again after each tenth event.
func (s *system) readStream(ctx context.Context, take func([]byte) bool) error {
	last := ""
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.admins[0]+"/admin/events/stream", nil)
		if err != nil {
			return err
		}
		req.Header.Set("Last-Event-Id", last)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		lines, n := bufio.NewScanner(resp.Body), 0
		for n < 10 && lines.Scan() {
			if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				last = id
			}
			if raw, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: ")); ok {
				n++
				if !take(raw) {
					_ = resp.Body.Close()
					return nil
				}
			}
		}
		_ = resp.Body.Close()
	}
	return ctx.Err()
}

// durable reads a durable consumer of its own.
func (s *system) durable(types []string) func(context.Context, func([]byte) bool) error {
	return func(ctx context.Context, take func([]byte) bool) error {
		consumer := func(user string, get func(jetstream.JetStream) (jetstream.Consumer, error)) (jetstream.Consumer, error) {
			creds, err := os.ReadFile(filepath.Join(s.dir, "bus", "creds", user+".creds"))
			if err != nil {
				return nil, err
			}
			nc, err := events.Connect(ctx, events.ConnectOptions{URL: s.busURL, Credentials: creds, User: user, Name: "test", Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				return nil, err
			}
			s.t.Cleanup(nc.Close)
			js, err := jetstream.New(nc)
			if err != nil {
				return nil, err
			}
			return get(js)
		}
		var subjects []string
		for _, t := range types {
			subjects = append(subjects, events.Subject(t))
		}
		config := jetstream.ConsumerConfig{Durable: "agree", AckPolicy: jetstream.AckExplicitPolicy, FilterSubjects: subjects, MaxAckPending: 1}
		_, err := consumer(events.UserProvision, func(js jetstream.JetStream) (jetstream.Consumer, error) {
			return js.CreateConsumer(ctx, events.Stream, config)
		})
		if err != nil {
			return err
		}
		c, err := consumer(events.UserHooks, func(js jetstream.JetStream) (jetstream.Consumer, error) {
			return js.Consumer(ctx, events.Stream, config.Durable)
		})
		if err != nil {
			return err
		}
		for ctx.Err() == nil {
			batch, err := c.Fetch(1, jetstream.FetchMaxWait(time.Second))
			if err != nil {
				return err
			}
			for m := range batch.Messages() {
				if err := m.Ack(); err != nil {
					return err
				}
				if !take(m.Data()) {
					return nil
				}
			}
		}
		return ctx.Err()
	}
}

// verifiesItself has a running server verify its log, and reads what it proves it by.
func (s *system) verifiesItself() {
	s.t.Helper()
	admin := newApp(s.t, s.admins[0])
	if a := admin.must("POST", "/admin/audit/verify", map[string]string{"Content-Type": "application/json"}, []byte(`{"last":0}`)); a.status != 202 {
		s.t.Fatalf("verify = %d: %s", a.status, a.body)
	}
	var check struct {
		State  string
		Report struct{ Records int64 }
	}
	for end := time.Now().Add(20 * time.Second); check.State != "intact" && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		admin.must("GET", "/admin/audit/verify", nil, nil).json(s.t, &check)
	}
	var signed struct{ Checkpoints []struct{ Seq int64 } }
	admin.must("GET", "/admin/audit/checkpoints", nil, nil).json(s.t, &signed)
	var newest struct{ Events []struct{ ID string } }
	admin.must("GET", "/admin/events?order=newest&limit=1", nil, nil).json(s.t, &newest)
	if check.Report.Records == 0 || len(signed.Checkpoints) == 0 || len(newest.Events) == 0 {
		s.t.Fatalf("verify = %+v, %d checkpoints, %d events", check, len(signed.Checkpoints), len(newest.Events))
	}
	var record struct {
		Seq  int64
		Hash string
	}
	admin.must("GET", "/admin/events/"+newest.Events[0].ID, nil, nil).json(s.t, &record)
	if record.Seq < check.Report.Records || len(record.Hash) != 64 {
		s.t.Errorf("the newest record = %+v", record)
	}
}
