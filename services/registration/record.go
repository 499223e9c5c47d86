package registration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/webhook"
)

// check judges what was entered, in the contract's order: password present,
// schema, identifier, password policy.
func (s *Service) check(in Submit) (*identity.Identity, error) {
	messages := map[string][]flow.Message{}
	if in.Password.Empty() {
		messages["password"] = []flow.Message{flow.Missing("password")}
	}
	schema, ok := s.Schemas.Schema(in.Flow.SchemaID)
	if !ok {
		return nil, fmt.Errorf("check: schema %q is not configured any more", in.Flow.SchemaID)
	}
	for _, v := range schema.Check(in.Traits) {
		messages[v.Node] = append(messages[v.Node], flow.FromViolation(v))
	}
	if len(messages) > 0 {
		return nil, invalid(in, messages)
	}

	now := s.Now().UTC().Truncate(time.Microsecond)
	i := &identity.Identity{
		ID:             uuid.New(),
		SchemaID:       in.Flow.SchemaID,
		State:          identity.Active,
		StateChangedAt: now,
		Traits:         object(in.Traits),
		CreatedAt:      now,
		UpdatedAt:      now,
	}
	identifiers := extract(schema, i, now)
	if len(identifiers) == 0 {
		return nil, invalid(in, map[string][]flow.Message{"": {flow.NoIdentifier()}})
	}
	if v := s.Policy.Check(in.Password, identifiers); v != nil {
		return nil, invalid(in, map[string][]flow.Message{"password": {flow.FromPassword(v.Rule, v.Context)}})
	}
	return i, nil
}

// extract fills addresses and the password credential's identifiers from the traits.
func extract(schema *identity.Schema, i *identity.Identity, now time.Time) (identifiers []string) {
	i.Addresses, identifiers = schema.Extract(i.Traits)
	for n := range i.Addresses {
		a := &i.Addresses[n]
		a.ID, a.Status, a.CreatedAt, a.UpdatedAt = uuid.New(), identity.AddressPending, now, now
	}
	i.Credentials = []identity.Credential{{Type: "password", Identifiers: identifiers, CreatedAt: now, UpdatedAt: now}}
	return identifiers
}

// refuse asks the refusing hooks, each of which sees what the one before it
// changed, and judges the result again. Where a hook says no, the error is a
// [*flow.Invalid] and the [*webhook.Refusal] in one.
func (s *Service) refuse(ctx context.Context, plan hook.Plan, i *identity.Identity, in Submit) error {
	changed := false
	for _, step := range plan.Before {
		traits, schemaID := string(i.Traits), i.SchemaID
		err := webhook.Ask(ctx, s.Hooks, s.Workers, step, in.submission().Call(i))
		var refusal *webhook.Refusal
		if errors.As(err, &refusal) {
			return fmt.Errorf("%w: %w", refusal, invalid(in, refusal.Form()))
		}
		if err != nil {
			return err
		}
		changed = changed || string(i.Traits) != traits || i.SchemaID != schemaID
	}
	if !changed {
		return nil
	}
	return s.judgeAgain(i, in)
}

// judgeAgain holds what a hook made of the traits against the schema, and takes
// addresses and identifiers anew. What the hook said of an address that is
// still there stays.
func (s *Service) judgeAgain(i *identity.Identity, in Submit) error {
	schema, ok := s.Schemas.Schema(i.SchemaID)
	if !ok {
		return fmt.Errorf("hook chose schema %q, which is not configured", i.SchemaID)
	}
	messages := map[string][]flow.Message{}
	for _, v := range schema.Check(i.Traits) {
		messages[v.Node] = append(messages[v.Node], flow.FromViolation(v))
	}
	if len(messages) > 0 {
		return invalid(in, messages)
	}
	former := i.Addresses
	if len(extract(schema, i, i.CreatedAt)) == 0 {
		return invalid(in, map[string][]flow.Message{"": {flow.NoIdentifier()}})
	}
	for n := range i.Addresses {
		a := &i.Addresses[n]
		at := slices.IndexFunc(former, func(b identity.Address) bool { return b.Via == a.Via && b.Value == a.Value })
		if at >= 0 {
			a.Verified, a.VerifiedAt, a.Status = former[at].Verified, former[at].VerifiedAt, former[at].Status
		}
	}
	return nil
}

// same tells whether in repeats the registration of i: the same identifiers,
// then the same password.
func (s *Service) same(ctx context.Context, i *identity.Identity, in Submit) error {
	schema, ok := s.Schemas.Schema(i.SchemaID)
	if !ok || in.Password.Empty() || len(schema.Check(in.Traits)) > 0 {
		return ErrFlowUsed
	}
	_, identifiers := schema.Extract(in.Traits)
	at := slices.IndexFunc(i.Credentials, func(c identity.Credential) bool { return c.Type == "password" })
	if at < 0 || !sameSet(identifiers, i.Credentials[at].Identifiers) {
		return ErrFlowUsed
	}
	var config passwordConfig
	if err := json.Unmarshal(i.Credentials[at].Config, &config); err != nil {
		return fmt.Errorf("stored password of %s: %w", i.ID, err)
	}
	err := s.Passwords.Verify(ctx, in.Password, config.Hash)
	if errors.Is(err, password.ErrMismatch) {
		return ErrFlowUsed
	}
	return err
}

