package events_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usher-auth/usher/events"
)

// target is what is attacked: the services of both accounts, two workers, and a
// stream with events.
type target struct {
	*bus
	js    jetstream.JetStream // of the provisioner
	asked chan string         // the service and the name that it was asked with
}

func underAttack(t *testing.T) *target {
	t.Helper()
	b := startBus(t)
	a := &target{bus: b, asked: make(chan string, 64)}
	a.js = b.provision(events.StreamOptions{},
		events.Durable{Name: "crm", Types: []string{"identity.created"}},
		events.Durable{Name: "mail", Types: []string{"identity.created"}})
	publish(t, b, messages(1, 20)...)
	delivery := b.connectTCP(events.UserDelivery)
	for _, s := range []struct {
		name, subject string
		nc            *nats.Conn
		askers        func(string) []string
	}{
		{"session", events.SubjectSessionIssue, b.connectTCP(events.UserSession), nil},
		{"hook-failed", events.SubjectHookFailed("*"), delivery, events.AskedByWorker},
		{"identity", events.SubjectIdentityGet("*"), delivery, events.AskedByWorker},
	} {
		service := service(b.log, func(_ context.Context, r events.Request) ([]byte, error) {
			a.asked <- s.name + " " + r.Name
			return []byte("a secret"), nil
		})
		service.Name, service.Subject, service.Askers = s.name, s.subject, s.askers
		run(t, s.nc, service)
	}
	return a
}

// ask asks a service, and wants it to be the only question that came through.
func (a *target) ask(t *testing.T, user, subject, want string) {
	t.Helper()
	if _, err := events.Ask(t.Context(), a.connectTCP(user), subject, "", soon(), nil); err != nil {
		t.Fatal(err)
	}
	if got := <-a.asked; got != want || len(a.asked) > 0 {
		t.Errorf("a service was asked %q and %d more, want only %q", got, len(a.asked), want)
	}
}

// everything is a credential in EVENTS that may publish and subscribe to all.
func (b *bus) everything() []byte {
	return b.mint("events-parts.nk", "events.nk", func(c *jwt.UserClaims) { c.Pub.Allow.Add(">"); c.Sub.Allow.Add(">") })
}

// TestRightsAttackByListening is the first of four that work in one shared
// account: whoever listens to all inboxes reads every answer.
func TestRightsAttackByListening(t *testing.T) {
	t.Parallel()
	a := underAttack(t)
	spy, err := dialRaw(a.bus, a.everything())
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan *nats.Msg, 1024)
	if _, err := spy.ChanSubscribe(">", seen); err != nil {
		t.Fatal(err)
	}
	flush(t, spy)
	a.ask(t, events.UserAPIAuth, events.SubjectSessionIssue, "session ")
	flush(t, spy)
	for range len(seen) {
		if m := <-seen; m.Subject == events.SubjectSessionIssue || string(m.Data) == "a secret" {
			t.Errorf("who may do all in EVENTS sees %s %s of AUTH", m.Subject, m.Data)
		}
	}
	for _, user := range []string{"crm", answering, events.UserHooks, events.UserDelivery, events.UserAPIEvents} {
		nc := a.connectTCP(user)
		for _, inbox := range []string{"_INBOX.>", "_INBOX_api-auth.>", "_INBOX_mail.>"} {
			if !(try{subject: inbox}).subscribe(t, nc) {
				t.Errorf("%s listens to %s, want it refused", user, inbox)
			}
		}
	}
}

// TestRightsAttackByAStream: a stream stores with the account's rights, also
// what its maker may not listen to.
func TestRightsAttackByAStream(t *testing.T) {
	t.Parallel()
	a := underAttack(t)
	spy, err := a.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "SPY", Subjects: []string{"_INBOX_api-auth.>", "usher.svc.>"}})
	if err != nil {
		t.Fatal(err)
	}
	a.ask(t, events.UserAPIAuth, events.SubjectSessionIssue, "session ")
	info, err := spy.Info(t.Context())
	if err != nil || info.State.Msgs != 0 {
		t.Errorf("a stream in EVENTS holds %d messages of AUTH, %v, want none", info.State.Msgs, err)
	}
	for _, user := range []string{"crm", answering, events.UserHooks, events.UserDelivery, events.UserAPIEvents, events.UserAPIAuth, events.UserSession} {
		if !(try{subject: "$JS.API.STREAM.CREATE.SPY2"}).publish(t, a.connectTCP(user)) {
			t.Errorf("%s makes streams, want it refused", user)
		}
	}
}

