package events_test

import (
	"context"
	"errors"
	"fmt"
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
// worker has its events sent to where it may not publish. They do not get out of
// the workers' account, where nobody else may listen.
func TestRightsAttackByAReply(t *testing.T) {
	t.Parallel()
	a := underAttack(t)
	crm := a.connectTCP("crm")
	pull := "$JS.API.CONSUMER.MSG.NEXT." + events.Stream
	for _, reply := range []string{
		events.SubjectSessionIssue, events.SubjectHookFailed("crm"), events.SubjectHookFailed("mail"),
		events.SubjectIdentityGet("crm"), events.SubjectIdentityGet("mail"), pull + ".mail",
	} {
		if err := crm.PublishRequest(pull+".crm", reply, []byte(`{"batch":1,"no_wait":true}`)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := crm.Request(pull+".crm", []byte(`{"batch":1,"no_wait":true}`), 5*time.Second); err != nil { // is answered after those
		t.Fatal(err)
	}
	a.ask(t, events.UserAPIAuth, events.SubjectSessionIssue, "session ")
	a.ask(t, "crm", events.SubjectIdentityGet("crm"), "identity crm")
	a.ask(t, events.UserHooks, events.SubjectHookFailed("mail"), "hook-failed mail")
	if mail, err := a.js.Consumer(t.Context(), events.Stream, "mail"); err != nil || mail.CachedInfo().Delivered.Consumer != 0 {
		t.Errorf("the durable of mail = %+v, %v, want that nobody has pulled from it", mail, err)
	}
}

// TestRightsWhereAnswersGo: a worker has answers sent anywhere, but in its own
// account, and of its own questions: who it is does not depend on it. A worker
// that listens to an inbox that another can guess may see answers that it did
// not ask for; those of the clients cannot be guessed.
func TestRightsWhereAnswersGo(t *testing.T) {
	t.Parallel()
	a := underAttack(t)
	seen := make(chan *nats.Msg, 1024)
	listen := func(nc *nats.Conn, err error, subject string) {
		if err == nil {
			_, err = nc.ChanSubscribe(subject, seen)
		}
		if err != nil {
			t.Fatal(err)
		}
		flush(t, nc)
	}
	spy, err := dialRaw(a.bus, a.everything())
	listen(spy, err, "_INBOX_api-events.>")
	listen(spy, err, "usher.>")
	listen(a.connectTCP("mail"), nil, "_INBOX_mail.>")
	crm := a.connectTCP("crm")
	for _, subject := range []string{events.SubjectHookFailed("crm"), events.SubjectIdentityGet("crm")} {
		for _, reply := range []string{"", "_INBOX_mail.1", "_INBOX_api-events.1", events.RetrySubject("mail"), events.SubjectHookFailed("mail")} {
			if err := crm.PublishMsg(&nats.Msg{Subject: subject, Reply: reply}); err != nil {
				t.Fatal(err)
			}
		}
	}
	flush(t, crm)
	for range 8 { // those without a reply are dropped
		if got := <-a.asked; got != "hook-failed crm" && got != "identity crm" {
			t.Errorf("a service was asked %q, want what crm asks as itself", got)
		}
	}
	a.ask(t, "crm", events.SubjectIdentityGet("crm"), "identity crm") // is answered after those
	flush(t, spy)
	answers := 0
	for range len(seen) {
		if m := <-seen; string(m.Data) == "a secret" {
			answers++
			if m.Subject != "_INBOX_mail.1" {
				t.Errorf("an answer for crm is seen on %s", m.Subject)
			}
		}
	}
	if answers != 2 {
		t.Errorf("mail sees %d answers that crm had sent to it, want 2", answers)
	}
}

// TestRightsNothingGetsIntoTheStream: what the bus itself answers a worker, on a
// subject that the stream stores, stays in the workers' account. The same rights
// in the stream's own account show that the attack is one.
func TestRightsNothingGetsIntoTheStream(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, signer, account string
		gets                  bool
	}{
		{"a worker", "workers-minted.nk", "workers.nk", false},
		{"one in the stream's account", "events-parts.nk", "events.nk", true},
	} {
		a := underAttack(t)
		nc, err := dialRaw(a.bus, a.mint(test.signer, test.account, func(c *jwt.UserClaims) {
			if c.SetScoped(test.account == "workers.nk"); test.gets {
				c.Pub.Allow.Add("$JS.API.CONSUMER.*.USHER_EVENTS.crm", "$JS.API.CONSUMER.MSG.NEXT.USHER_EVENTS.crm", "$JS.ACK.USHER_EVENTS.crm.>", "usher.svc.v1.*.*.crm")
				c.Sub.Allow.Add("_INBOX_crm.>")
			}
		}), nats.CustomInboxPrefix("_INBOX_crm"))
		if err != nil {
			t.Fatal(err)
		}
		before := stored(t, a.js)
		haveAnswered(t, nc)
		deleted := func() bool {
			_, err := a.js.Consumer(t.Context(), events.Stream, "mail")
			return errors.Is(err, jetstream.ErrConsumerNotFound)
		}
		if test.gets { // the server does it beside its answers
			eventually(t, test.name+": there is more in the stream", func() bool { return stored(t, a.js) > before })
			eventually(t, test.name+": the durable of mail is deleted", deleted)
		} else if after := stored(t, a.js); after != before || deleted() {
			t.Errorf("%s: the stream held %d messages and holds %d, the durable of mail is deleted %t; want no change", test.name, before, after, deleted())
		}
		if lines := a.log.with("no right"); len(lines) > 0 {
			t.Errorf("%s was refused what an attack needs: %q", test.name, lines)
		}
	}
}

// haveAnswered has the bus answer everything that worker crm may ask, on subjects
// that lead into the stream, or to another's consumer.
func haveAnswered(t *testing.T, crm *nats.Conn) {
	t.Helper()
	api := "$JS.API.CONSUMER."
	msg, err := crm.Request(api+"MSG.NEXT.USHER_EVENTS.crm", []byte(`{"batch":1,"no_wait":true}`), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for _, reply := range []string{events.Subject("identity.created"), events.RetrySubject("mail"), api + "DELETE.USHER_EVENTS.mail", api + "MSG.NEXT.USHER_EVENTS.mail"} {
		for _, ask := range []struct{ subject, body string }{
			{api + "INFO.USHER_EVENTS.crm", ""},
			{api + "MSG.NEXT.USHER_EVENTS.crm", "{"}, // no request: 400
			{api + "MSG.NEXT.USHER_EVENTS.crm", `{"batch":1,"no_wait":true}`},
			{api + "MSG.NEXT.USHER_EVENTS.crm", `{"batch":100,"no_wait":true}`},    // more than there are: 404
			{api + "MSG.NEXT.USHER_EVENTS.crm", `{"batch":100,"expires":1000000}`}, // 408
			{msg.Reply, "+ACK"},
			{msg.Reply, "+NXT"},
			{events.SubjectHookFailed("crm"), "{}"},
			{events.SubjectIdentityGet("crm"), "{}"},
		} {
			if err := crm.PublishRequest(ask.subject, reply, []byte(ask.body)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for subject, body := range map[string]string{api + "INFO.USHER_EVENTS.crm": "", api + "MSG.NEXT.USHER_EVENTS.crm": `{"batch":100,"expires":1000000}`} {
		if _, err := crm.Request(subject, []byte(body), 5*time.Second); err != nil { // is answered after those
			t.Fatal(err)
		}
	}
}

// TestRightsAttackByAnAck: a durable takes acks on two forms of subject. A
// wildcard for what stands in one before the stream's name would let every worker
// ack for another, and pull from its durable with what comes behind the ack: its
// own name, set in the place of a number, is not looked at.
func TestRightsAttackByAnAck(t *testing.T) {
	t.Parallel()
	a := underAttack(t)
	attacker := func(name string) *nats.Conn { // also of a name that is not minted
		nc, err := dialRaw(a.bus, a.mint("workers-minted.nk", "workers.nk", func(c *jwt.UserClaims) {
			c.Name = name
			c.SetScoped(true)
		}), nats.CustomInboxPrefix("_INBOX_"+name))
		if err != nil {
			t.Fatal(err)
		}
		return nc
	}
	mail := a.connectTCP("mail")
	seq5 := a.take(t, mail, "mail", 5)
	crm, five := attacker("crm"), attacker("5")
	seen := make(chan *nats.Msg, 64)
	if _, err := crm.ChanSubscribe("_INBOX_crm.>", seen); err != nil {
		t.Fatal(err)
	}
	for _, try := range []struct {
		nc            *nats.Conn
		subject, body string
	}{
		{crm, "$JS.ACK.USHER_EVENTS.mail.USHER_EVENTS.crm.1.1.1", `+NXT{"batch":10,"expires":600000000000}`},
		{five, "$JS.ACK.USHER_EVENTS.mail.USHER_EVENTS.5." + seq5, "+ACK"},
		{five, "$JS.ACK.USHER_EVENTS.mail.USHER_EVENTS.5." + seq5, "+TERM"},
	} {
		if err := try.nc.PublishRequest(try.subject, "_INBOX_crm.x.1", []byte(try.body)); err != nil {
			t.Fatal(err)
		}
		flush(t, try.nc)
	}
	if _, err := mail.Request("$JS.API.CONSUMER.INFO.USHER_EVENTS.mail", nil, 5*time.Second); err != nil { // is answered after those
		t.Fatal(err)
	}
	flush(t, crm)
	durable, err := a.js.Consumer(t.Context(), events.Stream, "mail")
	if err != nil {
		t.Fatal(err)
	}
	if info := durable.CachedInfo(); len(seen) > 0 || info.Delivered.Consumer != 5 || info.NumAckPending != 5 || info.NumWaiting != 0 {
		t.Errorf("others got %d events of mail, which has taken %d, not acked %d, and waits for %d; want 0, 5, 5 and 0",
			len(seen), info.Delivered.Consumer, info.NumAckPending, info.NumWaiting)
	}
}

// take pulls n events for a worker, and gives the numbers of the last one as an
// ack of another form has them.
func (a *target) take(t *testing.T, nc *nats.Conn, name string, n int) (numbers string) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	durable, err := js.Consumer(t.Context(), events.Stream, name)
	if err != nil {
		t.Fatal(err)
	}
	batch, err := durable.Fetch(n)
	if err != nil {
		t.Fatal(err)
	}
	for m := range batch.Messages() {
		about, err := m.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		numbers = fmt.Sprintf("%d.%d.0", about.Sequence.Consumer, about.Timestamp.UnixNano())
	}
	if batch.Error() != nil || numbers == "" {
		t.Fatalf("took nothing: %v", batch.Error())
	}
	return numbers
}
