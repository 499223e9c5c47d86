package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/webhook"
)

type schemas []configured

type configured struct {
	compiled *identity.Schema
	listed   api.Schema
}

func (s schemas) Schema(id string) (*identity.Schema, bool) {
	for _, schema := range s {
		if schema.listed.ID == id {
			return schema.compiled, true
		}
	}
	return nil, false
}

func (s schemas) List() (list []api.Schema) {
	for _, schema := range s {
		list = append(list, schema.listed)
	}
	return list
}

type policy struct{}

func (policy) Check(p password.Plain, _ []string) *password.Violation {
	if n := len(p.Reveal()); n < 8 {
		return &password.Violation{Rule: "min_length", Context: map[string]any{"min_length": 8, "actual_length": n}}
	}
	return nil
}

type hasher struct{}

func (hasher) Hash(_ context.Context, p password.Plain) (string, error) {
	return "hash of " + p.Reveal(), nil
}

func (hasher) Verify(_ context.Context, p password.Plain, phc string) error {
	if phc != "hash of "+p.Reveal() {
		return password.ErrMismatch
	}
	return nil
}

type noHooks struct{}

func (noHooks) Refuse(context.Context, string, *webhook.Call) error { return nil }
func (noHooks) Notify(context.Context, string, *webhook.Call) error { return nil }

func (w *world) lock() func() {
	w.mu.Lock()
	return w.mu.Unlock
}

func (w *world) CreateFlow(_ context.Context, f *flow.Flow) error {
	defer w.lock()()
	w.flows[f.ID] = *f
	return w.broken
}

func (w *world) Flow(_ context.Context, id uuid.UUID) (*flow.Flow, error) {
	defer w.lock()()
	if f, ok := w.flows[id]; ok && w.broken == nil {
		return &f, nil
	}
	return nil, errors.Join(w.broken, flow.ErrNotFound)
}

func (w *world) FlowAndGrant(ctx context.Context, id uuid.UUID) (*flow.Flow, bool, error) {
	f, err := w.Flow(ctx, id)
	defer w.lock()()
	_, granted := w.grants[id]
	if granted && w.broken == nil {
		err = nil
	}
	return f, granted, err
}

func (w *world) SaveFlow(_ context.Context, f *flow.Flow) error {
	defer w.lock()()
	kept := w.flows[f.ID]
	if overtake := w.overtake; overtake != nil {
		w.overtake = nil
		overtake(&kept)
		w.flows[f.ID] = kept
		return flow.ErrChanged
	}
	kept.State, kept.Active, kept.CSRF, kept.Form = f.State, f.Active, f.CSRF, f.Form
	w.flows[f.ID] = kept
	return w.broken
}

func (w *world) Register(_ context.Context, r registration.Record) error {
	defer w.lock()()
	if _, used := w.grants[r.Grant.FlowID]; used {
		return registration.ErrFlowUsed
	}
	for _, i := range w.identities {
		if sharesHandle(i, r.Identity) || sharesAddress(i, r.Identity) {
			return identity.ErrExists
		}
	}
	if w.broken == nil {
		w.grants[r.Grant.FlowID], w.identities[r.Identity.ID] = r.Grant, r.Identity
	}
	return w.broken
}

func sharesHandle(a, b *identity.Identity) bool {
	return slices.ContainsFunc(a.Handles(), func(h string) bool { return slices.Contains(b.Handles(), h) })
}

func sharesAddress(a, b *identity.Identity) bool {
	return slices.ContainsFunc(a.Addresses, func(of identity.Address) bool {
		return slices.ContainsFunc(b.Addresses, func(other identity.Address) bool { return other.Value == of.Value })
	})
}

func (w *world) Grant(_ context.Context, id uuid.UUID) (registration.Grant, *identity.Identity, error) {
	defer w.lock()()
	if g, ok := w.grants[id]; ok {
		return g, w.identities[g.IdentityID], w.broken
	}
	return registration.Grant{}, nil, identity.ErrNotFound
}

