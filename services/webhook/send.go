package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/usher-auth/usher/services/tracing"
)

const (
	dialTimeout = 5 * time.Second
	maxAnswer   = 1 << 20
)

// newHTTPClient follows no redirect, since the address behind it was not
// configured, and uses no proxy, since the dialer would see the proxy's address only.
func newHTTPClient(d *net.Dialer) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            d.DialContext,
			ForceAttemptHTTP2:      true,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    dialTimeout,
			MaxIdleConns:           256,
			MaxIdleConnsPerHost:    32,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// answer is what an endpoint said.
type answer struct {
	status     int
	body       []byte
	retryAfter time.Duration
}

func (a answer) ok() bool { return a.status >= 200 && a.status < 300 }

func (a answer) failed(endpoint string) *Failed {
	return &Failed{
		Endpoint: endpoint, Status: a.status, RetryAfter: a.retryAfter,
		Err: fmt.Errorf("answered %d", a.status),
	}
}

// send makes one attempt at a web_hook. Its error is a [*Failed] without the URL.
func (c *Client) send(ctx context.Context, t *target, body []byte, call *Call, timeout time.Duration) (answer, error) {
	return c.attempt(ctx, t.name, timeout, func(ctx context.Context) (answer, error) { return c.exchange(ctx, t, body, call) })
}

// attempt bounds an exchange. Its error is a [*Failed] without the URL.
func (c *Client) attempt(ctx context.Context, endpoint string, timeout time.Duration, exchange func(context.Context) (answer, error)) (answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %s", timeout))
	defer cancel()
	ctx, span := tracing.StartCall(ctx, "webhook")
	a, err := exchange(ctx)
	record(span, endpoint, a, err)
	if c.closed.Load() {
		c.dropIdle()
	}
	if err == nil {
		return a, nil
	}
	var shown *url.Error // holds the URL
	if errors.As(err, &shown) {
		err = shown.Err
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return answer{}, &Failed{Endpoint: endpoint, Err: err}
}

// record ends the span of an attempt. It has neither the URL nor what was answered.
func record(span trace.Span, endpoint string, a answer, err error) {
	if span.IsRecording() {
		span.SetAttributes(attribute.String("usher.hook", endpoint))
		if err == nil {
			span.SetAttributes(attribute.Int("http.response.status_code", a.status))
		}
		if a.status >= http.StatusBadRequest {
			span.SetStatus(codes.Error, "")
		}
	}
	tracing.End(span, err)
}

func (c *Client) exchange(ctx context.Context, t *target, body []byte, call *Call) (answer, error) {
	request, err := newRequest(ctx, t.endpoint, body, call)
	if err != nil {
		return answer{}, err
	}
	response, err := t.http.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	a := answer{status: response.StatusCode}
	if a.body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer+1)); err != nil {
		return answer{}, fmt.Errorf("read answer: %w", err)
	}
	if len(a.body) > maxAnswer {
		return answer{}, fmt.Errorf("answer is over %d bytes", maxAnswer)
	}
	if !a.ok() {
		a.retryAfter = retryAfter(response.Header.Get("Retry-After"), c.now())
	}
	return a, nil
}

func newRequest(ctx context.Context, e Endpoint, body []byte, call *Call) (*http.Request, error) {
	method := e.Method
	if method == "" {
		method = http.MethodPost
	}
	var content io.Reader
	if body != nil {
		content = bytes.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, e.URL, content)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "usher")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, value := range map[string]string{
		"X-Request-Id": call.RequestID, "Traceparent": tracing.Parent(ctx, call.TraceParent), "Idempotency-Key": call.EventID,
	} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	for name, values := range e.Header {
		name = http.CanonicalHeaderKey(name)
		r.Header[name] = values
		if name == "Host" && len(values) > 0 {
			r.Host = values[0]
		}
	}
	e.Auth.sign(r)
	return r, nil
}

// retryAfter reads the header of that name: seconds or a date; 0 if it is neither.
func retryAfter(header string, now time.Time) time.Duration {
	// What is out of range is the largest number: longer than anybody waits.
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
