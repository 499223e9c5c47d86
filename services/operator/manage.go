package operator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/password"
)

// FirstName is who is made when there is nobody, spareName where a token has that name.
const (
	FirstName = "owner"
	spareName = "first-owner"
)

// startersApart is how far apart two starts are at least whose links replace each
// other: of those that start together, one makes the link that lasts.
const startersApart = 10 * time.Second

// First makes an owner, and gives the token of the set-up link, where nobody can use
// the console: no operator is there but one of an earlier start who was never set
// up, whose link it replaces. In all other cases ok is false, and unless this process
// is alone also when another has started just now and has the link.
func (s *Service) First(ctx context.Context, alone bool) (link Secret, ok bool, err error) {
	link, now := newSecret(linkPrefix), s.Now()
	after := now.Add(-startersApart)
	if alone {
		after = now.Add(time.Hour) // any link is a former one, whatever the clock did
	}
	for _, name := range []string{FirstName, spareName} {
		o := Operator{Name: name, Role: RoleOwner, SetUpUntil: now.Add(LinkLife), CreatedAt: now}
		told := s.event(audit.Author{Actor: console}, actCreate, inRole(o.Name, o.Role))
		if ok, err = s.Store.FirstOperator(ctx, o, digestOf(link), after, told); !errors.Is(err, ErrTokenExists) {
			break
		}
	}
	if err != nil || !ok {
		return Secret{}, false, err
	}
	return link, true, nil
}

// inRole is who an event is about where it says what they may do from then on.
func inRole(name string, r Role) string { return name + ":" + string(r) }

// List gives all operators by name.
func (s *Service) List(ctx context.Context) ([]Operator, error) { return s.Store.Operators(ctx) }

// Add makes an operator and gives the token of their set-up link. It gives an
// [*Invalid], [ErrExists], or [ErrTokenExists]: in the audit trail both would be one.
func (s *Service) Add(ctx context.Context, by audit.Author, name string, r Role) (link Secret, err error) {
	name = canonical(name)
	if err := checkName(name); err != nil {
		return Secret{}, err
	}
	if !r.Known() {
		return Secret{}, &Invalid{fmt.Sprintf("a role is %q or %q", RoleOperator, RoleOwner)}
	}
	link, now := newSecret(linkPrefix), s.Now()
	o := Operator{Name: name, Role: r, SetUpUntil: now.Add(LinkLife), CreatedAt: now}
	if err := s.Store.AddOperator(ctx, o, digestOf(link), s.event(by, actCreate, inRole(name, r))); err != nil {
		return Secret{}, err
	}
	return link, nil
}

// Remove removes an operator; their sessions end. It gives [ErrNotFound] or [ErrLastOwner].
func (s *Service) Remove(ctx context.Context, by audit.Author, name string) error {
	name = canonical(name)
	err := s.Store.RemoveOperator(ctx, name, s.event(by, actRemove, name))
	s.recent.dropOf(name)
	return err
}

// Reset takes the password of an operator and gives the token of a new set-up link;
// their sessions end. It gives [ErrNotFound].
func (s *Service) Reset(ctx context.Context, by audit.Author, name string) (link Secret, err error) {
	name = canonical(name)
	link = newSecret(linkPrefix)
	err = s.Store.ResetOperator(ctx, name, digestOf(link), s.Now().Add(LinkLife), s.event(by, actReset, name))
	s.recent.dropOf(name)
	if err != nil {
		return Secret{}, err
	}
	return link, nil
}

// ChangeRole gives an operator another role; their sessions end. It gives an
// [*Invalid], [ErrNotFound] or [ErrLastOwner].
func (s *Service) ChangeRole(ctx context.Context, by audit.Author, name string, r Role) error {
	name = canonical(name)
	if !r.Known() {
		return &Invalid{fmt.Sprintf("a role is %q or %q", RoleOperator, RoleOwner)}
	}
	err := s.Store.ChangeRole(ctx, name, r, s.event(by, actRole, inRole(name, r)))
	s.recent.dropOf(name)
	return err
}

// Linked gives whose set-up link this is the token of, or [ErrLink]. It changes nothing.
func (s *Service) Linked(ctx context.Context, link string) (Operator, error) {
	d, ok := given(link, linkPrefix)
	if !ok {
		return Operator{}, ErrLink
	}
	return s.Store.LinkedOperator(ctx, d)
}

// SetUp sets the password of whom a link is for and signs them in. The link works
// once; an [*Invalid] password does not use it up.
func (s *Service) SetUp(ctx context.Context, by audit.Author, link string, p password.Plain) (Secret, Session, error) {
	o, err := s.Linked(ctx, link)
	if err != nil {
		return Secret{}, Session{}, err
	}
	hash, err := s.hash(ctx, o.Name, p)
	if err != nil {
		return Secret{}, Session{}, err
	}
	by.Actor = Session{Name: o.Name}.Actor()
	d, _ := given(link, linkPrefix)
	if err := s.Store.SetUpOperator(ctx, d, hash, s.event(by, actSetUp, o.Name)); err != nil {
		return Secret{}, Session{}, err
	}
	return s.begin(ctx, o, hash, by)
}

// ListTokens gives the tokens of the admin listener by name.
func (s *Service) ListTokens(ctx context.Context) ([]Token, error) { return s.Tokens.AdminTokens(ctx) }

// AddToken makes a token of the admin listener. It gives an [*Invalid],
// [ErrTokenExists], or [ErrExists]: in the audit trail both would be one.
func (s *Service) AddToken(ctx context.Context, by audit.Author, name, scope string) (Secret, error) {
	name = canonical(name)
	if err := checkToken(name, scope); err != nil {
		return Secret{}, err
	}
	token := NewSecret(s.NewToken())
	if err := s.Tokens.AddAdminToken(ctx, name, scope, digestOf(token), s.event(by, actTokenCreate, name)); err != nil {
		return Secret{}, err
	}
	return token, nil
}

// RemoveToken removes a token of the admin listener: it stops working at once. It
// gives [ErrNoToken].
func (s *Service) RemoveToken(ctx context.Context, by audit.Author, name string) error {
	removed, err := s.Tokens.RemoveAdminToken(ctx, name, s.event(by, actTokenRemove, name))
	if err == nil && !removed {
		return ErrNoToken
	}
	return err
}
