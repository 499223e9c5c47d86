package events_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
)

// TestWorkerProtocol runs the transcripts of schemas/worker-protocol.md with a
// worker that has the rights which stand there, on a real server.
func TestWorkerProtocol(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../schemas/worker-protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	transcripts := regexp.MustCompile("(?s)```transcript\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(transcripts) < 7 {
		t.Fatalf("worker-protocol.md has %d transcripts, want those of all outcomes", len(transcripts))
	}
	for n, found := range transcripts {
		t.Run(fmt.Sprint(n+1), func(t *testing.T) {
			t.Parallel()
			newStage(t, string(text)).play(found[1])
		})
	}
}

// The names in the document are those of the code.
func TestWorkerProtocolNamesTheHeaders(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../schemas/worker-protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{events.HeaderAttempt, events.HeaderEventID, events.Stream, events.CodeGone} {
		if !strings.Contains(string(text), "`"+want+"`") {
			t.Errorf("worker-protocol.md does not name %s", want)
		}
	}
}

// stage is where a transcript is played: a bus with the durable of the worker
// hello, and whoever answers it.
type stage struct {
	t        *testing.T
	bus      *bus
	js       jetstream.JetStream
	worker   *nats.Conn
	inbox    *nats.Subscription // of the worker
	service  *nats.Conn
	requests *nats.Subscription // of the service; nil: there is none
	time     string             // of the reply subject that was received last
}

func newStage(t *testing.T, document string) *stage {
	s := &stage{t: t, bus: startBus(t)}
	s.js = s.bus.provision(events.StreamOptions{}, events.Durable{Name: "hello", Types: []string{"identity.created"}})
	var may jwt.Permissions
	for _, row := range regexp.MustCompile("(?m)^\\| (publish|subscribe) \\| `([^`]+)`").FindAllStringSubmatch(document, -1) {
		if row[1] == "publish" {
			may.Pub.Allow.Add(row[2])
		} else {
			may.Sub.Allow.Add(row[2])
		}
	}
	s.worker = s.connect("hello", "workers.nk", may)
	var all jwt.Permissions
	all.Pub.Allow.Add(">")
	all.Sub.Allow.Add(">")
	s.service = s.connect("service", "events.nk", all)
	var err error
	if s.inbox, err = s.worker.SubscribeSync("_INBOX_hello.>"); err != nil {
		t.Fatal(err)
	}
	flush(t, s.worker)
	return s
}

