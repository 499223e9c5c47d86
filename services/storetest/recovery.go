package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/courier"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/recovery"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/verification"
	"github.com/usher-auth/usher/services/webhook"
)

// mailRecovery queues a message with a code that recovers, for a new flow.
func (s *suite) mailRecovery(st *store.Store, r registration.Record) (flowID uuid.UUID) {
	s.t.Helper()
	c := s.codeFor(uuid.New(), r, 0)
	c.Purpose = flow.RecoverByCode
	_, err := st.Queue(s.ctx(), s.message(r, 0), c)
	s.must(err)
	return c.FlowID
}

func (s *suite) recovery(flowID uuid.UUID, code string) recovery.Proof {
	p := recovery.Proof{FlowID: flowID, Purpose: flow.RecoverByCode, Code: code, At: s.clock(), EventID: uuid.Must(uuid.NewV7())}
	p.Due = []webhook.Due{{EventID: p.EventID, Endpoint: "crm"}}
	p.Events = func(r recovery.Recovered, next func() int64) (all []events.Event) {
		add := func(payload events.Payload) {
			e := events.New(payload, p.At, about("recovery", r.IdentityID))
			e.Sequence = sequence(int(next()))
			all = append(all, e)
		}
		add(events.RecoveryCompleted{IdentityID: r.IdentityID.String(), FlowID: flowID.String(), Method: "code", SessionsRevoked: len(r.Ended)})
		if r.Verified {
			add(events.AddressVerified{IdentityID: r.IdentityID.String(), AddressID: r.AddressID.String(), Via: r.Via, FlowID: flowID.String()})
		}
		if r.First {
			add(events.IdentityActivated{IdentityID: r.IdentityID.String()})
		}
		for _, ended := range r.Ended {
			add(events.SessionRevoked{SessionID: ended.String(), IdentityID: r.IdentityID.String(), Reason: "recovery"})
		}
		return all
	}
	return p
}

func testRecover(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	issued, err := st.IssueSession(s.ctx(), s.issueFor(r))
	s.must(err)
	other, verifies := s.mailRecovery(st, r), s.mail(st, r, 0)
	flowID := s.mailRecovery(st, r)
	p := s.recovery(flowID, rightCode)
	got, err := st.Recover(s.ctx(), p)
	if err != nil || got.IdentityID != r.Identity.ID || got.AddressID != r.Identity.Addresses[0].ID || !got.Verified || !got.First || got.Epoch != r.Identity.Epoch+1 || !slices.Equal(got.Ended, []uuid.UUID{issued.ID}) {
		t.Errorf("Recover = %+v, %v, want Ann, her address verified, her session ended", got, err)
	}
	if _, err := st.Recover(s.ctx(), s.recovery(other, rightCode)); !errors.Is(err, recovery.ErrWrongCode) {
		t.Errorf("the code of another flow recovers: %v, want %v", err, recovery.ErrWrongCode)
	}
	if err := st.HoldsCode(s.ctx(), s.proof(verifies, rightCode)); !errors.Is(err, verification.ErrWrongCode) {
		t.Errorf("the code of a verification is good: %v, want %v", err, verification.ErrWrongCode)
	}
	i, err := st.Identity(s.ctx(), r.Identity.ID)
	if err != nil || i.Epoch != got.Epoch || !i.Addresses[0].Verified {
		t.Errorf("identity = %+v, %v, want the epoch %d and a verified address", i, err, got.Epoch)
	}
	if one, err := st.Session(s.ctx(), issued.ID); err != nil || !one.Revoked {
		t.Errorf("session = %+v, %v, want it revoked", one, err)
	}
	if _, ok, err := st.HookInput(s.ctx(), p.EventID, "crm"); !ok || err != nil {
		t.Errorf("HookInput = %t, %v, want one", ok, err)
	}
	types := s.types(st)
	if want := []string{"recovery.completed", "address.verified", "identity.activated", "session.revoked"}; len(types) < 4 || !slices.Equal(withoutSequence(types[len(types)-4:]), want) {
		t.Errorf("outbox = %q, want %q at its end", types, want)
	}
	// The same code again, for a while.
	if again, err := st.Recover(s.ctx(), s.recovery(flowID, rightCode)); err != nil || !again.Again || again.Epoch != got.Epoch || len(again.Ended) > 0 {
		t.Errorf("the same code = %+v, %v, want it again with nothing ended", again, err)
	}
	if after := s.types(st); !slices.Equal(after, types) {
		t.Errorf("outbox = %q, want %q as before", after, types)
	}
	s.advance(session.RepeatWindow + time.Second)
	if _, err := st.Recover(s.ctx(), s.recovery(flowID, rightCode)); !errors.Is(err, recovery.ErrWrongCode) {
		t.Errorf("the same code later = %v, want %v", err, recovery.ErrWrongCode)
	}
	// A second recovery finds the address verified.
	if got, err := st.Recover(s.ctx(), s.recovery(s.mailRecovery(st, r), rightCode)); err != nil || got.Verified || got.First || len(got.Ended) > 0 {
		t.Errorf("second recovery = %+v, %v, want nothing verified and nobody ended", got, err)
	}
}

