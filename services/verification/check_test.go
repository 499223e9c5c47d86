package verification_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/verification"
	"github.com/usher-auth/usher/services/webhook"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	f := newFakes()
	f.plan = hook.AfterPlan{Waiting: steps("w", "x"), Background: steps("y", "z")}
	in := coded(" " + goodCode + "\n")
	given, values := *in.Flow, in.Flow.Form.Values
	values["code"] = "filled in by the link"
	if err := f.service().Check(t.Context(), in); err != nil {
		t.Fatalf("Check: %v", err)
	}
	want := given
	want.State, want.Active = flow.PassedChallenge, "code"
	want.Form = flow.Form{Values: map[string]any{"email": "former@example.org"}}
	if diff := cmp.Diff(want, *in.Flow); diff != "" {
		t.Errorf("flow (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]flow.Flow{want}, f.saved); diff != "" {
		t.Errorf("saved (-want +got):\n%s", diff)
	}
	if values["code"] == nil {
		t.Error("what others may read of the form was changed")
	}
	equal(t, "steps", f.steps, []string{"count", "verify", "save", "load", "notify w", "notify x"})
	if len(f.troubles) > 0 {
		t.Errorf("troubles = %v, want none", f.troubles)
	}
}

func TestProof(t *testing.T) {
	t.Parallel()
	f := newFakes()
	f.plan = hook.AfterPlan{Waiting: steps("w"), Background: steps("y", "z")}
	in := coded(goodCode)
	if err := f.service().Check(t.Context(), in); err != nil {
		t.Fatalf("Check: %v", err)
	}
	p := f.proofs[0]
	if p.FlowID != in.Flow.ID || p.Code != goodCode || !p.At.Equal(start) || p.EventID.Version() != 7 {
		t.Errorf("proof = %+v, want flow, code, time and a UUIDv7", p)
	}
	input := webhook.Input{
		Flow: webhook.Flow{
			ID: in.Flow.ID.String(), Type: "browser", RequestURL: in.Flow.RequestURL, ReturnTo: in.Flow.ReturnTo,
			IssuedAt: in.Flow.IssuedAt, ExpiresAt: in.Flow.ExpiresAt, TransientPayload: in.TransientPayload,
		},
		Request:   webhook.Request{Method: "POST", URL: "https://id.example.org/"},
		RequestID: "http-1", TraceParent: in.Client.TraceParent,
	}
	due := []webhook.Due{{EventID: p.EventID, Endpoint: "y", Input: input}, {EventID: p.EventID, Endpoint: "z", Input: input}}
	if diff := cmp.Diff(due, p.Due); diff != "" {
		t.Errorf("due (-want +got):\n%s", diff)
	}
	input.Request.Cookies = in.Request.Cookies
	person := *f.anna
	person.Credentials = nil
	if diff := cmp.Diff([]webhook.Call{{Input: input, Identity: &person, EventID: p.EventID.String()}}, f.calls); diff != "" {
		t.Errorf("call (-want +got):\n%s", diff)
	}
	if len(f.anna.Credentials) == 0 {
		t.Error("the stored identity lost its credentials")
	}
}

func TestCheckMakesTheEvents(t *testing.T) {
	t.Parallel()
	for _, first := range []bool{true, false} {
		f := newFakes()
		f.first = first
		in := coded(goodCode)
		if err := f.service().Check(t.Context(), in); err != nil {
			t.Fatalf("Check: %v", err)
		}
		person := f.anna.ID.String()
		base := events.Event{
			SpecVersion: "1.0", Source: "/usher/verification", Subject: person, Time: start, DataContentType: "application/json",
			RequestID: "http-1", Actor: "person:" + person, TraceParent: in.Client.TraceParent,
		}
		verified, activated := base, base
		verified.Type, verified.DataSchema, verified.Sequence = "address.verified", "urn:usher:event:address.verified:1", "7"
		verified.Data = fmt.Appendf(nil, `{"identity_id":%q,"address_id":%q,"via":"email","flow_id":%q}`, person, f.anna.Addresses[0].ID, in.Flow.ID)
		activated.Type, activated.DataSchema, activated.Sequence = "identity.activated", "urn:usher:event:identity.activated:1", "8"
		activated.Data = fmt.Appendf(nil, `{"identity_id":%q}`, person)
		want := []events.Event{verified, activated}
		if !first {
			want = want[:1]
		}
		if diff := cmp.Diff(want, f.stored, cmpopts.IgnoreFields(events.Event{}, "ID")); diff != "" {
			t.Errorf("first: %t: events (-want +got):\n%s", first, diff)
		}
		if f.stored[0].ID != f.proofs[0].EventID.String() {
			t.Errorf("address.verified has the id %s, want that of the hooks that wait for it, %s", f.stored[0].ID, f.proofs[0].EventID)
		}
		for _, e := range f.stored {
			payload, err := e.Encode()
			if err != nil {
				t.Fatal(err)
			}
			eventstest.Validate(t, payload)
			if strings.Contains(string(payload), goodCode) {
				t.Errorf("event shows the code: %s", payload)
			}
		}
	}
}

