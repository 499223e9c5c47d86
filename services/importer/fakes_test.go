package importer_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/importer"
	"github.com/usher-auth/usher/services/password"
)

const personSchema = `{"type": "object", "properties": {"traits": {"type": "object", "properties": {
	"email": {"type": "string", "format": "email", "ory.sh/kratos": {
		"credentials": {"password": {"identifier": true}}, "verification": {"via": "email"}, "recovery": {"via": "email"}}},
	"name": {"type": "string"}}, "required": ["email"], "additionalProperties": false}}}`

// world is what an import needs: a store in memory, the schema "default".
type world struct {
	t       *testing.T
	schema  *identity.Schema
	stored  map[uuid.UUID]*identity.Identity
	taken   map[string]bool // addresses and handles
	commits []int           // how many each had, or would have had
	events  []events.Event
	// committing, unless nil, is called before a commit; its error is that of the commit.
	committing func() error
	looked     func() // unless nil, is called behind each look
	blind      bool   // Taken sees nothing
	mu         sync.Mutex

	service importer.Service
	refused []importer.Refusal
}

func newWorld(t *testing.T) *world {
	t.Helper()
	schema, err := identity.Compile("default", []byte(personSchema))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, schema: schema, stored: map[uuid.UUID]*identity.Identity{}, taken: map[string]bool{}}
	w.service = importer.Service{
		Store: w, Maker: admin.Maker{Schemas: w, Passwords: w, Now: now}, DefaultSchema: "default", Batch: 4,
		Author: audit.Author{Actor: "admin:local"}, Now: now,
		Refused: func(r importer.Refusal) error {
			w.refused = append(w.refused, r)
			return nil
		},
	}
	return w
}

func now() time.Time { return time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC) }

// run imports what in gives from the number from on; each time by a service of its own.
func (w *world) run(in io.Reader, from int) (importer.Summary, error) {
	w.t.Helper()
	w.refused = nil
	s := w.service
	return s.Run(w.t.Context(), importer.NewReader(in, from))
}

// all imports text, which must not end it.
func (w *world) all(text string) importer.Summary {
	w.t.Helper()
	sum, err := w.run(strings.NewReader(text), 1)
	if err != nil {
		w.t.Fatalf("Run: %v", err)
	}
	return sum
}

// reasons are the refusals, with where they are.
func (w *world) reasons() (all []string) {
	for _, r := range w.refused {
		all = append(all, r.Where()+": "+r.Reason)
	}
	return all
}

func (w *world) Schema(id string) (*identity.Schema, bool) { return w.schema, id == "default" }

func (w *world) Hash(_ context.Context, p password.Plain) (string, error) {
	return fmt.Sprintf("$2a$12$%.53x", sha256.Sum256([]byte(p.Reveal()))), nil
}

func keys(i *identity.Identity) (all []string) {
	for _, a := range i.Addresses {
		all = append(all, "a"+a.Value)
	}
	for _, h := range i.Handles() {
		all = append(all, "h"+h)
	}
	return all
}

func (w *world) CreateIdentities(_ context.Context, all []*identity.Identity, made []events.Event) error {
	w.commits = append(w.commits, len(all))
	if w.committing != nil {
		if err := w.committing(); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(all) == 0 {
		return errors.New("an empty commit")
	}
	here := map[string]bool{}
	for _, i := range all {
		for _, k := range keys(i) {
			if w.taken[k] || here[k] {
				return identity.ErrExists
			}
			here[k] = true
		}
		if w.stored[i.ID] != nil {
			return identity.ErrExists
		}
	}
	for _, i := range all {
		w.stored[i.ID] = i
		for _, k := range keys(i) {
			w.taken[k] = true
		}
	}
	w.events = append(w.events, made...)
	return nil
}

func (w *world) IdentitiesByID(_ context.Context, ids []uuid.UUID) (found []identity.Identity, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		if i := w.stored[id]; i != nil {
			found = append(found, *i)
		}
	}
	return found, nil
}

func (w *world) Taken(_ context.Context, all []*identity.Identity) (map[uuid.UUID]bool, error) {
	if w.looked != nil {
		defer w.looked()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := map[uuid.UUID]bool{}
	for _, i := range all {
		for _, k := range keys(i) {
			if w.taken[k] && !w.blind {
				taken[i.ID] = true
			}
		}
	}
	return taken, nil
}

func (w *world) ImportID(text []byte) (uuid.UUID, error) {
	return uuid.NewSHA1(uuid.NameSpaceOID, text), nil
}
