package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/admin"
)

const (
	// maxBatchBody is how many bytes the body of a batch may have; one entry, as many as
	// it may have alone.
	maxBatchBody = 4 << 20
	// maxBatchPasswords is how many passwords of a batch may have to be hashed.
	maxBatchPasswords = 200
)

// wantedBatch is the body that makes identities.
type wantedBatch struct {
	Identities []wantedEntry `json:"identities"`
	Partial    *bool         `json:"with_partial_inserts"` // true unless it is false
}

type wantedEntry struct {
	Create  json.RawMessage `json:"create"`
	PatchID *string         `json:"patch_id"`
}

// became is what became of an entry.
type became struct {
	Action   string         `json:"action"`
	Identity *uuid.UUID     `json:"identity,omitempty"`
	PatchID  *string        `json:"patch_id,omitempty"`
	Error    *envelopeError `json:"error,omitempty"`
}

// createIdentities makes identities: each by itself, or with with_partial_inserts: false
// all or none.
func (s *Server) createIdentities(x *exchange) error {
	var in wantedBatch
	if err := x.decodeUpTo(maxBatchBody, &in); err != nil {
		return err
	}
	if len(in.Identities) > admin.MaxBatch {
		return refuse("at most %d identities can be made at once", admin.MaxBatch)
	}
	results := make([]admin.Created, len(in.Identities))
	var wanted []admin.Creation // by those without an error
	plain := 0
	for n, entry := range in.Identities {
		c, err := x.entry(entry.Create)
		if results[n].Err = err; err != nil {
			continue
		}
		if wanted = append(wanted, c); !c.Password.Empty() {
			plain++
		}
	}
	if plain > maxBatchPasswords {
		return refuse("at most %d identities with a password can be made at once; with hashed_password, more", maxBatchPasswords)
	}
	create := x.createEach
	if in.Partial != nil && !*in.Partial {
		create = x.createAll
	}
	if err := create(wanted, results); err != nil {
		return fmt.Errorf("create identities: %w", naming(in.Identities, err))
	}
	told := make([]became, len(results))
	for n, r := range results {
		told[n] = became{Action: "create", PatchID: in.Identities[n].PatchID}
		if r.Err == nil {
			told[n].Identity = &r.Identity.ID
			continue
		}
		e := classify(mended(r.Err)).envelope(x.id).Error
		told[n].Action, told[n].Error = "error", &e
	}
	s.logFailed(x, results)
	return x.encode(http.StatusOK, map[string]any{"identities": told})
}

// naming says in the details of a refusal which entry it is of. What is no refusal
// stays as it is, for the log.
func naming(entries []wantedEntry, err error) error {
	var of *admin.Refused
	if !errors.As(err, &of) {
		return mended(err)
	}
	p := *classify(mended(of.Err))
	if p.status >= http.StatusInternalServerError {
		return err
	}
	p.details = maps.Clone(p.details)
	if p.details == nil {
		p.details = map[string]any{}
	}
	p.details["index"] = of.Index
	if id := entries[of.Index].PatchID; id != nil {
		p.details["patch_id"] = *id
	}
	return &p
}

// entry reads one entry of a batch, as the body that makes one identity is read.
func (x *exchange) entry(create json.RawMessage) (c admin.Creation, err error) {
	if unlessNull(create) == nil {
		return c, refuse("create must be an identity")
	}
	if len(create) > maxBody {
		return c, refuse("the entry is larger than %d bytes", maxBody)
	}
	var in wantedIdentity
	if err := cmp.Or(strictly(create, &in), in.check()); err != nil {
		return c, err
	}
	return x.creation(in), nil
}

// createEach makes those without an error.
func (x *exchange) createEach(wanted []admin.Creation, results []admin.Created) error {
	made, err := x.Administrator.CreateEach(x.r.Context(), wanted)
	if err != nil {
		return err
	}
	for n := range results {
		if results[n].Err == nil {
			results[n], made = made[0], made[1:]
		}
	}
	return nil
}

// createAll makes all, or none if one of them has an error.
func (x *exchange) createAll(wanted []admin.Creation, results []admin.Created) error {
	for n, r := range results {
		if r.Err != nil {
			return &admin.Refused{Index: n, Err: r.Err}
		}
	}
	made, err := x.Administrator.CreateAll(x.r.Context(), wanted)
	if err != nil {
		return err
	}
	for n := range results {
		results[n].Identity = made[n]
	}
	return nil
}

// logFailed logs, once, that entries have failed for a reason that is not theirs: the
// answer as a whole is a success.
func (s *Server) logFailed(x *exchange, results []admin.Created) {
	var first error
	count := 0
	for _, r := range results {
		if r.Err != nil && classify(mended(r.Err)).status >= http.StatusInternalServerError {
			first = cmp.Or(first, r.Err)
			count++
		}
	}
	if count > 0 {
		s.Log.LogAttrs(x.r.Context(), slog.LevelError, "identities of a batch were not made",
			slog.Int("count", count), slog.String("request_id", x.id), slog.String("error", first.Error()))
	}
}
