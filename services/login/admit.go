package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/webhook"
)

// maxShown is how many bytes of an identifier are shown again; none that is
// longer can be one.
const maxShown = 254

// entered judges what needs no store: both must be there.
func entered(in Submit) error {
	messages := map[string][]flow.Message{}
	if in.Identifier == "" {
		messages["identifier"] = []flow.Message{flow.Missing("identifier")}
	}
	if in.Password.Empty() {
		messages["password"] = []flow.Message{flow.Missing("password")}
	}
	if len(messages) > 0 {
		return invalid(in, messages)
	}
	return nil
}

// proof is whose identifier was entered, nobody's if identity is nil, and the
// stored password that it was held against.
type proof struct {
	identity *identity.Identity
	config   json.RawMessage // of the credential
	hash     string          // empty if there is none
}

// find gives whom in's identifier is of. That it is nobody's is no error here.
func (s *Service) find(ctx context.Context, in Submit) (proof, error) {
	identifier := identity.CanonicalIdentifier(in.Identifier)
	if identifier == "" { // it cannot be anybody's
		return proof{}, nil
	}
	i, err := s.Store.IdentityByIdentifier(ctx, identifier)
	if errors.Is(err, identity.ErrNotFound) {
		return proof{}, nil
	}
	if err != nil {
		return proof{}, fmt.Errorf("find identity: %w", err)
	}
	p := proof{identity: i}
	c := i.Credential(identity.MethodPassword)
	if c == nil {
		return p, nil
	}
	p.config = c.Config
	if p.hash, err = identity.PasswordHash(p.config); err != nil {
		return p, fmt.Errorf("%s: %w", i.ID, err)
	}
	return p, nil
}

// prove finds whom the identifier is of and holds the password against theirs.
// Where there is nothing to compare it with, another one is hashed, so that it
// takes as long: as a hash like new ones, not as an outdated one.
func (s *Service) prove(ctx context.Context, in Submit, t *timer) (proof, error) {
	p, err := s.find(ctx, in)
	if err != nil {
		return p, err
	}
	t.step(nil)
	if p.hash == "" {
		if _, err = s.Passwords.Hash(ctx, password.New("nobody's password")); err == nil {
			err = password.ErrMismatch
		}
	} else {
		err = s.Passwords.Verify(ctx, in.Password, p.hash)
	}
	t.step(&t.outcome.Hash)
	if errors.Is(err, password.ErrMismatch) {
		return p, &denied{WrongCredentials, invalid(in, said(flow.WrongCredentials()))}
	}
	if err != nil {
		return p, fmt.Errorf("verify password: %w", err)
	}
	return p, nil
}

// findProven gives whom a proven account is of. That it is theirs, and of the same
// issuer, is looked at once more: whoever is found here is signed in.
func (s *Service) findProven(ctx context.Context, method string, a identity.Account) (*identity.Identity, error) {
	if method != identity.MethodOIDC || !a.Proven() {
		return nil, fmt.Errorf("login: no proof by %q of this account can be made elsewhere", method)
	}
	i, err := s.Store.IdentityByIdentifier(ctx, identity.Handle(method, a.Identifier()))
	if errors.Is(err, identity.ErrNotFound) {
		return nil, errUnknown
	}
	if err != nil {
		return nil, fmt.Errorf("find identity: %w", err)
	}
	switch err := i.Holds(a); {
	case errors.Is(err, identity.ErrNotFound):
		return nil, errUnknown
	case err != nil:
		return nil, fmt.Errorf("login: %w", err)
	}
	return i, nil
}

// errUnknown says that what was proven is nobody's.
var errUnknown = fmt.Errorf("login: proven elsewhere: %w", identity.ErrNotFound)

// admit says why the person who has proven who they are gets no session all the same.
func (s *Service) admit(ctx context.Context, plan hook.LoginPlan, i *identity.Identity, in Submit) error {
	if i.State != identity.Active {
		return &denied{Disabled, invalid(in, said(flow.Disabled()))}
	}
	if err := s.refuse(ctx, plan, i, in); err != nil {
		return err
	}
	if !plan.RequireVerified {
		return nil
	}
	return s.gate(ctx, i, in)
}

// refuse asks the refusing hooks. Where one says no, the error is a
// [*flow.Invalid] and the [*webhook.Refusal] in one.
func (s *Service) refuse(ctx context.Context, plan hook.LoginPlan, i *identity.Identity, in Submit) error {
	for _, step := range plan.Before {
		// Each gets a copy: what it changes of that opens no gate.
		err := webhook.Ask(ctx, s.Hooks, s.Workers, step, in.call(i, uuid.Nil))
		var refusal *webhook.Refusal
		if errors.As(err, &refusal) {
			return &denied{Refused, fmt.Errorf("%w: %w", refusal, invalid(in, refusal.Form()))}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// gate lets through who has a verified address. For anybody else it opens a
// verification of the first address that can be verified.
func (s *Service) gate(ctx context.Context, i *identity.Identity, in Submit) error {
	pending, verified := i.Verifiable()
	if verified {
		return nil
	}
	if pending == nil {
		return fmt.Errorf("%w: %s", ErrNoAddress, i.ID)
	}
	f, err := s.Verification.Open(ctx, shown(i), *pending, in)
	if err != nil {
		return fmt.Errorf("open verification: %w", err)
	}
	if s.LegacyGate {
		return &denied{NotVerified, invalid(in, said(flow.AddressNotVerified()))}
	}
	return &denied{NotVerified, &Unverified{Flow: f, Address: pending.Value}}
}

// shown is a copy of i as hooks and answers get it, without credentials.
func shown(i *identity.Identity) *identity.Identity {
	c := *i
	c.Credentials, c.Addresses = nil, slices.Clone(i.Addresses)
	return &c
}

// said are messages of the whole flow.
func said(m ...flow.Message) map[string][]flow.Message { return map[string][]flow.Message{"": m} }

func invalid(in Submit, messages map[string][]flow.Message) error {
	form := flow.Form{Messages: messages}
	if in.Identifier != "" {
		value := strings.ToValidUTF8(in.Identifier[:min(len(in.Identifier), maxShown)], "")
		form.Values = map[string]any{"identifier": value}
	}
	return &flow.Invalid{Form: form}
}
