package operator_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/operator"
	"github.com/usher-auth/usher/services/password"
)

func TestSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.setUp("ann", operator.RoleOwner)
	token, s, err := w.SignIn(t.Context(), operator.Try{Name: " Ann ", Password: password.New(right), Client: "192.0.2.1"})
	if err != nil {
		t.Fatalf("SignIn: %v", err)
	}
	want := operator.Session{Name: "ann", Role: operator.RoleOwner, IssuedAt: w.clock(), ExpiresAt: w.clock().Add(operator.SessionLife)}
	if s != want {
		t.Errorf("SignIn = %+v, want %+v", s, want)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", token, token, token, token); strings.Contains(text, "usher_op_") || !strings.HasPrefix(token.Reveal(), "usher_op_") {
		t.Errorf("the token shows as %q", text)
	}
	if got, err := w.Recognize(t.Context(), token.Reveal()); got != want || err != nil {
		t.Errorf("Recognize = %+v, %v, want %+v", got, err, want)
	}
	if err := w.SignOut(t.Context(), audit.Author{RequestID: "req-2"}, token.Reveal()); err != nil {
		t.Errorf("SignOut: %v", err)
	}
	if _, err := w.Recognize(t.Context(), token.Reveal()); !errors.Is(err, operator.ErrSignedOut) {
		t.Errorf("Recognize after SignOut = %v, want %v", err, operator.ErrSignedOut)
	}
	if err := w.SignOut(t.Context(), audit.Author{}, token.Reveal()); err != nil {
		t.Errorf("SignOut again: %v", err)
	}
	told := []string{
		"admin:zoe operator.create ann:owner", "admin:ann operator.set_up ann", "admin:ann operator.sign_in ann",
		"admin:ann operator.sign_in ann", "admin:ann operator.sign_out ann",
	}
	if got := w.told(); !slices.Equal(got, told) {
		t.Errorf("events = %q, want %q", got, told)
	}
}

// TestAWrongNameCostsWhatAWrongPasswordCosts: neither the error nor the work tells
// whether there is such a name.
func TestAWrongNameCostsWhatAWrongPasswordCosts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.setUp("ann", operator.RoleOwner)
	if _, err := w.Add(t.Context(), by, "new", operator.RoleOperator); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"ann": "wrong horse battery", "nobody": right, "new": "", "": right, "ann'--": right} {
		before := w.hashed
		if err := w.signIn(name, text, "192.0.2.1"); !errors.Is(err, operator.ErrWrong) {
			t.Errorf("SignIn(%q) = %v, want %v", name, err, operator.ErrWrong)
		}
		if n := w.hashed - before; n != 1 {
			t.Errorf("SignIn(%q) hashed %d times, want once", name, n)
		}
	}
	told := w.told()
	for _, e := range told[len(told)-5:] {
		if e != "system:console operator.sign_in_failed" {
			t.Errorf("event %q, want one that says nothing of what was typed", e)
		}
	}
}

func TestWrongTriesAreLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.setUp("ann", operator.RoleOwner)
	var busy *operator.Busy
	for n := range 10 {
		if err := w.signIn(fmt.Sprintf("guess-%d", n), right, "192.0.2.1"); !errors.Is(err, operator.ErrWrong) {
			t.Fatalf("try %d = %v, want %v", n, err, operator.ErrWrong)
		}
	}
	before := w.hashed
	if err := w.signIn("ann", right, "192.0.2.1"); !errors.As(err, &busy) || busy.RetryIn != time.Minute {
		t.Errorf("the 11th try of a client = %v, want to wait for a minute", err)
	}
	if w.hashed != before {
		t.Error("a password was hashed for a try too many")
	}
	if err := w.signIn("ann", right, "192.0.2.2"); err != nil {
		t.Errorf("a try of another client = %v", err)
	}
	w.advance(time.Minute)
	if err := w.signIn("ann", right, "192.0.2.1"); err != nil {
		t.Errorf("a try after a minute = %v", err)
	}
	if n := len(slices.DeleteFunc(w.outcome, func(o string) bool { return o != "busy" })); n != 1 {
		t.Errorf("outcomes = %q, want one busy", w.outcome)
	}
}

