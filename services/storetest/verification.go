package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/verification"
	"github.com/usher-auth/usher/services/webhook"
)

const rightCode = "123456"

func testCountTry(t *testing.T, s *suite) {
	st := s.store(nil)
	f := s.newFlow()
	s.must(st.CreateFlow(s.ctx(), f))
	tries := make([]int, 10)
	for _, err := range atOnce(len(tries), func(n int) (err error) {
		tries[n], err = st.CountTry(s.ctx(), f.ID)
		return err
	}) {
		s.must(err)
	}
	slices.Sort(tries)
	if want := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}; !slices.Equal(tries, want) {
		t.Errorf("CountTry = %d, want %d", tries, want)
	}
	s.must(st.ForgiveTry(s.ctx(), f.ID))
	if n, err := st.CountTry(s.ctx(), f.ID); n != len(tries) || err != nil {
		t.Errorf("CountTry after ForgiveTry = %d, %v, want %d once more", n, err, len(tries))
	}
	if got, err := st.Flow(s.ctx(), f.ID); err != nil || got.Tries != len(tries) {
		t.Errorf("Flow = %+v, %v, want %d tries", got, err, len(tries))
	}
	f.Tries = 0
	s.must(st.SaveFlow(s.ctx(), f))
	if got, _, err := st.FlowAndGrant(s.ctx(), f.ID); err != nil || got.Tries != len(tries) {
		t.Errorf("FlowAndGrant after SaveFlow = %+v, %v, want %d tries", got, err, len(tries))
	}
	if _, err := st.CountTry(s.ctx(), uuid.New()); !errors.Is(err, flow.ErrNotFound) {
		t.Errorf("CountTry of an unknown flow: %v, want %v", err, flow.ErrNotFound)
	}
}

// mail queues a message with a code to a person's n-th address, for a new flow.
func (s *suite) mail(st *store.Store, r registration.Record, n int) (flowID uuid.UUID) {
	s.t.Helper()
	c := s.codeFor(uuid.New(), r, n)
	_, err := st.Queue(s.ctx(), s.message(r, n), c)
	s.must(err)
	return c.FlowID
}

func (s *suite) codeFor(flowID uuid.UUID, r registration.Record, n int) *courier.Code {
	return &courier.Code{
		Purpose: flow.VerifyByCode, FlowID: flowID, IdentityID: r.Identity.ID, AddressID: r.Identity.Addresses[n].ID,
		Text: courier.NewSecret(rightCode), AskedAt: s.clock(), ExpiresAt: s.clock().Add(time.Hour),
	}
}

func (s *suite) proof(flowID uuid.UUID, code string) verification.Proof {
	p := verification.Proof{FlowID: flowID, Purpose: flow.VerifyByCode, Code: code, At: s.clock(), EventID: uuid.Must(uuid.NewV7())}
	p.Events = func(v verification.Verified, first bool, next func() int64) []events.Event {
		e := events.New(events.AddressVerified{IdentityID: v.IdentityID.String(), AddressID: v.AddressID.String(), Via: v.Via, FlowID: flowID.String()},
			p.At, about("verification", v.IdentityID))
		e.ID, e.Sequence = p.EventID.String(), sequence(int(next()))
		all := []events.Event{e}
		if first {
			e := events.New(events.IdentityActivated{IdentityID: v.IdentityID.String()}, p.At, about("verification", v.IdentityID))
			e.Sequence = sequence(int(next()))
			all = append(all, e)
		}
		return all
	}
	return p
}

