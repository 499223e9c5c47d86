package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/store"
)

func testIdentitiesByID(t *testing.T, s *suite) {
	st := s.store(nil)
	people := map[uuid.UUID]*identity.Identity{}
	var ids []uuid.UUID
	for n := range 20 {
		r := s.registered(st, fmt.Sprintf("a%d@example.org", n))
		people[r.Identity.ID] = r.Identity
		ids = append(ids, r.Identity.ID)
	}
	for _, c := range []struct {
		ids  []uuid.UUID
		want int
	}{{nil, 0}, {ids[:1], 1}, {ids[3:6], 3}, {ids, 20}, {[]uuid.UUID{ids[0], uuid.New(), ids[0]}, 1}, {[]uuid.UUID{uuid.New()}, 0}} {
		got, err := st.IdentitiesByID(s.ctx(), c.ids)
		s.must(err)
		if got == nil || len(got) != c.want || !slices.IsSortedFunc(got, func(a, b identity.Identity) int { return slices.Compare(a.ID[:], b.ID[:]) }) {
			t.Errorf("IdentitiesByID(%v) = %+v, want %d by id", c.ids, got, c.want)
		}
		for _, i := range got {
			if diff := cmp.Diff(people[i.ID], &i, anySequence); diff != "" {
				t.Errorf("IdentitiesByID: want(-) got(+):\n%s", diff)
			}
		}
	}
	if _, err := st.IdentitiesByID(s.ctx(), make([]uuid.UUID, 1025)); err == nil {
		t.Error("IdentitiesByID read 1025 ids, want an error")
	}
}

func testIdentitiesByIdentifier(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.record("ann@example.org", "only-verifiable@example.org")
	r.Identity.Credentials[0].Identifiers = []string{"ann@example.org", "ann"}
	r.Identity.Credentials = append([]identity.Credential{{
		Type: identity.MethodOIDC, Identifiers: []string{"corp:Seven"}, Config: identity.OIDCConfig(identity.Account{Provider: "corp", Subject: "Seven"}),
		CreatedAt: r.Identity.CreatedAt, UpdatedAt: r.Identity.CreatedAt,
	}}, r.Identity.Credentials...)
	r.Identity.Addresses[1].Identifier = false
	s.must(st.Register(s.ctx(), r))
	s.registered(st, "bob@example.org")
	for identifier, want := range map[string]int{"ann@example.org": 1, "ann": 1, "only-verifiable@example.org": 0, identity.Handle(identity.MethodOIDC, "corp:Seven"): 1, "corp:Seven": 0, "ANN": 0, "nobody": 0, "": 0} {
		got, err := st.IdentitiesByIdentifier(s.ctx(), identifier)
		s.must(err)
		if got == nil || len(got) != want {
			t.Errorf("IdentitiesByIdentifier(%q) = %+v, want %d", identifier, got, want)
		}
		if want == 1 {
			if diff := cmp.Diff(r.Identity, &got[0], anySequence); diff != "" {
				t.Errorf("IdentitiesByIdentifier(%q): want(-) got(+):\n%s", identifier, diff)
			}
		}
	}
}