// TestANameIsGuessedFromManyAddresses: the limit of the name holds, and ends. One
// network of IPv6 is one client.
func TestANameIsGuessedFromManyAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.setUp("ann", operator.RoleOwner)
	var busy *operator.Busy
	for n := range 20 {
		if err := w.signIn("ann", "wrong", fmt.Sprintf("192.0.2.%d", n)); !errors.Is(err, operator.ErrWrong) {
			t.Fatalf("try %d = %v, want %v", n, err, operator.ErrWrong)
		}
	}
	if err := w.signIn("ANN", right, "198.51.100.1"); !errors.As(err, &busy) {
		t.Errorf("the 21st try of a name = %v, want to wait", err)
	}
	w.advance(30 * time.Second)
	if err := w.signIn("ann", right, "198.51.100.1"); err != nil {
		t.Errorf("a try after half a minute = %v", err)
	}
	for n := range 10 {
		if err := w.signIn(fmt.Sprint(n), "wrong", fmt.Sprintf("2001:db8::%d", n)); !errors.Is(err, operator.ErrWrong) {
			t.Fatalf("try %d from IPv6 = %v", n, err)
		}
	}
	if err := w.signIn("ann", right, "2001:db8::ffff"); !errors.As(err, &busy) {
		t.Errorf("the 11th try of a /64 = %v, want to wait", err)
	}
	if err := w.signIn("ann", right, "2001:db8:0:1::1"); err != nil {
		t.Errorf("a try from another /64 = %v", err)
	}
}

// TestManyNamesAreNotRemembered: a stranger who types names, or comes from ever new
// addresses, fills no memory and lifts no limit.
func TestManyNamesAreNotRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.setUp("ann", operator.RoleOwner)
	var wrong, busy int
	for n := range 10_100 {
		err := w.signIn(fmt.Sprintf("n%d", n), "wrong", fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&0xff, n&0xff))
		var b *operator.Busy
		switch {
		case errors.Is(err, operator.ErrWrong):
			wrong++
		case errors.As(err, &b):
			busy++
		}
	}
	if wrong+busy != 10_100 || busy < 80 || busy > 95 {
		t.Errorf("%d wrong and %d refused, want the last hundred to share ten tries", wrong, busy)
	}
	if got := len(w.told()); got != 3+10 {
		t.Errorf("%d events of wrong tries, want 10", got-3)
	}
}

func TestWhatIsNoWrongTryIsGivenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.setUp("ann", operator.RoleOwner)
	for range 50 {
		if err := w.signIn("ann", right, "192.0.2.1"); err != nil {
			t.Fatalf("SignIn: %v", err)
		}
	}
	w.store.down = true
	for range 50 {
		if err := w.signIn("ann", right, "192.0.2.1"); !errors.Is(err, errDown) {
			t.Fatalf("SignIn when the store is down = %v, want %v", err, errDown)
		}
	}
	w.store.down, w.busy = false, true
	var busy *operator.Busy
	for range 50 {
		if err := w.signIn("ann", right, "192.0.2.1"); !errors.As(err, &busy) || busy.RetryIn > 2*time.Second {
			t.Fatalf("SignIn when the pool is busy = %v, want to wait for two seconds", err)
		}
	}
	w.busy = false
	if err := w.signIn("ann", right, "192.0.2.1"); err != nil {
		t.Errorf("SignIn: %v", err)
	}
}

func TestRecognize(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.setUp("ann", operator.RoleOwner)
	link, err := w.Add(t.Context(), by, "bob", operator.RoleOperator)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing": "", "prefix": "usher_op_", "another": "usher_op_" + strings.Repeat("A", 52), "a link": link.Reveal(),
		"long": "usher_op_" + strings.Repeat("A", 1<<16), "cut": token[:len(token)-1], "lower": strings.ToLower(token),
	} {
		if _, err := w.Recognize(t.Context(), text); !errors.Is(err, operator.ErrSignedOut) {
			t.Errorf("Recognize(%s) = %v, want %v", name, err, operator.ErrSignedOut)
		}
	}
	w.advance(operator.SessionLife - time.Second)
	if _, err := w.Recognize(t.Context(), token); err != nil {
		t.Errorf("Recognize before its end = %v", err)
	}
	w.advance(time.Second)
	if _, err := w.Recognize(t.Context(), token); !errors.Is(err, operator.ErrSignedOut) {
		t.Errorf("Recognize at its end = %v, want %v", err, operator.ErrSignedOut)
	}
}

