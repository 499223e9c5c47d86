package api

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
)

// errCSRF says that a request of a browser flow does not come from the page
// that this browser was given.
var errCSRF = errors.New("csrf violation")

const (
	headerCSRF = "X-Csrf-Token" // as net/http writes X-CSRF-Token
	csrfLife   = 365 * 24 * time.Hour
)

// csrfSecret is what the CSRF cookie holds.
type csrfSecret [32]byte

func newCSRFSecret() (s csrfSecret) {
	_, _ = rand.Read(s[:]) // never fails, see crypto/rand
	return s
}

// digest is what a flow remembers of the cookie that began it.
func (s csrfSecret) digest() []byte {
	sum := sha256.Sum256(s[:])
	return sum[:]
}

// csrfKey makes the tokens of the forms.
type csrfKey []byte

// sign binds a flow to the secret of a cookie.
func (k csrfKey) sign(flowID uuid.UUID, s csrfSecret) []byte {
	mac := hmac.New(sha256.New, k)
	mac.Write(flowID[:])
	mac.Write(s[:])
	return mac.Sum(nil)
}

// token is the text for a form: mask ‖ signature XOR mask. The mask makes it
// another text each time, so that compression tells nothing about it.
func (k csrfKey) token(flowID uuid.UUID, s csrfSecret) string {
	signature := k.sign(flowID, s)
	token := make([]byte, 2*len(signature))
	mask, masked := token[:len(signature)], token[len(signature):]
	_, _ = rand.Read(mask) // never fails, see crypto/rand
	subtle.XORBytes(masked, mask, signature)
	return base64.RawURLEncoding.EncodeToString(token)
}

// valid tells whether a text is a token for this flow and cookie.
func (k csrfKey) valid(text string, flowID uuid.UUID, s csrfSecret) bool {
	token, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(token) != 2*sha256.Size {
		return false
	}
	subtle.XORBytes(token[:sha256.Size], token[:sha256.Size], token[sha256.Size:])
	return hmac.Equal(token[:sha256.Size], k.sign(flowID, s))
}

// csrf gives the secret of the request's cookie, false if there is none.
func (x *exchange) csrf() (csrfSecret, bool) {
	cookie, err := x.r.Cookie(x.settings.csrfCookie)
	if err != nil {
		return csrfSecret{}, false
	}
	return parseCSRFCookie(cookie.Value)
}

// began tells whether f was begun with the cookie of this request.
func (x *exchange) began(f *flow.Flow) bool {
	s, ok := x.csrf()
	return ok && subtle.ConstantTimeCompare(s.digest(), f.CSRF) == 1
}

// parseCSRFCookie takes only what [exchange.renewCSRF] writes.
func parseCSRFCookie(value string) (s csrfSecret, ok bool) {
	if len(value) != base64.RawURLEncoding.EncodedLen(len(s)) {
		return s, false
	}
	n, err := base64.RawURLEncoding.Strict().Decode(s[:], []byte(value))
	return s, err == nil && n == len(s)
}

// ensureCSRF gives the secret of the request's cookie, or sets a new one, once
// per request.
func (x *exchange) ensureCSRF() csrfSecret {
	if x.secret != nil {
		return *x.secret
	}
	if s, ok := x.csrf(); ok {
		return s
	}
	return x.renewCSRF()
}

// renewCSRF gives the browser a new secret: what was handed out before is void.
func (x *exchange) renewCSRF() csrfSecret {
	s := newCSRFSecret()
	x.setCSRF(s)
	return s
}

// setCSRF gives the browser a secret, once per request.
func (x *exchange) setCSRF(s csrfSecret) {
	c := x.settings.CSRFCookie
	c.Name, c.Persistent = x.settings.csrfCookie, true
	x.setCookie(c, base64.RawURLEncoding.EncodeToString(s[:]), csrfLife)
	x.secret = &s
}

// nextCSRF makes the secret that a sign-in is to leave a browser with, and its
// digest: a flow that the sign-in opens belongs to the new cookie. Apps have none.
func nextCSRF(t flow.Type) (next csrfSecret, digest []byte) {
	if t != flow.Browser {
		return next, nil
	}
	next = newCSRFSecret()
	return next, next.digest()
}

// fromOurPages is the first gate of browser submits: what the browser itself
// says about the page that sent the request. Clients that are no browsers say
// nothing and pass to the second gate, the token.
func (x *exchange) fromOurPages() bool {
	from := x.r.Header.Get("Origin")
	switch x.r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return true
	case "":
		return from == "" || x.settings.submitsFrom(from)
	}
	return from != "" && x.settings.submitsFrom(from)
}

// submitsFrom tells whether pages of an origin may submit browser flows.
func (c *Compiled) submitsFrom(origin string) bool {
	return c.origins[origin] || c.returns.listed(origin)
}

// checkBrowserSubmit holds a browser's submit against both gates.
func (s *Server) checkBrowserSubmit(x *exchange, f *flow.Flow, token string) error {
	if !x.fromOurPages() {
		return errCSRF
	}
	if token == "" {
		token = x.r.Header.Get(headerCSRF)
	}
	if secret, ok := x.csrf(); !ok || !s.csrf.valid(token, f.ID, secret) {
		return errCSRF
	}
	return nil
}

// checkNativeSubmit keeps browsers off api flows: an app sends neither cookies
// nor an origin. Cookies that a content network adds do not count.
func checkNativeSubmit(r *http.Request) error {
	if r.Header.Get("Origin") != "" {
		return refuse("a flow of an app cannot be submitted by a page: the request has an Origin header")
	}
	cookies := r.Cookies()
	if len(r.Header["Cookie"]) > 0 && (len(cookies) == 0 || slices.ContainsFunc(cookies, ours)) {
		return refuse("a flow of an app cannot be submitted with cookies")
	}
	return nil
}

func ours(c *http.Cookie) bool {
	return !strings.HasPrefix(c.Name, "__cf") && !strings.HasPrefix(c.Name, "_cf") && !strings.HasPrefix(c.Name, "cf_")
}