// withoutSequence are the types of events as [suite.types] gives them.
func withoutSequence(types []string) (all []string) {
	for _, one := range types {
		name, _, _ := strings.Cut(one, " ")
		all = append(all, name)
	}
	return all
}

// A code that was used by somebody else is not good again behind a recovery or another
// password, though its own flow has not passed.
func testRecoverEndsWhatWasUsed(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	stolen := s.mailRecovery(st, r)
	_, err := st.Recover(s.ctx(), s.recovery(stolen, rightCode))
	s.must(err)
	own := s.mailRecovery(st, r)
	_, err = st.Recover(s.ctx(), s.recovery(own, rightCode))
	s.must(err)
	if got, err := st.Recover(s.ctx(), s.recovery(stolen, rightCode)); !errors.Is(err, recovery.ErrWrongCode) {
		t.Errorf("a used code behind another recovery = %+v, %v, want %v", got, err, recovery.ErrWrongCode)
	}
	waiting := s.mailRecovery(st, r)
	i, err := st.Identity(s.ctx(), r.Identity.ID)
	s.must(err)
	_, err = s.settings(st).SetPassword(s.ctx(), s.changing(i, ""), password.New(firstSecret))
	s.must(err)
	for name, flowID := range map[string]uuid.UUID{"used": own, "waiting": waiting} {
		if got, err := st.Recover(s.ctx(), s.recovery(flowID, rightCode)); !errors.Is(err, recovery.ErrWrongCode) {
			t.Errorf("a code (%s) behind another password = %+v, %v, want %v", name, got, err, recovery.ErrWrongCode)
		}
	}
}

// A mail that was asked for before the person got the account back, or its sessions
// ended, and is written behind that, holds no code. One that is asked for from then on does.
func testRecoverEndsWhatIsNotWritten(t *testing.T, s *suite) {
	st := s.store(nil)
	for name, secure := range map[string]func(r registration.Record){
		"recovery": func(r registration.Record) {
			_, err := st.Recover(s.ctx(), s.recovery(s.mailRecovery(st, r), rightCode))
			s.must(err)
		},
		"password": func(r registration.Record) {
			i, err := st.Identity(s.ctx(), r.Identity.ID)
			s.must(err)
			_, err = s.settings(st).SetPassword(s.ctx(), s.changing(i, ""), password.New(firstSecret))
			s.must(err)
		},
		"administrator": func(r registration.Record) {
			s.must(s.edit(st, r.Identity.ID, func(i *identity.Identity) { i.Epoch++ }))
		},
	} {
		r := s.registered(st, name+"@example.org")
		recovers, verifies := s.codeFor(uuid.New(), r, 0), s.codeFor(uuid.New(), r, 0)
		recovers.Purpose = flow.RecoverByCode
		s.advance(time.Second)
		secure(r)
		for _, c := range []*courier.Code{recovers, verifies} {
			m := s.message(r, 0)
			if got, err := st.Queue(s.ctx(), m, c); !errors.Is(err, courier.ErrOutdated) {
				t.Errorf("%s: Queue of what was asked for before = %v, %v, want %v", name, got, err, courier.ErrOutdated)
			}
			if _, err := st.Message(s.ctx(), m.EventID); !errors.Is(err, courier.ErrNotFound) {
				t.Errorf("%s: its message: %v, want %v", name, err, courier.ErrNotFound)
			}
		}
		if _, err := st.Recover(s.ctx(), s.recovery(recovers.FlowID, rightCode)); !errors.Is(err, recovery.ErrWrongCode) {
			t.Errorf("%s: a code that was asked for before recovers: %v, want %v", name, err, recovery.ErrWrongCode)
		}
		if _, err := st.Recover(s.ctx(), s.recovery(s.mailRecovery(st, r), rightCode)); err != nil {
			t.Errorf("%s: a code that was asked for behind it: %v", name, err)
		}
		late := s.codeFor(uuid.New(), r, 0)
		s.must(st.DeleteIdentity(s.ctx(), r.Identity.ID, s.deletion(r.Identity.ID)))
		if _, err := st.Queue(s.ctx(), s.message(r, 0), late); !errors.Is(err, courier.ErrNotFound) {
			t.Errorf("%s: Queue for who is gone: %v, want %v", name, err, courier.ErrNotFound)
		}
	}
}

