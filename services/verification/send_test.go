package verification_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/verification"
)

func TestSend(t *testing.T) {
	t.Parallel()
	for _, state := range []string{flow.ChooseMethod, flow.SentEmail} {
		f := newFakes()
		in := entered(" Anna@Example.ORG ")
		in.Flow.State = state
		given := *in.Flow
		if err := f.service().Send(t.Context(), in); err != nil {
			t.Fatalf("from %s: Send: %v", state, err)
		}
		want := given
		want.State, want.Active = flow.SentEmail, "code"
		want.Form = flow.Form{Values: map[string]any{"email": "anna@example.org"}}
		if diff := cmp.Diff(want, *in.Flow); diff != "" {
			t.Errorf("from %s: flow (-want +got):\n%s", state, diff)
		}
		if diff := cmp.Diff([]flow.Flow{want}, f.saved); diff != "" {
			t.Errorf("from %s: saved (-want +got):\n%s", state, diff)
		}
		// The courier reads the address from the flow, so that is saved first.
		equal(t, "steps", f.steps, []string{"save", "append verification.requested"})
		wantRequested(t, f.appended[0], events.Event{
			Actor: "client", Data: fmt.Appendf(nil, `{"flow_id":%q,"via":"email"}`, in.Flow.ID),
		})
	}
}

// wantRequested holds an event against what is special about it.
func wantRequested(t *testing.T, got, want events.Event) {
	t.Helper()
	want.SpecVersion, want.Source, want.Type, want.Time = "1.0", "/usher/verification", "verification.requested", start
	want.DataContentType, want.DataSchema = "application/json", "urn:usher:event:verification.requested:1"
	want.RequestID, want.TraceParent = "http-1", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(events.Event{}, "ID")); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	payload, err := got.Encode()
	if err != nil {
		t.Fatal(err)
	}
	eventstest.Validate(t, payload)
	if strings.Contains(string(payload), "example.org") {
		t.Errorf("event shows the address: %s", payload)
	}
}

// Whose the address is, is not looked up: the same is done for any.
func TestSendDoesTheSameForEveryAddress(t *testing.T) {
	t.Parallel()
	var done []string
	for _, email := range []string{"anna@example.org", "nobody@example.org"} {
		f := newFakes()
		if err := f.service().Send(t.Context(), entered(email)); err != nil {
			t.Fatalf("Send to %s: %v", email, err)
		}
		done = append(done, fmt.Sprint(f.steps, f.appended[0].Subject, f.appended[0].Actor, len(f.appended[0].Data)))
	}
	if done[0] != done[1] {
		t.Errorf("a known address takes %s, an unknown one %s", done[0], done[1])
	}
}

func TestSendRefuses(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 1000)
	for name, c := range map[string]struct {
		email, shown string
		want         int64
	}{
		"nothing":            {"", "former@example.org", 4000002},
		"no address":         {"anna", "anna", 4000040},
		"only white space":   {"  ", "  ", 4000040},
		"too long":           {long + "@example.org", long[:254], 4000040},
		"control characters": {"an\x00na@example.org", "an\x00na@example.org", 4000040},
	} {
		f := newFakes()
		in := entered(c.email)
		given := *in.Flow
		err := f.service().Send(t.Context(), in)
		if diff := cmp.Diff(given, *in.Flow); diff != "" {
			t.Errorf("%s: the flow was changed (-want +got):\n%s", name, diff)
		}
		shown, ids := form(t, err)
		if want := map[string][]int64{"email": {c.want}}; !sameMessages(ids, want) || shown.Values["email"] != c.shown {
			t.Errorf("%s: form = %v with %v, want %v with %q", name, shown.Values, ids, want, c.shown)
		}
		if m := shown.Messages["email"][0]; len(m.Context) > 2000 {
			t.Errorf("%s: the message repeats %d bytes", name, len(m.Context))
		}
		equal(t, name+": steps", f.steps, nil)
	}
}

func TestSendInAFlowThatHasPassed(t *testing.T) {
	t.Parallel()
	f := newFakes()
	in := entered("anna@example.org")
	in.Flow.State = flow.PassedChallenge
	if err := f.service().Send(t.Context(), in); !errors.Is(err, verification.ErrDone) || len(f.steps) > 0 {
		t.Errorf("Send = %v after %v, want ErrDone", err, f.steps)
	}
}