func (w *world) Append(context.Context, events.Event) error { return w.broken }

func (w *world) CreateIdentity(_ context.Context, i *identity.Identity, _ events.Event) error {
	defer w.lock()()
	for _, other := range w.identities {
		if sharesHandle(other, i) || sharesAddress(other, i) {
			return identity.ErrExists
		}
	}
	w.identities[i.ID] = i
	return w.broken
}

func (w *world) Issue(_ context.Context, r session.Request) (*session.Session, error) {
	defer w.lock()()
	now := r.RequestedAt
	s := &session.Session{
		ID: uuid.New(), IdentityID: r.IdentityID, AAL: r.AAL,
		Methods:         []session.Method{{Method: r.Method, AAL: r.AAL, Provider: r.Provider, CompletedAt: now}},
		Devices:         []session.Device{{ID: uuid.New(), Address: r.ClientAddr, UserAgent: r.UserAgent}},
		AuthenticatedAt: now, IssuedAt: now, ExpiresAt: now.Add(r.Lifespan),
	}
	w.sessions[r.Digest] = &api.Who{Session: s, Identity: w.identities[r.IdentityID]}
	return s, w.broken
}

func (w *world) Whoami(_ context.Context, d session.Digest) (*api.Who, error) {
	defer w.lock()()
	if who, ok := w.sessions[d]; ok && w.broken == nil && !who.Session.Revoked {
		return who, nil
	}
	return nil, errors.Join(w.broken, session.ErrNotFound)
}

func (w *world) Identity(_ context.Context, id uuid.UUID) (*identity.Identity, error) {
	defer w.lock()()
	if i, ok := w.identities[id]; ok && w.broken == nil {
		return i, nil
	}
	return nil, errors.Join(w.broken, identity.ErrNotFound)
}

func (w *world) Identities(_ context.Context, after uuid.UUID, limit int) ([]identity.Identity, error) {
	defer w.lock()()
	var all []identity.Identity
	for _, i := range w.identities {
		if bytes.Compare(i.ID[:], after[:]) > 0 {
			all = append(all, *i)
		}
	}
	sortByID(all)
	return all[:min(limit, len(all))], w.broken
}

func (w *world) SaveError(_ context.Context, id uuid.UUID, body json.RawMessage) error {
	defer w.lock()()
	w.errors[id] = body
	return w.broken
}

func (w *world) SavedError(_ context.Context, id uuid.UUID) (json.RawMessage, time.Time, error) {
	defer w.lock()()
	if body, ok := w.errors[id]; ok && w.broken == nil {
		return body, noon, nil
	}
	return nil, time.Time{}, errors.Join(w.broken, flow.ErrNotFound)
}

func (w *world) Events(ctx context.Context, q audit.Query) ([]audit.Record, error) {
	if w.memory != nil {
		return w.memory.Events(ctx, q)
	}
	var page []audit.Record
	for seq := q.After + 1; seq <= 5 && len(page) < q.Limit; seq++ {
		page = append(page, audit.Record{Seq: seq, Payload: []byte(logged(seq))})
	}
	return page, w.broken
}

// logged is the event at a place in the log.
func logged(seq int64) string {
	return fmt.Sprintf(`{"actor":"client","data":{},"datacontenttype":"application/json","dataschema":"urn:usher:event:identity.created:1",`+
		`"id":"00000000-0000-7000-8000-00000000000%d","source":"/usher/api","specversion":"1.0","time":"2026-11-24T12:00:00Z","type":"identity.created"}`, seq)
}

func (w *world) EventHead(context.Context) (int64, audit.Hash, error) {
	if w.memory != nil {
		return w.memory.head(), audit.Hash{}, w.broken
	}
	return 5, audit.Hash{}, w.broken
}

func (w *world) AdminToken(_ context.Context, digest [32]byte) (name, scope string, ok bool, err error) {
	scope, ok = adminTokens[digest]
	return "anna", scope, ok, w.broken
}

// syncBuffer is a log that many goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
