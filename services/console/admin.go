package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// refusal is what the admin API, or the console, says no with.
type refusal struct {
	Status int
	Reason string
	// Reasons are those of a list, where there are several.
	Reasons []string
	// Cause says which part of this installation does not answer, where that is why.
	Cause string
	// Said tells that Reason says what is safe to repeat.
	Said bool
}

func (r *refusal) Error() string { return fmt.Sprintf("%d: %s", r.Status, r.Reason) }

// title is what a page that shows it is called.
func (r *refusal) title() string {
	switch {
	case r.Status == http.StatusNotFound:
		return "Not found"
	case r.Status == http.StatusForbidden:
		return "Not allowed"
	case r.Status == http.StatusTooManyRequests:
		return "Too many tries"
	case r.Status >= http.StatusInternalServerError:
		return "Not possible just now"
	}
	return "Not done"
}

// forwarded are the headers of the browser that the admin API goes by.
var forwarded = []string{"User-Agent", "X-Forwarded-For", "Traceparent", "Tracestate", "X-Request-Id"}

// answer is what the admin API said.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header is for the API.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader keeps the status; the first final one counts.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= http.StatusOK {
		a.status = status
	}
}

// Write keeps the body.
func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// get asks the admin API as the operator and decodes its answer.
func (v *visit) get(path string, query url.Values, into any) error {
	return v.ask(http.MethodGet, path, query, nil, into)
}

// ask asks the admin API as the operator: body, unless nil, goes as JSON, and the
// answer is decoded into into, unless that is nil. What the API refuses is a [refusal].
func (v *visit) ask(method, path string, query url.Values, body, into any) error {
	a, err := v.answer(method, path, query, body)
	if err != nil {
		return err
	}
	if into == nil || a.body.Len() == 0 {
		return nil
	}
	if err := json.Unmarshal(a.body.Bytes(), into); err != nil {
		return fmt.Errorf("answer to %s %s: %w", method, path, err)
	}
	return nil
}

// answer is what the admin API says, unless that is a refusal.
func (v *visit) answer(method, path string, query url.Values, body any) (*answer, error) {
	r, err := v.request(method, path, query, body)
	if err != nil {
		return nil, err
	}
	a := &answer{header: http.Header{}}
	v.Admin(v.who).ServeHTTP(a, r)
	if a.status < http.StatusOK || a.status >= http.StatusMultipleChoices {
		return nil, v.explained(a.refusal())
	}
	return a, nil
}

// explained says of a refusal that is nobody's fault what does not answer.
func (v *visit) explained(r *refusal) *refusal {
	if r.Status < http.StatusInternalServerError {
		return r
	}
	v.ill.Do(func() {
		all, err := v.failing()
		if err != nil {
			return // what failed says what there is to say
		}
		for _, f := range all {
			v.cause = strings.TrimSpace(v.cause + " The " + f.name + " does not answer.")
		}
	})
	r.Cause = v.cause
	return r
}

// because is an error of the console's own store, with what does not answer; nil stays.
func (v *visit) because(err error) error {
	if _, ok := asRefusal(err); ok || err == nil {
		return err
	}
	return v.explained(&refusal{Status: http.StatusServiceUnavailable})
}

func (v *visit) request(method, path string, query url.Values, body any) (*http.Request, error) {
	sent := []byte{}
	if body != nil {
		var err error
		if sent, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("encode body of %s %s: %w", method, path, err)
		}
	}
	target := &url.URL{Path: path, RawQuery: query.Encode()}
	if id, ok := strings.CutPrefix(path, apiExternal); ok {
		target.RawPath = apiExternal + url.PathEscape(id) // it may hold a slash
	}
	r := &http.Request{
		Method: method, URL: target, RequestURI: target.RequestURI(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Accept": {"application/json"}},
		Host:   v.r.Host, RemoteAddr: v.r.RemoteAddr, TLS: v.r.TLS,
		Body: io.NopCloser(bytes.NewReader(sent)), ContentLength: int64(len(sent)),
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, name := range forwarded {
		if values := v.r.Header.Values(name); len(values) > 0 {
			r.Header[name] = values
		}
	}
	return r.WithContext(v.r.Context()), nil
}

// refusal reads the error envelope.
func (a *answer) refusal() *refusal {
	var envelope struct {
		Error struct {
			Message string `json:"message"`
			Reason  string `json:"reason"`
			Details struct {
				Refused []string `json:"refused"`
			} `json:"details"`
		} `json:"error"`
	}
	_ = json.Unmarshal(a.body.Bytes(), &envelope) // what is no envelope says nothing
	r := &refusal{Status: a.status, Reason: envelope.Error.Reason, Reasons: envelope.Error.Details.Refused}
	if r.Reason == "" {
		r.Reason = envelope.Error.Message
	}
	if r.Status < http.StatusBadRequest {
		r.Status = http.StatusInternalServerError // no refusal, but not what is documented
	}
	return r
}

// part is what a page shows of one thing, or why it cannot: a page whose other
// things can be shown is shown.
type part[T any] struct {
	value T
	err   error
}

// load asks the admin API for one part of a page.
func load[T any](v *visit, path string, query url.Values) (p part[T]) {
	p.err = v.get(path, query, &p.value)
	return p
}

// asRefusal gives the refusal that an error is, if it is one.
func asRefusal(err error) (*refusal, bool) {
	var refused *refusal
	return refused, errors.As(err, &refused)
}

// mine tells whether an error is a refusal of what was asked for: then no page is
// shown around it.
func mine(err error) bool {
	refused, ok := asRefusal(err)
	return ok && refused.Status < http.StatusInternalServerError
}