// TestWhoWasHereMaySeeThatTheStoreIsDown: for ten minutes, and nobody else.
func TestWhoWasHereMaySeeThatTheStoreIsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	here, elsewhere := w.setUp("ann", operator.RoleOwner), w.setUp("bob", operator.RoleOperator)
	if _, err := w.Recognize(t.Context(), here); err != nil {
		t.Fatal(err)
	}
	w.store.down = true
	w.advance(5 * time.Second)
	before := w.store.asked
	for range 10 {
		if s, err := w.Recognize(t.Context(), here); err != nil || s.Name != "ann" {
			t.Errorf("Recognize of who was here = %+v, %v, want ann", s, err)
		}
	}
	if n := w.store.asked - before; n != 1 {
		t.Errorf("a store that is down was asked %d times, want once in five seconds", n)
	}
	w.advance(10*time.Minute - 6*time.Second)
	if s, err := w.Recognize(t.Context(), here); err != nil || s.Name != "ann" {
		t.Errorf("Recognize of who was here = %+v, %v, want ann", s, err)
	}
	if _, err := w.Recognize(t.Context(), elsewhere); !errors.Is(err, errDown) {
		t.Errorf("Recognize of who was not = %v, want %v", err, errDown)
	}
	w.advance(time.Second)
	if _, err := w.Recognize(t.Context(), here); !errors.Is(err, errDown) {
		t.Errorf("Recognize after ten minutes = %v, want %v", err, errDown)
	}
}

// TestWhatAnotherProcessEndsIsOverInFiveSeconds, and here at once.
func TestWhatAnotherProcessEndsIsOverInFiveSeconds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.setUp("zoe", operator.RoleOwner)
	token := w.setUp("ann", operator.RoleOwner)
	other := &operator.Service{Store: w.store, Tokens: w.store, Passwords: w.Passwords, Now: w.clock}
	for name, end := range map[string]func(*operator.Service) error{
		"role":   func(s *operator.Service) error { return s.ChangeRole(t.Context(), by, "ann", operator.RoleOperator) },
		"reset":  func(s *operator.Service) error { _, err := s.Reset(t.Context(), by, "ann"); return err },
		"remove": func(s *operator.Service) error { return s.Remove(t.Context(), by, "ann") },
	} {
		if _, err := w.Recognize(t.Context(), token); err != nil {
			t.Fatalf("Recognize: %v", err)
		}
		if err := end(other); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		w.advance(4 * time.Second)
		if _, err := w.Recognize(t.Context(), token); err != nil {
			t.Errorf("Recognize 4 s after another process's %s = %v, want it from memory", name, err)
		}
		w.advance(time.Second)
		if _, err := w.Recognize(t.Context(), token); !errors.Is(err, operator.ErrSignedOut) {
			t.Errorf("Recognize 5 s after another process's %s = %v, want %v", name, err, operator.ErrSignedOut)
		}
		_ = w.Remove(t.Context(), by, "ann") // unless it is gone
		token = w.setUp("ann", operator.RoleOwner)
		if _, err := w.Recognize(t.Context(), token); err != nil {
			t.Fatalf("Recognize: %v", err)
		}
		if err := end(w.Service); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := w.Recognize(t.Context(), token); !errors.Is(err, operator.ErrSignedOut) {
			t.Errorf("Recognize after this process's %s = %v, want %v", name, err, operator.ErrSignedOut)
		}
		_ = w.Remove(t.Context(), by, "ann")
		token = w.setUp("ann", operator.RoleOwner)
	}
}
