package registration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
)

// verifying is a service whose registrations open verification flows.
func (f *fakes) verifying() *registration.Service {
	s := f.service()
	s.VerificationLifespan, s.VerificationMethod = time.Hour, flow.MethodCode
	return s
}

func TestRegistrationOpensItsVerification(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	in := submit(flow.Browser)
	in.Flow.AfterVerificationReturnTo, in.CSRF, in.Flow.Languages = "https://app.example.org/verified", []byte("next cookie"), "de"
	r, err := f.verifying().Register(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	record := f.records[0]
	opened := record.Verification
	if opened == nil || opened.Flow.ID != record.Grant.VerificationFlowID || opened.Flow.ID == uuid.Nil {
		t.Fatalf("record holds %+v and its grant %s, want one verification flow", opened, record.Grant.VerificationFlowID)
	}
	v, address := opened.Flow, record.Identity.Addresses[0]
	if v.Kind != flow.Verification || v.Type != flow.Browser || v.State != flow.SentEmail || v.Active != "code" || v.Form.Values["email"] != address.Value {
		t.Errorf("flow = %+v, want one that has asked for a code to %s", v, address.Value)
	}
	if v.ReturnTo != in.Flow.AfterVerificationReturnTo || v.Languages != "de" || !bytes.Equal(v.CSRF, in.CSRF) || v.RequestURL != in.Flow.RequestURL || v.ExpiresAt != v.IssuedAt.Add(time.Hour) {
		t.Errorf("flow = %+v, want what it inherits", v)
	}
	var data map[string]string
	if err := json.Unmarshal(opened.Event.Data, &data); err != nil {
		t.Fatal(err)
	}
	if data["flow_id"] != v.ID.String() || data["identity_id"] != r.Identity.ID.String() || data["address_id"] != address.ID.String() || opened.Event.Sequence != "" {
		t.Errorf("event = %+v %v, want flow, identity and address, and no sequence", opened.Event, data)
	}
	payload, err := opened.Event.Encode()
	if err != nil {
		t.Fatal(err)
	}
	eventstest.Validate(t, payload)
	if strings.Contains(string(payload), address.Value) {
		t.Errorf("the event holds the address: %s", payload)
	}
	if r.Verification != v || r.VerificationAddress != address.Value || r.ShowVerification {
		t.Errorf("result shows %+v to %q (%t), want the flow and that nobody is led there", r.Verification, r.VerificationAddress, r.ShowVerification)
	}
}

func TestRegistrationOpensNoVerification(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*fakes, *registration.Service, *registration.Submit){
		"switched off": func(_ *fakes, s *registration.Service, _ *registration.Submit) { s.VerificationLifespan = 0 },
		"no address": func(_ *fakes, _ *registration.Service, in *registration.Submit) {
			in.Traits = json.RawMessage(`{"username":"ann","name":{}}`)
		},
	} {
		f := newFakes(t)
		f.plan.Waiting = []hook.Step{{Kind: hook.KindShowVerification}}
		f.plan.Session.Bypass = true
		s, in := f.verifying(), submit(flow.API)
		change(f, s, &in)
		r, err := s.Register(t.Context(), in)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if f.records[0].Verification != nil || r.Verification != nil || r.ShowVerification {
			t.Errorf("%s: a verification was opened: %+v", name, r)
		}
		if want := name == "switched off"; f.records[0].Grant.Bypass != want {
			t.Errorf("%s: the grant's bypass is %t, want %t: it is for who has something to verify", name, f.records[0].Grant.Bypass, want)
		}
	}
}

// The grant, not the request, is what lets somebody in.
func TestBypassIsTheGrants(t *testing.T) {
	t.Parallel()
	for _, gated := range []bool{true, false} {
		f := newFakes(t)
		f.plan.Session.Bypass = gated
		if _, err := f.verifying().Register(t.Context(), submit(flow.API)); err != nil {
			t.Fatal(err)
		}
		if f.records[0].Grant.Bypass != gated || f.requests[0].Bypass != gated {
			t.Errorf("bypass of the grant is %t and of the request %t, want %t", f.records[0].Grant.Bypass, f.requests[0].Bypass, gated)
		}
	}
}

func TestShowVerificationIsNoCall(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	f.plan.Waiting = slices.Concat(steps("first"), []hook.Step{{Kind: hook.KindShowVerification}}, steps("second"))
	r, err := f.verifying().Register(t.Context(), submit(flow.API))
	if err != nil || !r.ShowVerification || r.Session == nil {
		t.Fatalf("Register = %+v, %v, want a session and the verification shown", r, err)
	}
	equal(t, "steps", f.steps, []string{"policy", "hash", "commit", "notify first", "notify second", "session"})
}

func TestRepeatShowsTheSameVerification(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	f.plan.Waiting = []hook.Step{{Kind: hook.KindShowVerification}}
	in := submit(flow.Browser)
	in.CSRF = []byte("lost with the answer")
	f.issue = func(context.Context, session.Request) (*session.Session, error) { return nil, session.ErrUnavailable }
	first, err := f.verifying().Register(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	f.issue, in.CSRF = nil, []byte("the new cookie")
	again, err := f.verifying().Repeat(t.Context(), in)
	if err != nil || again.Session == nil {
		t.Fatalf("Repeat = %+v, %v, want a session", again, err)
	}
	if again.Verification == nil || again.Verification.ID != first.Verification.ID || again.VerificationAddress != first.VerificationAddress || !again.ShowVerification {
		t.Errorf("Repeat shows %+v, want flow %s", again.Verification, first.Verification.ID)
	}
	if stored := f.flows[first.Verification.ID]; string(stored.CSRF) != "the new cookie" {
		t.Errorf("the flow belongs to %q, want the browser that repeats", stored.CSRF)
	}
	if len(f.records) != 1 {
		t.Errorf("%d registrations were stored, want 1", len(f.records))
	}

	// A session was given meanwhile: the answer is whole all the same.
	if again, err = f.verifying().Repeat(t.Context(), in); err != nil || !again.ShowVerification {
		t.Errorf("Repeat once more = %+v, %v, want the verification shown", again, err)
	}

	clear(f.flows)
	if again, err = f.verifying().Repeat(t.Context(), in); err != nil || again.Session == nil || again.Verification != nil {
		t.Errorf("Repeat when the flow is gone = %+v, %v, want a session and no flow", again, err)
	}
}
