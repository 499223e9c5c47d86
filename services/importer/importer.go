// Package importer moves identities in, a line each or as the lists of an admin API:
//
//	lines ─▶ parse, schema, hash: in parallel ─▶ not here yet? ─▶ ONE commit per batch, with its events
//
// The same import again stores nothing twice: an identity with the id and traits of
// a line is there already. A line without an id gets one that follows from its schema
// and traits, see [Store.ImportID].
package importer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
)

// MaxBatch is how many identities one commit may have.
const MaxBatch = 1000

// Service imports identities. All fields are needed but Refused, Done, Each and
// CheckOnly. It is for one import.
type Service struct {
	Store         Store
	Maker         Maker
	DefaultSchema string
	// Batch is how many lines one commit has, from 1 to [MaxBatch].
	Batch int
	// Each publishes identity.created of each identity, not identities.imported of a batch.
	Each bool
	// CheckOnly stores nothing. Two lines with one identifier are found only in one batch then.
	CheckOnly bool
	Author    audit.Author
	Now       func() time.Time
	// Refused is told of each line that is not imported, in the order of the lines of
	// a batch. Its error ends the import.
	Refused func(Refusal) error
	// Done is told after each batch.
	Done func(Summary)

	summary Summary
	batches int
	unit    string            // of the numbers: line or element
	seen    map[uuid.UUID]int // number by id
}

// Store keeps identities.
type Store interface {
	// ImportIdentities is one durable commit, or gives [identity.ErrExists].
	ImportIdentities(ctx context.Context, all []*identity.Identity, made []events.Event) error
	// IdentitiesByID gives those that there are.
	IdentitiesByID(ctx context.Context, ids []uuid.UUID) ([]identity.Identity, error)
	// Taken tells which of them have an identifier or address that is stored.
	Taken(ctx context.Context, all []*identity.Identity) (map[uuid.UUID]bool, error)
	// ImportID gives the same id for the same text.
	ImportID(text []byte) (uuid.UUID, error)
}

// Maker makes an identity, or says what is wrong by a [*flow.Invalid].
type Maker interface {
	Make(ctx context.Context, c admin.Creation) (*identity.Identity, error)
}

// Summary counts lines.
type Summary struct {
	Lines    int `json:"lines"`
	Imported int `json:"imported"` // with CheckOnly: that would be
	There    int `json:"there_already"`
	Refused  int `json:"refused"`
}

// Refusal is a line, or an element of an array, that was not imported: one of the
// numbers is 0.
type Refusal struct {
	Line    int    `json:"line,omitempty"`
	Element int    `json:"element,omitempty"`
	Reason  string `json:"reason"`
}

// Where is the line or element: "line 3".
func (r Refusal) Where() string {
	if r.Element > 0 {
		return "element " + strconv.Itoa(r.Element)
	}
	return "line " + strconv.Itoa(r.Line)
}

// candidate is a line on its way.
type candidate struct {
	at     int
	made   *identity.Identity
	reason string
	err    error // of the database: ends the import
}

// Run imports what in gives and tells what became of it, also with an error.
// Another process may import or register at the same time.
func (s *Service) Run(ctx context.Context, in *Reader) (Summary, error) {
	s.seen = map[uuid.UUID]int{}
	for {
		texts, readErr := in.batch(s.Batch)
		s.unit = in.unit()
		if len(texts) > 0 {
			if err := s.batch(ctx, texts); err != nil {
				return s.summary, err
			}
		}
		switch {
		case errors.Is(readErr, errEnd):
			return s.summary, nil
		case readErr != nil:
			return s.summary, readErr
		case ctx.Err() != nil:
			return s.summary, ctx.Err()
		}
	}
}

func (s *Service) batch(ctx context.Context, texts []text) error {
	all := s.judge(ctx, texts)
	var wanted []*candidate
	for n := range all {
		c := &all[n]
		if c.err != nil {
			return fmt.Errorf("%s %d: %w", s.unit, c.at, c.err)
		}
		if c.reason != "" {
			continue
		}
		if former, ok := s.seen[c.made.ID]; ok {
			c.reason = fmt.Sprintf("%s %d is of the same identity", s.unit, former)
			continue
		}
		s.seen[c.made.ID] = c.at
		wanted = append(wanted, c)
	}
	wanted, err := s.missing(ctx, wanted)
	if err != nil {
		return err
	}
	if err := s.store(ctx, wanted); err != nil {
		return err
	}
	s.summary.Lines += len(texts)
	for _, c := range all {
		if c.reason == "" {
			continue
		}
		s.summary.Refused++
		if s.Refused == nil {
			continue
		}
		r := Refusal{Line: c.at, Reason: c.reason}
		if s.unit == "element" {
			r = Refusal{Element: c.at, Reason: c.reason}
		}
		if err := s.Refused(r); err != nil {
			return err
		}
	}
	if s.Done != nil {
		s.Done(s.summary)
	}
	return nil
}

// judge makes identities of lines on all cores.
func (s *Service) judge(ctx context.Context, texts []text) []candidate {
	all := make([]candidate, len(texts))
	next := make(chan int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for n := range next {
				all[n] = s.candidate(ctx, texts[n])
			}
		})
	}
	for n := range texts {
		next <- n
	}
	close(next)
	wg.Wait()
	return all
}

