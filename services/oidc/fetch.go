package oidc

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/usher-auth/usher/services/webhook"
)

const (
	dialTimeout = 3 * time.Second
	// maxAnswer bounds every answer of a provider: discovery, keys, tokens, userinfo.
	maxAnswer = 256 << 10
	// maxConns bounds the connections to one host, so that a provider that hangs
	// holds no more of them. Whoever waits for one does so within the timeout.
	maxConns = 64
)

var (
	errRedirect = errors.New("redirects are not followed")
	errLarge    = errors.New("answer is too large")
)

// newHTTPClient follows no redirect and uses no proxy, like the one of the hooks.
func newHTTPClient(o Options) *http.Client {
	network := transport{excepted: func(string) bool { return true }}
	switch {
	case o.Transport != nil:
		network.open = o.Transport
	case o.DisallowPrivateIPRanges:
		network.guarded = newTransport(&net.Dialer{Timeout: dialTimeout, Control: webhook.RefusePrivate})
		network.excepted = webhook.Exceptions(o.PrivateIPExceptionURLs)
		fallthrough
	default:
		network.open = newTransport(&net.Dialer{Timeout: dialTimeout})
	}
	return &http.Client{
		Transport:     network,
		Timeout:       o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect },
	}
}

func newTransport(dialer *net.Dialer) *http.Transport {
	return &http.Transport{
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    dialTimeout,
		MaxConnsPerHost:        maxConns,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// transport calls providers, guarded unless a URL is excepted. It reads each
// answer to its end, so that whatever library asked sees one that is too large
// or never ends as a failed call, with an error that it does not hide.
type transport struct {
	open, guarded http.RoundTripper
	excepted      func(url string) bool
}

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	next := t.guarded
	if t.excepted(r.URL.String()) {
		next = t.open
	}
	resp, err := next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxAnswer {
		return nil, errLarge
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// CloseIdleConnections is for [http.Client.CloseIdleConnections].
func (t transport) CloseIdleConnections() {
	for _, next := range []http.RoundTripper{t.open, t.guarded} {
		if c, ok := next.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
	}
}

// unreachable turns the error of a call into one that shows no URL.
func unreachable(step string, err error) error {
	var timeout net.Error
	switch {
	case errors.Is(err, errRedirect):
		return refused(step, errRedirect.Error())
	case errors.Is(err, errLarge):
		return refused(step, errLarge.Error())
	case errors.As(err, &timeout) && timeout.Timeout():
		return away(step, "no answer in time")
	default:
		return away(step, "cannot be reached"+whyNot(err))
	}
}

// whyNot says what stands between here and a provider, as far as it is known.
func whyNot(err error) string {
	var name *net.DNSError
	var header tls.RecordHeaderError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &name):
		return ": its host name is not known"
	case errors.Is(err, syscall.ECONNREFUSED):
		return ": the connection is refused"
	case errors.As(err, &header), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return ": it does not speak TLS"
	case errors.As(err, &certificate):
		return ": its certificate is not trusted"
	}
	return ""
}

// fetcher reads what a provider publishes, or what an access token opens.
type fetcher struct {
	ctx   context.Context
	http  *http.Client
	token string // empty: published
	api   string
	scope []string
}

// get reads JSON into v. Its errors name the step.
func (f fetcher) get(step, from string, v any) error {
	r, err := http.NewRequestWithContext(f.ctx, http.MethodGet, from, http.NoBody)
	if err != nil {
		return refused(step, "endpoint is not a URL")
	}
	if f.token != "" {
		r.Header.Set("Authorization", "Bearer "+f.token)
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "usher")
	resp, err := f.http.Do(r)
	if err != nil {
		return unreachable(step, err)
	}
	defer func() { _ = resp.Body.Close() }()
	switch status := resp.StatusCode; {
	case status == http.StatusOK:
	case brokenDown(status) || f.token == "":
		return away(step, answered(status))
	default:
		return refused(step, answered(status))
	}
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return refused(step, "is not JSON, or not what belongs there")
	}
	return nil
}

func brokenDown(status int) bool {
	return status >= http.StatusInternalServerError || status == http.StatusTooManyRequests
}

// answered says a status in this program's words, not in the provider's.
func answered(status int) string {
	return "answered " + strconv.Itoa(status) + " " + http.StatusText(status)
}
