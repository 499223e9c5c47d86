package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/usher-auth/usher/services/jsonnet"
)

// Options say which providers there are and how they may be called.
type Options struct {
	Providers []Config
	Sealer    *Sealer
	// DisallowPrivateIPRanges refuses providers that are not on the public internet.
	// PrivateIPExceptionURLs are patterns of URLs that may be called all the same.
	DisallowPrivateIPRanges bool
	PrivateIPExceptionURLs  []string
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
	metadata  *cache[*metadata]
	keys      *cache[[]jose.JSONWebKey]
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
		p.metadata = newCache("discovery", p.discover, o.Now)
		p.keys = newCache("keys", p.fetchKeys, o.Now)
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
		if p.known.claims == nil {
			all.Go(func() { p.keepFresh(ctx) })
		}
	}
	all.Wait()
	<-ctx.Done()
	c.http.CloseIdleConnections()
	return nil
}

// keepFresh reads discovery and keys anew until ctx ends, after a failure every
// minute.
func (p *Provider) keepFresh(ctx context.Context) {
	for {
		pause := refreshAfter
		if p.metadata.refresh(ctx) != nil || p.keys.refresh(ctx) != nil {
			pause = time.Minute
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// ID is the provider's id.
func (p *Provider) ID() string { return p.config.ID }

// Label is what people call the provider.
func (p *Provider) Label() string { return p.config.Label }

// Linking says what becomes of somebody whose address has an account here.
func (p *Provider) Linking() Linking { return p.config.Linking }