func (s *Service) candidate(ctx context.Context, t text) candidate {
	c := candidate{at: t.at, reason: t.reason}
	if c.reason != "" {
		return c
	}
	l, err := parse(t.json)
	if err != nil {
		c.reason = err.Error()
		return c
	}
	creation, err := l.creation(s.DefaultSchema)
	if err != nil {
		c.reason = err.Error()
		return c
	}
	accounts, err := l.accounts()
	if err != nil {
		c.reason = err.Error()
		return c
	}
	c.made, err = s.Maker.Make(ctx, creation)
	var invalid *flow.Invalid
	switch {
	case errors.As(err, &invalid):
		c.reason = reason(invalid)
		return c
	case err != nil:
		c.err = err
		return c
	}
	addAccounts(c.made, accounts)
	if l.ID != nil {
		l.keep(c.made, *l.ID)
		return c
	}
	id, err := s.Store.ImportID(append([]byte(c.made.SchemaID+"\x00"), c.made.Traits...))
	if err != nil {
		c.err = err
		return c
	}
	l.keep(c.made, id)
	return c
}

// reason is the first message of the form.
func reason(invalid *flow.Invalid) string {
	for _, node := range slices.Sorted(maps.Keys(invalid.Form.Messages)) {
		switch said := invalid.Form.Messages[node]; {
		case len(said) == 0:
		case node == "":
			return said[0].Text
		default:
			return node + ": " + said[0].Text
		}
	}
	return "invalid"
}

// missing gives those that are to be stored, and says why of the others that are
// not there already.
func (s *Service) missing(ctx context.Context, wanted []*candidate) ([]*candidate, error) {
	if len(wanted) == 0 {
		return nil, nil
	}
	ids := make([]uuid.UUID, len(wanted))
	for n, c := range wanted {
		ids[n] = c.made.ID
	}
	found, err := s.Store.IdentitiesByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	there := make(map[uuid.UUID]json.RawMessage, len(found))
	for _, i := range found {
		there[i.ID] = i.Traits
	}
	var absent []*candidate
	for _, c := range wanted {
		switch traits, ok := there[c.made.ID]; {
		case !ok:
			absent = append(absent, c)
		case bytes.Equal(compact(traits), c.made.Traits):
			s.summary.There++
		default:
			c.reason = "an identity with this id is there, with other traits"
		}
	}
	taken, err := s.Store.Taken(ctx, identitiesOf(absent))
	if err != nil {
		return nil, err
	}
	var free []*candidate
	inBatch := map[string]int{}
	for _, c := range absent {
		if taken[c.made.ID] {
			c.reason = exists
			continue
		}
		if other := c.claim(inBatch); other > 0 {
			c.reason = fmt.Sprintf("%s %d has the same identifier or address", s.unit, other)
			continue
		}
		free = append(free, c)
	}
	return free, nil
}

const exists = "an identity with the same identifier or address is there"

// claim takes the addresses and handles of c among those of its batch, or gives the
// number of another one that has one of them.
func (c *candidate) claim(by map[string]int) (other int) {
	keys := c.made.Handles()
	for n, h := range keys {
		keys[n] = "h" + h
	}
	for _, a := range c.made.Addresses {
		keys = append(keys, "a"+a.Via+"\x00"+a.Value)
	}
	for _, k := range keys {
		if other, ok := by[k]; ok {
			return other
		}
	}
	for _, k := range keys {
		by[k] = c.at
	}
	return 0
}

// store stores all in one commit; each alone if somebody else was faster with one.
func (s *Service) store(ctx context.Context, all []*candidate) error {
	if len(all) == 0 {
		return nil
	}
	if s.CheckOnly {
		s.summary.Imported += len(all)
		return nil
	}
	err := s.Store.ImportIdentities(ctx, identitiesOf(all), s.events(all))
	switch {
	case err == nil:
		s.summary.Imported += len(all)
		return nil
	case !errors.Is(err, identity.ErrExists):
		return err
	case len(all) == 1:
		all[0].reason = exists
		return nil
	}
	for n := range all {
		if err := s.store(ctx, all[n:n+1]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) events(all []*candidate) (made []events.Event) {
	now := s.Now()
	if s.Each {
		for _, c := range all {
			about := s.Author.About(source)
			about.Subject = c.made.ID.String()
			e := events.New(events.IdentityCreated{
				IdentityID: c.made.ID.String(), SchemaID: c.made.SchemaID, State: string(c.made.State), Method: "import",
			}, now, about)
			e.Sequence = "1"
			made = append(made, e)
		}
		return made
	}
	s.batches++
	p := events.IdentitiesImported{Count: len(all), Batch: s.batches}
	for _, c := range all {
		p.IDs = append(p.IDs, c.made.ID.String())
	}
	return append(made, events.New(p, now, s.Author.About(source)))
}

const source = "/usher/import"

func identitiesOf(all []*candidate) []*identity.Identity {
	made := make([]*identity.Identity, len(all))
	for n, c := range all {
		made[n] = c.made
	}
	return made
}
