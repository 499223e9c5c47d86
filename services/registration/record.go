package registration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/tracing"
	"github.com/usher-auth/usher/services/webhook"
)

// Record is what one registration stores.
type Record struct {
	Identity *identity.Identity
	Grant    Grant
	Event    events.Event // identity.created
	// Verification is the flow that the registration opens, or nil.
	Verification *Verification
	// Inputs are one per background endpoint of the plan: they decide which
	// endpoints get the event.
	Inputs []webhook.Due
}

// Verification is a verification flow whose code is asked for by the commit
// that makes the person.
type Verification struct {
	Flow  *flow.Flow
	Event events.Event // verification.requested
}

// Grant is the durable trace of a completed flow: its one-time right to a
// session, the session that used it, and the times of its steps.
type Grant struct {
	ID         uuid.UUID
	FlowID     uuid.UUID
	IdentityID uuid.UUID
	EventID    uuid.UUID // of identity.created; the idempotency key of waiting hooks
	FlowType   flow.Type
	ReturnTo   string
	Method     string
	Provider   string
	// Bypass says that the session is issued although people must verify before they sign in.
	Bypass bool
	// VerificationFlowID is the verification flow that the registration opened, or zero.
	VerificationFlowID uuid.UUID
	// SessionID is the session that used the grant, or zero.
	SessionID uuid.UUID
	Steps     Steps
	CreatedAt time.Time
}

// Steps are the times at which the steps of a registration ended; zero for a
// step that did not happen. The last two are the session worker's.
type Steps struct {
	ReceivedAt  time.Time `json:"received_at"`
	CheckedAt   time.Time `json:"checked_at,omitzero"`
	HashedAt    time.Time `json:"hashed_at,omitzero"`
	RequestedAt time.Time `json:"requested_at,omitzero"`
	IssuedAt    time.Time `json:"issued_at,omitzero"`
}

// check judges what was entered, in the contract's order: password present,
// schema, identifier, password policy.
func (s *Service) check(in Submit, c credential) (*identity.Identity, error) {
	messages := c.missing()
	schema, ok := s.Schemas.Schema(in.Flow.SchemaID)
	if !ok {
		return nil, fmt.Errorf("check: schema %q is not configured any more", in.Flow.SchemaID)
	}
	judge(schema, in.Traits, messages)
	if len(messages) > 0 {
		return nil, invalid(in, messages)
	}

	now := s.Now().UTC().Truncate(time.Microsecond)
	i := &identity.Identity{
		ID:             uuid.New(),
		SchemaID:       in.Flow.SchemaID,
		State:          identity.Active,
		StateChangedAt: now,
		Traits:         identity.Object(in.Traits),
		CreatedAt:      now,
		UpdatedAt:      now,
	}
	if in.External != nil {
		i.MetadataPublic, i.MetadataAdmin = in.External.MetadataPublic, in.External.MetadataAdmin
	}
	if !extract(schema, i, c, now) {
		return nil, invalid(in, map[string][]flow.Message{"": {flow.NoIdentifier()}})
	}
	if messages := c.judge(i); len(messages) > 0 {
		return nil, invalid(in, messages)
	}
	return i, nil
}

// judge adds what is wrong with traits to messages.
func judge(schema *identity.Schema, traits json.RawMessage, messages map[string][]flow.Message) {
	for _, v := range schema.Check(traits) {
		messages[v.Node] = append(messages[v.Node], flow.FromViolation(v))
	}
}

// extract fills addresses from the traits and drafts the credential. It tells
// whether that has an identifier.
func extract(schema *identity.Schema, i *identity.Identity, c credential, now time.Time) bool {
	var identifiers []string
	i.Addresses, identifiers = schema.Extract(i.Traits)
	for n := range i.Addresses {
		a := &i.Addresses[n]
		a.ID, a.Status, a.CreatedAt, a.UpdatedAt = uuid.New(), identity.AddressPending, now, now
	}
	c.draft(i, identifiers, now)
	return len(i.Credentials[0].Identifiers) > 0
}

// refuse asks the refusing hooks, each of which sees what the one before it
// changed, and judges the result again. Where a hook says no, the error is a
// [*flow.Invalid] and the [*webhook.Refusal] in one.
func (s *Service) refuse(ctx context.Context, plan hook.Plan, i *identity.Identity, in Submit, c credential) error {
	if len(plan.Before) == 0 {
		return nil
	}
	ctx, span := tracing.Start(ctx, "registration.refusing_hooks")
	defer span.End()
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
	return s.judgeAgain(i, in, c)
}

// judgeAgain holds what a hook made of the traits against the schema, and takes
// addresses and identifiers anew. What the hook said of an address that is
// still there stays.
func (s *Service) judgeAgain(i *identity.Identity, in Submit, c credential) error {
	schema, ok := s.Schemas.Schema(i.SchemaID)
	if !ok {
		return fmt.Errorf("hook chose schema %q, which is not configured", i.SchemaID)
	}
	messages := map[string][]flow.Message{}
	judge(schema, i.Traits, messages)
	if len(messages) > 0 {
		return invalid(in, messages)
	}
	former := i.Addresses
	if !extract(schema, i, c, i.CreatedAt) {
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

// complete gives i what is stored of its credential, and the time of its commit:
// an account is as old as that, not as the beginning of its checks.
func complete(i *identity.Identity, config json.RawMessage, now time.Time) {
	now = now.UTC().Truncate(time.Microsecond)
	i.CreatedAt, i.UpdatedAt, i.StateChangedAt = now, now, now
	for n := range i.Addresses {
		i.Addresses[n].CreatedAt, i.Addresses[n].UpdatedAt = now, now
	}
	for n := range i.Credentials {
		c := &i.Credentials[n]
		c.Config, c.CreatedAt, c.UpdatedAt = config, now, now
	}
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
		Provider:       in.Provider,
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
			Provider:   in.Provider,
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
	return &flow.Invalid{Form: flow.Form{Values: flow.Entered(in.Traits), Messages: messages}}
}
