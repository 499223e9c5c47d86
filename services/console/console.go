package console

import (
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/usher-auth/usher/services/operator"
)

//go:generate go tool -modfile=../../.ci/tools.mod templ generate

// Options are what the console is made of. All fields are needed.
type Options struct {
	// Admin gives the admin API as it answers an operator: it knows what their role may
	// do. It is asked for nothing below /console.
	Admin     func(who operator.Session) http.Handler
	Operators Operators
	// Client is the address of whoever sent a request.
	Client func(*http.Request) string
	// PublicURL and AdminURL are the base URLs of the two listeners as browsers reach
	// them. Where the latter is one of TLS, cookies go over nothing else.
	PublicURL, AdminURL func() string
	Log                 *slog.Logger
	Now                 func() time.Time
	// Draining is closed when this process is to end: pages that move by themselves
	// end then. Nil is never.
	Draining <-chan struct{}
}

// console is the handler and what its pages share.
type console struct {
	Options
	assets assets
	feed   *feed
	// own refuses the posts of other sites' pages.
	own *http.CrossOriginProtection
}

// route is one page or order of the console.
type route struct {
	// pattern is that of [http.ServeMux], with the method.
	pattern string
	// role is who may come here; empty for those who are not signed in too.
	role  operator.Role
	serve func(*visit) error
}

// Paths of pages that others lead to.
const (
	base          = "/console"
	pathOverview  = base + "/{$}"
	pathSettings  = base + "/settings"
	pathSignIn    = base + "/sign-in"
	pathSignOut   = base + "/sign-out"
	pathSetUp     = base + "/set-up"
	pathOperators = base + "/operators"
)

// New gives the handler of everything below /console.
func New(o Options) http.Handler {
	c := &console{Options: o, assets: loadAssets(), own: http.NewCrossOriginProtection()}
	c.feed = &feed{read: c.readEvents, now: o.Now}
	mux := http.NewServeMux()
	for _, r := range c.routes() {
		mux.Handle(r.pattern, c.handler(r))
	}
	mux.Handle("GET "+base+"/assets/{name}", http.HandlerFunc(c.asset))
	mux.Handle("GET "+base, http.RedirectHandler(base+"/", http.StatusSeeOther))
	mux.Handle("/", c.handler(route{role: operator.RoleOperator, serve: func(*visit) error { return errNoPage }}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		if c.own.Check(r) != nil {
			c.forged(w, r)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		mux.ServeHTTP(w, r)
	})
}

// maxForm is how large a form may be, in bytes.
const maxForm = 256 << 10

// routes are all of the console, page by page.
func (c *console) routes() []route {
	return slices.Concat(
		overviewRoutes(),
		settingsRoutes(),
		registrationsRoutes(),
		signInRoutes(),
		setUpRoutes(),
		workersRoutes(),
		lettersRoutes(),
		mailRoutes(),
		operatorsRoutes(),
		identitiesRoutes(),
		sessionsRoutes(),
		auditRoutes(),
		passwordRoutes(),
	)
}

// secure sets the headers of every answer (S62).
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}