func testVerify(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.record("ann@example.org", "ann@example.net")
	s.must(st.Register(s.ctx(), r))
	flows := []uuid.UUID{s.mail(st, r, 0), s.mail(st, r, 1), s.mail(st, r, 0)}
	s.advance(time.Minute)
	at := s.clock()
	addresses := slices.Clone(r.Identity.Addresses)
	for n, flowID := range flows {
		s.advance(time.Second)
		p := s.proof(flowID, rightCode)
		s.must(st.HoldsCode(s.ctx(), p))
		if err := st.HoldsCode(s.ctx(), s.proof(flowID, "654321")); !errors.Is(err, verification.ErrWrongCode) {
			t.Errorf("HoldsCode of a wrong code: %v, want %v", err, verification.ErrWrongCode)
		}
		in := newInput(r, "crm")
		in.EventID = p.EventID
		p.Due = []webhook.Due{in}
		a := &addresses[n%2]
		want := verification.Verified{IdentityID: r.Identity.ID, AddressID: a.ID, Via: "email"}
		if n < 2 { // the third is one of an address that is verified
			a.Verified, a.VerifiedAt, a.Status, a.UpdatedAt = true, p.At, identity.AddressCompleted, p.At
		}
		for _, again := range []bool{false, true} {
			want.Again = again
			if got, err := st.Verify(s.ctx(), p); err != nil || got != want {
				t.Errorf("Verify = %+v, %v, want %+v", got, err, want)
			}
			i, err := st.Identity(s.ctx(), r.Identity.ID)
			if n == 0 {
				addresses[1].Status, addresses[1].UpdatedAt = identity.AddressSent, at.Add(-time.Minute) // by the mail
			}
			if diff := cmp.Diff(addresses, i.Addresses); err != nil || diff != "" {
				t.Errorf("addresses: %v, want(-) got(+):\n%s", err, diff)
			}
			s.advance(time.Second)
			p.At = s.clock()
		}
		if _, ok, err := st.HookInput(s.ctx(), p.EventID, "crm"); !ok || err != nil {
			t.Errorf("HookInput = %t, %v, want one", ok, err)
		}
	}
	want := []string{"identity.created 1", "address.verified 2", "identity.activated 3", "address.verified 4", "address.verified 5"}
	if got := s.types(st); !slices.Equal(got, want) {
		t.Errorf("outbox = %q, want %q", got, want)
	}
	s.advance(2 * time.Hour)
	if got, err := st.Verify(s.ctx(), s.proof(flows[0], rightCode)); err != nil || !got.Again {
		t.Errorf("Verify with a used code that is over = %+v, %v, want it to be again", got, err)
	}
	if _, err := st.Verify(s.ctx(), s.proof(flows[0], "654321")); !errors.Is(err, verification.ErrWrongCode) {
		t.Errorf("Verify with a wrong code in a flow that was used: %v, want %v", err, verification.ErrWrongCode)
	}
}

func testVerifyRefuses(t *testing.T, s *suite) {
	st := s.store(nil)
	person := func(name string) registration.Record { return s.registered(st, name+"@example.org") }
	of := func(name string) uuid.UUID { return s.mail(st, person(name), 0) }
	change := func(r registration.Record, set string) {
		s.exec(`UPDATE addresses SET ` + set + ` WHERE id = '` + r.Identity.Addresses[0].ID.String() + `'`)
	}
	changed, moved, gone, deleted, replaced := person("changed"), person("moved"), person("gone"), person("deleted"), person("replaced")
	flows := map[string]uuid.UUID{
		"a wrong code": of("wrong"), "an empty code": of("empty"), "over": of("over"), "no such flow": uuid.New(),
		"another value": s.mail(st, changed, 0), "another identity's": s.mail(st, moved, 0), "an address that is gone": s.mail(st, gone, 0),
		"an identity that is gone": s.mail(st, deleted, 0), "a former code": s.mail(st, replaced, 0),
	}
	if s.Driver == "postgres" {
		change(changed, `value = 'new@example.org', address_key = '\x01'`)
	} else {
		change(changed, `value = 'new@example.org', address_key = x'01'`)
	}
	change(moved, `identity_id = '`+changed.Identity.ID.String()+`'`)
	change(gone, `state = 'pending'`)
	s.exec(`DELETE FROM addresses WHERE identity_id = '` + deleted.Identity.ID.String() + `'`)
	newer := s.codeFor(flows["a former code"], replaced, 0)
	newer.Text = courier.NewSecret("777777")
	_, err := st.Queue(s.ctx(), s.message(replaced, 0), newer)
	s.must(err)
	before := s.types(st)
	for name, flowID := range flows {
		p := s.proof(flowID, rightCode)
		switch name {
		case "a wrong code":
			p.Code = "123457"
		case "an empty code":
			p.Code = ""
		case "over":
			p.At = p.At.Add(time.Hour)
		}
		if got, err := st.Verify(s.ctx(), p); !errors.Is(err, verification.ErrWrongCode) || got != (verification.Verified{}) {
			t.Errorf("%s: Verify = %+v, %v, want %v", name, got, err, verification.ErrWrongCode)
		}
	}
	if got := s.types(st); !slices.Equal(got, before) {
		t.Errorf("outbox = %q, want %q as before", got, before)
	}
	if got, err := st.Verify(s.ctx(), s.proof(flows["a former code"], "777777")); err != nil || got.Again {
		t.Errorf("Verify with the newer code = %+v, %v, want it verified", got, err)
	}
	s.noneHolds(`SELECT digest FROM codes`, 8, rightCode, "777777")
}

