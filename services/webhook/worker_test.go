package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/webhook"
)

// asker is a worker that says what the test wants.
type asker func(worker string, question []byte) ([]byte, error)

func (a asker) Ask(_ context.Context, worker, requestID string, timeout time.Duration, question []byte) ([]byte, error) {
	if requestID == "" || timeout != time.Second {
		return nil, fmt.Errorf("asked as %q with %s", requestID, timeout)
	}
	return a(worker, question)
}

// says is a worker's reply, or why there is none.
type says struct {
	reply string
	err   error
}

// askBoth asks a worker that may be missing and one that may not.
func askBoth(t *testing.T, s says, check func(optional bool, call *webhook.Call, err error, asked webhook.Asked)) {
	t.Helper()
	for _, optional := range []bool{false, true} {
		var asked []webhook.Asked
		c := newClient(t, webhook.Options{
			Workers: asker(func(string, []byte) ([]byte, error) { return []byte(s.reply), s.err }),
			Asked:   func(a webhook.Asked) { asked = append(asked, a) },
		})
		call := newCall()
		err := c.Ask(t.Context(), webhook.Worker{Name: "vet", Timeout: time.Second, Optional: optional}, call)
		if len(asked) != 1 || asked[0].Worker != "vet" {
			t.Fatalf("%s: asked = %+v, want one of vet", s.reply, asked)
		}
		check(optional, call, err, asked[0])
	}
}

func TestWorkerThatGivesNoAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, answer string
		says
		late bool
	}{
		{"nobody listens", webhook.Missing, says{err: fmt.Errorf("ask: %w", events.ErrNoWorker)}, false},
		{"no answer in time", webhook.Late, says{err: fmt.Errorf("ask: %w", events.ErrTimeout)}, true},
		{"it came to it too late", webhook.Late, says{err: &events.Refused{Code: events.CodeLate}}, true},
		{"its handler failed", webhook.Broken, says{err: &events.Refused{Code: events.CodeError}}, false},
		{"nothing", webhook.Broken, says{reply: ""}, false},
		{"null", webhook.Broken, says{reply: "null"}, false},
		{"nonsense", webhook.Broken, says{reply: "<html>secret@example.com"}, false},
		{"a list", webhook.Broken, says{reply: `["secret@example.com"]`}, false},
		{"an identity that is none", webhook.Broken, says{reply: `{"identity":"secret@example.com"}`}, false},
		{"a state that is none", webhook.Broken, says{reply: `{"identity":{"state":"secret@example.com","traits":{}}}`}, false},
		{"messages that are none", webhook.Broken, says{reply: `{"messages":"secret@example.com"}`}, false},
		{"messages of another kind", webhook.Broken, says{reply: `{"messages":[{"messages":["secret@example.com"]}]}`}, false},
		{"messages without any", webhook.Broken, says{reply: `{"messages":[{"instance_ptr":"#/traits/email"}]}`}, false},
		{"a refusal without messages", webhook.Broken, says{reply: `{"status":403}`}, false},
		{"a redirect", webhook.Broken, says{reply: `{"status":302,"identity":{"traits":{}}}`}, false},
		{"a status that is none", webhook.Broken, says{reply: `{"status":-1}`}, false},
	} {
		askBoth(t, tt.says, func(optional bool, call *webhook.Call, err error, asked webhook.Asked) {
			if asked.Answer != tt.answer || asked.Err == nil || asked.WentOn != optional {
				t.Errorf("%s, optional %t: asked = %+v, want %s and why", tt.name, optional, asked, tt.answer)
			}
			if strings.Contains(asked.Err.Error(), "secret") || !strings.HasPrefix(asked.Err.Error(), "worker vet: ") {
				t.Errorf("%s: error = %q, want one that names the worker and nobody else", tt.name, asked.Err)
			}
			if string(call.Identity.Traits) != string(newCall().Identity.Traits) || call.Identity.State != identity.Active {
				t.Errorf("%s: it changed the identity to %s", tt.name, call.Identity.Traits)
			}
			var failed *webhook.Failed
			if optional == (err != nil) || !optional && !errors.As(err, &failed) {
				t.Fatalf("%s, optional %t: Ask = %v, want a Failed where it is not optional", tt.name, optional, err)
			}
			var late interface{ Timeout() bool }
			if failed != nil && errors.As(failed.Err, &late) != tt.late {
				t.Errorf("%s: Ask = %v, late: %t", tt.name, err, !tt.late)
			}
		})
	}
}

func TestWorkerThatAccepts(t *testing.T) {
	t.Parallel()
	const unchanged = `{"email":"ada@example.com"}`
	for reply, want := range map[string]string{
		`{}`: unchanged,
		`{"status":204,"identity":{"traits":{"a":1}}}`: unchanged, // as over HTTP
		`{"identity":{}}`:                              unchanged,
		`{"identity":{"traits":{"a":1}}}`:              `{"a":1}`,
		`{"status":200,"identity":{"traits":{"a":1}}}`: `{"a":1}`,
		`{"status":200,"messages":[{"messages":[{"id":1}]}],"identity":{"traits":{"a":1}}}`: `{"a":1}`,
	} {
		askBoth(t, says{reply: reply}, func(_ bool, call *webhook.Call, err error, asked webhook.Asked) {
			if err != nil || asked.Answer != webhook.Accepted || asked.WentOn || string(call.Identity.Traits) != want {
				t.Errorf("%s: %v, %+v, traits %s; want %s", reply, err, asked, call.Identity.Traits, want)
			}
		})
	}
}

