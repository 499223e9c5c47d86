package workers_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
)

// answering writes the credential of an answering worker to a file.
func (b *bus) answering(name string) string {
	b.t.Helper()
	m, err := b.keys.Minter()
	if err != nil {
		b.t.Fatal(err)
	}
	text, err := m.AnswerCredentials(name, time.Now().Add(time.Hour))
	if err != nil {
		b.t.Fatal(err)
	}
	file := filepath.Join(b.dir, name+"-answers.creds")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		b.t.Fatal(err)
	}
	return file
}

// ask asks as the API does.
func ask(t *testing.T, nc *nats.Conn, hook, question string) (workers.Reply, error) {
	t.Helper()
	data, err := events.Ask(t.Context(), nc, events.SubjectHookAnswer(hook), "request-1", time.Now().Add(2*time.Second), []byte(question))
	if err != nil {
		return workers.Reply{}, err
	}
	var reply workers.Reply
	if err := json.Unmarshal(data, &reply); err != nil {
		t.Fatal(err)
	}
	return reply, nil
}

func TestAnsweringWorker(t *testing.T) {
	b := newBus(t)
	t.Setenv("NATS_URL", b.url)
	t.Setenv("NATS_CREDS", b.answering("age"))
	api, err := b.connect(t.Context(), events.UserAPIAuth)
	if err != nil {
		t.Fatal(err)
	}
	const question = `{"flow":{"id":"1","type":"api","new":1},"identity":{"id":"2","traits":{"age":11,"email":"ada@example.com"}},"request_headers":{"User-Agent":["x"]},"new":2}`
	if _, err := ask(t, api, "age", question); !errors.Is(err, events.ErrNoWorker) {
		t.Fatalf("answer of nobody: %v, want %v", err, events.ErrNoWorker)
	}
	log := &logs{}
	a := workers.Answer("age", func(ctx context.Context, q workers.Question) (workers.Reply, error) {
		switch q.Flow.Type {
		case "panics":
			panic("ada@example.com")
		case "fails":
			return workers.Reply{}, errors.New("ada@example.com is unknown")
		case "slow":
			<-ctx.Done()
			return workers.Reply{}, ctx.Err()
		case "large":
			return workers.Refuse("", 1, strings.Repeat("x", 10<<20)), nil
		}
		if !strings.Contains(string(q.Identity.Traits), `"age":11`) || q.RequestHeaders["User-Agent"][0] != "x" {
			t.Errorf("question = %+v", q)
		}
		return workers.Refuse("#/traits/age", 4000042, "too young"), nil
	}, workers.Logger(logTo(log)), workers.Version("1.0.0"))
	ctx, end := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	waitFor(t, "the worker", func() bool { return strings.Contains(log.String(), `"answers"`) })

	got, err := ask(t, api, "age", question)
	if err != nil || len(got.Messages) != 1 || got.Messages[0].Pointer != "#/traits/age" || got.Messages[0].Messages[0].ID != 4000042 {
		t.Errorf("answer = %+v, %v, want the refusal", got, err)
	}
	for kind, want := range map[string]error{
		"panics": &events.Refused{Code: events.CodeError}, "fails": &events.Refused{Code: events.CodeError},
		"large": &events.Refused{Code: events.CodeError}, "slow": &events.Refused{Code: events.CodeLate},
	} {
		_, err := ask(t, api, "age", `{"flow":{"type":"`+kind+`"}}`)
		if !errors.Is(err, want) && (kind != "slow" || !errors.Is(err, events.ErrTimeout)) {
			t.Errorf("answer that %s: %v, want %v", kind, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "ada") {
			t.Errorf("answer that %s shows the worker's error: %v", kind, err)
		}
	}
	if _, err := ask(t, api, "age", `[]`); !errors.Is(err, &events.Refused{Code: events.CodeInvalid}) {
		t.Errorf("answer to nonsense: %v, want it refused", err)
	}
	if !strings.Contains(log.String(), "the answer has 104") {
		t.Errorf("log lacks the answer that is too large:\n%s", log)
	}
	end()
	if err := receive(t, done, "end of Run"); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if _, err := ask(t, api, "age", question); !errors.Is(err, events.ErrNoWorker) {
		t.Errorf("answer of a worker that has ended: %v, want %v", err, events.ErrNoWorker)
	}
}

func TestAnsweringWorkerThatCannotWork(t *testing.T) {
	b := newBus(t)
	t.Setenv("NATS_URL", b.url)
	t.Setenv("NATS_CREDS", b.answering("other"))
	err := workers.Answer("age", nil, workers.Logger(discard)).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), `the credential of "other", not of "age"`) {
		t.Errorf("Run with another's credential = %v, want an error that says so", err)
	}
	if err := workers.Answer("Age", nil, workers.Logger(discard)).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "want up to 64") {
		t.Errorf("Run of a wrong name = %v, want an error that says so", err)
	}
}

// An option that says nothing to an answering worker is not taken by the compiler.
func TestOptionsOfAnsweringWorkers(t *testing.T) {
	for name, c := range map[string]struct {
		option workers.Option
		want   bool
	}{
		"Concurrency": {workers.Concurrency(1), true}, "Logger": {workers.Logger(discard), true},
		"Version": {workers.Version("1.0.0"), true}, "WithConn": {workers.WithConn(nil), true},
		"Timeout": {workers.Timeout(1), false}, "Grace": {workers.Grace(1), false}, "Metrics": {workers.Metrics(nil), false},
		"AwaitConsumer": {workers.AwaitConsumer(), false}, "DoubleAck": {workers.DoubleAck(), false}, "Observe": {workers.Observe(nil), false},
	} {
		if _, ok := c.option.(workers.AnswerOption); ok != c.want {
			t.Errorf("%s is an AnswerOption: %t, want %t", name, ok, c.want)
		}
	}
	if err := workers.Answer("age", nil, workers.Logger(discard), workers.Concurrency(0)).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "concurrency is 0") {
		t.Errorf("Run = %v, want the concurrency refused", err)
	}
}
