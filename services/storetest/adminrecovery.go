package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/recovery"
	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/verification"
)

// handOut stores a code that no mail takes to the person.
func (s *suite) handOut(st *store.Store, id uuid.UUID, p flow.Purpose) (flowID uuid.UUID, err error) {
	c := courier.Code{Purpose: p, FlowID: uuid.New(), IdentityID: id, Text: courier.NewSecret(rightCode), ExpiresAt: s.clock().Add(time.Hour)}
	return c.FlowID, st.HandOut(s.ctx(), c, func(n int64) events.Event {
		e := events.New(events.AdminActed{Action: "recovery.code", Target: id.String()}, s.clock(), about("test", id))
		e.Sequence = sequence(int(n))
		return e
	})
}

// A code that an administrator hands out recovers who has an address and who has none,
// and verifies nothing.
func testHandOut(t *testing.T, s *suite) {
	st := s.store(nil)
	purposes := []flow.Purpose{flow.VerifyByCode, flow.VerifyByLink, flow.RecoverByCode, flow.RecoverByLink}
	for _, sent := range purposes[2:] {
		with, without := s.registered(st, string(sent)+"@example.org"), s.registered(st, string(sent)+"@example.net")
		s.exec(`DELETE FROM addresses WHERE identity_id = $1`, without.Identity.ID)
		for _, r := range []identity.Identity{*with.Identity, *without.Identity} {
			before := len(s.types(st))
			flowID, err := s.handOut(st, r.ID, sent)
			s.must(err)
			for _, given := range purposes {
				p := verification.Proof{FlowID: flowID, Purpose: given, Code: rightCode, At: s.clock()}
				if err := st.HoldsCode(s.ctx(), p); (err == nil) != (sent == given) {
					t.Errorf("a code for %s given for %s: %v", sent, given, err)
				}
			}
			verifies := s.proof(flowID, rightCode)
			verifies.Purpose = sent
			if _, err := st.Verify(s.ctx(), verifies); !errors.Is(err, verification.ErrWrongCode) {
				t.Errorf("Verify by a code without an address = %v, want %v", err, verification.ErrWrongCode)
			}
			wrong := s.recovery(flowID, "654321")
			wrong.Purpose = sent
			if _, err := st.Recover(s.ctx(), wrong); !errors.Is(err, recovery.ErrWrongCode) {
				t.Errorf("Recover by another code = %v, want %v", err, recovery.ErrWrongCode)
			}
			p := s.recovery(flowID, rightCode)
			p.Purpose = sent
			for _, again := range []bool{false, true} {
				got, err := st.Recover(s.ctx(), p)
				if err != nil || got.IdentityID != r.ID || got.AddressID != uuid.Nil || got.Verified || got.First || got.Again != again || got.Epoch != r.Epoch+1 {
					t.Errorf("Recover = %+v, %v, want the identity, nothing verified, again: %t", got, err, again)
				}
			}
			i, err := st.Identity(s.ctx(), r.ID)
			s.must(err)
			for _, a := range i.Addresses {
				if a.Verified || a.Status != identity.AddressPending {
					t.Errorf("address = %+v, want it as it was", a)
				}
			}
			if got, want := s.types(st)[before:], []string{"admin.acted 2", "recovery.completed 3"}; !slices.Equal(got, want) {
				t.Errorf("events = %q, want %q", got, want)
			}
		}
	}
	s.noneHolds(`SELECT digest FROM codes`, 4, rightCode)
}

// Nothing is handed out for who is not there or deactivated, and what was dies with that.
func testHandOutRefuses(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	over, err := s.handOut(st, r.Identity.ID, flow.RecoverByCode)
	s.must(err)
	held, err := s.handOut(st, r.Identity.ID, flow.RecoverByCode)
	s.must(err)
	before := s.types(st)
	late := s.recovery(over, rightCode)
	late.At = late.At.Add(time.Hour)
	if _, err := st.Recover(s.ctx(), late); !errors.Is(err, recovery.ErrWrongCode) {
		t.Errorf("Recover by a code that is over = %v, want %v", err, recovery.ErrWrongCode)
	}
	if _, err := s.handOut(st, uuid.New(), flow.RecoverByCode); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("HandOut for nobody = %v, want %v", err, identity.ErrNotFound)
	}
	s.exec(`UPDATE identities SET state = 'inactive' WHERE id = $1`, r.Identity.ID)
	if _, err := s.handOut(st, r.Identity.ID, flow.RecoverByCode); !errors.Is(err, admin.ErrInactive) {
		t.Errorf("HandOut for who is deactivated = %v, want %v", err, admin.ErrInactive)
	}
	if _, err := st.Recover(s.ctx(), s.recovery(held, rightCode)); !errors.Is(err, recovery.ErrWrongCode) {
		t.Errorf("Recover of who is deactivated = %v, want %v", err, recovery.ErrWrongCode)
	}
	if got := s.types(st); !slices.Equal(got, before) {
		t.Errorf("outbox = %q, want %q as before", got, before)
	}
	s.noneHolds(`SELECT digest FROM codes`, 2, rightCode)
}
