package workertest

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/usher-auth/usher/events"
)

// Ids in golden events.
const (
	IdentityID = "7f3f8f0e-5f0b-4f7e-9a53-2a2f0c7f7f10"
	SessionID  = "c0ffee00-1111-4222-8333-444455556666"
	FlowID     = "0c9a6f0a-6d5a-4c39-8a86-3e4a40b4a0d1"
	AddressID  = "5b1e6a2c-3d4f-4a5b-8c6d-7e8f90a1b2c3"
	MessageID  = "3e0d9c8b-7a6f-4e5d-9c4b-3a2f1e0d9c8b"
	grantID    = "9d2b7c1e-0a0b-4c0d-8e0f-101112131415"
	eventID    = "0193600d-7d8b-7000-8000-00000000000e"
	network    = "192.0.2.0/24"
)

// golden are the payloads of golden events, each with every member.
func golden() []events.Payload {
	return []events.Payload{
		events.IdentityCreated{
			IdentityID: IdentityID, SchemaID: "default", State: "active", Method: "password", Provider: "example",
			FlowID: FlowID, FlowType: "api", SessionPlanned: true, Network: network,
		},
		events.IdentityActivated{IdentityID: IdentityID},
		events.IdentityUpdated{IdentityID: IdentityID, Changed: []string{"traits", "state"}},
		events.IdentityDeleted{IdentityID: IdentityID},
		events.AddressVerified{IdentityID: IdentityID, AddressID: AddressID, Via: "email", FlowID: FlowID},
		events.SessionIssued{
			SessionID: SessionID, IdentityID: IdentityID, Method: "password", AAL: "aal1", FlowID: FlowID, GrantID: grantID,
			VerificationBypassed: true, Network: "2001:db8:1::/48",
		},
		events.SessionRevoked{SessionID: SessionID, IdentityID: IdentityID, Reason: "replaced"},
		events.SessionRefused{IdentityID: IdentityID, FlowID: FlowID, Reason: "unavailable"},
		events.LoginSucceeded{
			IdentityID: IdentityID, SessionID: SessionID, Method: "oidc", Provider: "example", FlowID: FlowID, Refreshed: true, Network: network,
		},
		events.LoginFailed{IdentityID: IdentityID, Method: "password", Reason: "credentials", FlowID: FlowID, Network: network},
		events.VerificationRequested{FlowID: FlowID, Via: "email", IdentityID: IdentityID, AddressID: AddressID},
		events.RecoveryRequested{FlowID: FlowID, Via: "email", IdentityID: IdentityID, AddressID: AddressID},
		events.IdentitiesImported{Count: 1, Batch: 3, IDs: []string{IdentityID}},
		events.RecoveryCompleted{IdentityID: IdentityID, FlowID: FlowID, Method: "code", SessionsRevoked: 2, Network: network},
		events.MailSent{MessageID: MessageID, Template: "verification_code_valid", Attempts: 2},
		events.MailAbandoned{MessageID: MessageID, Template: "verification_code_valid", Attempts: 5, Reason: "refused"},
		events.HookDead{Hook: "crm-sync", EventID: eventID, Attempts: 9, Reason: "attempts"},
		events.HookRedelivered{Hook: "crm-sync", EventID: eventID},
		events.HookDiscarded{Hook: "crm-sync", EventID: eventID, Reason: "the account there was closed"},
		events.HookPaused{Hook: "crm-sync", Failures: 20},
		events.HookDisabled{Hook: "crm-sync", Reason: "gone"},
		events.AuditCheckpoint{
			Seq: 1000, Head: strings.Repeat("0a", 32), At: "2026-11-24T17:05:03Z", KeyID: "k1",
			Signature: strings.Repeat("A", 86) + "==",
		},
		events.SettingsChanged{Action: "saved", Revision: 4, Changed: []string{"session.lifespan", "sign_in_after_registration"}},
		events.AdminActed{Action: "hook.create", Target: "crm-sync"},
	}
}

// event is the n-th event of a story, from 1.
func event(p events.Payload, n int) events.Event {
	at := time.Date(2026, time.November, 24, 17, 5, 2+n, 123456000, time.UTC)
	e := events.New(p, at, events.About{
		Source: "/usher/registration", Subject: IdentityID, Actor: "person:" + IdentityID, RequestID: "req-" + strconv.Itoa(n),
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	})
	e.ID = fmt.Sprintf("0193600d-7d8b-7000-8000-%012d", n)
	e.Sequence = strconv.Itoa(n)
	return e
}

// Event gives the golden event of P's type, with data that change may change. It
// panics for a type that is not Usher's.
func Event[P events.Payload](change ...func(*P)) events.Event {
	for _, p := range golden() {
		data, ok := p.(P)
		if !ok {
			continue
		}
		for _, c := range change {
			c(&data)
		}
		return event(data, 1)
	}
	var p P
	panic("workertest: there is no golden event of " + p.EventType())
}

// Events gives the golden events of all types.
func Events() []events.Event {
	var all []events.Event
	for _, p := range golden() {
		all = append(all, event(p, 1))
	}
	return all
}

// Story gives events of one identity that follow each other: their ids differ,
// and their sequence counts from 1.
func Story(payloads ...events.Payload) []events.Event {
	all := make([]events.Event, len(payloads))
	for n, p := range payloads {
		all[n] = event(p, n+1)
	}
	return all
}

// Reorder gives the events in another order, the same for each seed.
func Reorder(seed uint64, all []events.Event) []events.Event {
	other := make([]events.Event, len(all))
	for to, from := range rand.New(rand.NewPCG(seed, seed)).Perm(len(all)) {
		other[to] = all[from]
	}
	return other
}
