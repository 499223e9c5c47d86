package api_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/login"
	"github.com/usher-auth/usher/services/recovery"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/verification"
)

// memoryLogin signs in whoever the world has registered.
type memoryLogin struct{ w *world }

func (m memoryLogin) Login(ctx context.Context, in login.Submit) (*login.Result, error) {
	values := map[string]any{"identifier": in.Identifier}
	missing := map[string][]flow.Message{}
	if in.Identifier == "" {
		missing["identifier"] = []flow.Message{flow.Missing("identifier")}
	}
	if in.Password.Empty() {
		missing["password"] = []flow.Message{flow.Missing("password")}
	}
	if len(missing) > 0 {
		return nil, &flow.Invalid{Form: flow.Form{Values: values, Messages: missing}}
	}
	i := m.w.person(in.Identifier)
	if i == nil || (hasher{}).Verify(ctx, in.Password, string(i.Credentials[0].Config)) != nil && in.Password.Reveal() != goodPassword {
		return nil, &flow.Invalid{Form: flow.Form{Values: values, Messages: map[string][]flow.Message{"": {flow.WrongCredentials()}}}}
	}
	result := &login.Result{Identity: i, Token: session.NewToken(session.NativePrefix)}
	if in.Current != nil && in.Current.Session.IdentityID == i.ID {
		kept := *in.Current.Session
		kept.AuthenticatedAt = time.Now().UTC()
		result.Session, result.Token = &kept, in.Current.Token
		return result, nil
	}
	var err error
	result.Session, err = m.w.Issue(ctx, session.Request{
		IdentityID: i.ID, AAL: "aal1", Method: in.Method, Digest: result.Token.Digest(), RequestedAt: in.ReceivedAt, Lifespan: time.Hour,
	})
	return result, err
}

// person is who signs in with an identifier, nil if there is nobody.
func (w *world) person(identifier string) *identity.Identity {
	defer w.lock()()
	for _, i := range w.identities {
		if slices.ContainsFunc(i.Credentials, func(c identity.Credential) bool { return slices.Contains(c.Identifiers, identifier) }) {
			return i
		}
	}
	return nil
}

const rightCode = "123456"

// memoryVerification takes one code for all addresses.
type memoryVerification struct{ w *world }

func (m memoryVerification) Send(ctx context.Context, in verification.Submit) error {
	switch {
	case in.Flow.State == flow.PassedChallenge:
		return verification.ErrDone
	case m.triesOf(in.Flow.ID) >= 5:
		return verification.ErrTooManyTries
	case in.Email == "":
		return &flow.Invalid{Form: flow.Form{Messages: map[string][]flow.Message{"email": {flow.Missing("email")}}}}
	}
	in.Flow.State, in.Flow.Active = flow.SentEmail, in.Method
	in.Flow.Form = flow.Form{Values: map[string]any{"email": in.Email}}
	return m.w.SaveFlow(ctx, in.Flow)
}

func (m memoryVerification) triesOf(id uuid.UUID) int {
	defer m.w.lock()()
	return m.w.tries[id]
}

func (m memoryVerification) Holds(_ context.Context, id uuid.UUID, _ flow.Purpose, code string) (bool, error) {
	defer m.w.lock()()
	if code != rightCode {
		m.w.tries[id]++
	}
	return code == rightCode && m.w.tries[id] < 5, m.w.broken
}

func (m memoryVerification) Check(ctx context.Context, in verification.Submit) error {
	if in.Flow.State == flow.PassedChallenge {
		return verification.ErrDone
	}
	m.w.mu.Lock()
	m.w.tries[in.Flow.ID]++
	tries := m.w.tries[in.Flow.ID]
	m.w.mu.Unlock()
	switch {
	case tries > 5:
		return verification.ErrTooManyTries
	case in.Code != rightCode:
		return verification.ErrWrongCode
	}
	in.Flow.State, in.Flow.Active = flow.PassedChallenge, in.Method
	return m.w.SaveFlow(ctx, in.Flow)
}

// memoryRecovery takes the same code for whoever is there.
type memoryRecovery struct{ w *world }

