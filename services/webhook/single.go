package webhook

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
)

// Single is an endpoint that stands in no list of hooks. Its body is made of whatever
// it is called with. It keeps to the limits of the client that made it, and is safe
// for concurrent use.
type Single struct {
	client *Client
	target *target
	// form says that the body is sent as HTML forms are, as its Content-Type says.
	form bool
}

// Single makes an endpoint ready to be called. Its errors show neither the URL nor
// credentials.
func (c *Client) Single(e Endpoint) (*Single, error) {
	t, err := c.ready(e)
	if err != nil {
		return nil, err
	}
	kind, _, _ := mime.ParseMediaType(e.Header.Get("Content-Type")) // of one that is none it is empty
	return &Single{client: c, target: t, form: kind == "application/x-www-form-urlencoded"}, nil
}

// Call makes one attempt with what the body's template makes of input, and with key as
// Idempotency-Key. Of an answer only the status counts, a redirect's too. Without one
// status is 0 and err says why, without the URL; written then says whether all of the
// request went out. [jsonnet.ErrCancelled] says that the template wants no request.
func (s *Single) Call(ctx context.Context, key string, input any) (status int, written bool, err error) {
	body, err := s.body(input)
	if err != nil {
		return 0, false, err
	}
	var wrote atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(i httptrace.WroteRequestInfo) {
		if i.Err == nil {
			wrote.Store(true)
		}
	}})
	got, err := s.client.attempt(ctx, s.target.name, s.client.timeout, func(ctx context.Context) (answer, error) {
		r, err := newRequest(ctx, s.target.endpoint, body, &Call{EventID: key})
		if err != nil {
			return answer{}, err
		}
		return s.client.head(s.target.http, r)
	})
	var failed *Failed
	if errors.As(err, &failed) {
		err = failed.Err // without the name, which is of no list
	}
	return got.status, wrote.Load(), err
}

// body renders what is sent, nil where there is no template.
func (s *Single) body(input any) ([]byte, error) {
	if s.target.body == nil {
		return nil, nil
	}
	body, err := s.target.body.Call("ctx", input)
	if err != nil || !s.form {
		return body, err
	}
	var fields map[string]any
	if json.Unmarshal(body, &fields) != nil { // the cause may quote it
		return nil, errors.New("body: want an object, whose fields are those of the form")
	}
	form := url.Values{}
	for name, value := range fields {
		switch value.(type) {
		case nil:
		case string, float64, bool:
			form.Set(name, fmt.Sprint(value))
		default:
			return nil, errors.New("body: a form has texts, numbers and booleans only")
		}
	}
	return []byte(form.Encode()), nil
}

// Probe goes as far as before a request: it connects and begins TLS. Its errors do not
// show the URL.
func (s *Single) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.client.timeout, fmt.Errorf("no answer within %s", s.client.timeout))
	defer cancel()
	u, err := url.Parse(s.target.endpoint.URL)
	transport, ok := s.target.http.Transport.(*http.Transport)
	if err != nil || !ok {
		return errors.New("url: it cannot be called") // err shows it
	}
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	conn, err := transport.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close() }() // nothing was sent
	if u.Scheme == "http" {
		return nil
	}
	config := transport.TLSClientConfig.Clone()
	config.ServerName = u.Hostname()
	if err := tls.Client(conn, config).HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	return nil
}
