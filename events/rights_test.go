package events_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/usher-auth/usher/events"
)

// everybody are all users, and a worker that has a credential of its own.
var everybody = []string{
	events.UserAPIAuth, events.UserSession, events.UserAdminAuth,
	events.UserSessionEvents, events.UserAPIEvents, events.UserProvision, events.UserHooks, "crm",
}

// try is something to publish or to subscribe to, and who may.
type try struct {
	subject, queue string
	may            []string
}

var publishing = []try{
	{subject: "usher.svc.v1.session.issue", may: []string{"api-auth"}},
	{subject: "usher.svc.v1.session.other"},
	{subject: "$SRV.PING.session", may: []string{"api-auth", "admin-auth"}},
	{subject: "$SRV.STATS.session", may: []string{"admin-auth"}},
	{subject: "$SRV.INFO", may: []string{"admin-auth"}},

	{subject: "usher.evt.v1.identity.created", may: []string{"api-events"}},
	{subject: "usher.hook.v1.crm.retry"},
	{subject: "usher.ctl.v1.outbox.kick", may: []string{"session-events", "api-events", "hooks"}},
	{subject: "usher.ctl.v1.session.revoked", may: []string{"api-events"}},
	{subject: "usher.ctl.v1.identity.updated", may: []string{"api-events"}},
	{subject: "usher.ctl.v1.anything"},

	{subject: "$JS.API.CONSUMER.INFO.USHER_EVENTS.crm", may: []string{"provision", "hooks", "crm"}},
	{subject: "$JS.API.CONSUMER.INFO.USHER_EVENTS.mail", may: []string{"provision", "hooks"}},
	{subject: "$JS.API.CONSUMER.MSG.NEXT.USHER_EVENTS.crm", may: []string{"provision", "hooks", "crm"}},
	{subject: "$JS.API.CONSUMER.MSG.NEXT.USHER_EVENTS.mail", may: []string{"provision", "hooks"}},
	{subject: "$JS.API.CONSUMER.MSG.NEXT.OTHER.crm", may: []string{"provision"}},
	{subject: "$JS.ACK.USHER_EVENTS.crm.1.2.3.4.5", may: []string{"hooks", "crm"}},
	{subject: "$JS.ACK.USHER_EVENTS.mail.1.2.3.4.5", may: []string{"hooks"}},
	{subject: "$JS.ACK._.account.USHER_EVENTS.crm.1.2.3.4.5", may: []string{"hooks", "crm"}},
	{subject: "$JS.ACK._.account.USHER_EVENTS.mail.1.2.3.4.5", may: []string{"hooks"}},

	{subject: "$JS.API.INFO", may: []string{"provision"}},
	{subject: "$JS.API.STREAM.CREATE.SPY", may: []string{"provision"}},
	{subject: "$JS.API.STREAM.UPDATE.USHER_EVENTS", may: []string{"provision"}},
	{subject: "$JS.API.STREAM.INFO.USHER_EVENTS", may: []string{"provision"}},
	{subject: "$JS.API.STREAM.MSG.GET.USHER_EVENTS", may: []string{"provision"}},
	{subject: "$JS.API.STREAM.MSG.DELETE.USHER_EVENTS", may: []string{"provision"}},
	{subject: "$JS.API.STREAM.PURGE.USHER_EVENTS", may: []string{"provision"}},
	{subject: "$JS.API.STREAM.RESTORE.USHER_EVENTS", may: []string{"provision"}},
	{subject: "$JS.API.STREAM.SNAPSHOT.USHER_EVENTS", may: []string{"provision"}},
	{subject: "$JS.API.DIRECT.GET.USHER_EVENTS", may: []string{"provision"}},
	{subject: "$JS.API.CONSUMER.CREATE.USHER_EVENTS", may: []string{"provision"}},
	{subject: "$JS.API.CONSUMER.CREATE.USHER_EVENTS.crm", may: []string{"provision"}},
	{subject: "$JS.API.CONSUMER.CREATE.USHER_EVENTS.crm.usher.evt.v1.identity.created", may: []string{"provision"}},
	{subject: "$JS.API.CONSUMER.DURABLE.CREATE.USHER_EVENTS.crm", may: []string{"provision"}},
	{subject: "$JS.API.CONSUMER.PAUSE.USHER_EVENTS.crm", may: []string{"provision"}},
	{subject: "$JS.API.CONSUMER.RESET.USHER_EVENTS.crm", may: []string{"provision"}},
	{subject: "$JS.API.CONSUMER.DELETE.USHER_EVENTS.crm", may: []string{"provision"}},
	{subject: "$JS.API.STREAM.DELETE.USHER_EVENTS", may: []string{"provision"}},

	{subject: "_INBOX_api-auth.x"},
	{subject: "_INBOX_api-events.x"},
	{subject: "_INBOX_crm.x"},
	{subject: "$SYS.REQ.SERVER.PING"},
}

