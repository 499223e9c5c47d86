package api

import (
	"net/http"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/session"
)

// What the tests look at from outside the package.
var (
	PrefersJSON   = prefersJSON
	TraceParent   = traceParent
	RequestID     = requestID
	ClientAddr    = clientAddr
	ParseCursor   = parseCursor
	FormatCursor  = formatCursor
	ErrReturnTo   = errReturnTo
	BrowserSecret = parseCSRFCookie
)

// Routes are the methods and paths that a listener has, such as "GET /schemas".
// A handler from outside counts as one that is looked at.
func Routes(h http.Handler) (all []string) {
	for _, e := range h.(*listener).endpoints {
		if e.kind&foreign != 0 {
			all = append(all, http.MethodGet+" "+e.route)
			continue
		}
		for method := range e.methods {
			all = append(all, method+" "+e.route)
		}
	}
	return all
}

// Resolve judges a return_to.
func (c *Compiled) Resolve(raw string) (string, error) { return c.returns.resolve(raw) }

// CSRFCookieName is the name of the cookie.
func (c *Compiled) CSRFCookieName() string { return c.csrfCookie }

// Seal gives a cookie value.
func (s *Sealer) Seal(t session.Token, expires time.Time) string { return s.seal(t, expires) }

// Open reads a cookie value.
func (s *Sealer) Open(value string, now time.Time) (session.Token, error) { return s.open(value, now) }

// Decoded is a submission, for tests.
type Decoded struct {
	Method, CSRF, Traits, Transient string
	Password                        password.Plain
	Form                            bool
}

// DecodeSubmit reads a submit.
func DecodeSubmit(r *http.Request) (Decoded, error) {
	s, err := decodeSubmit(r)
	return Decoded{s.method, s.csrf, string(s.traits), string(s.transient), s.password, s.form != nil}, err
}

// TestLimiter is a class of its own.
type TestLimiter struct{ class *classLimiter }

// NewTestLimiter remembers so many networks.
func NewTestLimiter(t testing.TB, l Limit, networks int) TestLimiter {
	c, err := newClassLimiter(l, networks)
	if err != nil {
		t.Fatal(err)
	}
	return TestLimiter{c}
}

// Spend spends a token of an address.
func (l TestLimiter) Spend(addr string, at time.Time) bool {
	_, ok := l.class.spend(network(addr), at)
	return ok
}

// Wait is how long an address has to wait.
func (l TestLimiter) Wait(addr string, at time.Time) time.Duration {
	wait, _ := l.class.exhausted(network(addr), at)
	return wait
}

// Owe spends a token that need not be there.
func (l TestLimiter) Owe(addr string, at time.Time) { l.class.owe(network(addr), at) }

// Remembered is how many networks have a bucket.
func (l TestLimiter) Remembered() int { return len(l.class.buckets) }
