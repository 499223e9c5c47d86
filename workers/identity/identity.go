// Package identity answers workers that ask for a person's traits. Events hold
// none, so whoever needs an address asks, and gets what its declaration lists:
//
//	worker ─▶ usher.svc.v1.identity.get.<worker> ─▶ Run ─▶ declared traits of the identity
//
// The bus lets a worker ask under its own name only, and takes the answer to the
// account of workers or, of Usher's own, to their inbox.
package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/identity"
)

// Declarations know the workers that are declared.
type Declarations interface {
	// Declared gives the names of the traits that a worker may see; ok is false
	// for one that is not declared.
	Declared(ctx context.Context, worker string) (traits []string, ok bool, err error)
}

// Identities reads identities.
type Identities interface {
	// Identity gives an identity, or [identity.ErrNotFound].
	Identity(ctx context.Context, id uuid.UUID) (*identity.Identity, error)
}

// Options say what [Run] runs. Declarations, Identities, Version and Log are needed.
type Options struct {
	Declarations Declarations
	Identities   Identities
	Version      string // of the program, for the bus's own tools
	Log          *slog.Logger
	// Concurrency is how many requests are handled at once, 0 means 16. Pending
	// is how many more may wait, 0 means 1024; what is beyond times out where it
	// was asked.
	Concurrency, Pending int
	// Observe is told of each answer: "ok" or a code, and how long it took. Ready
	// is called once requests come. Both may be nil.
	Observe func(outcome string, took time.Duration)
	Ready   func()
}

const (
	usualConcurrency = 16
	usualPending     = 1024
)

// Run answers workers until ctx ends, then those that it had accepted, and
// returns nil. The connection is that of [events.UserDelivery]. A worker that is
// not declared is refused with [events.CodeInvalid], a question about a person
// who was deleted with [events.CodeGone].
func Run(ctx context.Context, nc *nats.Conn, o Options) error {
	if o.Concurrency == 0 {
		o.Concurrency = usualConcurrency
	}
	if o.Pending == 0 {
		o.Pending = usualPending
	}
	return events.Serve(ctx, nc, events.Service{
		Name:        "identity",
		Version:     o.Version,
		Subject:     events.SubjectIdentityGet("*"),
		Askers:      events.AskedByWorker,
		Concurrency: o.Concurrency,
		Pending:     o.Pending,
		Handle:      o.get,
		Log:         o.Log,
		Observe:     o.Observe,
		Ready:       o.Ready,
	})
}

func (o Options) get(ctx context.Context, r events.Request) ([]byte, error) {
	var asked events.IdentityGet
	if err := json.Unmarshal(r.Data, &asked); err != nil {
		return nil, &events.Refused{Code: events.CodeInvalid, Text: "the request is not JSON"}
	}
	id, err := uuid.Parse(asked.IdentityID)
	if err != nil {
		return nil, &events.Refused{Code: events.CodeInvalid, Text: "identity_id is no UUID"}
	}
	declared, ok, err := o.Declarations.Declared(ctx, r.Name)
	if err != nil {
		return nil, fmt.Errorf("declaration of %s: %w", r.Name, err)
	}
	if !ok {
		return nil, &events.Refused{Code: events.CodeInvalid, Text: "no worker of that name is declared"}
	}
	found, err := o.Identities.Identity(ctx, id)
	if errors.Is(err, identity.ErrNotFound) {
		return nil, &events.Refused{Code: events.CodeGone, Text: "the identity was deleted"}
	}
	if err != nil {
		return nil, fmt.Errorf("identity %s for %s: %w", id, r.Name, err)
	}
	traits, err := only(found.Traits, declared)
	if err != nil {
		return nil, fmt.Errorf("identity %s for %s: %w", id, r.Name, err)
	}
	return json.Marshal(events.IdentityGetReply{
		IdentityID: found.ID.String(),
		SchemaID:   found.SchemaID,
		State:      string(found.State),
		Traits:     traits,
	})
}

// only gives those of an identity's traits that are declared, each with the value
// that is stored. A name is that of a trait at the top: with it goes what is
// below it.
func only(traits json.RawMessage, declared []string) (map[string]json.RawMessage, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(traits, &all); err != nil {
		return nil, errors.New("its traits are no JSON object") // the cause may quote them
	}
	seen := make(map[string]json.RawMessage, len(declared))
	for _, name := range declared {
		if value, ok := all[name]; ok {
			seen[name] = value
		}
	}
	return seen, nil
}
