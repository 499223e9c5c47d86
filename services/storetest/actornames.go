package storetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/usher-auth/usher/services/operator"
)

func testActorNames(t *testing.T, s *suite) {
	st := s.store(nil)
	ann := s.add(st, "ann", operator.RoleOwner, 1)
	s.add(st, "bob", operator.RoleOwner, 2)
	s.must(st.AddAdminToken(s.ctx(), "ops", "admin", link(3)))
	ops := operator.Operator{Name: "ops", Role: operator.RoleOwner, SetUpUntil: s.clock().Add(day), CreatedAt: s.clock()}
	if err := st.AddAdminToken(s.ctx(), "ann", "admin", link(4)); !errors.Is(err, operator.ErrExists) {
		t.Errorf("AddAdminToken with the name of an operator = %v, want %v", err, operator.ErrExists)
	}
	if err := st.AddOperator(s.ctx(), ops, link(5), s.acted("operator.create", "ops")); !errors.Is(err, operator.ErrTokenExists) {
		t.Errorf("AddOperator with the name of a token = %v, want %v", err, operator.ErrTokenExists)
	}
	if _, err := st.RemoveAdminToken(s.ctx(), "ann"); err != nil {
		t.Fatal(err)
	}
	if err := st.AddOperator(s.ctx(), ann, link(6), s.acted("operator.create", "ann")); !errors.Is(err, operator.ErrExists) {
		t.Errorf("AddOperator after no token was removed = %v, want %v", err, operator.ErrExists)
	}
	s.must(st.RemoveOperator(s.ctx(), "ann", s.acted("operator.remove", "ann")))
	s.must(st.AddAdminToken(s.ctx(), "ann", "admin", link(7)))
	_, err := st.RemoveAdminToken(s.ctx(), "ops")
	s.must(err)
	s.must(st.AddOperator(s.ctx(), ops, link(8), s.acted("operator.create", "ops")))
}

// testActorNamesAtOnce: of an operator, a token and the first operator that want one
// name at once, one gets it, and none waits for another for ever.
func testActorNamesAtOnce(t *testing.T, s *suite) {
	st := s.store(nil)
	for round := range 5 {
		name := fmt.Sprintf("owner%d", round)
		o := operator.Operator{Name: name, Role: operator.RoleOwner, SetUpUntil: s.clock().Add(day), CreatedAt: s.clock()}
		errs := atOnce(6, func(n int) error {
			digest := operator.Digest{byte(round), byte(n)}
			switch {
			case n%2 == 0:
				return st.AddAdminToken(s.ctx(), name, "admin", digest)
			case n == 1 && round == 0:
				made, err := st.FirstOperator(s.ctx(), o, digest, s.clock(), s.acted("operator.create", name))
				if err == nil && !made {
					err = operator.ErrExists
				}
				return err
			}
			return st.AddOperator(s.ctx(), o, digest, s.acted("operator.create", name))
		})
		got := 0
		for _, err := range errs {
			switch {
			case err == nil:
				got++
			case !errors.Is(err, operator.ErrExists) && !errors.Is(err, operator.ErrTokenExists):
				t.Errorf("a name that others want at once = %v, want it or that it is taken", err)
			}
		}
		if got != 1 {
			t.Errorf("%d have the name %s, want 1: %v", got, name, errs)
		}
	}
}

// testAppendedIsCalled: once for each commit that has an event, and for no other.
// That no way of appending is left out all tests see, see [suite.allTold].
func testAppendedIsCalled(t *testing.T, s *suite) {
	st := s.store(nil)
	wants := func(what string, want int64) {
		t.Helper()
		if got := s.appended.Swap(0); got != want {
			t.Errorf("%s: Appended was called %d times, want %d", what, got, want)
		}
	}
	wants("migrating", 0)
	r := s.registered(st, "ann@example.org")
	wants("a registration", 1)
	_, err := st.IssueSession(s.ctx(), s.issueFor(r))
	s.must(err)
	wants("a session", 1)
	s.must(st.AppendSoon(s.ctx(), s.acted("hook.pause", "crm")))
	wants("an event that does not wait for the disk", 1)
	if err := st.Register(s.ctx(), s.record("ann@example.org")); err == nil {
		t.Error("Register with a taken address: no error")
	}
	wants("a registration that was refused", 0)
	s.must(st.AddAdminToken(s.ctx(), "ops", "admin", link(1)))
	wants("a commit without an event", 0)
	s.publish(st, 10)
	s.must(st.Move(s.ctx(), s.publish(st, 10)))
	wants("the relay's own work", 0)
}
