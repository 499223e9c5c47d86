package webhook

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/usher-auth/usher/services/jsonnet"
)

// Options say which endpoints there are and how they may be called.
type Options struct {
	// Endpoints may name the same endpoint more than once, as hook lists do.
	Endpoints []Endpoint
	// DisallowPrivateIPRanges refuses addresses that are not on the public
	// internet, except for the URLs that match one of the globs.
	DisallowPrivateIPRanges bool
	PrivateIPExceptionURLs  []string
	// OpenSigned lets signed endpoints be on such addresses, as in development;
	// without it they are only if their URL matches one of the globs.
	OpenSigned bool
	// Timeout bounds one background delivery (default 15 s), AnswerTimeout one
	// attempt at a hook that a person waits for (default 5 s).
	Timeout, AnswerTimeout time.Duration
	// SchemaURL gives what ctx.identity.schema_url says; nil leaves it empty.
	SchemaURL func(schemaID string) string
	// Workers asks the answering workers of hook lists; nil has none.
	Workers Asker
	// Asked is told how each question to a worker went; nil is nobody.
	Asked func(Asked)
	// Now is for tests; nil is the system's clock.
	Now func() time.Time
}

// Client calls endpoints by name. It is safe for concurrent use, and a
// configuration that changes gets a new one.
type Client struct {
	endpoints              map[string]*target
	open, guarded          *http.Client
	openSigned             bool
	guards                 bool // endpoints that are no exception
	exceptions             []*regexp.Regexp
	timeout, answerTimeout time.Duration
	schemaURL              func(string) string
	workers                Asker
	asked                  func(Asked)
	now                    func() time.Time
	closed                 atomic.Bool
}

// target is an endpoint that is ready to be called.
type target struct {
	endpoint Endpoint
	name     string
	body     *jsonnet.Program // nil: no body
	http     *http.Client
}

// New compiles the body of each endpoint once. Its errors name the endpoint
// and show neither URLs nor credentials.
func New(o Options) (*Client, error) {
	c := &Client{
		endpoints:     make(map[string]*target, len(o.Endpoints)),
		open:          newHTTPClient(&net.Dialer{Timeout: dialTimeout}),
		guarded:       newHTTPClient(&net.Dialer{Timeout: dialTimeout, Control: RefusePrivate}),
		openSigned:    o.OpenSigned,
		guards:        o.DisallowPrivateIPRanges,
		exceptions:    globs(o.PrivateIPExceptionURLs),
		timeout:       o.Timeout,
		answerTimeout: o.AnswerTimeout,
		schemaURL:     o.SchemaURL,
		workers:       o.Workers,
		asked:         o.Asked,
		now:           o.Now,
	}
	if c.timeout <= 0 {
		c.timeout = 15 * time.Second
	}
	if c.answerTimeout <= 0 {
		c.answerTimeout = 5 * time.Second
	}
	if c.now == nil {
		c.now = time.Now
	}
	for _, e := range o.Endpoints {
		if err := c.add(e); err != nil {
			return nil, fmt.Errorf("web_hook %s: %w", e.Name(), err)
		}
	}
	return c, nil
}

func (c *Client) add(e Endpoint) error {
	name := e.Name()
	if known, ok := c.endpoints[name]; ok {
		if !reflect.DeepEqual(known.endpoint, e) {
			return errors.New("two different web_hooks have this name: give each an id of its own")
		}
		return nil
	}
	t, err := c.ready(e)
	if err != nil {
		return err
	}
	c.endpoints[name] = t
	return nil
}