func (m memoryRecovery) Recover(ctx context.Context, in recovery.Submit) (*recovery.Result, error) {
	if in.Flow.State == flow.PassedChallenge {
		return nil, recovery.ErrDone
	}
	m.w.mu.Lock()
	m.w.recoveries = append(m.w.recoveries, in)
	m.w.tries[in.Flow.ID]++
	tries, i := m.w.tries[in.Flow.ID], (*identity.Identity)(nil)
	for _, one := range m.w.identities {
		i = one
	}
	m.w.mu.Unlock()
	switch {
	case tries > 5:
		return nil, recovery.ErrTooManyTries
	case in.Code != rightCode, i == nil:
		return nil, recovery.ErrWrongCode
	}
	prefix := session.NativePrefix
	if in.Type == flow.Browser {
		prefix = session.BrowserPrefix
	}
	r := &recovery.Result{Identity: i, Token: session.NewToken(prefix), Settings: &flow.Flow{
		ID: uuid.New(), Kind: flow.Settings, Type: in.Type, State: flow.ShowForm, CSRF: in.CSRF, IdentityID: i.ID, ReturnTo: in.Flow.ReturnTo, RequestURL: in.Flow.RequestURL,
		IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
		Form: flow.Form{Messages: map[string][]flow.Message{"": {flow.Recovered(time.Now().Add(time.Hour))}}},
	}}
	var err error
	r.Session, err = m.w.Issue(ctx, session.Request{
		IdentityID: i.ID, AAL: "aal1", Method: in.Method + "_recovery", Digest: r.Token.Digest(), RequestedAt: time.Now(), Lifespan: time.Hour,
	})
	if err == nil {
		err = m.w.noRecovery
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", recovery.ErrNoSession, err)
	}
	if err := m.w.CreateFlow(ctx, r.Settings); err != nil {
		return nil, err
	}
	in.Flow.State, in.Flow.Active = flow.PassedChallenge, in.Method
	return r, m.w.SaveFlow(ctx, in.Flow)
}

func (w *world) Changed(id uuid.UUID) {
	defer w.lock()()
	w.changed = append(w.changed, id)
}

func (w *world) SessionByDigest(_ context.Context, d session.Digest) (*session.Session, *identity.Identity, error) {
	defer w.lock()()
	if who, ok := w.sessions[d]; ok {
		return who.Session, who.Identity, w.broken
	}
	return nil, nil, cmp.Or(w.broken, session.ErrNotFound)
}

// live are the sessions of an identity that are not revoked, but one.
func (w *world) live(identityID, but uuid.UUID) (all []*session.Session) {
	for _, who := range w.sessions {
		if who.Session.IdentityID == identityID && who.Session.ID != but && !who.Session.Revoked {
			all = append(all, who.Session)
		}
	}
	slices.SortFunc(all, func(a, b *session.Session) int { return b.IssuedAt.Compare(a.IssuedAt) })
	return all
}

func (w *world) Others(_ context.Context, current *session.Session, offset, limit int) (page []session.Session, total int, err error) {
	defer w.lock()()
	all := w.live(current.IdentityID, current.ID)
	for _, s := range all[min(offset, len(all)):min(offset+limit, len(all))] {
		page = append(page, *s)
	}
	return page, len(all), w.broken
}

func (w *world) Revoke(_ context.Context, by session.By, identityID, id uuid.UUID, reason string) error {
	defer w.lock()()
	if w.broken != nil {
		return w.broken
	}
	for _, s := range w.live(identityID, uuid.Nil) {
		if s.ID == id {
			s.Revoked = true
			w.revoked = append(w.revoked, by.Actor+" "+reason)
			return nil
		}
	}
	return session.ErrNotFound
}

func (w *world) RevokeOthers(_ context.Context, by session.By, current *session.Session) (int, error) {
	defer w.lock()()
	others := w.live(current.IdentityID, current.ID)
	for _, s := range others {
		s.Revoked = true
		w.revoked = append(w.revoked, by.Actor+" others")
	}
	return len(others), w.broken
}