func testIdentitiesLike(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.record("ann@example.org", "only-verifiable@example.org")
	r.Identity.ExternalID = "crm-ann"
	r.Identity.Credentials[0].Identifiers = []string{"ann@example.org", "ann_1%"}
	r.Identity.Credentials = append([]identity.Credential{{
		Type: identity.MethodOIDC, Identifiers: []string{"corp:Seven"}, Config: identity.OIDCConfig(identity.Account{Provider: "corp", Subject: "Seven"}),
		CreatedAt: r.Identity.CreatedAt, UpdatedAt: r.Identity.CreatedAt,
	}}, r.Identity.Credentials...)
	r.Identity.Addresses[1].Identifier = false
	s.must(st.Register(s.ctx(), r))
	ann, bob, joan := r.Identity.ID, s.registered(st, "bob@example.org").Identity.ID, s.registered(st, "joann@example.org").Identity.ID
	domain := s.registered(st, "eva@xn--bcher-kva.example").Identity.ID
	in := func(ids ...uuid.UUID) []uuid.UUID {
		slices.SortFunc(ids, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
		return ids
	}
	for text, want := range map[string][]uuid.UUID{
		"ann": in(ann, joan), "ANN@": in(ann, joan), "@example.org": in(ann, bob, joan), "bob@example.org": in(bob),
		"@bücher.example": in(domain), "@Bücher.EXAMPLE": in(domain), "bücher": nil,
		"_1%": in(ann), "a_n": nil, "b%b": nil, `\`: nil, "'": nil,
		"Seven": in(ann), "corp:": in(ann), "seven": nil, "OIDC": nil, "crm-": nil, "EXTERNAL": nil, "only": nil, "": nil, " ": nil,
	} {
		got := identityIDs(s.like(st, text, uuid.Nil, 10))
		if !slices.Equal(got, want) {
			t.Errorf("IdentitiesLike(%q) = %v, want %v", text, got, want)
		}
	}
	// Some have it in an address, some in a user name, some in both: on no page twice.
	for n, address := range []string{"page-1@example.net", "2@example.net", "3@example.net", "page-4@example.net", "5@example.net", "page-6@example.net"} {
		r := s.record(address)
		if n%3 > 0 {
			r.Identity.Credentials[0].Identifiers = []string{address, fmt.Sprintf("ann-page-%d", n)}
		}
		s.must(st.Register(s.ctx(), r))
	}
	for _, text := range []string{"page-", "ann"} {
		whole := identityIDs(s.like(st, text, uuid.Nil, 100))
		if !slices.IsSortedFunc(whole, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) }) || len(whole) != 6 {
			t.Errorf("IdentitiesLike(%q) = %v, want six by id", text, whole)
		}
		for _, size := range []int{1, 2, 4} {
			var paged []uuid.UUID
			for after := uuid.Nil; ; after = paged[len(paged)-1] {
				page := identityIDs(s.like(st, text, after, size))
				if len(page) == 0 {
					break
				}
				if paged = append(paged, page...); len(page) < size {
					break
				}
			}
			if !slices.Equal(paged, whole) {
				t.Errorf("IdentitiesLike(%q) by pages of %d = %v, want %v", text, size, paged, whole)
			}
		}
	}
	if diff := cmp.Diff(r.Identity, &s.like(st, "ann_1", uuid.Nil, 1)[0], anySequence); diff != "" {
		t.Errorf("IdentitiesLike: want(-) got(+):\n%s", diff)
	}
}

func (s *suite) like(st *store.Store, text string, after uuid.UUID, limit int) []identity.Identity {
	s.t.Helper()
	got, err := st.IdentitiesLike(s.ctx(), text, after, limit)
	s.must(err)
	return got
}

func identityIDs(all []identity.Identity) (ids []uuid.UUID) {
	for _, i := range all {
		ids = append(ids, i.ID)
	}
	return ids
}

// An external id is one identity's, as long as that has it, and nothing to sign in with.
func testIdentityByExternalID(t *testing.T, s *suite) {
	st := s.store(nil)
	ann, bob := s.record("ann@example.org"), s.record("bob@example.org")
	ann.Identity.ExternalID = "crm/7"
	s.must(st.Register(s.ctx(), ann))
	s.must(st.Register(s.ctx(), bob))
	find := func(id string, want *identity.Identity) {
		t.Helper()
		got, err := st.IdentityByExternalID(s.ctx(), id)
		if want == nil && !errors.Is(err, identity.ErrNotFound) {
			t.Errorf("IdentityByExternalID(%q) = %+v, %v, want %v", id, got, err, identity.ErrNotFound)
		}
		if want != nil && (err != nil || got.ID != want.ID || got.ExternalID != id) {
			t.Errorf("IdentityByExternalID(%q) = %+v, %v, want %s", id, got, err, want.ID)
		}
	}
	find("crm/7", ann.Identity)
	for _, nobody := range []string{"", "CRM/7", "crm/8", "ann@example.org"} {
		find(nobody, nil)
	}
	for _, entered := range []string{"crm/7", identity.ExternalHandle("crm/7")} {
		if got, err := st.IdentityByIdentifier(s.ctx(), identity.CanonicalIdentifier(entered)); !errors.Is(err, identity.ErrNotFound) {
			t.Errorf("%q signs in as %+v, %v", entered, got, err)
		}
	}
	taken := func(i *identity.Identity) { i.ExternalID = "crm/7" }
	if err := s.edit(st, bob.Identity.ID, taken); !errors.Is(err, identity.ErrExists) {
		t.Errorf("UpdateIdentity to a taken external id = %v, want %v", err, identity.ErrExists)
	}
	other := s.record("eve@example.org")
	other.Identity.ExternalID = "crm/7"
	if err := st.Register(s.ctx(), other); !errors.Is(err, identity.ErrExists) {
		t.Errorf("Register with a taken external id = %v, want %v", err, identity.ErrExists)
	}
	s.must(s.edit(st, ann.Identity.ID, func(i *identity.Identity) { i.ExternalID = "crm/8" }))
	find("crm/8", ann.Identity)
	s.must(s.edit(st, bob.Identity.ID, taken)) // it was given up
	find("crm/7", bob.Identity)
	s.must(s.edit(st, bob.Identity.ID, func(i *identity.Identity) { i.ExternalID = "" }))
	find("crm/7", nil)
	if got, err := st.Identity(s.ctx(), bob.Identity.ID); err != nil || got.ExternalID != "" {
		t.Errorf("Identity = %+v, %v, want no external id", got, err)
	}
}

func testIdentitiesAt(t *testing.T, s *suite) {
	st := s.store(nil)
	for n := range 5 {
		s.registered(st, fmt.Sprintf("a%d@example.org", n))
	}
	all, err := st.Identities(s.ctx(), uuid.Nil, 10)
	s.must(err)
	for _, c := range []struct{ offset, limit, from, to int }{{0, 2, 0, 2}, {4, 2, 4, 5}, {5, 2, 5, 5}, {0, 10, 0, 5}} {
		got, total, err := st.IdentitiesAt(s.ctx(), c.offset, c.limit)
		s.must(err)
		if diff := cmp.Diff(all[c.from:c.to], got); diff != "" || total != 5 {
			t.Errorf("IdentitiesAt(%d, %d) of %d: want(-) got(+):\n%s", c.offset, c.limit, total, diff)
		}
	}
}
