package operator

import (
	"context"
	"errors"
	"fmt"

	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/password"
)

// Actions of the audit trail.
const (
	actSignIn       = "operator.sign_in"
	actSignInFailed = "operator.sign_in_failed"
	actSignOut      = "operator.sign_out"
	actSetUp        = "operator.set_up"
	actCreate       = "operator.create"
	actRemove       = "operator.remove"
	actReset        = "operator.reset"
	actRole         = "operator.role"
	actTokenCreate  = "token.create"
	actTokenRemove  = "token.remove"
)

// console is the actor of what nobody did who is known.
const console = "system:console"

// Try is one try to sign in.
type Try struct {
	Name     string
	Password password.Plain
	// Client is the address of whoever tries.
	Client string
	// By says which request it was; its actor is found here.
	By audit.Author
}

// SignIn gives the token of a new session. It gives [ErrWrong] after the same work
// whether or not there is such a name, and a [*Busy] when the name or the client had
// too many wrong tries; other errors are no fault of theirs.
func (s *Service) SignIn(ctx context.Context, t Try) (token Secret, made Session, err error) {
	defer func() { s.observe(err) }()
	name, client, now := canonical(t.Name), network(t.Client), s.Now()
	if wait, ok := s.clients.take(client, triesOfClient, now); !ok {
		return token, made, &Busy{wait}
	}
	if wait, ok := s.names.take(name, triesOfName, now); !ok {
		s.clients.giveBack(client, triesOfClient, now)
		return token, made, &Busy{wait}
	}
	token, made, err = s.signIn(ctx, name, t)
	if errors.Is(err, ErrWrong) {
		s.tell(ctx, t.By)
		return token, made, err
	}
	s.clients.giveBack(client, triesOfClient, now)
	s.names.giveBack(name, triesOfName, now)
	return token, made, err
}

func (s *Service) signIn(ctx context.Context, name string, t Try) (Secret, Session, error) {
	o, hash, err := s.Store.Operator(ctx, name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Secret{}, Session{}, err
	}
	if err != nil || hash == "" {
		if _, err := s.Passwords.Hash(ctx, t.Password); err != nil { // the same work, so that time tells nothing
			return Secret{}, Session{}, hashing(err)
		}
		return Secret{}, Session{}, ErrWrong
	}
	switch err := s.Passwords.Verify(ctx, t.Password, hash); {
	case errors.Is(err, password.ErrMismatch):
		return Secret{}, Session{}, ErrWrong
	case err != nil:
		return Secret{}, Session{}, hashing(err)
	}
	return s.begin(ctx, o, hash, t.By)
}

// begin makes a session of an operator whose password is the given one.
func (s *Service) begin(ctx context.Context, o Operator, hash string, by audit.Author) (Secret, Session, error) {
	now, token := s.Now(), newSecret(tokenPrefix)
	made := Session{Name: o.Name, Role: o.Role, IssuedAt: now, ExpiresAt: now.Add(SessionLife)}
	by.Actor = made.Actor()
	if err := s.Store.AddOperatorSession(ctx, digestOf(token), made, hash, s.event(by, actSignIn, o.Name)); err != nil {
		return Secret{}, Session{}, err
	}
	return token, made, nil
}

// tell tells of a wrong try, and of a bounded number of them. What was typed is not
// in it: it may be a password.
func (s *Service) tell(ctx context.Context, by audit.Author) {
	if _, ok := s.tales.take("", talesOfTries, s.Now()); !ok {
		return
	}
	by.Actor = console
	if err := s.Store.AppendSoon(context.WithoutCancel(ctx), s.event(by, actSignInFailed, "")); err != nil && s.Trouble != nil {
		s.Trouble(fmt.Errorf("tell of a wrong sign-in: %w", err))
	}
}

func (s *Service) observe(err error) {
	if s.Observe == nil {
		return
	}
	var busy *Busy
	switch {
	case err == nil:
		s.Observe("ok")
	case errors.Is(err, ErrWrong):
		s.Observe("wrong")
	case errors.As(err, &busy):
		s.Observe("busy")
	default:
		s.Observe("error")
	}
}

// Recognize gives the session of a token, or [ErrSignedOut]. What it gives may be
// five seconds old, and ten minutes when the store does not answer.
func (s *Service) Recognize(ctx context.Context, token string) (Session, error) {
	d, ok := given(token, tokenPrefix)
	if !ok {
		return Session{}, ErrSignedOut
	}
	now := s.Now()
	if known, ok := s.recent.fresh(d, now); ok {
		return known, nil
	}
	found, err := s.Store.OperatorSession(ctx, d)
	switch {
	case err == nil && now.Before(found.ExpiresAt):
		s.recent.put(d, found, now)
		return found, nil
	case err == nil, errors.Is(err, ErrSignedOut):
		s.recent.drop(d)
		return Session{}, ErrSignedOut
	}
	if known, ok := s.recent.unanswered(d, s.Now()); ok {
		return known, nil
	}
	return Session{}, err
}

// SignOut ends the session of a token. It is no error if there is none.
func (s *Service) SignOut(ctx context.Context, by audit.Author, token string) error {
	d, ok := given(token, tokenPrefix)
	if !ok {
		return nil
	}
	s.recent.drop(d)
	found, err := s.Store.OperatorSession(ctx, d)
	if errors.Is(err, ErrSignedOut) {
		return nil
	}
	if err != nil {
		return err
	}
	by.Actor = found.Actor()
	err = s.Store.RemoveOperatorSession(ctx, d, s.event(by, actSignOut, found.Name))
	s.recent.drop(d)
	return err
}