type passwordConfig struct {
	Hash string `json:"hashed_password"`
}

// setPassword gives i its hash, and the time of its commit: an account is as
// old as that, not as the beginning of its checks.
func setPassword(i *identity.Identity, hash string, now time.Time) error {
	config, err := json.Marshal(passwordConfig{Hash: hash})
	if err != nil {
		return err
	}
	now = now.UTC().Truncate(time.Microsecond)
	i.CreatedAt, i.UpdatedAt, i.StateChangedAt = now, now, now
	for n := range i.Addresses {
		i.Addresses[n].CreatedAt, i.Addresses[n].UpdatedAt = now, now
	}
	for n := range i.Credentials {
		c := &i.Credentials[n]
		c.CreatedAt, c.UpdatedAt = now, now
		if c.Type == "password" {
			c.Config = config
		}
	}
	return nil
}

// withoutCredentials is i as hooks and answers get it: what is not there
// cannot be shown by mistake.
func withoutCredentials(i *identity.Identity) *identity.Identity {
	shown := *i
	shown.Credentials = nil
	return &shown
}

// newRecord is what the commit stores: which background endpoints get the
// event is decided here, not by a later reload.
func (s *Service) newRecord(i *identity.Identity, in Submit, plan hook.Plan, steps Steps) (Record, error) {
	event := events.New(events.IdentityCreated{
		IdentityID:     i.ID.String(),
		SchemaID:       i.SchemaID,
		State:          string(i.State),
		Method:         in.Method,
		FlowID:         in.Flow.ID.String(),
		FlowType:       string(in.Flow.Type),
		SessionPlanned: plan.Session.On,
		Network:        events.Network(in.Client.Addr),
	}, i.CreatedAt, about(in.Client, i.ID))
	event.Sequence = "1"
	eventID, err := uuid.Parse(event.ID)
	if err != nil {
		return Record{}, err
	}
	r := Record{
		Identity: i,
		Event:    event,
		Grant: Grant{
			ID:         uuid.New(),
			FlowID:     in.Flow.ID,
			IdentityID: i.ID,
			EventID:    eventID,
			FlowType:   in.Flow.Type,
			ReturnTo:   in.Flow.ReturnTo,
			Method:     in.Method,
			Steps:      steps,
			CreatedAt:  i.CreatedAt,
		},
	}
	pending, verified := i.Verifiable()
	r.Grant.Bypass = plan.Session.Bypass && pending != nil && !verified
	if s.VerificationLifespan > 0 && pending != nil {
		r.Verification = s.openVerification(i, *pending, in)
		r.Grant.VerificationFlowID = r.Verification.Flow.ID
	}
	for _, step := range plan.Background {
		r.Inputs = append(r.Inputs, webhook.Due{EventID: eventID, Endpoint: step.Endpoint, Input: in.submission().Input()})
	}
	return r, nil
}

// about is what all events of this request carry.
func about(c flow.Client, id uuid.UUID) events.About {
	return events.About{
		Source:      "/usher/registration",
		Subject:     id.String(),
		Actor:       "person:" + id.String(),
		RequestID:   c.RequestID,
		TraceParent: c.TraceParent,
	}
}

// submission is what hooks may see besides the identity.
func (in Submit) submission() webhook.Submission {
	return webhook.Submission{Flow: in.Flow, TransientPayload: in.TransientPayload, Request: in.Request, Client: in.Client}
}

func invalid(in Submit, messages map[string][]flow.Message) error {
	return &flow.Invalid{Form: flow.Form{Values: values(in.Traits), Messages: messages}}
}

// values flattens traits to node names, such as "traits.name.first".
func values(traits json.RawMessage) map[string]any {
	var tree any
	d := json.NewDecoder(bytes.NewReader(traits))
	d.UseNumber() // what was entered is shown again as it was
	if d.Decode(&tree) != nil {
		return nil
	}
	flat := map[string]any{}
	var walk func(name string, v any)
	walk = func(name string, v any) {
		if object, ok := v.(map[string]any); ok {
			for key, member := range object {
				walk(name+"."+key, member)
			}
			return
		}
		flat[name] = v
	}
	walk("traits", tree)
	return flat
}

// object gives traits that were left out as the empty object that they count as.
func object(traits json.RawMessage) json.RawMessage {
	if text := bytes.TrimSpace(traits); len(text) == 0 || string(text) == "null" {
		return json.RawMessage("{}")
	}
	return traits
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return strings.Join(a, "\x00") == strings.Join(b, "\x00")
}