// ready checks an endpoint and compiles its body.
func (c *Client) ready(e Endpoint) (*target, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	t := &target{endpoint: e, name: e.Name(), http: c.open}
	if c.guards && !matches(c.exceptions, e.URL) {
		t.http = c.guarded
	}
	if e.Body != "" {
		var err error
		if t.body, err = jsonnet.Compile("body", e.Body); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func matches(patterns []*regexp.Regexp, url string) bool {
	for _, p := range patterns {
		if p.MatchString(url) {
			return true
		}
	}
	return false
}

// Close drops the idle connections. Calls go on, and later ones can be made; each
// leaves no connection behind.
func (c *Client) Close() {
	c.closed.Store(true)
	c.dropIdle()
}

func (c *Client) dropIdle() {
	c.open.CloseIdleConnections()
	c.guarded.CloseIdleConnections()
}

// Refuse asks an endpoint before the commit, three times if it cannot be
// reached or breaks. A parsing endpoint that answers 200 changes call.Identity,
// see [Call]; an answer of 400 and above that holds messages is a [*Refusal],
// any other a [*Failed].
func (c *Client) Refuse(ctx context.Context, endpoint string, call *Call) error {
	t, body, err := c.prepare(endpoint, call)
	if t == nil || err != nil {
		return err
	}
	got, err := c.try(ctx, t, body, call)
	switch {
	case err != nil:
		return err
	case got.status >= 400:
		return &Refusal{Messages: got.messages()}
	case t.endpoint.Parse && got.status == http.StatusOK:
		if err := change(call.Identity, got.body, c.now()); err != nil {
			return &Failed{Endpoint: t.name, Status: got.status, Err: err}
		}
	}
	return nil
}

// Notify calls an endpoint behind the commit and waits for it, three times if
// it cannot be reached or breaks. Any answer but 2xx is a [*Failed].
func (c *Client) Notify(ctx context.Context, endpoint string, call *Call) error {
	t, body, err := c.prepare(endpoint, call)
	if t == nil || err != nil {
		return err
	}
	got, err := c.try(ctx, t, body, call)
	if err == nil && got.status >= 400 {
		err = got.failed(t.name)
	}
	return err
}

// Deliver calls a background endpoint once. Any answer but 2xx is a [*Failed].
func (c *Client) Deliver(ctx context.Context, endpoint string, call *Call) error {
	t, body, err := c.prepare(endpoint, call)
	if t == nil || err != nil {
		return err
	}
	got, err := c.send(ctx, t, body, call, c.timeout)
	if err == nil && !got.ok() {
		err = got.failed(t.name)
	}
	return err
}

// prepare finds an endpoint and renders its body. No target and no error means
// that the body's template cancelled the call.
func (c *Client) prepare(endpoint string, call *Call) (*target, []byte, error) {
	t, ok := c.endpoints[endpoint]
	if !ok {
		return nil, nil, &Failed{Endpoint: endpoint, Err: ErrNotConfigured}
	}
	if t.body == nil {
		return t, nil, nil
	}
	body, err := t.body.Call("ctx", c.bodyContext(call))
	if errors.Is(err, jsonnet.ErrCancelled) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, &Failed{Endpoint: endpoint, Err: err}
	}
	return t, body, nil
}

const (
	attempts   = 3
	firstPause = 100 * time.Millisecond
)

// try sends a request until an endpoint gives an answer that is a success or a
// refusal with messages; all other answers of 400 and above, and no answer, are
// a [*Failed].
func (c *Client) try(ctx context.Context, t *target, body []byte, call *Call) (answer, error) {
	pauses := backoff.NewExponentialBackOff(backoff.WithInitialInterval(firstPause), backoff.WithMaxElapsedTime(0))
	var got answer
	err := backoff.Retry(func() error {
		var err error
		if got, err = c.send(ctx, t, body, call, c.answerTimeout); err != nil {
			if errors.Is(err, errPrivate) {
				return backoff.Permanent(err)
			}
			return err
		}
		switch {
		case got.ok(), got.status >= 400 && len(got.messages()) > 0:
			return nil
		case got.status >= 500:
			return got.failed(t.name)
		default:
			return backoff.Permanent(got.failed(t.name))
		}
	}, backoff.WithContext(backoff.WithMaxRetries(pauses, attempts-1), ctx))
	var failed *Failed
	if err != nil && !errors.As(err, &failed) { // ctx ended between two attempts
		err = &Failed{Endpoint: t.name, Err: err}
	}
	return got, err
}
