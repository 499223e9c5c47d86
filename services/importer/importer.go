// Package importer moves identities in, a line each or as the lists of an admin API:
//
//	lines ─▶ parse, schema, hash: in parallel ─▶ not here yet? ─▶ ONE commit per batch, with its events
//
// While a batch is stored the next one is made ready.
//
// The same import again stores nothing twice: an identity with the id and traits of
// a line is there already. A line without an id gets one that follows from its schema
// and traits, see [Store.ImportID].
package importer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/identity"
)

// Service imports identities. All fields are needed but Refused, Done, Rate, Each
// and CheckOnly. It is for one import.
type Service struct {
	Store         Store
	Maker         admin.Maker
	DefaultSchema string
	// Batch is how many lines one commit has, from 1 to [admin.MaxBatch].
	Batch int
	// Rate is how many identities a second are stored at most; zero is no limit.
	Rate int
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
	// Providers, unless nil, are those that the configuration has, see [Service.Strange].
	Providers []string

	strange map[string]int // accounts by provider
	summary Summary
	pace    *rate.Limiter
	batches int
	seen    map[uuid.UUID]int // number by id
	claimed [2]claims         // of this batch and of the one before, which may not be stored yet
}

// maxSeen bounds what an import remembers: an identity that comes twice, further apart, is
// there already.
const maxSeen = 1_000_000

// Store keeps identities.
type Store interface {
	// CreateIdentities is one durable commit, or gives [identity.ErrExists].
	CreateIdentities(ctx context.Context, all []*identity.Identity, made []events.Event) error
	// IdentitiesByID gives those that there are.
	IdentitiesByID(ctx context.Context, ids []uuid.UUID) ([]identity.Identity, error)
	// Taken tells which of them have an identifier or address that is stored.
	Taken(ctx context.Context, all []*identity.Identity) (map[uuid.UUID]bool, error)
	// ImportID gives the same id for the same text.
	ImportID(text []byte) (uuid.UUID, error)
}

// Summary counts lines.
type Summary struct {
	Lines    int `json:"lines"`
	Imported int `json:"imported"` // with CheckOnly: that would be
	There    int `json:"there_already"`
	Differ   int `json:"differ"` // of these, in external_id, metadata or state: they stay as they are
	Refused  int `json:"refused"`
}

// Refusal is a line, or an element of an array, that was not imported: one of the
// numbers is 0.
type Refusal struct {
	Line    int    `json:"line,omitempty"`
	Element int    `json:"element,omitempty"`
	Reason  string `json:"reason"`
	// ID and ExternalID are those of the line, as far as it could be read.
	ID         *uuid.UUID `json:"id,omitempty"`
	ExternalID string     `json:"external_id,omitempty"`
}

// Where is the line or element: "line 3".
func (r Refusal) Where() string {
	if r.Element > 0 {
		return "element " + strconv.Itoa(r.Element)
	}
	return "line " + strconv.Itoa(r.Line)
}

// batch is what one commit stores.
type batch struct {
	all    []*candidate // of all lines
	wanted []*candidate // that are to be stored
	there  there
	err    error // ends the import behind this batch
}

// Run imports what in gives and tells what became of it, also with an error.
// Another process may import or register at the same time.
func (s *Service) Run(ctx context.Context, in *Reader) (Summary, error) {
	s.strange = map[string]int{}
	s.seen, s.pace = map[uuid.UUID]int{}, rate.NewLimiter(rate.Inf, s.Batch)
	if s.Rate > 0 && !s.CheckOnly {
		s.Batch = min(s.Batch, s.Rate) // a commit a second, not thousands of events at once
		s.pace = rate.NewLimiter(rate.Limit(s.Rate), s.Batch)
	}
	ctx, stop := context.WithCancel(ctx)
	next := make(chan batch) // one is stored while the next one is judged, and no more are held
	go func() {
		defer close(next)
		for ended := false; !ended; {
			b := s.prepare(ctx, in)
			ended = b.err != nil
			next <- b
		}
	}()
	var err error
	for b := range next {
		if err != nil { // the goroutine is to end
			continue
		}
		if err = s.finish(ctx, b); err != nil {
			stop()
		}
	}
	stop()
	if errors.Is(err, errEnd) {
		err = nil
	}
	return s.summary, err
}