var subscribing = []try{
	{subject: ">"},
	{subject: "usher.>"},
	{subject: "usher.evt.v1.>"},
	{subject: "usher.hook.v1.crm.retry"},
	{subject: "_INBOX.>"},
	{subject: "_INBOX_api-auth.>", may: []string{"api-auth"}},
	{subject: "_INBOX_session.>", may: []string{"session"}},
	{subject: "_INBOX_admin-auth.>", may: []string{"admin-auth"}},
	{subject: "_INBOX_session-events.>", may: []string{"session-events"}},
	{subject: "_INBOX_api-events.>", may: []string{"api-events"}},
	{subject: "_INBOX_provision.>", may: []string{"provision"}},
	{subject: "_INBOX_hooks.>", may: []string{"hooks"}},
	{subject: "_INBOX_crm.>", may: []string{"crm"}},
	{subject: "usher.svc.v1.session.issue"},
	{subject: "usher.svc.v1.session.issue", queue: "spy"},
	{subject: "usher.svc.v1.session.issue", queue: "q", may: []string{"session"}},
	{subject: "$SRV.PING", may: []string{"session"}},
	{subject: "$SRV.>", may: []string{"session"}},
	{subject: "usher.ctl.v1.outbox.kick", may: []string{"api-events"}},
	{subject: "usher.ctl.v1.session.revoked", may: []string{"api-events"}},
	{subject: "usher.ctl.v1.identity.updated", may: []string{"api-events"}},
	{subject: "usher.ctl.v1.>"},
	{subject: "$JS.API.>"},
	{subject: "$JS.ACK.>"},
	{subject: "$JS.EVENT.>"},
	{subject: "$SYS.>"},
}

// denied tells whether the bus refuses what do does. A refusal comes before the
// answer to the flush behind it.
func denied(t *testing.T, nc *nats.Conn, want string, do func() error) bool {
	t.Helper()
	if err := do(); err != nil {
		t.Fatal(err)
	}
	flush(t, nc)
	last := nc.LastError()
	return last != nil && strings.HasSuffix(strings.ToLower(last.Error()), strings.ToLower(want))
}

func TestEverybodyMayDoWhatTheTableSaysAndNothingElse(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.provision(events.StreamOptions{}, events.Durable{Name: "crm", Types: []string{"identity.created"}})
	for _, user := range everybody {
		nc := b.connect(user)
		for _, try := range publishing {
			refused := denied(t, nc, fmt.Sprintf("for publish to %q", try.subject), func() error {
				return nc.Publish(try.subject, []byte("{}"))
			})
			if may := slices.Contains(try.may, user); may == refused {
				t.Errorf("%s publishes to %s: refused %t, want %t", user, try.subject, refused, !may)
			}
		}
		for _, try := range subscribing {
			want := fmt.Sprintf("for subscription to %q", try.subject)
			if try.queue != "" {
				want += fmt.Sprintf(" using queue %q", try.queue)
			}
			refused := denied(t, nc, want, func() error {
				_, err := nc.QueueSubscribe(try.subject, try.queue, func(*nats.Msg) {})
				return err
			})
			if may := slices.Contains(try.may, user); may == refused {
				t.Errorf("%s subscribes to %s (queue %q): refused %t, want %t", user, try.subject, try.queue, refused, !may)
			}
		}
	}
}

