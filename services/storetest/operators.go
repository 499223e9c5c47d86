package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/operator"
	"github.com/usher-auth/usher/services/store"
)

const day = 24 * time.Hour

// link gives the digest of a link or a session's token.
func link(n byte) operator.Digest { return operator.Digest{n, 0xff} }

// add stores an operator whose link ends in a day.
func (s *suite) add(st *store.Store, name string, r operator.Role, l byte) operator.Operator {
	s.t.Helper()
	o := operator.Operator{Name: name, Role: r, SetUpUntil: s.clock().Add(day), CreatedAt: s.clock()}
	s.must(st.AddOperator(s.ctx(), o, link(l), s.acted("operator.create", name)))
	return o
}

// setUp stores an operator with the password "hash of <name>" and a session with
// the token's digest link(l).
func (s *suite) setUp(st *store.Store, name string, r operator.Role, l byte) operator.Session {
	s.t.Helper()
	s.add(st, name, r, l)
	s.must(st.SetUpOperator(s.ctx(), link(l), "hash of "+name, s.acted("operator.set_up", name)))
	session := operator.Session{Name: name, Role: r, IssuedAt: s.clock(), ExpiresAt: s.clock().Add(12 * time.Hour)}
	s.must(st.AddOperatorSession(s.ctx(), link(l), session, "hash of "+name, s.acted("operator.sign_in", name)))
	return session
}

func testOperators(t *testing.T, s *suite) {
	st := s.store(nil)
	bob := s.add(st, "bob", operator.RoleOperator, 2)
	ann := s.add(st, "ann", operator.RoleOwner, 1)
	if err := st.AddOperator(s.ctx(), ann, link(3), s.acted("operator.create", "ann")); !errors.Is(err, operator.ErrExists) {
		t.Errorf("AddOperator with a taken name = %v, want %v", err, operator.ErrExists)
	}
	if got, err := st.Operators(s.ctx()); err != nil || !slices.Equal(got, []operator.Operator{ann, bob}) {
		t.Errorf("Operators = %+v, %v, want ann and bob", got, err)
	}
	if got, hash, err := st.Operator(s.ctx(), "bob"); got != bob || hash != "" || err != nil {
		t.Errorf("Operator = %+v, %q, %v, want %+v", got, hash, err, bob)
	}
	if _, _, err := st.Operator(s.ctx(), "eve"); !errors.Is(err, operator.ErrNotFound) {
		t.Errorf("Operator of nobody = %v, want %v", err, operator.ErrNotFound)
	}
	for name, change := range map[string]func() error{
		"RemoveOperator": func() error { return st.RemoveOperator(s.ctx(), "eve", s.acted("operator.remove", "eve")) },
		"ChangeRole": func() error {
			return st.ChangeRole(s.ctx(), "eve", operator.RoleOwner, s.acted("operator.role", "eve"))
		},
		"ResetOperator": func() error {
			return st.ResetOperator(s.ctx(), "eve", link(9), s.clock(), s.acted("operator.reset", "eve"))
		},
	} {
		if err := change(); !errors.Is(err, operator.ErrNotFound) {
			t.Errorf("%s of nobody = %v, want %v", name, err, operator.ErrNotFound)
		}
	}
	if n := len(s.pending(st)); n != 2 {
		t.Errorf("%d events, want one for each operator that was made", n)
	}
}

