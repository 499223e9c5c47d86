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
	actPassword     = "operator.password"
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
	err = s.limited(ctx, t, func(name string) error {
		o, hash, err := s.verify(ctx, name, t.Password)
		if err == nil {
			token, made, err = s.begin(ctx, o, hash, t.By)
		}
		return err
	})
	return token, made, err
}

// ChangePassword sets another password of an operator, whose present one t has. All
// their sessions end; it gives the token of a new one. Besides what [Service.SignIn]
// gives, it gives an [*Invalid].
func (s *Service) ChangePassword(ctx context.Context, t Try, chosen password.Plain) (token Secret, made Session, err error) {
	err = s.limited(ctx, t, func(name string) error {
		o, former, err := s.verify(ctx, name, t.Password)
		if err != nil {
			return err
		}
		hash, err := s.hash(ctx, name, chosen)
		if err != nil {
			return err
		}
		by := t.By
		by.Actor = Session{Name: name}.Actor()
		err = s.Store.ChangePassword(ctx, name, former, hash, s.event(by, actPassword, name))
		s.recent.dropOf(name)
		if err == nil {
			token, made, err = s.begin(ctx, o, hash, by)
		}
		return err
	})
	return token, made, err
}

// limited lets one try pass, unless its name or its client had too many wrong ones.
func (s *Service) limited(ctx context.Context, t Try, try func(name string) error) error {
	name, client, now := canonical(t.Name), network(t.Client), s.Now()
	if wait, ok := s.clients.take(client, triesOfClient, now); !ok {
		return &Busy{wait}
	}
	if wait, ok := s.names.take(name, triesOfName, now); !ok {
		s.clients.giveBack(client, triesOfClient, now)
		return &Busy{wait}
	}
	err := try(name)
	if errors.Is(err, ErrWrong) {
		s.tell(ctx, t.By)
		return err
	}
	s.clients.giveBack(client, triesOfClient, now)
	s.names.giveBack(name, triesOfName, now)
	return err
}

// verify gives the operator whose password this is, and its hash, or [ErrWrong].
func (s *Service) verify(ctx context.Context, name string, p password.Plain) (Operator, string, error) {
	o, hash, err := s.Store.Operator(ctx, name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Operator{}, "", err
	}
	if err != nil || hash == "" {
		if _, err := s.Passwords.Hash(ctx, p); err != nil { // the same work, so that time tells nothing
			return Operator{}, "", hashing(err)
		}
		return Operator{}, "", ErrWrong
	}
	switch err := s.Passwords.Verify(ctx, p, hash); {
	case errors.Is(err, password.ErrMismatch):
		return Operator{}, "", ErrWrong
	case err != nil:
		return Operator{}, "", hashing(err)
	}
	return o, hash, nil
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