func TestWorkerThatRefuses(t *testing.T) {
	t.Parallel()
	want := []webhook.Message{
		{Node: "traits.email", ID: 77, Text: "not here", Type: "error"},
		{ID: 78, Text: "later", Type: "info", Context: json.RawMessage(`{"a":1}`)},
	}
	for _, status := range []string{"", `"status":400,`, `"status":503,`} {
		reply := `{` + status + `"identity":{"traits":{}},"messages":[
			{"instance_ptr":"#/traits/email","messages":[{"id":77,"text":"not here"}]},
			{"messages":[{"id":78,"text":"later","type":"info","context":{"a":1}}]}]}`
		askBoth(t, says{reply: reply}, func(optional bool, call *webhook.Call, err error, asked webhook.Asked) {
			var refusal *webhook.Refusal
			if !errors.As(err, &refusal) || asked.Answer != webhook.Refused || asked.WentOn || asked.Err != nil {
				t.Fatalf("%s optional %t: Ask = %v, %+v; want a refusal whether it is optional or not", status, optional, err, asked)
			}
			if diff := cmp.Diff(want, refusal.Messages); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
			if string(call.Identity.Traits) == "{}" {
				t.Error("it refused, and changed the identity too")
			}
		})
	}
}

// What a worker is asked is what a body template sees; each member that package
// events has is in it.
func TestQuestionIsWhatATemplateSees(t *testing.T) {
	t.Parallel()
	var question []byte
	e := newEndpoint(t, func(received) reply { return reply{status: 200} })
	c := newClient(t, webhook.Options{
		Endpoints: []webhook.Endpoint{{ID: "whole", URL: e.URL, Body: "function(ctx) ctx", Parse: true}},
		Workers:   asker(func(_ string, q []byte) ([]byte, error) { question = q; return []byte("{}"), nil }),
		SchemaURL: func(id string) string { return "https://id.example/schemas/" + id },
	})
	call := newCall()
	if err := c.Ask(t.Context(), webhook.Worker{Name: "vet", Timeout: time.Second}, call); err != nil {
		t.Fatal(err)
	}
	if err := c.Refuse(t.Context(), "webhook-whole", call); err != nil {
		t.Fatal(err)
	}
	same(t, "question and template", e.calls()[0].body, question)
	if bytes.Contains(question, []byte("hidden")) {
		t.Error("the question holds a credential")
	}

	var typed events.HookQuestion
	if err := json.Unmarshal(question, &typed); err != nil {
		t.Fatalf("the question does not fit its type: %v", err)
	}
	again, err := json.Marshal(typed)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "question and its type", again, common(t, question, again))
}

// common is text without the members that like does not have.
func common(t *testing.T, text, like []byte) []byte {
	t.Helper()
	var a, b any
	if err := errors.Join(json.Unmarshal(text, &a), json.Unmarshal(like, &b)); err != nil {
		t.Fatal(err)
	}
	var cut func(a, b any) any
	cut = func(a, b any) any {
		switch a := a.(type) {
		case map[string]any:
			b, _ := b.(map[string]any)
			kept := map[string]any{}
			for key := range a {
				if _, ok := b[key]; ok {
					kept[key] = cut(a[key], b[key])
				}
			}
			return kept
		case []any:
			b, _ := b.([]any)
			for n := range min(len(a), len(b)) {
				a[n] = cut(a[n], b[n])
			}
			return a
		}
		return a
	}
	kept, err := json.Marshal(cut(a, b))
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

// same compares two JSON texts by what they say.
func same(t *testing.T, what string, a, b []byte) {
	t.Helper()
	var trees [2]any
	for n, text := range [][]byte{a, b} {
		if err := json.Unmarshal(text, &trees[n]); err != nil {
			t.Fatalf("%s: %v in %s", what, err, text)
		}
	}
	if diff := cmp.Diff(trees[0], trees[1]); diff != "" {
		t.Errorf("%s differ:\n%s", what, diff)
	}
}

// What a worker says with the types of package events does what it says.
func TestAnswerOfTheTypeIsUnderstood(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(events.HookAnswer{Identity: &events.HookChange{
		State: "inactive", Traits: json.RawMessage(`{"email":"bea@example.com"}`),
		MetadataPublic: json.RawMessage(`{"vip":true}`), MetadataAdmin: json.RawMessage("null"),
		Verifiable: []events.HookAddress{{Value: "bea@example.com", Via: "email", Verified: true}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	askBoth(t, says{reply: string(text)}, func(_ bool, call *webhook.Call, err error, _ webhook.Asked) {
		i := call.Identity
		if err != nil || i.State != identity.Inactive || string(i.MetadataPublic) != `{"vip":true}` || i.MetadataAdmin != nil {
			t.Errorf("Ask = %v, identity %+v; want what the answer says", err, i)
		}
		if a := i.Addresses[len(i.Addresses)-1]; a.Value != "bea@example.com" || !a.Verified {
			t.Errorf("address = %+v, want bea's, verified", a)
		}
	})
}

// Whoever goes away while a worker is asked is no fault of the worker.
func TestNobodyWaitsForTheWorker(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	c := newClient(t, webhook.Options{
		Workers: asker(func(string, []byte) ([]byte, error) { cancel(); return nil, ctx.Err() }),
		Asked:   func(a webhook.Asked) { t.Errorf("it is counted: %+v", a) },
	})
	err := c.Ask(ctx, webhook.Worker{Name: "vet", Timeout: time.Second, Optional: true}, newCall())
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Ask = %v, want the end of the request", err)
	}
}

func TestClientWithoutWorkers(t *testing.T) {
	t.Parallel()
	err := newClient(t, webhook.Options{}).Ask(t.Context(), webhook.Worker{Name: "vet"}, newCall())
	if !errors.Is(err, events.ErrNoWorker) {
		t.Errorf("Ask = %v, want ErrNoWorker", err)
	}
}
