package storetest

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/webhook"
)

// NewRecord gives what the registration of a person with the given addresses
// stores. All of them are sign-in identifiers.
func NewRecord(addresses ...string) registration.Record {
	return newRecord(time.Now().UTC().Truncate(time.Microsecond), addresses...)
}

// NewIssue asks for the session of a registration, with a fresh token.
func NewIssue(r registration.Record) session.Issue {
	return newIssue(time.Now().UTC().Truncate(time.Microsecond), r)
}

// NewLogin asks for the session of a person who comes back, with a fresh token.
func NewLogin(r registration.Record) session.Issue {
	return newLogin(time.Now().UTC().Truncate(time.Microsecond), r)
}

// anySequence compares identities whatever events there were about them since.
var anySequence = cmpopts.IgnoreFields(identity.Identity{}, "Sequence")

func newRecord(now time.Time, addresses ...string) registration.Record {
	i := &identity.Identity{
		ID:             uuid.New(),
		SchemaID:       "default",
		State:          identity.Active,
		StateChangedAt: now,
		Traits:         json.RawMessage(`{ "name": {"last":"Z","first":"A"},  "email":"` + addresses[0] + `"}`),
		CreatedAt:      now,
		UpdatedAt:      now,
	}
	for _, a := range addresses {
		i.Addresses = append(i.Addresses, identity.Address{
			ID: uuid.New(), Via: "email", Value: a, Verifiable: true, Identifier: true,
			Status: identity.AddressPending, CreatedAt: now, UpdatedAt: now,
		})
	}
	i.Credentials = []identity.Credential{{
		Type: "password", Identifiers: addresses, Config: json.RawMessage(`{"hashed_password":"$argon2id$x"}`),
		CreatedAt: now, UpdatedAt: now,
	}}
	flowID := uuid.New()
	e := events.New(events.IdentityCreated{
		IdentityID: i.ID.String(), SchemaID: i.SchemaID, State: string(i.State), Method: "password",
		FlowID: flowID.String(), FlowType: string(flow.API), SessionPlanned: true,
	}, now, about("registration", i.ID))
	e.Sequence = "1"
	return registration.Record{
		Identity: i,
		Event:    e,
		Grant: registration.Grant{
			ID: uuid.New(), FlowID: flowID, IdentityID: i.ID, EventID: uuid.MustParse(e.ID),
			FlowType: flow.API, ReturnTo: "https://app.example/", Method: "password",
			Steps:     registration.Steps{ReceivedAt: now.Add(-time.Second), CheckedAt: now, HashedAt: now},
			CreatedAt: now,
		},
	}
}

// newInput gives what a registration keeps for an endpoint; it holds "canary".
func newInput(r registration.Record, endpoint string) webhook.Due {
	at := r.Grant.CreatedAt
	return webhook.Due{EventID: r.Grant.EventID, Endpoint: endpoint, Input: webhook.Input{
		Flow: webhook.Flow{
			ID: r.Grant.FlowID.String(), Type: "api", TransientPayload: json.RawMessage(`{"secret":"canary"}`),
			IssuedAt: at, ExpiresAt: at,
		},
		Request:   webhook.Request{Method: "POST", URL: "https://id.example/", Header: map[string][]string{"Accept": {"canary"}}},
		RequestID: "r1",
	}}
}

func newIssue(now time.Time, r registration.Record) session.Issue {
	return issueOf(now, session.Request{
		ID: uuid.NewString(), Deadline: now.Add(time.Second), RequestedAt: now,
		GrantID: r.Grant.ID, FlowID: r.Grant.FlowID, IdentityID: r.Identity.ID,
		Method: "password", AAL: "aal1", Digest: session.NewToken(session.NativePrefix).Digest(),
		Epoch: r.Identity.Epoch, Lifespan: time.Hour,
	})
}

func newLogin(now time.Time, r registration.Record) session.Issue {
	q := newIssue(now, r).Request
	q.GrantID, q.Login = uuid.Nil, uuid.Must(uuid.NewV7())
	return issueOf(now, q)
}

// issueOf makes a session for a request, as the session service does.
func issueOf(now time.Time, q session.Request) session.Issue {
	made := session.Session{
		ID: uuid.New(), IdentityID: q.IdentityID, AAL: q.AAL, Epoch: q.Epoch,
		Methods:         []session.Method{{Method: q.Method, AAL: q.AAL, CompletedAt: now}},
		Devices:         []session.Device{{ID: uuid.New(), Address: "192.0.2.1:5", UserAgent: "test"}},
		AuthenticatedAt: now, IssuedAt: now, ExpiresAt: now.Add(q.Lifespan),
	}
	event := func(p events.Payload, sequence int64) events.Event {
		e := events.New(p, now, about("session", q.IdentityID))
		e.Sequence = strconv.FormatInt(sequence, 10)
		return e
	}
	var login func(int64, uuid.UUID) events.Event
	if q.Login != uuid.Nil {
		login = func(sequence int64, id uuid.UUID) events.Event {
			e := event(events.LoginSucceeded{
				IdentityID: q.IdentityID.String(), SessionID: id.String(), Method: q.Method, Refreshed: q.Refresh != uuid.Nil,
			}, sequence)
			e.ID = q.Login.String()
			return e
		}
	}
	return session.Issue{
		Login:   login,
		Request: q,
		Session: made,
		Event: func(sequence int64, bypassed bool) events.Event {
			return event(events.SessionIssued{
				SessionID: made.ID.String(), IdentityID: q.IdentityID.String(), Method: q.Method, AAL: q.AAL, VerificationBypassed: bypassed,
			}, sequence)
		},
		Replaced: func(former uuid.UUID, sequence int64) events.Event {
			return event(events.SessionRevoked{SessionID: former.String(), IdentityID: q.IdentityID.String(), Reason: "replaced"}, sequence)
		},
	}
}

func newRefused(now time.Time, r registration.Record) events.Event {
	return events.New(events.SessionRefused{IdentityID: r.Identity.ID.String(), FlowID: r.Grant.FlowID.String(), Reason: "late"},
		now, about("registration", r.Identity.ID))
}

func about(part string, id uuid.UUID) events.About {
	return events.About{Source: "/usher/" + part, Subject: id.String(), Actor: "person:" + id.String()}
}