func testOperatorSetUp(t *testing.T, s *suite) {
	st := s.store(nil)
	ann := s.add(st, "ann", operator.RoleOwner, 1)
	if got, err := st.LinkedOperator(s.ctx(), link(1)); got != ann || err != nil {
		t.Errorf("LinkedOperator = %+v, %v, want %+v", got, err, ann)
	}
	errs := atOnce(8, func(int) error { return st.SetUpOperator(s.ctx(), link(1), "hash", s.acted("operator.set_up", "ann")) })
	if n := len(slices.DeleteFunc(errs, func(err error) bool { return errors.Is(err, operator.ErrLink) })); n != 1 {
		t.Errorf("%d of eight set up at once by one link, want 1: %v", n, errs)
	}
	if got, hash, err := st.Operator(s.ctx(), "ann"); !got.SetUp || !got.SetUpUntil.IsZero() || hash != "hash" || err != nil {
		t.Errorf("Operator = %+v, %q, %v, want it set up", got, hash, err)
	}
	if _, err := st.LinkedOperator(s.ctx(), link(1)); !errors.Is(err, operator.ErrLink) {
		t.Errorf("LinkedOperator of a used link = %v, want %v", err, operator.ErrLink)
	}
	s.add(st, "bob", operator.RoleOperator, 2)
	s.advance(day)
	if _, err := st.LinkedOperator(s.ctx(), link(2)); !errors.Is(err, operator.ErrLink) {
		t.Errorf("LinkedOperator after a day = %v, want %v", err, operator.ErrLink)
	}
	if err := st.SetUpOperator(s.ctx(), link(2), "hash", s.acted("operator.set_up", "bob")); !errors.Is(err, operator.ErrLink) {
		t.Errorf("SetUpOperator after a day = %v, want %v", err, operator.ErrLink)
	}
	if got := s.types(st); len(got) != 3 {
		t.Errorf("events = %q, want two operators made and one set up", got)
	}
}

func testFirstOperator(t *testing.T, s *suite) {
	st := s.store(nil)
	first := func(l byte) (bool, error) {
		o := operator.Operator{Name: "owner", Role: operator.RoleOwner, SetUpUntil: s.clock().Add(day), CreatedAt: s.clock()}
		return st.FirstOperator(s.ctx(), o, link(l), s.clock().Add(-10*time.Second), s.acted("operator.create", "owner"))
	}
	made := make([]bool, 6)
	for _, err := range atOnce(len(made), func(n int) (err error) {
		made[n], err = first(byte(n))
		return err
	}) {
		s.must(err)
	}
	winner := slices.Index(made, true)
	if winner < 0 || slices.Contains(made[winner+1:], true) {
		t.Fatalf("FirstOperator of six at once = %v, want one that made it", made)
	}
	if _, err := st.LinkedOperator(s.ctx(), link(byte(winner))); err != nil {
		t.Errorf("LinkedOperator of the one that was told so: %v", err)
	}
	s.advance(time.Minute)
	if made, err := first(9); !made || err != nil {
		t.Errorf("FirstOperator of a later start = %t, %v, want a new link", made, err)
	}
	if _, err := st.LinkedOperator(s.ctx(), link(byte(winner))); !errors.Is(err, operator.ErrLink) {
		t.Errorf("LinkedOperator of the former link = %v, want %v", err, operator.ErrLink)
	}
	s.must(st.SetUpOperator(s.ctx(), link(9), "hash", s.acted("operator.set_up", "owner")))
	s.advance(time.Minute)
	if made, err := first(10); made || err != nil {
		t.Errorf("FirstOperator when the owner is set up = %t, %v, want false", made, err)
	}
	if got := s.types(st); len(got) != 3 {
		t.Errorf("events = %q, want two of links and one of the set-up", got)
	}
}

// Whoever was added by hand came first.
func testFirstOperatorBesideAnother(t *testing.T, s *suite) {
	st := s.store(nil)
	s.add(st, "ann", operator.RoleOwner, 1)
	o := operator.Operator{Name: "owner", Role: operator.RoleOwner, SetUpUntil: s.clock().Add(day), CreatedAt: s.clock()}
	if made, err := st.FirstOperator(s.ctx(), o, link(2), s.clock(), s.acted("operator.create", "owner")); made || err != nil {
		t.Errorf("FirstOperator beside another = %t, %v, want false", made, err)
	}
}

