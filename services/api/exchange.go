package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// exchange is one request and its answer.
type exchange struct {
	InForce  // for this request, to its end
	w        http.ResponseWriter
	r        *http.Request
	at       time.Time // when the request came
	settings *Compiled // InForce's
	id       string    // request id
	trace    string    // see traceParent
	actor    string    // who acts, on the admin listener
	status   int       // that was answered, 0 before
	bytes    int64     // of the answer's body
	// page says that a person waits in a browser: errors become redirects to
	// the error page.
	page bool
	// exchangeCode is an app's half of the code for its session, of a flow that begins.
	exchangeCode string
	secret       *csrfSecret // of the CSRF cookie that this answer sets
	params       url.Values  // see query
}

// traceParent is the trace context of the request, read or made at its first use.
func (x *exchange) traceParent() string {
	if x.trace == "" {
		x.trace = traceParent(x.r.Header.Get("Traceparent"))
	}
	return x.trace
}

// query is one parameter; an empty one counts as absent.
func (x *exchange) query(name string) string {
	if x.params == nil {
		x.params = x.r.URL.Query()
	}
	return x.params.Get(name)
}

// text tells whether a store can keep s: it is UTF-8 without the NUL character.
func text(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

// textual refuses a path or query that holds what is no [text]: of two databases
// one would find nothing by it and the other would fail. On the public listener,
// to which browsers bring parameters of others, each reader judges its own.
func (x *exchange) textual() error {
	if !text(x.r.URL.Path) {
		return errUnknownRoute
	}
	if x.params == nil {
		x.params = x.r.URL.Query()
	}
	for name, values := range x.params {
		if slices.ContainsFunc(append(values, name), func(s string) bool { return !text(s) }) {
			return refuse("a query parameter is not UTF-8, or holds the NUL character")
		}
	}
	return nil
}

// answer writes the whole answer.
func (x *exchange) answer(status int, body []byte) {
	x.status = status
	h := x.w.Header()
	if body == nil {
		delete(h, "Content-Type")
	}
	if status != http.StatusNoContent {
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	x.w.WriteHeader(status)
	n, _ := x.w.Write(body) // whoever asked may be gone
	x.bytes += int64(n)
}

// encode answers with v as JSON.
func (x *exchange) encode(status int, v any) error {
	body, err := encode(v)
	if err != nil {
		return err
	}
	x.answer(status, body)
	return nil
}

// redirect sends the browser elsewhere. The body is empty.
func (x *exchange) redirect(status int, location string) {
	x.w.Header()["Location"] = []string{location}
	x.answer(status, nil)
}

// encode writes JSON as it is kept elsewhere too: "&" stays "&".
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// recorder lets a foreign handler answer and keeps the status.
type recorder struct {
	http.ResponseWriter
	x *exchange
}

// WriteHeader keeps the status.
func (r *recorder) WriteHeader(status int) {
	if r.x.status == 0 && status >= http.StatusOK {
		r.x.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write counts as status 200 unless another was written.
func (r *recorder) Write(b []byte) (int, error) {
	if r.x.status == 0 {
		r.x.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.x.bytes += int64(n)
	return n, err
}

// Unwrap is for [http.ResponseController].
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
