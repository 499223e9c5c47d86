package e2e_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// endpoint is a web_hook's other side. It keeps the calls by the identity that
// their body names.
type endpoint struct {
	*httptest.Server
	mu     sync.Mutex
	calls  []call
	answer func(w http.ResponseWriter, r *http.Request, body string)
}

type call struct {
	body   string // of a JSON text what stands between the quotes
	header http.Header
	at     time.Time
}

func newEndpoint(t testing.TB) *endpoint {
	e := &endpoint{}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		e.mu.Lock()
		e.calls = append(e.calls, call{body: strings.Trim(string(b), "\"\n"), header: r.Header, at: time.Now()})
		answer := e.answer
		e.mu.Unlock()
		if answer != nil {
			answer(w, r, string(b))
		}
	}))
	t.Cleanup(e.Close)
	return e
}

// bodies counts how often each body came.
func (e *endpoint) bodies() map[string]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := map[string]int{}
	for _, c := range e.calls {
		n[c.body]++
	}
	return n
}

// called counts the calls.
func (e *endpoint) called() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.calls)
}

// identityBody is a Jsonnet body that is just the identity's id.
const identityBody = "base64://ZnVuY3Rpb24oY3R4KSBjdHguaWRlbnRpdHkuaWQ=" // function(ctx) ctx.identity.id

// webHook is the configuration of a hook that calls e.
func (e *endpoint) webHook(id string, response settings) settings {
	return settings{"hook": "web_hook", "config": settings{
		"id": id, "url": e.URL + "/" + id, "method": "POST", "body": identityBody, "response": response,
	}}
}
