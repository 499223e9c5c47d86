package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/console"
	"github.com/usher-auth/usher/services/operator"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/store"
)

// NewAdminToken makes a token for the admin listener.
func NewAdminToken() string { return api.AdminTokenPrefix + rand.Text() + rand.Text() }

// NewOperators gives the operators of a database.
func NewOperators(s *store.Store) (*operator.Service, error) {
	// One password at a time: signing in to the console must not slow down those who
	// register, nor they it.
	passwords, err := password.NewPool(password.PoolOptions{Workers: 1}, password.Argon2id{})
	if err != nil {
		return nil, err
	}
	return &operator.Service{Store: s, Tokens: s, NewToken: NewAdminToken, Passwords: passwords, Now: time.Now}, nil
}

// console gives the operators' pages: a client of the admin API, in their names.
func (p *process) console(admin http.Handler) (http.Handler, error) {
	var err error
	if p.operators, err = NewOperators(p.store); err != nil {
		return nil, err
	}
	p.operators.Trouble, p.operators.Observe = p.trouble, p.metrics.operator
	return console.New(console.Options{
		Admin: func(who operator.Session) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				admin.ServeHTTP(w, r.WithContext(api.ActingAs(r.Context(), who.Actor(), who.Scope())))
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
	if !p.live.now().cfg.Console.SetUpLink {
		return p.unannounced(ctx)
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

// unannounced makes the first operator where there is none, and shows their link to
// nobody: whoever has the configuration makes another. One who is there is left as
// they are, since such a link may be on its way.
func (p *process) unannounced(ctx context.Context) error {
	all, err := p.operators.List(ctx)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		if _, _, err := p.operators.First(ctx, p.store.Embedded()); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(all, func(o operator.Operator) bool { return o.SetUp }) {
		p.log.Warn("nobody can sign in to the console yet, and console.setup_link keeps the set-up link from being printed",
			"mend", "'usher console user list' shows who there is, 'usher console user reset NAME' prints their link")
	}
	return nil
}
