package oidc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/usher-auth/usher/services/jsonnet"
	"github.com/usher-auth/usher/services/webhook"
)

// Options say which providers there are and how they may be called.
type Options struct {
	Providers []Config
	Sealer    *Sealer
	// DisallowPrivateIPRanges refuses providers that are not on the public internet.
	DisallowPrivateIPRanges bool
	// PlainHTTP lets providers be called without TLS, as in development;
	// without it only those on loopback are.
	PlainHTTP bool
	// Timeout bounds one call of a provider (default 5 s).
	Timeout time.Duration
	// Transport and Now are for tests; nil is the network and the system's clock.
	Transport http.RoundTripper
	Now       func() time.Time
}

// Client holds the providers. It is safe for concurrent use, and a
// configuration that changes gets a new one.
type Client struct {
	providers []*Provider
	http      *http.Client
}

// Provider is one provider that people may sign in with.
type Provider struct {
	config    Config
	known     preset
	mapper    *jsonnet.Program
	sealer    *Sealer
	http      *http.Client
	plainHTTP bool
	now       func() time.Time
	metadata  *cache
}

// New checks the providers and compiles their mappers; it calls none of them.
// Its errors name the provider and show no secret.
func New(o Options) (*Client, error) {
	if o.Sealer == nil {
		return nil, errors.New("oidc: no sealer for states")
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Client{http: newHTTPClient(o)}
	for _, config := range o.Providers {
		if _, taken := c.Provider(config.ID); taken {
			return nil, fmt.Errorf("oidc provider %s: another one has this id", config.ID)
		}
		complete, known, err := config.complete(o.PlainHTTP)
		if err != nil {
			return nil, fmt.Errorf("oidc provider %s: %w", config.ID, err)
		}
		mapper, err := jsonnet.Compile("mapper", complete.Mapper)
		if err != nil {
			return nil, fmt.Errorf("oidc provider %s: %w", config.ID, err)
		}
		p := &Provider{
			config: complete, known: known, mapper: mapper, sealer: o.Sealer,
			http: c.http, plainHTTP: o.PlainHTTP, now: o.Now,
		}
		p.metadata = newCache(p.discover, o.Now)
		c.providers = append(c.providers, p)
	}
	return c, nil
}

// Provider finds a provider by its id.
func (c *Client) Provider(id string) (*Provider, bool) {
	for _, p := range c.providers {
		if p.config.ID == id {
			return p, true
		}
	}
	return nil, false
}

// Providers gives all of them, in the order of the configuration.
func (c *Client) Providers() []*Provider { return append([]*Provider(nil), c.providers...) }

// Run keeps what is known of the providers fresh, so that nobody who signs in
// waits for it. It returns nil when ctx has ended.
func (c *Client) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, p := range c.providers {
		if p.config.IssuerURL != "" {
			all.Go(func() { p.metadata.keepFresh(ctx) })
		}
	}
	all.Wait()
	<-ctx.Done()
	c.http.CloseIdleConnections()
	return nil
}

// ID is the provider's id.
func (p *Provider) ID() string { return p.config.ID }

// Label is what people call the provider.
func (p *Provider) Label() string { return p.config.Label }

// Linking says what becomes of somebody whose address has an account here.
func (p *Provider) Linking() Linking { return p.config.Linking }

const (
	dialTimeout = 3 * time.Second
	// maxAnswer bounds every answer of a provider: discovery, keys, tokens, userinfo.
	maxAnswer = 256 << 10
)

var (
	errRedirect = errors.New("redirects are not followed")
	errLarge    = errors.New("answer is too large")
)

// newHTTPClient follows no redirect and uses no proxy, like the one of the hooks.
func newHTTPClient(o Options) *http.Client {
	transport := o.Transport
	if transport == nil {
		dialer := &net.Dialer{Timeout: dialTimeout}
		if o.DisallowPrivateIPRanges {
			dialer.Control = webhook.RefusePrivate
		}
		transport = &http.Transport{
			DialContext:            dialer.DialContext,
			ForceAttemptHTTP2:      true,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    dialTimeout,
			MaxIdleConnsPerHost:    8,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		}
	}
	return &http.Client{
		Transport:     limited{transport},
		Timeout:       o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect },
	}
}

// limited is a transport whose answers end with an error beyond maxAnswer, in
// whatever library reads them.
type limited struct{ next http.RoundTripper }

func (l limited) CloseIdleConnections() {
	if c, ok := l.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	if err == nil {
		resp.Body = &limitedBody{ReadCloser: resp.Body, left: maxAnswer}
	}
	return resp, err
}

type limitedBody struct {
	io.ReadCloser
	left int
}

func (b *limitedBody) Read(into []byte) (int, error) {
	n, err := b.ReadCloser.Read(into)
	if b.left -= n; b.left < 0 {
		return 0, errLarge
	}
	return n, err
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
		return away(step, "cannot be reached")
	}
}
