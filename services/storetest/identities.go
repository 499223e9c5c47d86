package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/webhook"
)

func testRegisterAndReadBack(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.record("ann@example.org", "ann@example.net")
	r.Identity.Credentials[0].Identifiers = append(r.Identity.Credentials[0].Identifiers, "ann")
	r.Identity.Addresses[1].Verified, r.Identity.Addresses[1].VerifiedAt = true, s.clock()
	r.Identity.MetadataPublic = []byte(`{"b":1,"a":2}`)
	s.must(st.Register(s.ctx(), r))

	grant, i, err := st.Grant(s.ctx(), r.Grant.FlowID)
	s.must(err)
	if diff := cmp.Diff(r.Grant, grant); diff != "" {
		t.Errorf("Grant: want(-) got(+):\n%s", diff)
	}
	if diff := cmp.Diff(r.Identity, i, anySequence); diff != "" {
		t.Errorf("Grant, the identity: want(-) got(+):\n%s", diff)
	}
	if got := string(i.Traits); got != string(r.Identity.Traits) {
		t.Errorf("traits = %s, want byte for byte %s", got, r.Identity.Traits)
	}
	if got, want := s.types(st), []string{"identity.created 1"}; !slices.Equal(got, want) {
		t.Errorf("outbox = %q, want %q", got, want)
	}
	if _, _, err := st.Grant(s.ctx(), uuid.New()); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("Grant of an unknown flow: %v, want %v", err, identity.ErrNotFound)
	}
	if _, err := st.Identity(s.ctx(), uuid.New()); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("Identity of an unknown id: %v, want %v", err, identity.ErrNotFound)
	}
}

// The flow that a registration opens is there with its event, and in the grant;
// a repeated submit may bind it to another cookie.
func testRegisterOpensAVerification(t *testing.T, s *suite) {
	st := s.store(func(o *store.Options) { o.MaxFlows = 5 })
	var first registration.Record
	for n := range 20 {
		opens := n%2 == 0
		r := s.record(fmt.Sprintf("a%d@example.org", n))
		if opens {
			f := s.newFlow()
			f.Kind, f.State = flow.Verification, flow.SentEmail
			r.Grant.VerificationFlowID = f.ID
			r.Verification = &registration.Verification{Flow: f, Event: events.New(events.VerificationRequested{
				FlowID: f.ID.String(), Via: "email", IdentityID: r.Identity.ID.String(), AddressID: r.Identity.Addresses[0].ID.String(),
			}, s.clock(), about("registration", r.Identity.ID))}
		}
		if n == 0 {
			first = r
		}
		s.must(st.Register(s.ctx(), r))
	}
	if got, want := s.types(st)[:3], []string{"identity.created 1", "verification.requested ", "identity.created 1"}; !slices.Equal(got, want) {
		t.Errorf("outbox begins with %q, want %q", got, want)
	}
	f := first.Verification.Flow
	f.CSRF = []byte{9}
	s.must(st.SaveFlow(s.ctx(), f))
	got, err := st.Flow(s.ctx(), f.ID)
	if diff := cmp.Diff(f, got); err != nil || diff != "" {
		t.Errorf("Flow of the registration: %v, want(-) got(+):\n%s", err, diff)
	}
	i := s.issueFor(first)
	_, err = st.IssueSession(s.ctx(), i)
	s.must(err)
	want := first.Grant
	want.SessionID, want.Steps.RequestedAt, want.Steps.IssuedAt = i.Session.ID, i.Request.RequestedAt, i.Session.IssuedAt
	all, err := st.Grants(s.ctx(), first.Identity.ID)
	if diff := cmp.Diff([]registration.Grant{want}, all); err != nil || diff != "" {
		t.Errorf("Grants: %v, want(-) got(+):\n%s", err, diff)
	}
	if all, err := st.Grants(s.ctx(), uuid.New()); err != nil || len(all) != 0 {
		t.Errorf("Grants of nobody = %+v, %v, want none", all, err)
	}
	s.must(st.CreateFlow(s.ctx(), s.newFlow())) // they count: the oldest goes
	if _, err := st.Flow(s.ctx(), f.ID); !errors.Is(err, flow.ErrNotFound) {
		t.Errorf("the oldest of more flows than may be: %v, want %v", err, flow.ErrNotFound)
	}
}