// The same where the mail is written while the person gets the account back.
func testRecoverEndsWhatIsWrittenAtOnce(t *testing.T, s *suite) {
	st := s.store(nil)
	for n := range 10 {
		r := s.registered(st, fmt.Sprintf("a%d@example.org", n))
		own, stolen := s.mailRecovery(st, r), s.codeFor(uuid.New(), r, 0)
		stolen.Purpose = flow.RecoverByCode
		m := s.message(r, 0)
		s.advance(time.Second)
		for _, err := range atOnce(2, func(n int) error {
			if n == 0 {
				_, err := st.Queue(s.ctx(), m, stolen)
				if errors.Is(err, courier.ErrOutdated) {
					return nil
				}
				return err
			}
			_, err := st.Recover(s.ctx(), s.recovery(own, rightCode))
			return err
		}) {
			s.must(err)
		}
		if _, err := st.Recover(s.ctx(), s.recovery(stolen.FlowID, rightCode)); !errors.Is(err, recovery.ErrWrongCode) {
			t.Errorf("a code that was written at once recovers: %v, want %v", err, recovery.ErrWrongCode)
		}
	}
}

func testRecoverRefuses(t *testing.T, s *suite) {
	st := s.store(nil)
	person := func(name string) registration.Record { return s.registered(st, name+"@example.org") }
	off, moved, gone := person("off"), person("moved"), person("gone")
	flows := map[string]uuid.UUID{
		"a wrong code": s.mailRecovery(st, person("wrong")), "over": s.mailRecovery(st, person("over")), "no such flow": uuid.New(),
		"a code that verifies": s.mail(st, person("verifies"), 0), "deactivated": s.mailRecovery(st, off),
		"another's address": s.mailRecovery(st, moved), "an identity that is gone": s.mailRecovery(st, gone),
	}
	s.exec(`UPDATE identities SET state = 'inactive' WHERE id = $1`, off.Identity.ID)
	s.exec(`UPDATE addresses SET identity_id = $1 WHERE identity_id = $2`, off.Identity.ID, moved.Identity.ID)
	s.exec(`DELETE FROM addresses WHERE identity_id = $1`, gone.Identity.ID)
	before := s.types(st)
	for name, flowID := range flows {
		p := s.recovery(flowID, rightCode)
		switch name {
		case "a wrong code":
			p.Code = "654321"
		case "over":
			p.At = p.At.Add(time.Hour)
		}
		if got, err := st.Recover(s.ctx(), p); !errors.Is(err, recovery.ErrWrongCode) || got.IdentityID != uuid.Nil {
			t.Errorf("%s: Recover = %+v, %v, want %v", name, got, err, recovery.ErrWrongCode)
		}
	}
	if got := s.types(st); !slices.Equal(got, before) {
		t.Errorf("outbox = %q, want %q as before", got, before)
	}
}

// Of two submits of one code one does it, and the other finds it done.
func testRecoverAtOnce(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	flowID := s.mailRecovery(st, r)
	var all [8]recovery.Recovered
	var wait sync.WaitGroup
	for n := range all {
		wait.Go(func() {
			got, err := st.Recover(s.ctx(), s.recovery(flowID, rightCode))
			if err != nil {
				t.Errorf("Recover at once: %v", err)
			}
			all[n] = got
		})
	}
	wait.Wait()
	first := 0
	for _, got := range all {
		if got.Epoch != r.Identity.Epoch+1 {
			t.Errorf("Recover = %+v, want epoch %d", got, r.Identity.Epoch+1)
		}
		if !got.Again {
			first++
		}
	}
	if first != 1 {
		t.Errorf("%d of 8 did it, want one", first)
	}
}