// connect connects a user of an account, with rights of its own.
func (s *stage) connect(user, account string, may jwt.Permissions) *nats.Conn {
	s.t.Helper()
	creds := s.bus.mint(account, account, func(c *jwt.UserClaims) { c.Name, c.IssuerAccount, c.Permissions = user, "", may })
	nc, err := events.Connect(s.t.Context(), events.ConnectOptions{
		URL: s.bus.server.ClientURL(), Credentials: creds, User: user, Name: user, Log: s.bus.log.logger(),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return nc
}

// said is one message of a transcript.
type said struct {
	by             byte // '>' the worker, '<' to the worker, '*' something else
	subject, reply string
	header         nats.Header
	body           string
}

var (
	address = regexp.MustCompile(`^((?:\$JS|\$SRV|usher|_INBOX_hello)\.\S+)(?: reply=(\S+))?$`)
	field   = regexp.MustCompile(`^([A-Z][A-Za-z-]+): (.+)$`)
)

func parse(t *testing.T, transcript string) (all []said) {
	t.Helper()
	for line := range strings.Lines(transcript) {
		line = strings.TrimSuffix(line, "\n")
		by, text, ok := strings.Cut(line, " ")
		if !ok || !strings.Contains("> < *", by) {
			t.Fatalf("%q is no line of a transcript", line)
		}
		if by == "*" {
			all = append(all, said{by: '*', body: text})
		} else if a := address.FindStringSubmatch(text); a != nil {
			all = append(all, said{by: by[0], subject: a[1], reply: a[2], header: nats.Header{}})
		} else if f := field.FindStringSubmatch(text); f != nil {
			all[len(all)-1].header[f[1]] = []string{f[2]}
		} else {
			all[len(all)-1].body = text
		}
	}
	return all
}

func (s *stage) play(transcript string) {
	s.t.Helper()
	all := parse(s.t, transcript)
	for _, m := range all {
		if strings.HasPrefix(m.subject, "usher.svc.") && !strings.Contains(transcript, "Status: 503") {
			s.serve()
		}
	}
	for n, m := range all {
		switch m.by {
		case '*':
			s.happens(m.body)
		case '>':
			s.send(m)
			if s.requests != nil && strings.HasPrefix(m.subject, "usher.svc.") {
				s.answer(m, all[n+1])
			}
		case '<':
			s.receive(m)
		}
	}
	if lines := s.bus.log.with("no right"); lines != nil {
		s.t.Errorf("the worker lacks rights: %s", lines)
	}
}

func (s *stage) serve() {
	s.t.Helper()
	if s.requests != nil {
		return
	}
	var err error
	if s.requests, err = s.service.SubscribeSync("usher.svc.>"); err != nil {
		s.t.Fatal(err)
	}
	flush(s.t, s.service)
}

func (s *stage) send(m said) {
	s.t.Helper()
	subject := strings.ReplaceAll(m.subject, "<time>", s.time)
	if err := s.worker.PublishMsg(&nats.Msg{Subject: subject, Reply: m.reply, Header: m.header, Data: []byte(m.body)}); err != nil {
		s.t.Fatal(err)
	}
	flush(s.t, s.worker)
}

// answer is the service's part of a request, by the schemas of both.
func (s *stage) answer(request, reply said) {
	s.t.Helper()
	got, err := s.requests.NextMsg(5 * time.Second)
	if err != nil || got.Subject != request.subject {
		s.t.Fatalf("the service got %v, %v, want a request at %s", got, err, request.subject)
	}
	name := strings.TrimSuffix(strings.TrimPrefix(request.subject, "usher.svc.v1."), ".hello")
	eventstest.ValidateBody(s.t, "urn:usher:request:"+name+":1", got.Data)
	if len(reply.header) == 0 {
		eventstest.ValidateBody(s.t, "urn:usher:reply:"+name+":1", []byte(reply.body))
	}
	if err := got.RespondMsg(&nats.Msg{Header: reply.header, Data: []byte(reply.body)}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) receive(m said) {
	s.t.Helper()
	got, err := s.inbox.NextMsg(5 * time.Second)
	if status := m.header.Get("Status"); status == "503" && errors.Is(err, nats.ErrNoResponders) {
		return // the client makes an error of it
	}
	if err != nil {
		s.t.Fatalf("the worker waits for %s: %v", m.subject, err)
	}
	s.matches("subject", got.Subject, m.subject)
	if m.reply != "" {
		if found := s.matches("reply", got.Reply, m.reply); len(found) > 1 {
			s.time = found[1]
		}
	}
	for name, want := range m.header {
		s.matches(name, got.Header.Get(name), want[0])
	}
	if m.body != "" {
		s.matches("body", string(got.Data), m.body)
	}
	if strings.HasPrefix(m.subject, events.EventPrefix) || strings.HasSuffix(m.subject, ".retry") {
		eventstest.Validate(s.t, got.Data)
	}
}

// matches holds got against a text in which … is anything and <time> a number.
func (s *stage) matches(what, got, want string) []string {
	s.t.Helper()
	pattern := regexp.QuoteMeta(want)
	pattern = strings.ReplaceAll(pattern, "…", ".*")
	pattern = strings.ReplaceAll(pattern, "<time>", "([0-9]+)")
	found := regexp.MustCompile("^" + pattern + "$").FindStringSubmatch(got)
	if found == nil {
		s.t.Errorf("%s is %s, want %s", what, got, want)
	}
	return found
}

// happens is what a transcript says of others than the worker.
func (s *stage) happens(what string) {
	s.t.Helper()
	e := event(payloads[0])
	payload, err := e.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	switch what {
	case "identity.created is published":
		publish(s.t, s.bus, events.Message{ID: e.ID, Type: e.Type, Payload: payload})
	case "identity.created is due again, attempt 2":
		s.publishRetry(&nats.Msg{Subject: events.RetrySubject("hello"), Data: payload, Header: nats.Header{
			jetstream.MsgIDHeader: {"hello/" + e.ID + "/1.2"}, "Content-Type": {"application/cloudevents+json"},
			events.HeaderEventID: {e.ID}, events.HeaderAttempt: {"2"},
		}})
	case "it is delivered 5 times without an answer":
		for range 5 {
			s.send(said{subject: "$JS.API.CONSUMER.MSG.NEXT." + events.Stream + ".hello", reply: "_INBOX_hello.0", body: `{"batch":1,"expires":5000000000}`})
			got, err := s.inbox.NextMsg(5 * time.Second)
			if err != nil {
				s.t.Fatal(err)
			}
			s.send(said{subject: got.Reply, body: "-NAK"}) // as after 30 seconds
		}
	case "nothing is left":
		s.left(0)
	case "the event waits":
		s.left(1)
	default:
		s.t.Fatalf("the test does not know what it is that %s", what)
	}
}

func (s *stage) publishRetry(m *nats.Msg) {
	s.t.Helper()
	reply, err := s.service.RequestMsg(m, 5*time.Second)
	if err != nil {
		s.t.Fatal(err)
	}
	var ack struct {
		Error json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &ack); err != nil || ack.Error != nil {
		s.t.Fatalf("publish a retry: %s, %v", reply.Data, err)
	}
}

// left waits until the durable has that many events that nobody has acked.
func (s *stage) left(want int) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%d events are without an ack", want), func() bool {
		c, err := s.js.Consumer(s.t.Context(), events.Stream, "hello")
		if err != nil {
			s.t.Fatal(err)
		}
		info := c.CachedInfo()
		return info.NumAckPending == want && info.NumPending == 0
	})
}
