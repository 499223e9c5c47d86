package app

import (
	"context"
	"reflect"
	"sync"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/oidc"
)

// providerOptions say which identity providers there are; they are not sealed yet.
func providerOptions(cfg *config.Config) oidc.Options {
	return oidc.Options{
		Providers:               cfg.OIDCProviders(),
		DisallowPrivateIPRanges: cfg.Clients.HTTP.DisallowPrivateIPRanges,
		PrivateIPExceptionURLs:  cfg.Clients.HTTP.PrivateIPExceptionURLs,
		PlainHTTP:               cfg.Dev,
	}
}

// newProviders makes the client of the identity providers. It calls none.
func newProviders(cfg *config.Config) (*oidc.Client, error) {
	o := providerOptions(cfg)
	var err error
	if o.Sealer, err = oidc.NewSealer(cfg.CookieSecrets()...); err != nil {
		return nil, err
	}
	return oidc.New(o)
}

// providers keeps the former client while it would be the same: it knows the
// providers' documents and keys, and nobody has to wait for them.
func providers(cfg *config.Config, former *current) (*oidc.Client, error) {
	if former != nil && reflect.DeepEqual(providerOptions(former.cfg), providerOptions(cfg)) &&
		reflect.DeepEqual(former.cfg.CookieSecrets(), cfg.CookieSecrets()) {
		return former.providers, nil
	}
	return newProviders(cfg)
}

// startProviders keeps what is known of the identity providers fresh, so that
// nobody who signs in waits for it, of each client as long as it is in force.
func (p *process) startProviders(ctx context.Context) error {
	p.stages.start(ctx, "identity providers", func(ctx context.Context) error {
		var all sync.WaitGroup
		defer all.Wait()
		for ctx.Err() == nil {
			client := p.live.now().providers
			running, end := context.WithCancel(ctx)
			all.Go(func() { _ = client.Run(running) }) // gives nil when running has ended
			for ctx.Err() == nil && client == p.live.now().providers {
				select {
				case <-ctx.Done():
				case <-p.reconfigured:
				}
			}
			end()
		}
		return nil
	})
	return nil
}
