package login

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/webhook"
)

// prepare does what must be done before there is a session: the hooks that the
// answer waits for, and what the background ones will need once
// login.succeeded, which is to have that id, is there.
func (s *Service) prepare(ctx context.Context, plan hook.LoginPlan, i *identity.Identity, in Submit, eventID uuid.UUID) error {
	for _, step := range plan.Waiting {
		if err := s.Hooks.Notify(ctx, step.Endpoint, in.call(i, eventID)); err != nil {
			return err
		}
	}
	if len(plan.Background) == 0 {
		return nil
	}
	var due []webhook.Due
	for _, step := range plan.Background {
		due = append(due, webhook.Due{EventID: eventID, Endpoint: step.Endpoint, Input: in.submission().Input()})
	}
	if err := s.Store.SaveDue(ctx, due); err != nil {
		return fmt.Errorf("save due hooks: %w", err)
	}
	return nil
}

// request is what a session is asked for with.
func (s *Service) request(i *identity.Identity, in Submit, eventID uuid.UUID) session.Request {
	return session.Request{
		Login:       eventID,
		FlowID:      in.Flow.ID,
		IdentityID:  i.ID,
		Method:      in.Method,
		Provider:    in.Provider,
		AAL:         session.AAL1,
		Epoch:       i.Epoch,
		Sequence:    i.Sequence,
		Lifespan:    s.Lifespan,
		ClientAddr:  in.Client.Addr,
		UserAgent:   in.Client.UserAgent,
		TraceParent: in.Client.TraceParent,
		HTTPRequest: in.Client.RequestID,
	}
}

// issue asks for the session: a new one with a new token, or for a refresh by
// the same person the one that is there, which keeps its token.
func (s *Service) issue(ctx context.Context, i *identity.Identity, in Submit, r session.Request, t *timer) (*Result, error) {
	result := &Result{Identity: shown(i)}
	now := t.step(nil)
	var err error
	if in.Flow.Refresh && in.Current != nil && in.Current.Session.IdentityID == i.ID {
		t.outcome.Result = Refreshed
		r.Refresh, r.Digest = in.Current.Session.ID, in.Current.Token.Digest()
		result.Token = in.Current.Token
		result.Session, err = session.Ask(ctx, s.Sessions, s.IssueTimeout, now, r)
	} else {
		prefix := session.NativePrefix
		if in.Flow.Type == flow.Browser {
			prefix = session.BrowserPrefix
		}
		result.Session, result.Token, err = session.Obtain(ctx, s.Sessions, prefix, s.IssueTimeout, now, r)
	}
	t.step(&t.outcome.Hop)
	if err != nil {
		return nil, err
	}
	return result, nil
}

// revokeReplaced ends the session whose cookie the given one takes the place of
// in a browser, unless it is the same person's: that one is kept.
func (s *Service) revokeReplaced(ctx context.Context, given *session.Session, in Submit) error {
	if in.Flow.Type != flow.Browser || in.Current == nil || in.Current.Session.IdentityID == given.IdentityID {
		return nil
	}
	former := in.Current.Session
	which := session.Which{IdentityID: former.IdentityID, ID: former.ID}
	if _, err := s.Store.RevokeSessions(ctx, which, in.by(given).Revoked(former.IdentityID, "replaced", s.Now())); err != nil {
		return fmt.Errorf("revoke replaced session: %w", err)
	}
	return nil
}

// revokeOthers ends all sessions of the person but the one that was given.
func (s *Service) revokeOthers(ctx context.Context, given *session.Session, in Submit) error {
	which := session.Which{IdentityID: given.IdentityID, But: given.ID}
	if _, err := s.Store.RevokeSessions(ctx, which, in.by(given).Revoked(given.IdentityID, "login", s.Now())); err != nil {
		return fmt.Errorf("revoke other sessions: %w", err)
	}
	return nil
}

// by says that the person who signed in ends sessions.
func (in Submit) by(given *session.Session) session.By {
	return session.By{
		Actor:       "person:" + given.IdentityID.String(),
		RequestID:   in.Client.RequestID,
		TraceParent: in.Client.TraceParent,
		Source:      source,
	}
}

// openVerification opens a verification of the first address that waits for
// one, where the plan has that. It keeps nobody out, and neither does its failure.
func (s *Service) openVerification(ctx context.Context, plan hook.LoginPlan, r *Result, in Submit) error {
	pending, _ := r.Identity.Verifiable()
	if !plan.Verification || pending == nil {
		return nil
	}
	f, err := s.Verification.Open(ctx, r.Identity, *pending, in)
	if err != nil {
		return fmt.Errorf("open verification: %w", err)
	}
	if plan.ShowVerification {
		r.Verification, r.VerificationAddress = f, pending.Value
	}
	return nil
}

// rehash makes a stored hash anew that new ones would not be made like. Only
// now the password is at hand, and known to be right.
func (s *Service) rehash(ctx context.Context, p proof, in Submit) error {
	if !s.Passwords.Outdated(p.hash) {
		return nil
	}
	hash, err := s.Passwords.Hash(ctx, in.Password)
	if errors.Is(err, password.ErrTooLong) {
		return nil // the new algorithm takes less: the old hash stays good
	}
	if err != nil {
		return fmt.Errorf("rehash: %w", err)
	}
	if err := s.Store.ReplaceCredential(ctx, p.identity.ID, identity.MethodPassword, p.config, identity.PasswordConfig(hash)); err != nil {
		return fmt.Errorf("rehash: %w", err)
	}
	return nil
}

// call is what a hook that is called at once is told; the event's id, if there
// will be one, is what the endpoint knows a repeated call by.
func (in Submit) call(i *identity.Identity, eventID uuid.UUID) *webhook.Call {
	c := in.submission().Call(shown(i))
	if eventID != uuid.Nil {
		c.EventID = eventID.String()
	}
	return c
}

// submission is what hooks may see besides the identity.
func (in Submit) submission() webhook.Submission {
	return webhook.Submission{Flow: in.Flow, TransientPayload: in.TransientPayload, Request: in.Request, Client: in.Client}
}
