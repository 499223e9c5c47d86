package operator_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/operator"
	"github.com/usher-auth/usher/services/password"
)

func TestSetUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	link, err := w.Add(t.Context(), by, "ann", operator.RoleOwner)
	if err != nil {
		t.Fatal(err)
	}
	var invalid *operator.Invalid
	for text, reason := range map[string]string{
		"":                         "at least 12 characters",
		"elevenchars":              "at least 12",
		"ünïçödëünïç":              "this password has 11",
		"passwordpassword":         "",
		"usher console":            "name of this service",
		"aaaaaaaaaaaaaa":           "",
		strings.Repeat("xkcd", 90): "at most 256",
	} {
		_, _, err := w.SetUp(t.Context(), audit.Author{}, link.Reveal(), password.New(text))
		if !errors.As(err, &invalid) || !strings.Contains(invalid.Reason, reason) {
			t.Errorf("SetUp(%q) = %v, want a reason with %q", text, err, reason)
		}
	}
	if o, err := w.Linked(t.Context(), link.Reveal()); err != nil || o.Name != "ann" {
		t.Errorf("Linked after passwords that were refused = %+v, %v, want ann", o, err)
	}
	if w.hashed != 0 {
		t.Errorf("%d passwords that were refused were hashed", w.hashed)
	}
	for name, text := range map[string]string{"nothing": "", "another": "usher_setup_" + strings.Repeat("A", 52), "cut": link.Reveal()[:40]} {
		if _, _, err := w.SetUp(t.Context(), audit.Author{}, text, password.New(right)); !errors.Is(err, operator.ErrLink) {
			t.Errorf("SetUp by %s = %v, want %v", name, err, operator.ErrLink)
		}
	}
	w.advance(operator.LinkLife)
	if _, _, err := w.SetUp(t.Context(), audit.Author{}, link.Reveal(), password.New(right)); !errors.Is(err, operator.ErrLink) {
		t.Errorf("SetUp after a day = %v, want %v", err, operator.ErrLink)
	}
}

// TestALinkIsUsedOnce, however many try at once.
func TestALinkIsUsedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Passwords = w.Passwords.(counting).Pool // which may be used by many at once
	link, err := w.Add(t.Context(), by, "ann", operator.RoleOwner)
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{"correct horse battery", "another horse battery", "a third horse battery", "the last horse battery"}
	errs := make([]error, len(texts))
	var all sync.WaitGroup
	for n, text := range texts {
		all.Go(func() { _, _, errs[n] = w.SetUp(t.Context(), audit.Author{}, link.Reveal(), password.New(text)) })
	}
	all.Wait()
	won := 0
	for n, err := range errs {
		switch {
		case err == nil:
			won++
			if err := w.signIn("ann", texts[n], "192.0.2.1"); err != nil {
				t.Errorf("SignIn with the password that was set: %v", err)
			}
		case !errors.Is(err, operator.ErrLink):
			t.Errorf("SetUp = %v, want %v", err, operator.ErrLink)
		}
	}
	if won != 1 {
		t.Errorf("%d set up by one link, want 1", won)
	}
}

func TestResetTakesThePassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.setUp("ann", operator.RoleOwner)
	former, err := w.Reset(t.Context(), by, "ann")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.signIn("ann", right, "192.0.2.1"); !errors.Is(err, operator.ErrWrong) {
		t.Errorf("SignIn after a reset = %v, want %v", err, operator.ErrWrong)
	}
	link, err := w.Reset(t.Context(), by, "ann")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Linked(t.Context(), former.Reveal()); !errors.Is(err, operator.ErrLink) {
		t.Errorf("Linked of the former link = %v, want %v", err, operator.ErrLink)
	}
	if _, _, err := w.SetUp(t.Context(), audit.Author{}, link.Reveal(), password.New("another horse battery")); err != nil {
		t.Errorf("SetUp: %v", err)
	}
	if err := w.signIn("ann", "another horse battery", "192.0.2.1"); err != nil {
		t.Errorf("SignIn with the new password: %v", err)
	}
	if _, err := w.Reset(t.Context(), by, "nobody"); !errors.Is(err, operator.ErrNotFound) {
		t.Errorf("Reset of nobody = %v, want %v", err, operator.ErrNotFound)
	}
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.setUp("ann", operator.RoleOwner)
	change := func(from, to string) (operator.Secret, error) {
		got, _, err := w.ChangePassword(t.Context(), operator.Try{Name: "ann", Password: password.New(from), Client: "192.0.2.1"}, password.New(to))
		return got, err
	}
	var invalid *operator.Invalid
	if _, err := change("wrong", "another horse battery"); !errors.Is(err, operator.ErrWrong) {
		t.Errorf("ChangePassword with a wrong one = %v, want %v", err, operator.ErrWrong)
	}
	if _, err := change(right, "short"); !errors.As(err, &invalid) {
		t.Errorf("ChangePassword to a short one = %v, want %T", err, invalid)
	}
	if _, err := w.Recognize(t.Context(), token); err != nil {
		t.Errorf("Recognize after what was refused: %v", err)
	}
	next, err := change(right, "another horse battery")
	if err != nil {
		t.Fatalf("ChangePassword: %v", err)
	}
	if _, err := w.Recognize(t.Context(), token); !errors.Is(err, operator.ErrSignedOut) {
		t.Errorf("Recognize of a former session = %v, want %v", err, operator.ErrSignedOut)
	}
	if s, err := w.Recognize(t.Context(), next.Reveal()); err != nil || s.Name != "ann" {
		t.Errorf("Recognize of the new session = %+v, %v, want ann", s, err)
	}
	if err := w.signIn("ann", right, "192.0.2.1"); !errors.Is(err, operator.ErrWrong) {
		t.Errorf("SignIn with the former password = %v, want %v", err, operator.ErrWrong)
	}
	var busy *operator.Busy
	for range 8 { // guessing goes by the same limit as signing in
		_, _ = change("wrong", "another horse battery")
	}
	if _, err := change("another horse battery", right); !errors.As(err, &busy) {
		t.Errorf("ChangePassword after ten wrong tries = %v, want to wait", err)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var invalid *operator.Invalid
	for name, reason := range map[string]string{
		"": "letters", "ann@example.org": "audit trail", "-ann": "begins", "ann smith": "letters", "local": "command line", "console": "console's own",
		strings.Repeat("a", 65): "1 to 64", "<b>": "letters", "änn": "letters", "ann:owner": "letters",
	} {
		if _, err := w.Add(t.Context(), by, name, operator.RoleOperator); !errors.As(err, &invalid) || !strings.Contains(invalid.Reason, reason) {
			t.Errorf("Add(%q) = %v, want a reason with %q", name, err, reason)
		}
		if _, err := w.AddToken(t.Context(), by, name, "admin"); !errors.As(err, &invalid) {
			t.Errorf("AddToken(%q) = %v, want %T", name, err, invalid)
		}
	}
	for _, name := range []string{"a", "Ann", "ann.smith-2_x", strings.Repeat("a", 64)} {
		if _, err := w.Add(t.Context(), by, name, operator.RoleOperator); err != nil {
			t.Errorf("Add(%q) = %v", name, err)
		}
	}
	if _, err := w.Add(t.Context(), by, "ANN", operator.RoleOperator); !errors.Is(err, operator.ErrExists) {
		t.Errorf("Add of a taken name = %v, want %v", err, operator.ErrExists)
	}
	if _, err := w.Add(t.Context(), by, "bob", "admin"); !errors.As(err, &invalid) {
		t.Errorf("Add with another role = %v, want %T", err, invalid)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.setUp("ann", operator.RoleOwner)
	token, err := w.AddToken(t.Context(), by, "grafana", "metrics")
	if err != nil || token.Reveal() != "usher_at_new" {
		t.Fatalf("AddToken = %q, %v", token.Reveal(), err)
	}
	if _, err := w.AddToken(t.Context(), by, "grafana", "metrics"); !errors.Is(err, operator.ErrTokenExists) {
		t.Errorf("AddToken again = %v, want %v", err, operator.ErrTokenExists)
	}
	// The audit trail would not tell them apart.
	if _, err := w.AddToken(t.Context(), by, "ann", "metrics"); !errors.Is(err, operator.ErrExists) {
		t.Errorf("AddToken with the name of an operator = %v, want %v", err, operator.ErrExists)
	}
	if _, err := w.Add(t.Context(), by, "grafana", operator.RoleOperator); !errors.Is(err, operator.ErrTokenExists) {
		t.Errorf("Add with the name of a token = %v, want %v", err, operator.ErrTokenExists)
	}
	var invalid *operator.Invalid
	if _, err := w.AddToken(t.Context(), by, "x", "everything"); !errors.As(err, &invalid) {
		t.Errorf("AddToken with another scope = %v, want %T", err, invalid)
	}
	if got, err := w.ListTokens(t.Context()); err != nil || len(got) != 1 || got[0].Name != "grafana" || got[0].Scope != "metrics" {
		t.Errorf("ListTokens = %+v, %v, want grafana", got, err)
	}
	if err := w.RemoveToken(t.Context(), by, "grafana"); err != nil {
		t.Errorf("RemoveToken: %v", err)
	}
	if err := w.RemoveToken(t.Context(), by, "grafana"); !errors.Is(err, operator.ErrNoToken) {
		t.Errorf("RemoveToken again = %v, want %v", err, operator.ErrNoToken)
	}
}

func TestKeptTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	chosen := func(c string) operator.Secret {
		return operator.NewSecret(operator.TokenPrefix + strings.Repeat(c, 32))
	}
	w.setUp("ann", operator.RoleOwner)
	for n, step := range []struct {
		name, scope string
		token       operator.Secret
		changed     bool
		err         error
	}{
		{"scraper", "metrics", chosen("a"), true, nil},
		{"Scraper", "metrics", chosen("a"), false, nil}, // again, and names are one however they are written
		{"scraper", "metrics", chosen("b"), true, nil},  // another token
		{"scraper", "admin", chosen("b"), true, nil},    // another scope
		{"other", "metrics", chosen("b"), false, operator.ErrTokenTaken},
		{"ann", "metrics", chosen("c"), false, operator.ErrExists},
	} {
		changed, err := w.KeepToken(t.Context(), by, step.name, step.scope, step.token)
		if changed != step.changed && err == nil || !errors.Is(err, step.err) {
			t.Errorf("%d: KeepToken(%s, %s) = %t, %v, want %t, %v", n, step.name, step.scope, changed, err, step.changed, step.err)
		}
	}
	stop, asked := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			if _, _, ok, err := w.Tokens.AdminToken(t.Context(), sha256.Sum256([]byte(chosen("b").Reveal()))); !ok || err != nil {
				asked <- fmt.Errorf("AdminToken = %t, %w", ok, err)
				return
			}
			select {
			case <-stop:
				asked <- nil
				return
			default:
			}
		}
	}()
	for n := range 40 {
		if _, err := w.KeepToken(t.Context(), by, "scraper", []string{"metrics", "admin"}[n%2], chosen("b")); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := <-asked; err != nil {
		t.Errorf("a token whose scope changes: %v, want it good all the time", err)
	}
	if all, err := w.ListTokens(t.Context()); err != nil || len(all) != 1 || all[0].Scope != "admin" {
		t.Errorf("ListTokens = %+v, %v, want the last that was kept", all, err)
	}
	var invalid *operator.Invalid
	for _, text := range []string{
		"", operator.TokenPrefix, strings.Repeat("a", 64), operator.TokenPrefix + strings.Repeat("a", 31),
		operator.TokenPrefix + strings.Repeat("a", 31) + "\n", operator.TokenPrefix + strings.Repeat("a", 128),
	} {
		_, err := w.KeepToken(t.Context(), by, "weak", "metrics", operator.NewSecret(text))
		if !errors.As(err, &invalid) || len(text) > 9 && strings.Contains(err.Error(), text) {
			t.Errorf("KeepToken of %q = %v, want %T without the token", text, err, invalid)
		}
	}
}

func TestFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	link, ok, err := w.First(t.Context(), false)
	if err != nil || !ok {
		t.Fatalf("First = %t, %v", ok, err)
	}
	if _, ok, err := w.First(t.Context(), false); ok || err != nil {
		t.Errorf("First of another that starts at the same time = %t, %v, want false", ok, err)
	}
	if _, ok, err := w.First(t.Context(), true); !ok || err != nil {
		t.Errorf("First of one that starts again at once, alone = %t, %v, want a new link", ok, err)
	}
	w.advance(time.Minute)
	again, ok, err := w.First(t.Context(), false)
	if err != nil || !ok {
		t.Fatalf("First of a later start = %t, %v, want a new link", ok, err)
	}
	if _, err := w.Linked(t.Context(), link.Reveal()); !errors.Is(err, operator.ErrLink) {
		t.Errorf("Linked of the former link = %v, want %v", err, operator.ErrLink)
	}
	_, s, err := w.SetUp(t.Context(), audit.Author{}, again.Reveal(), password.New(right))
	if err != nil || s.Name != operator.FirstName || s.Role != operator.RoleOwner {
		t.Fatalf("SetUp = %+v, %v, want an owner", s, err)
	}
	w.advance(time.Minute)
	if _, ok, err := w.First(t.Context(), false); ok || err != nil {
		t.Errorf("First when somebody is set up = %t, %v, want false", ok, err)
	}
}