// A try counts before the code is looked at, so that no number of tries at once
// gets more answers than are allowed.
func TestTriesAreCounted(t *testing.T) {
	t.Parallel()
	f := newFakes()
	s := f.service()
	for n := range 5 {
		if err := s.Check(t.Context(), coded("000000")); !errors.Is(err, verification.ErrWrongCode) {
			t.Errorf("try %d = %v, want ErrWrongCode", n+1, err)
		}
	}
	for _, code := range []string{goodCode, "000000", strings.Repeat("1", 1000)} {
		if err := s.Check(t.Context(), coded(code)); !errors.Is(err, verification.ErrTooManyTries) {
			t.Errorf("Check = %v, want ErrTooManyTries also for the right code", err)
		}
	}
	if len(f.proofs) != 5 || len(f.stored) > 0 || len(f.saved) > 0 {
		t.Errorf("%d codes were looked at, %d events stored, want 5 and none", len(f.proofs), len(f.stored))
	}
	equal(t, "steps", f.steps[:2], []string{"count", "verify"})
}

func TestTheLastTryMayBeRight(t *testing.T) {
	t.Parallel()
	f := newFakes()
	f.tries = 4
	in := coded(goodCode)
	if err := f.service().Check(t.Context(), in); err != nil || in.Flow.State != flow.PassedChallenge {
		t.Errorf("fifth try = %v in %s, want it to pass", err, in.Flow.State)
	}
}

// A link may be opened as often as anybody likes; guesses by links count.
func TestHolds(t *testing.T) {
	t.Parallel()
	f := newFakes()
	s, id := f.service(), uuid.New()
	for range 20 {
		if ok, err := s.Holds(t.Context(), id, flow.VerifyByCode, goodCode); !ok || err != nil {
			t.Fatalf("Holds of the right code = %t, %v, want true", ok, err)
		}
	}
	if f.tries != 0 || len(f.proofs)+len(f.stored)+len(f.saved) > 0 {
		t.Errorf("%d tries are left counted, or something was stored", f.tries)
	}
	for range 5 {
		if ok, err := s.Holds(t.Context(), id, flow.VerifyByCode, "000000"); ok || err != nil {
			t.Fatalf("Holds of a wrong code = %t, %v, want false", ok, err)
		}
	}
	if ok, err := s.Holds(t.Context(), id, flow.VerifyByCode, goodCode); ok || err != nil {
		t.Errorf("Holds after five wrong codes = %t, %v, want false", ok, err)
	}
	f = newFakes()
	if ok, err := f.service().Holds(t.Context(), id, flow.VerifyByCode, strings.Repeat("1", 65)); ok || err != nil || f.tries != 1 || len(f.looks) > 0 {
		t.Errorf("Holds of what cannot be a code = %t, %v after %d tries and %d looks, want false after one try", ok, err, f.tries, len(f.looks))
	}
	if _, err := f.service().Holds(t.Context(), id, flow.VerifyByCode, goodCode); err != nil || len(f.looks) != 1 || !f.looks[0].At.Equal(start) || f.looks[0].FlowID != id {
		t.Errorf("Holds looks at %+v, %v, want what is good now, of the flow", f.looks, err)
	}
	f = newFakes()
	broken := errors.New("broken")
	f.verify = func() error { return broken }
	if _, err := f.service().Holds(t.Context(), id, flow.VerifyByCode, goodCode); !errors.Is(err, broken) {
		t.Errorf("Holds with a broken store = %v", err)
	}
}

// A code is entered as it was dictated.
func TestACodeInParts(t *testing.T) {
	t.Parallel()
	f := newFakes()
	if err := f.service().Check(t.Context(), coded(goodCode[:3]+"-"+goodCode[3:])); err != nil || f.proofs[0].Code != goodCode {
		t.Errorf("Check = %v with %v, want the code without its hyphen", err, f.proofs)
	}
}

func TestCodesThatCannotBeOne(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code  string
		steps []string
		node  bool // it is said at the node
	}{
		"nothing":          {"", nil, true},
		"only white space": {" \t", nil, true},
		"endless":          {strings.Repeat("1", 60_000), []string{"count"}, false},
	} {
		f := newFakes()
		in := coded(c.code)
		err := f.service().Check(t.Context(), in)
		if err == nil || in.Flow.State != flow.SentEmail {
			t.Errorf("%s: Check = %v in %s, want an error", name, err, in.Flow.State)
		}
		equal(t, name+": steps", f.steps, c.steps)
		if !c.node {
			if !errors.Is(err, verification.ErrWrongCode) {
				t.Errorf("%s: Check = %v, want ErrWrongCode", name, err)
			}
			continue
		}
		shown, ids := form(t, err)
		if want := map[string][]int64{"code": {4000002}}; !sameMessages(ids, want) || shown.Values["email"] != "former@example.org" {
			t.Errorf("%s: form = %v with %v, want %v and the address that was entered", name, shown.Values, ids, want)
		}
	}
}