// TestNoRightInEventsReachesTheSessionService runs what goes wrong in one
// shared account: streams, consumers and replies act with the account's rights.
func TestNoRightInEventsReachesTheSessionService(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	js := b.provision(events.StreamOptions{}, events.Durable{Name: "crm", Types: []string{"identity.created"}})
	publish(t, b, message(1))
	asked := make(chan string, 8)
	serve(t, b.connectTCP(events.UserSession), func(_ context.Context, r events.Request) ([]byte, error) {
		asked <- r.ID
		return []byte("a session"), nil
	})
	api := b.connectTCP(events.UserAPIAuth)

	// A stream over the API's inbox and the requests.
	spy, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "SPY", Subjects: []string{"_INBOX_api-auth.>", "usher.svc.>"}})
	if err != nil {
		t.Fatal(err)
	}
	// A consumer that delivers to the session service, as one of its group.
	_, err = js.CreatePushConsumer(t.Context(), events.Stream, jetstream.ConsumerConfig{
		Durable: "push", DeliverSubject: events.SubjectSessionIssue, DeliverGroup: "q",
	})
	if err != nil {
		t.Fatal(err)
	}
	// A pull whose events are to be delivered to the session service.
	crm := b.connectTCP("crm")
	pull := "$JS.API.CONSUMER.MSG.NEXT." + events.Stream + ".crm"
	if err := crm.PublishRequest(pull, events.SubjectSessionIssue, []byte(`{"batch":1,"no_wait":true}`)); err != nil {
		t.Fatal(err)
	}
	flush(t, crm)

	if _, err := events.Ask(t.Context(), api, events.SubjectSessionIssue, "the only one", soon(), nil); err != nil {
		t.Fatal(err)
	}
	if id := <-asked; id != "the only one" || len(asked) > 0 {
		t.Errorf("the session service was asked %q and %d more, want only the API's request", id, len(asked))
	}
	info, err := spy.Info(t.Context())
	if err != nil || info.State.Msgs != 0 {
		t.Errorf("the spy's stream holds %d messages, %v, want none", info.State.Msgs, err)
	}
	push, err := js.PushConsumer(t.Context(), events.Stream, "push")
	if err != nil || push.CachedInfo().PushBound || push.CachedInfo().Delivered.Stream != 0 {
		t.Errorf("the push consumer = %+v, %v, want it bound to nobody", push.CachedInfo(), err)
	}
}

