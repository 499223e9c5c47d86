package store

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/webhook"
)

// batch is the rows of one commit, of one registration or of many.
type batch struct {
	ring *keyring

	identities  []identityRow
	credentials []credentialRow
	addresses   []addressRow
	handles     []handleRow
	grants      []grantRow
	inputs      []hookInputRow
	flows       []flowRow
	outbox      []outboxRow
}

// registration adds what one registration stores, with the flow that it opens
// where flows are in the same database.
func (b *batch) registration(r registration.Record, flowsToo bool) error {
	b.identity(r.Identity)
	b.grants = append(b.grants, newGrantRow(r.Grant))
	if err := b.due(r.Inputs, r.Grant.CreatedAt); err != nil {
		return err
	}
	if err := b.event(r.Event); err != nil || r.Verification == nil {
		return err
	}
	if flowsToo {
		b.flows = append(b.flows, newFlowRow(r.Verification.Flow))
	}
	return b.event(r.Verification.Event)
}

// due adds what background hooks are to get.
func (b *batch) due(due []webhook.Due, at time.Time) error {
	for _, in := range due {
		row, err := b.ring.newHookInputRow(in, at)
		if err != nil {
			return err
		}
		b.inputs = append(b.inputs, row)
	}
	return nil
}

// event adds an event to the outbox.
func (b *batch) event(e events.Event) error {
	row, err := newOutboxRow(e)
	b.outbox = append(b.outbox, row)
	return err
}

func (b *batch) identity(i *identity.Identity) {
	b.identities = append(b.identities, identityRow{
		ID:             i.ID,
		ExternalID:     i.ExternalID,
		SchemaID:       i.SchemaID,
		State:          string(i.State),
		StateChangedAt: moment{i.StateChangedAt},
		Traits:         document(i.Traits),
		MetadataPublic: document(i.MetadataPublic),
		MetadataAdmin:  document(i.MetadataAdmin),
		Epoch:          i.Epoch,
		Sequence:       firstSequence,
		CreatedAt:      moment{i.CreatedAt},
		UpdatedAt:      moment{i.UpdatedAt},
	})
	for _, c := range i.Credentials {
		b.credentials = append(b.credentials, credentialRow{
			IdentityID:  i.ID,
			Type:        c.Type,
			Identifiers: encode(c.Identifiers),
			Config:      document(c.Config),
			CreatedAt:   moment{c.CreatedAt},
			UpdatedAt:   moment{c.UpdatedAt},
		})
	}
	for n, a := range i.Addresses {
		b.addresses = append(b.addresses, b.address(i.ID, n, a))
	}
	handles := i.Handles()
	slices.Sort(handles)
	for _, h := range slices.Compact(handles) { // two credentials may share one
		b.handles = append(b.handles, handleRow{Value: h, IdentityID: i.ID, CreatedAt: moment{i.CreatedAt}})
	}
}

func (b *batch) address(of uuid.UUID, position int, a identity.Address) addressRow {
	return addressRow{
		ID:         a.ID,
		IdentityID: of,
		Position:   position,
		Via:        a.Via,
		Value:      a.Value,
		AddressKey: b.ring.addressKey(a.Via, a.Value),
		State:      owned,
		Verifiable: a.Verifiable,
		Recovery:   a.Recovery,
		Identifier: a.Identifier,
		Verified:   a.Verified,
		VerifiedAt: moment{a.VerifiedAt},
		Status:     string(a.Status),
		CreatedAt:  moment{a.CreatedAt},
		UpdatedAt:  moment{a.UpdatedAt},
	}
}

// inserts gives the rows in the order in which every commit inserts them, so
// that two commits that want the same values wait for each other in the same
// order and never both. Grants come before addresses: who submits one flow
// twice is told that the flow is used, not that the address is taken.
func (b *batch) inserts() []insert {
	slices.SortFunc(b.grants, func(x, y grantRow) int { return bytes.Compare(x.FlowID[:], y.FlowID[:]) })
	slices.SortFunc(b.addresses, func(x, y addressRow) int { return bytes.Compare(x.AddressKey, y.AddressKey) })
	slices.SortFunc(b.handles, func(x, y handleRow) int { return strings.Compare(x.Value, y.Value) })
	return []insert{
		identities.insert(b.identities...),
		grants.insert(b.grants...),
		credentials.insert(b.credentials...),
		addresses.insert(b.addresses...),
		handles.insert(b.handles...),
		hookInputs.insert(b.inputs...),
		flows.insert(b.flows...),
		outbox.insert(b.outbox...),
	}
}
