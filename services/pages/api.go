package pages

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Paths of the public API, relative to its base URL.
const (
	pathErrors   = "self-service/errors"
	pathLogout   = "self-service/logout/browser"
	pathSessions = "sessions"
	pathWhoami   = "sessions/whoami"
)

const (
	typeJSON = "application/json"
	typeHTML = "text/html"
)

// forwarded are the headers of the browser that the API goes by, and origin those
// by which it also judges where an unsafe request comes from.
var (
	forwarded = []string{"Accept-Language", "Cookie", "User-Agent", "X-Forwarded-For", "Traceparent", "Tracestate"}
	origin    = []string{"Origin", "Sec-Fetch-Site"}
)

// answer is what the API said.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// ask puts a request to the API in the name of the browser: with its cookies
// and address, and under the id that the browser's own request has in the
// logs. Cookies that the API sets are passed on to the browser.
func (p *pages) ask(w http.ResponseWriter, r *http.Request, accept, path string, query url.Values) *answer {
	return p.send(w, r, http.MethodGet, accept, path, query, forwarded)
}

// order asks for a change that the person has ordered by a form of ours.
func (p *pages) order(w http.ResponseWriter, r *http.Request, method, path string) *answer {
	return p.send(w, r, method, typeJSON, path, nil, slices.Concat(forwarded, origin))
}

func (p *pages) send(w http.ResponseWriter, r *http.Request, method, accept, path string, query url.Values, headers []string) *answer {
	target := &url.URL{Path: "/" + path, RawQuery: query.Encode()}
	asked := (&http.Request{
		Method:     method,
		URL:        target,
		RequestURI: target.RequestURI(),
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     http.Header{"Accept": {accept}},
		Body:       http.NoBody,
		Host:       r.Host,
		RemoteAddr: r.RemoteAddr,
		TLS:        r.TLS,
	}).WithContext(r.Context())
	for _, name := range headers {
		if values := r.Header.Values(name); len(values) > 0 {
			asked.Header[name] = values
		}
	}
	if id := w.Header().Get("X-Request-Id"); id != "" {
		asked.Header.Set("X-Request-Id", id)
	}
	a := &answer{header: http.Header{}}
	p.Public.ServeHTTP(a, asked)
	passOn(w.Header(), a.header["Set-Cookie"])
	return a
}

// passOn sets cookies; one of a name counts over another of an earlier answer.
func passOn(h http.Header, cookies []string) {
	for _, cookie := range cookies {
		name, _, _ := strings.Cut(cookie, "=")
		h["Set-Cookie"] = append(slices.DeleteFunc(h["Set-Cookie"], func(set string) bool { return strings.HasPrefix(set, name+"=") }), cookie)
	}
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

// decode reads the body. Numbers stay as they are written.
func (a *answer) decode(v any) error {
	d := json.NewDecoder(&a.body)
	d.UseNumber()
	return d.Decode(v)
}

// location is where the API sends the browser, false if it does not.
func (a *answer) location() (*url.URL, bool) {
	if a.status < http.StatusMultipleChoices || a.status >= http.StatusBadRequest {
		return nil, false
	}
	to, err := url.Parse(a.header.Get("Location"))
	return to, err == nil && to.String() != ""
}

// apiError is the inner object of the contract's error envelope.
type apiError struct {
	Code    int    `json:"code"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Request string `json:"request"`
	Details struct {
		RedirectTo string `json:"redirect_to"`
	} `json:"details"`
}

// problem reads the envelope. It is empty but for the code if there is none.
func (a *answer) problem() apiError {
	var envelope struct {
		Error apiError `json:"error"`
	}
	if a.decode(&envelope) != nil {
		envelope.Error = apiError{}
	}
	if envelope.Error.Code == 0 {
		envelope.Error.Code = a.status
	}
	return envelope.Error
}

// text is what a person is told, which may be empty.
func (e apiError) text() string {
	if e.Reason != "" {
		return e.Reason
	}
	return e.Message
}