func TestAWorkersCredentialIsForItsOwnDurable(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	provision := b.provision(events.StreamOptions{},
		events.Durable{Name: "crm", Types: []string{"identity.created"}},
		events.Durable{Name: "mail", Types: []string{"identity.created"}})
	publish(t, b, message(1))
	js, err := jetstream.New(b.connectTCP("crm"))
	if err != nil {
		t.Fatal(err)
	}

	own, err := js.Consumer(t.Context(), events.Stream, "crm")
	if err != nil {
		t.Fatalf("Consumer(crm) = %v, want the worker's own", err)
	}
	msg, err := own.Next(jetstream.FetchMaxWait(5 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if err := msg.DoubleAck(t.Context()); err != nil {
		t.Errorf("DoubleAck() = %v, want nil", err)
	}

	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := js.Consumer(short, events.Stream, "mail"); err == nil {
		t.Error("Consumer(mail) for worker crm = nil error, want none of another's")
	}
	if lines := b.log.with("no right", "bus_user=crm", "CONSUMER.INFO.USHER_EVENTS.mail"); len(lines) != 1 {
		t.Errorf("log has %q, want one line that names worker and subject", lines)
	}

	if err := provision.DeleteConsumer(t.Context(), events.Stream, "crm"); err != nil {
		t.Fatal(err)
	}
	if _, err := own.Info(t.Context()); err == nil {
		t.Error("Info() of the deleted durable = nil error, want the credential to be of no use")
	}
}

func TestWorkerNamesThatWouldReachFurtherAreRefused(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	for _, name := range []string{
		"", "*", ">", "a.b", "crm.>", "a b", "CRM", "-a", "a-", "a--b", strings.Repeat("a", 65),
		events.UserAPIEvents, events.UserHooks, events.UserProvision, events.UserAPIAuth,
	} {
		if _, err := b.keys.WorkerCredentials(name, time.Now().Add(time.Hour)); err == nil {
			t.Errorf("WorkerCredentials(%q) = nil error, want it refused", name)
		}
	}
	if _, err := b.keys.Credentials("crm"); err == nil {
		t.Error("Credentials(crm) = nil error, want: no such user")
	}
}

func TestCredentialsExpire(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	creds, err := b.keys.WorkerCredentials("crm", time.Now().Add(-time.Second))
	if err != nil {
		t.Fatal(err)
	}
	nc, err := events.Connect(t.Context(), events.ConnectOptions{URL: b.server.ClientURL(), Credentials: creds, User: "crm", Log: b.log.logger()})
	if err == nil {
		nc.Close()
		t.Error("Connect with an expired credential = nil error, want it refused")
	}
}

// mint makes a credential outside of [events.Keys], with a key that leaked.
func (b *bus) mint(seed string, fill func(*jwt.UserClaims)) []byte {
	b.tb.Helper()
	read := func(file string) nkeys.KeyPair {
		text, err := os.ReadFile(filepath.Join(b.seeds, file))
		if err != nil {
			b.tb.Fatal(err)
		}
		pair, err := nkeys.FromSeed(text)
		if err != nil {
			b.tb.Fatal(err)
		}
		return pair
	}
	user, err := nkeys.CreateUser()
	if err != nil {
		b.tb.Fatal(err)
	}
	public, _ := user.PublicKey()
	claims := jwt.NewUserClaims(public)
	claims.Name = "crm"
	claims.IssuerAccount, _ = read("events.nk").PublicKey()
	fill(claims)
	token, err := claims.Encode(read(seed))
	if err != nil {
		b.tb.Fatal(err)
	}
	private, _ := user.Seed()
	creds, err := jwt.FormatUserConfig(token, private)
	if err != nil {
		b.tb.Fatal(err)
	}
	return creds
}

// TestALeakedWorkerKeyMintsOnlyWorkers: rights come from the account, not from
// the credential.
func TestALeakedWorkerKeyMintsOnlyWorkers(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	creds := b.mint("events-workers.nk", func(c *jwt.UserClaims) { c.Pub.Allow.Add("usher.evt.v1.>") })
	nc, err := events.Connect(t.Context(), events.ConnectOptions{URL: b.server.ClientURL(), Credentials: creds, User: "crm", Log: b.log.logger()})
	if err == nil {
		nc.Close()
		t.Error("Connect with more rights than the role has = nil error, want it refused")
	}
}

func TestACredentialThatNamesNoRightsHasNone(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	creds := b.mint("events-parts.nk", func(*jwt.UserClaims) {})
	nc, err := events.Connect(t.Context(), events.ConnectOptions{URL: b.server.ClientURL(), Credentials: creds, User: "crm", Log: b.log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if !denied(t, nc, `for publish to "anything"`, func() error { return nc.Publish("anything", nil) }) {
		t.Error("publishes, want it denied")
	}
	subscribe := func() error {
		_, err := nc.Subscribe("anything", func(*nats.Msg) {})
		return err
	}
	if !denied(t, nc, `for subscription to "anything"`, subscribe) {
		t.Error("subscribes, want it denied")
	}
}