// TestRightsAttackByAConsumer: a consumer publishes where its maker says.
func TestRightsAttackByAConsumer(t *testing.T) {
	t.Parallel()
	a := underAttack(t)
	for name, subject := range map[string]string{
		"session": events.SubjectSessionIssue, "failed": events.SubjectHookFailed("mail"), "identity": events.SubjectIdentityGet("mail"),
	} {
		_, err := a.js.CreatePushConsumer(t.Context(), events.Stream, jetstream.ConsumerConfig{
			Durable: "push-" + name, DeliverSubject: subject, DeliverGroup: "q",
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	a.ask(t, events.UserAPIAuth, events.SubjectSessionIssue, "session ")
	a.ask(t, "mail", events.SubjectHookFailed("mail"), "hook-failed mail")
	session, err := a.js.PushConsumer(t.Context(), events.Stream, "push-session")
	if err != nil || session.CachedInfo().PushBound || session.CachedInfo().Delivered.Stream != 0 {
		t.Errorf("the consumer of the session service = %+v, %v, want it bound to nobody", session.CachedInfo(), err)
	}
	for _, user := range []string{"crm", events.UserHooks, events.UserDelivery, events.UserAPIEvents} {
		nc := a.connectTCP(user)
		for _, verb := range []string{"CREATE.USHER_EVENTS", "CREATE.USHER_EVENTS.crm", "DURABLE.CREATE.USHER_EVENTS.crm"} {
			if !(try{subject: "$JS.API.CONSUMER." + verb}).publish(t, nc) {
				t.Errorf("%s may %s, want it refused", user, verb)
			}
		}
	}
}

// TestRightsAttackByAReply: the bus does not check where an answer goes, so a
// worker has its events, or another's answers, sent to where it may not publish.
func TestRightsAttackByAReply(t *testing.T) {
	t.Parallel()
	a := underAttack(t)
	crm := a.connectTCP("crm")
	pull := "$JS.API.CONSUMER.MSG.NEXT." + events.Stream + ".crm"
	before := stored(t, a.js)
	replies := []string{
		events.SubjectSessionIssue,
		events.SubjectHookFailed("crm"), events.SubjectHookFailed("mail"), events.SubjectIdentityGet("crm"), events.SubjectIdentityGet("mail"),
		events.RetrySubject("mail"), events.Subject("identity.created"),
	}
	for _, reply := range replies {
		if err := crm.PublishRequest(pull, reply, []byte(`{"batch":1,"no_wait":true}`)); err != nil {
			t.Fatal(err)
		}
	}
	// Its own questions, with the answers to somebody else.
	for _, subject := range []string{events.SubjectHookFailed("crm"), events.SubjectIdentityGet("crm")} {
		for _, reply := range []string{"", "_INBOX_mail.1", "_INBOX_crmx.1", "_INBOX_api-events.1", events.RetrySubject("mail"), events.SubjectHookFailed("mail")} {
			if err := crm.PublishMsg(&nats.Msg{Subject: subject, Reply: reply}); err != nil {
				t.Fatal(err)
			}
		}
	}
	flush(t, crm)
	eventually(t, "four pulled events and twelve questions were dropped", func() bool { return len(a.log.with("nobody who may ask")) == 16 })
	a.ask(t, events.UserAPIAuth, events.SubjectSessionIssue, "session ")
	a.ask(t, "crm", events.SubjectIdentityGet("crm"), "identity crm")
	a.ask(t, events.UserHooks, events.SubjectHookFailed("mail"), "hook-failed mail")
	if after := stored(t, a.js); after != before {
		t.Errorf("the stream holds %d messages, want %d: what was pulled onto its subjects is known to it", after, before)
	}
}

// TestRightsWhatAReplyPutsIntoTheStream shows a limit of these rights: the bus
// itself answers a worker on the stream's subjects, and the stream takes it. What
// gets in that way has no message id; of Usher's events all have one.
func TestRightsWhatAReplyPutsIntoTheStream(t *testing.T) {
	t.Parallel()
	a := underAttack(t)
	crm := a.connectTCP("crm")
	before := stored(t, a.js)
	info := "$JS.API.CONSUMER.INFO." + events.Stream + ".crm"
	for _, reply := range []string{events.Subject("identity.created"), events.RetrySubject("mail")} {
		if err := crm.PublishRequest(info, reply, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := crm.Request(info, nil, 5*time.Second); err != nil { // is answered after those
		t.Fatal(err)
	}
	stream, err := a.js.Stream(t.Context(), events.Stream)
	if err != nil {
		t.Fatal(err)
	}
	for seq := before + 1; seq <= stream.CachedInfo().State.LastSeq; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		if id := m.Header.Get(jetstream.MsgIDHeader); id != "" {
			t.Errorf("the bus's answer on %s has message id %q, want none", m.Subject, id)
		}
	}
}