// A code or link verifies what it was sent for, and recovers nothing.
func testVerifyForAPurpose(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	purposes := []flow.Purpose{flow.VerifyByCode, flow.VerifyByLink, flow.RecoverByCode, flow.RecoverByLink}
	for _, sent := range purposes {
		c := s.codeFor(uuid.New(), r, 0)
		c.Purpose = sent
		_, err := st.Queue(s.ctx(), s.message(r, 0), c)
		s.must(err)
		for _, given := range purposes {
			p := s.proof(c.FlowID, rightCode)
			p.Purpose = given
			if err := st.HoldsCode(s.ctx(), p); (err == nil) != (sent == given) {
				t.Errorf("a code for %s given for %s: %v", sent, given, err)
			}
		}
	}
}

// A code is the flow's alone, and the newest of it.
func testVerifyInAnotherFlow(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	flowID, another := s.mail(st, r, 0), uuid.New()
	s.exec(`INSERT INTO codes (flow_id, identity_id, address_id, digest, created_at, expires_at)
		SELECT $1, identity_id, address_id, digest, created_at, expires_at FROM codes WHERE flow_id = $2`, another, flowID)
	if _, err := st.Verify(s.ctx(), s.proof(another, rightCode)); !errors.Is(err, verification.ErrWrongCode) {
		t.Errorf("Verify with the digest of another flow = %v, want %v", err, verification.ErrWrongCode)
	}

	_, err := st.Verify(s.ctx(), s.proof(flowID, rightCode))
	s.must(err)
	s.advance(time.Minute)
	_, err = st.Queue(s.ctx(), s.message(r, 0), s.codeFor(flowID, r, 0))
	s.must(err)
	if got, err := st.Verify(s.ctx(), s.proof(flowID, rightCode)); err != nil || got.Again {
		t.Errorf("Verify with a code behind one that was used = %+v, %v, want it not again", got, err)
	}
}

