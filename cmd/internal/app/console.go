package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/console"
	"github.com/usher-auth/usher/services/operator"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/store"
)

// NewAdminToken makes a token for the admin listener.
func NewAdminToken() string { return api.AdminTokenPrefix + rand.Text() + rand.Text() }

// NewOperators gives the operators of a database. It calls wake, unless that is nil,
// after each commit that has an event.
func NewOperators(s *store.Store, wake func()) (*operator.Service, error) {
	// One password at a time: signing in to the console must not slow down those who
	// register, nor they it.
	passwords, err := password.NewPool(password.PoolOptions{Workers: 1}, password.Argon2id{})
	if err != nil {
		return nil, err
	}
	if wake == nil {
		wake = func() {}
	}
	stored := operatorStore{kicking{s, wake}}
	return &operator.Service{Store: stored, Tokens: stored, NewToken: NewAdminToken, Passwords: passwords, Now: time.Now}, nil
}

// console gives the operators' pages: a client of the admin API, in their names.
func (p *process) console(admin http.Handler) (http.Handler, error) {
	var err error
	if p.operators, err = NewOperators(p.store, p.wake); err != nil {
		return nil, err
	}
	p.operators.Trouble, p.operators.Observe = p.trouble, p.metrics.operator
	return console.New(console.Options{
		Admin: func(actor string) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				admin.ServeHTTP(w, r.WithContext(api.ActingAs(r.Context(), actor)))
			})
		},
		Operators: p.operators,
		Client:    func(r *http.Request) string { return p.live.now().settings.ClientAddr(r) },
		PublicURL: func() string { return p.live.now().cfg.PublicURL() },
		AdminURL:  func() string { return p.live.now().cfg.AdminURL() },
		Log:       p.log,
		Now:       time.Now,
		Draining:  p.draining,
	}), nil
}

// firstOperator makes the first operator where nobody can use the console yet. The
// link is printed as it is, once: whoever starts this reads it there, and nowhere
// else can it be had. It is no line of the log, which goes to where many may read;
// where both are one, the link is over after 24 hours, and with its first use.
func (p *process) firstOperator(ctx context.Context, at *Addresses) error {
	if p.operators == nil {
		return nil
	}
	link, made, err := p.operators.First(ctx, p.store.Embedded())
	if err != nil || !made {
		return err
	}
	at.SetUp = console.SetUpURL(p.live.now().cfg.AdminURL(), link)
	if p.Output != nil {
		fmt.Fprintf(p.Output, "\nSet up the console (this link works once, within %.0f hours):\n  %s\n\n", operator.LinkLife.Hours(), at.SetUp)
	}
	return nil
}

// operatorStore wakes the relay after each commit that has an event.
type operatorStore struct{ kicking }

// AddOperator is [operator.Store.AddOperator].
func (s operatorStore) AddOperator(ctx context.Context, o operator.Operator, link operator.Digest, told events.Event) error {
	return s.kicked(s.Store.AddOperator(ctx, o, link, told))
}

// FirstOperator is [operator.Store.FirstOperator].
func (s operatorStore) FirstOperator(ctx context.Context, o operator.Operator, link operator.Digest, after time.Time, told events.Event) (bool, error) {
	made, err := s.Store.FirstOperator(ctx, o, link, after, told)
	return made, s.kicked(err)
}

// RemoveOperator is [operator.Store.RemoveOperator].
func (s operatorStore) RemoveOperator(ctx context.Context, name string, told events.Event) error {
	return s.kicked(s.Store.RemoveOperator(ctx, name, told))
}

// ChangeRole is [operator.Store.ChangeRole].
func (s operatorStore) ChangeRole(ctx context.Context, name string, r operator.Role, told events.Event) error {
	return s.kicked(s.Store.ChangeRole(ctx, name, r, told))
}

// ResetOperator is [operator.Store.ResetOperator].
func (s operatorStore) ResetOperator(ctx context.Context, name string, link operator.Digest, until time.Time, told events.Event) error {
	return s.kicked(s.Store.ResetOperator(ctx, name, link, until, told))
}

// ChangePassword is [operator.Store.ChangePassword].
func (s operatorStore) ChangePassword(ctx context.Context, name, former, hash string, told events.Event) error {
	return s.kicked(s.Store.ChangePassword(ctx, name, former, hash, told))
}

// SetUpOperator is [operator.Store.SetUpOperator].
func (s operatorStore) SetUpOperator(ctx context.Context, link operator.Digest, hash string, told events.Event) error {
	return s.kicked(s.Store.SetUpOperator(ctx, link, hash, told))
}

// AddOperatorSession is [operator.Store.AddOperatorSession].
func (s operatorStore) AddOperatorSession(ctx context.Context, token operator.Digest, o operator.Session, hash string, told events.Event) error {
	return s.kicked(s.Store.AddOperatorSession(ctx, token, o, hash, told))
}

// RemoveOperatorSession is [operator.Store.RemoveOperatorSession].
func (s operatorStore) RemoveOperatorSession(ctx context.Context, token operator.Digest, told events.Event) error {
	return s.kicked(s.Store.RemoveOperatorSession(ctx, token, told))
}

// AddAdminToken is [operator.Tokens.AddAdminToken].
func (s operatorStore) AddAdminToken(ctx context.Context, name, scope string, digest operator.Digest, told ...events.Event) error {
	err := s.kicked(s.Store.AddAdminToken(ctx, name, scope, digest, told...))
	if errors.Is(err, store.ErrExists) {
		return operator.ErrTokenExists
	}
	return err
}

// RemoveAdminToken is [operator.Tokens.RemoveAdminToken].
func (s operatorStore) RemoveAdminToken(ctx context.Context, name string, told ...events.Event) (bool, error) {
	removed, err := s.Store.RemoveAdminToken(ctx, name, told...)
	return removed, s.kicked(err)
}