func testOperatorSessions(t *testing.T, s *suite) {
	st := s.store(nil)
	s.setUp(st, "zoe", operator.RoleOwner, 9)
	want := s.setUp(st, "ann", operator.RoleOwner, 1)
	if got, err := st.OperatorSession(s.ctx(), link(1)); got != want || err != nil {
		t.Errorf("OperatorSession = %+v, %v, want %+v", got, err, want)
	}
	if err := st.AddOperatorSession(s.ctx(), link(2), want, "another hash", s.acted("operator.sign_in", "ann")); !errors.Is(err, operator.ErrWrong) {
		t.Errorf("AddOperatorSession after the password was changed = %v, want %v", err, operator.ErrWrong)
	}
	for _, name := range []string{"ann", "nobody"} {
		if err := st.ChangePassword(s.ctx(), name, "a former hash", "another hash", s.acted("operator.password", name)); !errors.Is(err, operator.ErrWrong) {
			t.Errorf("ChangePassword of %s, who has another = %v, want %v", name, err, operator.ErrWrong)
		}
	}
	for name, end := range map[string]func() error{
		"a reset": func() error {
			return st.ResetOperator(s.ctx(), "ann", link(7), s.clock().Add(day), s.acted("operator.reset", "ann"))
		},
		"a change of role": func() error {
			return st.ChangeRole(s.ctx(), "ann", operator.RoleOperator, s.acted("operator.role", "ann"))
		},
		"a removal": func() error { return st.RemoveOperator(s.ctx(), "ann", s.acted("operator.remove", "ann")) },
		"a new password": func() error {
			return st.ChangePassword(s.ctx(), "ann", "hash of ann", "another hash", s.acted("operator.password", "ann"))
		},
		"the end of its time": func() error { s.advance(12 * time.Hour); return nil },
		"signing out":         func() error { return st.RemoveOperatorSession(s.ctx(), link(1), s.acted("operator.sign_out", "ann")) },
	} {
		if _, _, err := st.Operator(s.ctx(), "ann"); err == nil {
			s.must(st.RemoveOperator(s.ctx(), "ann", s.acted("operator.remove", "ann")))
		}
		s.setUp(st, "ann", operator.RoleOwner, 1)
		s.must(end())
		if _, err := st.OperatorSession(s.ctx(), link(1)); !errors.Is(err, operator.ErrSignedOut) {
			t.Errorf("OperatorSession after %s = %v, want %v", name, err, operator.ErrSignedOut)
		}
	}
	before := len(s.pending(st))
	s.must(st.RemoveOperatorSession(s.ctx(), link(8), s.acted("operator.sign_out", "ann")))
	if after := len(s.pending(st)); after != before {
		t.Errorf("%d events of a session that was not there, want none", after-before)
	}
	s.advance(day)
	if n, err := st.DeleteOperatorSessions(s.ctx(), s.clock(), 100); n == 0 || err != nil {
		t.Errorf("DeleteOperatorSessions = %d, %v, want those that are over", n, err)
	}
	if n := s.count("operator_sessions"); n != 0 {
		t.Errorf("%d sessions are left, want none", n)
	}
}

func testLastOwner(t *testing.T, s *suite) {
	st := s.store(nil)
	s.setUp(st, "ann", operator.RoleOwner, 1)
	s.setUp(st, "bob", operator.RoleOperator, 2)
	s.add(st, "cat", operator.RoleOwner, 3) // who has no password yet
	remove := func(name string) error { return st.RemoveOperator(s.ctx(), name, s.acted("operator.remove", name)) }
	if err := remove("ann"); !errors.Is(err, operator.ErrLastOwner) {
		t.Errorf("RemoveOperator of the only owner who can sign in = %v, want %v", err, operator.ErrLastOwner)
	}
	if err := st.ChangeRole(s.ctx(), "ann", operator.RoleOperator, s.acted("operator.role", "ann")); !errors.Is(err, operator.ErrLastOwner) {
		t.Errorf("ChangeRole of the only owner who can sign in = %v, want %v", err, operator.ErrLastOwner)
	}
	if _, err := st.OperatorSession(s.ctx(), link(1)); err != nil {
		t.Errorf("OperatorSession after what was refused: %v", err)
	}
	s.must(remove("cat"))
	s.must(remove("bob"))
	s.setUp(st, "dan", operator.RoleOwner, 4)
	owners := []string{"ann", "dan"} // who remove each other
	errs := atOnce(2, func(n int) error { return remove(owners[n]) })
	if n := len(slices.DeleteFunc(errs, func(err error) bool { return errors.Is(err, operator.ErrLastOwner) })); n != 1 {
		t.Errorf("%d of the last two owners were removed at once, want 1: %v", n, errs)
	}
}