// Nobody verifies an address of a deactivated person, not even once more; it is
// as if the code were wrong.
func testVerifyOfTheDeactivated(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	unused, used := s.mail(st, r, 0), s.mail(st, r, 0)
	_, err := st.Verify(s.ctx(), s.proof(used, rightCode))
	s.must(err)
	set := func(state string) {
		s.exec(`UPDATE identities SET state = $1 WHERE id = $2`, state, r.Identity.ID)
	}
	set("inactive")
	before := s.types(st)
	for name, flowID := range map[string]uuid.UUID{"a code": unused, "a used code": used} {
		if got, err := st.Verify(s.ctx(), s.proof(flowID, rightCode)); !errors.Is(err, verification.ErrWrongCode) || got != (verification.Verified{}) {
			t.Errorf("%s: Verify = %+v, %v, want %v", name, got, err, verification.ErrWrongCode)
		}
		if err := st.HoldsCode(s.ctx(), s.proof(flowID, rightCode)); !errors.Is(err, verification.ErrWrongCode) {
			t.Errorf("%s: HoldsCode = %v, want %v", name, err, verification.ErrWrongCode)
		}
	}
	if got := s.types(st); !slices.Equal(got, before) {
		t.Errorf("outbox = %q, want %q as before", got, before)
	}
	set("active")
	if got, err := st.Verify(s.ctx(), s.proof(unused, rightCode)); err != nil || got.Again {
		t.Errorf("Verify of who is active again = %+v, %v, want it verified", got, err)
	}
}

// A person changes between the look at the code and the commit, which waits for
// that change. A look that comes later refuses too.
func testVerifyOfWhoChangesMeanwhile(t *testing.T, s *suite) {
	st := s.store(nil)
	for name, change := range map[string]string{
		"deactivated":     `UPDATE identities SET state = 'inactive' WHERE id = $1`,
		"another address": `UPDATE addresses SET address_key = substr(address_key, 2) WHERE identity_id = $1`,
	} {
		r := s.registered(st, strings.ReplaceAll(name, " ", "")+"@example.org")
		flowID := s.mail(st, r, 0)
		tx, err := s.raw().BeginTx(s.ctx(), nil)
		s.must(err)
		_, err = tx.ExecContext(s.ctx(), `UPDATE identities SET sequence = sequence WHERE id = $1`, r.Identity.ID) // locks it
		s.must(err)
		verified := make(chan error, 1)
		go func() {
			_, err := st.Verify(s.ctx(), s.proof(flowID, rightCode))
			verified <- err
		}()
		select {
		case err := <-verified:
			t.Fatalf("%s: Verify does not wait for the change: %v", name, err)
		case <-time.After(300 * time.Millisecond):
		}
		_, err = tx.ExecContext(s.ctx(), change, r.Identity.ID)
		s.must(err)
		s.must(tx.Commit())
		if err := <-verified; !errors.Is(err, verification.ErrWrongCode) {
			t.Errorf("%s: Verify = %v, want %v", name, err, verification.ErrWrongCode)
		}
	}
}

// Of many who enter the code at once one verifies, and the others do so again.
func testVerifyAtOnce(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	flowID := s.mail(st, r, 0)
	again := make([]bool, 10)
	for _, err := range atOnce(len(again), func(n int) error {
		v, err := st.Verify(s.ctx(), s.proof(flowID, rightCode))
		again[n] = v.Again
		return err
	}) {
		s.must(err)
	}
	firsts := 0
	for _, a := range again {
		if !a {
			firsts++
		}
	}
	if want := []string{"identity.created 1", "address.verified 2", "identity.activated 3"}; firsts != 1 || !slices.Equal(s.types(st), want) {
		t.Errorf("%d calls verified, outbox = %q, want 1 and %q", firsts, s.types(st), want)
	}
}

func testDeleteExpiredCodes(t *testing.T, s *suite) {
	st := s.store(nil)
	for n := range 3 {
		s.mail(st, s.registered(st, fmt.Sprintf("a%d@example.org", n)), 0)
		s.advance(time.Second)
	}
	last := s.clock().Add(time.Hour - time.Second)
	for _, c := range []struct {
		before time.Time
		want   int
	}{{last.Add(-2 * time.Second), 0}, {last, 1}, {last, 1}, {last, 0}} {
		if n, err := st.DeleteExpiredCodes(s.ctx(), c.before, 1); n != c.want || err != nil {
			t.Errorf("DeleteExpiredCodes(%v, 1) = %d, %v, want %d", c.before, n, err, c.want)
		}
	}
}
