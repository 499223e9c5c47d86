package oidc

import (
	"errors"
	"fmt"
)

// ErrState is the one answer to a state that is missing, was not sealed here,
// belongs to another provider, or is over.
var ErrState = errors.New("state of the sign-in attempt is not valid")

// Kinds of a [*Failed], for errors.Is.
var (
	// ErrUnavailable: the provider cannot be reached, is too slow or breaks.
	// Starting again later may help.
	ErrUnavailable = errors.New("provider is not available")
	// ErrRefused: the provider's answer is not acceptable.
	ErrRefused = errors.New("answer of the provider is refused")
	// ErrMapper: the mapper makes no identity of these claims.
	ErrMapper = errors.New("claims cannot be mapped")
)

// Failed says why a provider did not sign anybody in. Its text holds no secret
// and nothing of what the provider answered.
type Failed struct {
	Provider string
	Step     string // discovery, keys, token, id_token, userinfo, claims, mapper, callback
	Reason   string
	Kind     error // one of [ErrUnavailable], [ErrRefused], [ErrMapper]
}

func (f *Failed) Error() string {
	return fmt.Sprintf("oidc provider %s: %s: %s", f.Provider, f.Step, f.Reason)
}

// Unwrap gives the kind.
func (f *Failed) Unwrap() error { return f.Kind }

// Denied is what a provider that signs nobody in said in the callback, such as
// access_denied.
type Denied struct{ Provider, Code string }

func (d *Denied) Error() string {
	return fmt.Sprintf("oidc provider %s: denied: %s", d.Provider, d.Code)
}

// fault is a [*Failed] before it knows its provider.
type fault struct {
	step, reason string
	kind         error
}

func (f *fault) Error() string { return f.step + ": " + f.reason }

func refused(step, reason string) error { return &fault{step, reason, ErrRefused} }

func away(step, reason string) error { return &fault{step, reason, ErrUnavailable} }

// failed gives the error that a caller may see; a cause that is not a fault
// may quote what was answered, so its text is left out.
func (p *Provider) failed(err error) error {
	var f *fault
	if !errors.As(err, &f) {
		f = &fault{"callback", "broke down", ErrRefused}
	}
	return &Failed{Provider: p.config.ID, Step: f.step, Reason: f.reason, Kind: f.kind}
}