func testRegisterTaken(t *testing.T, s *suite) {
	st := s.store(nil)
	first := s.record("ann@example.org")
	first.Identity.Credentials[0].Identifiers = []string{"ann@example.org", "ann"}
	s.must(st.Register(s.ctx(), first))

	address := s.record("ann@example.org")
	handle := s.record("bob@example.org")
	handle.Identity.Credentials[0].Identifiers = []string{"bob@example.org", "ann"}
	sameFlow := s.record("cid@example.org")
	sameFlow.Grant.FlowID = first.Grant.FlowID
	again := s.record("ann@example.org")
	again.Grant.FlowID = first.Grant.FlowID
	for name, c := range map[string]struct {
		record registration.Record
		want   error
	}{
		"address":          {address, identity.ErrExists},
		"handle":           {handle, identity.ErrExists},
		"flow":             {sameFlow, registration.ErrFlowUsed},
		"flow and address": {again, registration.ErrFlowUsed},
	} {
		if err := st.Register(s.ctx(), c.record); !errors.Is(err, c.want) {
			t.Errorf("Register with the %s taken: %v, want %v", name, err, c.want)
		}
		if _, err := st.Identity(s.ctx(), c.record.Identity.ID); !errors.Is(err, identity.ErrNotFound) {
			t.Errorf("Identity after a refused Register (%s): %v, want %v", name, err, identity.ErrNotFound)
		}
	}
	if got := len(s.pending(st)); got != 1 {
		t.Errorf("%d events after one registration, want 1", got)
	}
}

func testRegisterOneFlowAtOnce(t *testing.T, s *suite) {
	st := s.store(nil)
	flowID := uuid.New()
	errs := atOnce(100, func(n int) error {
		r := s.record("ann@example.org")
		if n%2 == 0 {
			r = s.record(fmt.Sprintf("ann%d@example.org", n))
		}
		r.Grant.FlowID = flowID
		return st.Register(s.ctx(), r)
	})
	s.onlyOne(st, errs, registration.ErrFlowUsed)
}

func testRegisterOneAddressAtOnce(_ *testing.T, s *suite) {
	st := s.store(nil)
	errs := atOnce(100, func(int) error { return st.Register(s.ctx(), s.record("ann@example.org")) })
	s.onlyOne(st, errs, identity.ErrExists)
}

// onlyOne checks that one call made an identity and the others got an error.
func (s *suite) onlyOne(st *store.Store, errs []error, others error) {
	s.t.Helper()
	made := 0
	for _, err := range errs {
		switch {
		case err == nil:
			made++
		case !errors.Is(err, others):
			s.t.Errorf("Register: %v, want %v", err, others)
		}
	}
	all, err := st.Identities(s.ctx(), uuid.Nil, 1000)
	s.must(err)
	if made != 1 || len(all) != 1 || len(s.pending(st)) != 1 {
		s.t.Errorf("%d calls succeeded, %d identities, %d events; want 1 of each", made, len(all), len(s.pending(st)))
	}
}

// Two registrations that want the same two addresses in different order must
// not wait for each other in a circle.
func testRegisterCrosswise(t *testing.T, s *suite) {
	st := s.store(nil)
	for n := range 20 {
		a, b := fmt.Sprintf("a%d@example.org", n), fmt.Sprintf("b%d@example.org", n)
		errs := atOnce(2, func(n int) error {
			if n == 0 {
				return st.Register(s.ctx(), s.record(a, b))
			}
			return st.Register(s.ctx(), s.record(b, a))
		})
		for _, err := range errs {
			if err != nil && !errors.Is(err, identity.ErrExists) {
				t.Fatalf("Register: %v, want nil or %v", err, identity.ErrExists)
			}
		}
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("Register of the same addresses: %v and %v, want one to succeed", errs[0], errs[1])
		}
	}
}