// prepare reads a batch and finds out what of it is to be stored.
func (s *Service) prepare(ctx context.Context, in *Reader) batch {
	if err := ctx.Err(); err != nil {
		return batch{err: err}
	}
	texts, readErr := in.batch(s.Batch)
	all, err := s.judge(ctx, texts)
	if err != nil {
		return batch{err: fmt.Errorf("%s %w", in.unit(), err)}
	}
	var valid []*candidate
	for _, c := range all {
		if c.reason != "" {
			continue
		}
		if former, ok := s.seen[c.made.ID]; ok {
			c.reason = fmt.Sprintf("%s %d is of the same identity", in.unit(), former)
			continue
		}
		if len(s.seen) < maxSeen {
			s.seen[c.made.ID] = c.at
		}
		valid = append(valid, c)
	}
	absent, here, err := s.missing(ctx, valid)
	if err != nil {
		return batch{err: err}
	}
	s.claimed = [2]claims{{}, s.claimed[0]}
	var wanted []*candidate
	for _, c := range absent {
		if other := c.claim(s.claimed); other > 0 {
			c.reason = fmt.Sprintf("%s %d has the same identifier, address or external_id", in.unit(), other)
			continue
		}
		wanted = append(wanted, c)
	}
	return batch{all, wanted, here, readErr}
}

// finish stores a batch and tells of it.
func (s *Service) finish(ctx context.Context, b batch) error {
	if err := s.pace.WaitN(ctx, len(b.wanted)); err != nil {
		return err
	}
	if err := s.store(ctx, b.wanted); err != nil {
		return err
	}
	s.summary.Lines += len(b.all)
	s.summary.add(b.there)
	for _, c := range b.all {
		if c.reason == "" {
			continue
		}
		s.summary.Refused++
		if s.Refused == nil {
			continue
		}
		if err := s.Refused(c.refusal()); err != nil {
			return err
		}
	}
	if s.Done != nil {
		s.Done(s.summary)
	}
	return b.err
}

// store stores all in one commit. If somebody else was faster with some, it looks who
// they are, and stores the others.
func (s *Service) store(ctx context.Context, all []*candidate) error {
	if s.CheckOnly {
		s.imported(all)
		return nil
	}
	return admin.InHalves(all, func(part []*candidate) error {
		err := s.Store.CreateIdentities(ctx, identitiesOf(part), s.events(part))
		if err == nil {
			s.batches++
			s.imported(part)
		}
		return err
	}, func(part []*candidate) ([]*candidate, error) {
		left, here, err := s.missing(ctx, part)
		s.summary.add(here)
		return left, err
	}, func(c *candidate) { c.reason = exists })
}

// imported counts those that were stored, or would be.
func (s *Service) imported(all []*candidate) {
	s.summary.Imported += len(all)
	for _, c := range all {
		credential := c.made.Credential(identity.MethodOIDC)
		if credential == nil || s.Providers == nil {
			continue
		}
		counted := slices.Clone(s.Providers)
		for _, identifier := range credential.Identifiers {
			a, _ := identity.AccountOf(identifier)
			if slices.Contains(counted, a.Provider) {
				continue
			}
			counted = append(counted, a.Provider)
			if _, ok := s.strange[a.Provider]; ok || len(s.strange) < maxStrange {
				s.strange[a.Provider]++
			}
		}
	}
}

// maxStrange is how many providers are counted.
const maxStrange = 16

// Strange tells of the people who were imported how many have accounts at a provider that
// is not among Providers, by its name, of at most 16 of them.
func (s *Service) Strange() map[string]int { return s.strange }

func (s *Summary) add(t there) {
	s.There += t.all
	s.Differ += t.differ
}

func (s *Service) events(all []*candidate) (made []events.Event) {
	now := s.Now()
	if s.Each {
		for _, c := range all {
			made = append(made, admin.CreatedEvent(s.Author, "import", c.made, now))
		}
		return made
	}
	p := events.IdentitiesImported{Count: len(all), Batch: s.batches + 1}
	for _, c := range all {
		p.IDs = append(p.IDs, c.made.ID.String())
	}
	return append(made, events.New(p, now, s.Author.About("/usher/import")))
}