// The tries are the flow's, whatever code they are at: a mail would only bring a
// code that cannot pass.
func TestSendInAFlowWhoseTriesAreUsedUp(t *testing.T) {
	t.Parallel()
	for tries, want := range map[int]error{4: nil, 5: verification.ErrTooManyTries, 6: verification.ErrTooManyTries} {
		f := newFakes()
		in := entered("anna@example.org")
		in.Flow.Tries = tries
		if err := f.service().Send(t.Context(), in); !errors.Is(err, want) || (len(f.appended) == 0) != (want != nil) {
			t.Errorf("Send after %d tries = %v after %v, want %v", tries, err, f.steps, want)
		}
	}
}

// Another request gets ahead between the reading of the flow and its saving.
func TestSendBehindAnotherRequest(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]error{flow.SentEmail: nil, flow.PassedChallenge: verification.ErrDone} {
		f := newFakes()
		in := entered("anna@example.org")
		f.changed = *in.Flow
		f.changed.State, f.changed.Version, f.changed.CSRF = state, 7, []byte{9}
		f.save = func() error {
			if len(f.saved) == 1 {
				return flow.ErrChanged
			}
			return nil
		}
		if err := f.service().Send(t.Context(), in); !errors.Is(err, want) {
			t.Errorf("Send in a flow that is in %s by now = %v, want %v", state, err, want)
		}
		if want != nil {
			equal(t, "steps", f.steps, []string{"save", "flow"})
			continue
		}
		equal(t, "steps", f.steps, []string{"save", "flow", "save", "append verification.requested"})
		if last := f.saved[1]; last.Version != 7 || last.CSRF[0] != 9 || last.Form.Values["email"] != "anna@example.org" {
			t.Errorf("saved %+v, want the address in what the other request has left", last)
		}
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	f := newFakes()
	in := submit()
	o := verification.Opening{
		Identity: f.anna, Address: f.anna.Addresses[0], Type: flow.Browser, RequestURL: "https://id.example.org/login",
		ReturnTo: "https://app.example.org/", Languages: "de", CSRF: []byte{7}, Client: in.Client,
	}
	got, err := f.service().Open(t.Context(), o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	want := &flow.Flow{
		ID: got.ID, Kind: flow.Verification, Type: flow.Browser, State: flow.SentEmail, Active: "code",
		RequestURL: o.RequestURL, ReturnTo: o.ReturnTo, Languages: "de", CSRF: o.CSRF, Form: flow.Form{Values: map[string]any{"email": "anna@example.org"}},
		IssuedAt: start, ExpiresAt: start.Add(time.Hour),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("flow (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]flow.Flow{*want}, f.created); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	equal(t, "steps", f.steps, []string{"create", "append verification.requested"})
	person := f.anna.ID.String()
	wantRequested(t, f.appended[0], events.Event{
		Subject: person, Actor: "person:" + person,
		Data: fmt.Appendf(nil, `{"flow_id":%q,"via":"email","identity_id":%q,"address_id":%q}`, got.ID, person, o.Address.ID),
	})
}

func TestBrokenStore(t *testing.T) {
	t.Parallel()
	down := errors.New("database is down")
	fails := func() error { return down }
	for name, c := range map[string]struct {
		set   func(*fakes)
		open  bool
		steps []string
	}{
		"send, save":   {func(f *fakes) { f.save = fails }, false, []string{"save"}},
		"send, append": {func(f *fakes) { f.append = fails }, false, []string{"save", "append verification.requested"}},
		"open, create": {func(f *fakes) { f.create = fails }, true, []string{"create"}},
		"open, append": {func(f *fakes) { f.append = fails }, true, []string{"create", "append verification.requested"}},
	} {
		f := newFakes()
		c.set(f)
		in := entered("anna@example.org")
		given := *in.Flow
		var got *flow.Flow
		var err error
		if c.open {
			got, err = f.service().Open(t.Context(), verification.Opening{Identity: f.anna, Address: f.anna.Addresses[0]})
		} else {
			err = f.service().Send(t.Context(), in)
		}
		if diff := cmp.Diff(given, *in.Flow); diff != "" {
			t.Errorf("%s: the flow was changed (-want +got):\n%s", name, diff)
		}
		if got != nil || !errors.Is(err, down) || strings.Contains(err.Error(), "anna") {
			t.Errorf("%s: %+v, %v, want why, without the address", name, got, err)
		}
		equal(t, name+": steps", f.steps, c.steps)
	}
}
