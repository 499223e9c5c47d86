package api_test

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/login"
	"github.com/usher-auth/usher/services/session"
)

// handedOver is what a world keeps for an app's code.
type handedOver struct{ code, sealed []byte }

func (w *world) BeginAttempt(_ context.Context, id uuid.UUID, a flow.Attempt) error {
	defer w.lock()()
	f, ok := w.flows[id]
	if !ok {
		return errors.Join(w.broken, flow.ErrNotFound)
	}
	f.Attempt = &a
	w.flows[id] = f
	return w.broken
}

func (w *world) TakeAttempt(_ context.Context, id uuid.UUID, digest []byte) (*flow.Flow, bool, error) {
	defer w.lock()()
	f, ok := w.flows[id]
	if w.broken != nil {
		return nil, false, w.broken
	}
	if !ok || f.Attempt == nil || !bytes.Equal(f.Attempt.Digest, digest) {
		return nil, false, flow.ErrNotFound
	}
	left := f
	left.Attempt = nil
	w.flows[id] = left
	_, granted := w.grants[id]
	return &f, granted, nil
}

func (w *world) SaveExchange(_ context.Context, id uuid.UUID, code, sealed []byte) error {
	defer w.lock()()
	w.handed[id] = handedOver{code, sealed}
	return w.broken
}

func (w *world) TakeExchange(_ context.Context, first, second []byte) (*flow.Flow, []byte, error) {
	defer w.lock()()
	for id, f := range w.flows {
		h, ok := w.handed[id]
		if !ok || !bytes.Equal(f.Exchange, first) || !bytes.Equal(h.code, second) {
			continue
		}
		if h.sealed != nil {
			delete(w.handed, id)
		}
		return &f, h.sealed, w.broken
	}
	return nil, nil, errors.Join(w.broken, flow.ErrNotFound)
}

func (m memoryLogin) LoginProven(ctx context.Context, in login.Submit, a identity.Account) (*login.Result, error) {
	i := m.w.person(a.Identifier())
	if i == nil {
		return nil, identity.ErrNotFound
	}
	if err := i.Holds(a); err != nil {
		return nil, err
	}
	return m.signIn(ctx, in, i)
}

func (m memoryLogin) LoginLinking(ctx context.Context, in login.Submit, l flow.Link) (*login.Result, error) {
	i := m.w.person(l.Duplicate)
	if i == nil || !i.Addresses[0].Verified {
		return nil, identity.ErrNotFound
	}
	m.w.mu.Lock()
	i.Credentials = append(i.Credentials, identity.Credential{Type: identity.MethodOIDC, Identifiers: []string{l.Identifier()}, Config: identity.OIDCConfig(l.Account)})
	m.w.mu.Unlock()
	return m.signIn(ctx, in, i)
}

// signIn gives a new session.
func (m memoryLogin) signIn(ctx context.Context, in login.Submit, i *identity.Identity) (*login.Result, error) {
	result := &login.Result{Identity: i, Token: session.NewToken(session.NativePrefix)}
	var err error
	result.Session, err = m.w.Issue(ctx, session.Request{
		IdentityID: i.ID, AAL: session.AAL1, Method: in.Method, Provider: in.Provider, Digest: result.Token.Digest(),
		RequestedAt: time.Now(), Lifespan: time.Hour,
	})
	return result, err
}

// withoutProviders is a login that nobody has proven anything to.
type withoutProviders struct{}

func (withoutProviders) LoginProven(context.Context, login.Submit, identity.Account) (*login.Result, error) {
	return nil, identity.ErrNotFound
}

func (withoutProviders) LoginLinking(context.Context, login.Submit, flow.Link) (*login.Result, error) {
	return nil, identity.ErrNotFound
}