func testCreateIdentity(t *testing.T, s *suite) {
	st := s.store(nil)
	i := s.record("ann@example.org").Identity
	i.State, i.Credentials = identity.Inactive, nil
	i.MetadataAdmin = []byte(`{"vip":true}`)
	event := func(i *identity.Identity) events.Event {
		e := events.New(events.IdentityCreated{IdentityID: i.ID.String(), SchemaID: "default", State: "inactive", Method: "admin"},
			s.clock(), events.About{Source: "/usher/admin", Subject: i.ID.String(), Actor: "admin:x"})
		e.Sequence = "1"
		return e
	}
	s.must(st.CreateIdentity(s.ctx(), i, event(i)))
	got, err := st.Identity(s.ctx(), i.ID)
	s.must(err)
	if diff := cmp.Diff(i, got, anySequence); diff != "" {
		t.Errorf("Identity: want(-) got(+):\n%s", diff)
	}
	other := s.record("ann@example.org").Identity
	if err := st.CreateIdentity(s.ctx(), other, event(other)); !errors.Is(err, identity.ErrExists) {
		t.Errorf("CreateIdentity with a taken address: %v, want %v", err, identity.ErrExists)
	}
	if err := st.Register(s.ctx(), s.record("ann@example.org")); !errors.Is(err, identity.ErrExists) {
		t.Errorf("Register with the address of a created identity: %v, want %v", err, identity.ErrExists)
	}
}

func testIdentities(t *testing.T, s *suite) {
	st := s.store(nil)
	want := map[uuid.UUID]*identity.Identity{}
	for n := range 25 {
		r := s.record(fmt.Sprintf("a%d@example.org", n), fmt.Sprintf("b%d@example.org", n))
		s.must(st.Register(s.ctx(), r))
		want[r.Identity.ID] = r.Identity
	}
	var last uuid.UUID
	for pages := 1; len(want) > 0; pages++ {
		page, err := st.Identities(s.ctx(), last, 10)
		s.must(err)
		if len(page) == 0 || pages > 3 {
			t.Fatalf("page %d holds %d identities, %d are missing", pages, len(page), len(want))
		}
		for _, i := range page {
			if i.ID.String() <= last.String() {
				t.Errorf("%s comes after %s, want them by id", i.ID, last)
			}
			if diff := cmp.Diff(want[i.ID], &i, anySequence); diff != "" {
				t.Errorf("Identities: want(-) got(+):\n%s", diff)
			}
			last = i.ID
			delete(want, i.ID)
		}
	}
	if page, err := st.Identities(s.ctx(), last, 10); err != nil || len(page) != 0 {
		t.Errorf("Identities behind the last = %d, %v, want none", len(page), err)
	}
}

func testHookInputs(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.record("ann@example.org")
	r.Inputs = []webhook.Due{newInput(r, "crm"), newInput(r, "mail")}
	s.must(st.Register(s.ctx(), r))

	in, ok, err := st.HookInput(s.ctx(), r.Grant.EventID, "crm")
	if diff := cmp.Diff(r.Inputs[0].Input, in); err != nil || !ok || diff != "" {
		t.Errorf("HookInput = %t, %v, want(-) got(+):\n%s", ok, err, diff)
	}
	if _, ok, err := st.HookInput(s.ctx(), r.Grant.EventID, "other"); ok || err != nil {
		t.Errorf("HookInput of an endpoint that gets nothing = %t, %v, want false", ok, err)
	}
	s.noneHolds(`SELECT sealed FROM hook_inputs`, 2, "canary", "id.example")

	s.must(st.DeleteHookInput(s.ctx(), r.Grant.EventID, "crm"))
	if _, ok, err := st.HookInput(s.ctx(), r.Grant.EventID, "crm"); ok || err != nil {
		t.Errorf("HookInput after DeleteHookInput = %t, %v, want false", ok, err)
	}
	s.exec(`UPDATE hook_inputs SET endpoint = 'crm'`)
	if _, _, err := st.HookInput(s.ctx(), r.Grant.EventID, "crm"); err == nil {
		t.Error("HookInput opened what was sealed for another endpoint")
	}
	for _, c := range []struct {
		before time.Time
		want   int
	}{{r.Grant.CreatedAt, 0}, {r.Grant.CreatedAt.Add(time.Second), 1}, {r.Grant.CreatedAt.Add(time.Second), 0}} {
		if n, err := st.DeleteHookInputs(s.ctx(), c.before, 10); n != c.want || err != nil {
			t.Errorf("DeleteHookInputs(%v) = %d, %v, want %d", c.before, n, err, c.want)
		}
	}
}

func testContextOver(t *testing.T, s *suite) {
	st := s.store(nil)
	ctx, cancel := context.WithCancel(s.ctx())
	cancel()
	if err := st.Register(ctx, s.record("ann@example.org")); !errors.Is(err, context.Canceled) {
		t.Errorf("Register with a context that is over: %v, want %v", err, context.Canceled)
	}
	if got := len(s.pending(st)); got != 0 {
		t.Errorf("%d events, want none", got)
	}
}