func TestCheckInAFlowThatHasPassed(t *testing.T) {
	t.Parallel()
	f := newFakes()
	in := coded(goodCode)
	in.Flow.State = flow.PassedChallenge
	if err := f.service().Check(t.Context(), in); !errors.Is(err, verification.ErrDone) || len(f.steps) > 0 {
		t.Errorf("Check = %v after %v, want ErrDone", err, f.steps)
	}
}

// The answer to the first submit may be lost: the second passes as well, and
// tells nobody again.
func TestTheSameCodeAgain(t *testing.T) {
	t.Parallel()
	f := newFakes()
	f.plan.Waiting = steps("w")
	s := f.service()
	in := coded(goodCode)
	if err := s.Check(t.Context(), in); err != nil {
		t.Fatalf("Check: %v", err)
	}
	f.steps = nil
	in.Flow.State = flow.SentEmail // as it was loaded for the second
	if err := s.Check(t.Context(), in); err != nil || in.Flow.State != flow.PassedChallenge {
		t.Errorf("Check again = %v in %s, want it to pass", err, in.Flow.State)
	}
	equal(t, "steps", f.steps, []string{"count", "verify", "save"})
}

func TestCheckFailsBeforeTheCommit(t *testing.T) {
	t.Parallel()
	down := errors.New("database is down")
	for name, c := range map[string]struct {
		set   func(*fakes)
		want  error
		steps []string
	}{
		"count":        {func(f *fakes) { f.count = func() error { return down } }, down, []string{"count"}},
		"flow is gone": {func(f *fakes) { f.count = func() error { return flow.ErrNotFound } }, flow.ErrNotFound, []string{"count"}},
		"verify":       {func(f *fakes) { f.verify = func() error { return down } }, down, []string{"count", "verify"}},
	} {
		f := newFakes()
		f.plan.Waiting = steps("never")
		c.set(f)
		in := coded(goodCode)
		err := f.service().Check(t.Context(), in)
		if in.Flow.State != flow.SentEmail || !errors.Is(err, c.want) || strings.Contains(err.Error(), goodCode) {
			t.Errorf("%s: Check = %v in %s, want %v without the code", name, err, in.Flow.State, c.want)
		}
		equal(t, name+": steps", f.steps, c.steps)
	}
}

// The person is verified whatever happens to the flow, the request or the
// person afterwards.
func TestWhatFollowsTheCommit(t *testing.T) {
	t.Parallel()
	down := errors.New("flows file is damaged")
	for name, c := range map[string]struct {
		set     func(f *fakes, cancel func())
		trouble error
		calls   int
	}{
		"flow cannot be saved": {func(f *fakes, _ func()) { f.save = func() error { return down } }, down, 1},
		"request has ended":    {func(f *fakes, cancel func()) { f.verify = func() error { cancel(); return nil } }, nil, 1},
		"person is erased":     {func(f *fakes, _ func()) { f.load = func() error { return identity.ErrNotFound } }, nil, 0},
	} {
		f := newFakes()
		f.plan.Waiting = steps("w")
		ctx, cancel := context.WithCancel(t.Context())
		c.set(f, cancel)
		in := coded(goodCode)
		err := f.service().Check(ctx, in)
		if err != nil || in.Flow.State != flow.PassedChallenge || len(f.stored) == 0 || len(f.calls) != c.calls {
			t.Errorf("%s: Check = %v in %s with %d calls, want it passed with %d", name, err, in.Flow.State, len(f.calls), c.calls)
		}
		if trouble := errors.Join(f.troubles...); !errors.Is(trouble, c.trouble) || (trouble == nil) != (c.trouble == nil) {
			t.Errorf("%s: trouble = %v, want %v", name, trouble, c.trouble)
		}
		cancel()
	}
}

func TestTroubleNeedsNoListener(t *testing.T) {
	t.Parallel()
	f := newFakes()
	f.save = func() error { return errors.New("flows file is damaged") }
	s := f.service()
	s.Trouble = nil
	if err := s.Check(t.Context(), coded(goodCode)); err != nil {
		t.Errorf("Check: %v", err)
	}
}

// A hook that the answer waits for fails: that is what the client is told, and
// the flow has passed all the same.
func TestWaitingHookFails(t *testing.T) {
	t.Parallel()
	f := newFakes()
	f.plan.Waiting = steps("w", "x")
	broken := &webhook.Failed{Endpoint: "w", Status: 500, Err: errors.New("no answer")}
	f.notify = func(string) error { return broken }
	in := coded(goodCode)
	if err := f.service().Check(t.Context(), in); !errors.Is(err, broken) || in.Flow.State != flow.PassedChallenge {
		t.Errorf("Check = %v in %s, want the hook's failure and the flow passed", err, in.Flow.State)
	}
	equal(t, "steps", f.steps, []string{"count", "verify", "save", "load", "notify w"})
	if f.saved[0].State != flow.PassedChallenge {
		t.Errorf("the flow is in %s, want it passed", f.saved[0].State)
	}

	f = newFakes()
	f.plan.Waiting = steps("w")
	down := errors.New("database is down")
	f.load = func() error { return down }
	if err := f.service().Check(t.Context(), coded(goodCode)); !errors.Is(err, down) || len(f.calls) > 0 {
		t.Errorf("Check = %v, want why no hook could be called", err)
	}
}
