package oidc

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// Request says on whose behalf an attempt begins.
type Request struct {
	Flow        string
	FlowType    string
	Client      string // Browser or Native
	RedirectURL string // the callback of this provider
	// Upstream are parameters for the provider; those that its configuration
	// does not list, and long ones, are left out.
	Upstream map[string]string
}

const maxUpstream = 512

// Start begins an attempt and gives the authorization URL to send the person
// to, which carries the sealed state. It fails with a [*Failed] of kind
// [ErrUnavailable] while the provider's discovery document cannot be had.
func (p *Provider) Start(ctx context.Context, r Request) (string, Attempt, error) {
	if r.Flow == "" || r.RedirectURL == "" || r.Client != Browser && r.Client != Native {
		return "", Attempt{}, errors.New("start of a sign-in: flow, client or callback is missing")
	}
	m, err := p.metadata.get(ctx)
	if err != nil {
		return "", Attempt{}, p.failed(err)
	}
	a := Attempt{
		ID: rand.Text(), Flow: r.Flow, FlowType: r.FlowType, Provider: p.config.ID, Client: r.Client,
		Expires: p.now().Add(Lifetime), nonce: rand.Text(), redirect: r.RedirectURL,
	}
	options := p.options(r)
	if p.config.PKCE == PKCEForce || p.config.PKCE == PKCEAuto && m.pkce {
		a.verifier = oauth2.GenerateVerifier()
		options = append(options, oauth2.S256ChallengeOption(a.verifier))
	}
	if m.openID() {
		options = append(options, oidc.Nonce(a.nonce))
	}
	state, err := p.sealer.seal(a)
	if err != nil {
		return "", Attempt{}, err
	}
	conf := m.oauth
	conf.RedirectURL = r.RedirectURL
	return conf.AuthCodeURL(state, options...), a, nil
}

func (p *Provider) options(r Request) []oauth2.AuthCodeOption {
	var all []oauth2.AuthCodeOption
	for name, value := range r.Upstream {
		if slices.Contains(p.config.UpstreamParameters, name) && len(value) <= maxUpstream {
			all = append(all, oauth2.SetAuthURLParam(name, value))
		}
	}
	if len(p.config.RequestedClaims) > 0 {
		all = append(all, oauth2.SetAuthURLParam("claims", string(p.config.RequestedClaims)))
	}
	return all
}

// Open gives the attempt that a callback's state belongs to, or [ErrState].
// The caller still compares [Attempt.ID] with what the client holds.
func (p *Provider) Open(state string) (Attempt, error) {
	return p.sealer.open(state, p.config.ID, p.now())
}
