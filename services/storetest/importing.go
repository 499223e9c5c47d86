package storetest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/importer"
	"github.com/usher-auth/usher/services/store"
)

var _ importer.Store = (*store.Store)(nil)

func (s *suite) imported(all ...*identity.Identity) []events.Event {
	p := events.IdentitiesImported{Count: len(all), Batch: 1}
	for _, i := range all {
		p.IDs = append(p.IDs, i.ID.String())
	}
	return []events.Event{events.New(p, s.clock(), events.About{Source: "/usher/import", Actor: "admin:local"})}
}

// The largest batch there is, each with two addresses and a name, is one commit and
// one event.
func testImport(t *testing.T, s *suite) {
	st := s.store(nil)
	all := make([]*identity.Identity, admin.MaxBatch)
	for n := range all {
		name := uuid.NewString()
		all[n] = s.record(name+"@example.org", name+"@example.net").Identity
		all[n].Credentials[0].Identifiers = append(all[n].Credentials[0].Identifiers, name)
	}
	all[999].MetadataAdmin = []byte("{\t\"a\":\n\"\\\\N \\t\\u0009 é\"}") // signs that COPY of PostgreSQL gives a meaning
	s.must(st.CreateIdentities(s.ctx(), all, s.imported(all...)))
	got, err := st.Identity(s.ctx(), all[999].ID)
	s.must(err)
	if diff := cmp.Diff(all[999], got, anySequence); diff != "" {
		t.Errorf("Identity: want(-) got(+):\n%s", diff)
	}
	pending, err := st.Pending(s.ctx(), 10)
	s.must(err)
	if len(pending) != 1 || pending[0].Type != "identities.imported" {
		t.Errorf("Pending = %d events, want the one of the batch", len(pending))
	}
	if taken, err := st.Taken(s.ctx(), all); err != nil || len(taken) != len(all) {
		t.Errorf("Taken = %d, %v, want all %d", len(taken), err, len(all))
	}
}

// A batch of which one cannot be stored stores nobody, and no event.
func testImportTaken(t *testing.T, s *suite) {
	st := s.store(nil)
	here := s.record("ann@example.org")
	here.Identity.Credentials[0].Identifiers, here.Identity.ExternalID = []string{"ann"}, "crm-7"
	s.must(st.Register(s.ctx(), here))
	before, err := st.Pending(s.ctx(), 10)
	s.must(err)

	sameID := s.record("bea@example.org").Identity
	sameID.ID = here.Identity.ID
	sameHandle := s.record("cid@example.org").Identity
	sameHandle.Credentials[0].Identifiers = []string{"ann"}
	sameExternal := s.record("eve@example.org").Identity
	sameExternal.ExternalID = here.Identity.ExternalID
	sameAddress := s.record("ann@example.org").Identity
	for name, bad := range map[string]*identity.Identity{"id": sameID, "handle": sameHandle, "external id": sameExternal, "address": sameAddress} {
		good := s.record("dan@example.org").Identity
		if err := st.CreateIdentities(s.ctx(), []*identity.Identity{good, bad}, s.imported(good, bad)); !errors.Is(err, identity.ErrExists) {
			t.Errorf("CreateIdentities with a taken %s: %v, want %v", name, err, identity.ErrExists)
		}
		if _, err := st.Identity(s.ctx(), good.ID); !errors.Is(err, identity.ErrNotFound) {
			t.Errorf("the other one of a batch with a taken %s: %v, want %v", name, err, identity.ErrNotFound)
		}
		taken, err := st.Taken(s.ctx(), []*identity.Identity{good, bad})
		s.must(err)
		if want := name != "id"; taken[good.ID] || taken[bad.ID] != want {
			t.Errorf("Taken of a taken %s = %v, want it: %t, and not the other", name, taken, want)
		}
	}
	if after, err := st.Pending(s.ctx(), 10); err != nil || len(after) != len(before) {
		t.Errorf("Pending = %d events, %v, want the %d of before", len(after), err, len(before))
	}
}

// What no store keeps is refused by its line, and the lines beside it are stored.
func testImportRefuses(t *testing.T, s *suite) {
	schema, err := identity.Compile("default", []byte(`{"properties":{"traits":{"type":"object","properties":{"email":{"type":"string","format":"email","ory.sh/kratos":{"recovery":{"via":"email"}}}}}}}`))
	s.must(err)
	person := func(name, members string) string {
		return fmt.Sprintf(`{"traits":{"email":"%s@example.org"}%s}`+"\n", name, members)
	}
	account := func(provider, subject string) string {
		return fmt.Sprintf(`,"credentials":{"oidc":{"config":{"providers":[{"provider":"%s","subject":"%s"}]}}}`, provider, subject)
	}
	var digits strings.Builder // that cannot be compressed to what an index takes
	for n := range 20_000 {
		digits.WriteString(strconv.Itoa(n * n))
	}
	bad := []string{
		account("p", digits.String()),
		",\"metadata_admin\":\"\xff\"",
		`,"metadata_public":"\udfff"`,
		`,"metadata_public":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000),
		account("p", `\u0000`),
		account("p", "\xc3"),
	}
	var in strings.Builder
	for n, members := range bad {
		in.WriteString(person(fmt.Sprint("good", n), account("p", strconv.Itoa(n))) + person(fmt.Sprint("bad", n), members))
	}
	in.WriteString(person("deep", `,"metadata_public":`+strings.Repeat("[", 999)+strings.Repeat("]", 999)))
	var refused []int
	service := importer.Service{
		Store: s.store(nil), Maker: admin.Maker{Schemas: one{schema}, Now: s.clock}, DefaultSchema: "default", Batch: 100, Now: s.clock,
		Author: audit.Author{Actor: "admin:local"},
		Refused: func(r importer.Refusal) error {
			refused = append(refused, r.Line)
			return nil
		},
	}
	sum, err := service.Run(s.ctx(), importer.NewReader(strings.NewReader(in.String()), 1))
	if want := (importer.Summary{Lines: 2*len(bad) + 1, Imported: len(bad) + 1, Refused: len(bad)}); err != nil || sum != want {
		t.Errorf("Run = %+v, %v, refused %v, want %+v", sum, err, refused, want)
	}
	for n, line := range refused {
		if line != 2*n+2 {
			t.Errorf("refused %v, want each second line", refused)
			break
		}
	}
}

// one is the only schema there is.
type one struct{ schema *identity.Schema }

func (o one) Schema(string) (*identity.Schema, bool) { return o.schema, true }

func testImportID(t *testing.T, s *suite) {
	st := s.store(nil)
	one, err := st.ImportID([]byte("a"))
	s.must(err)
	again, err := st.ImportID([]byte("a"))
	s.must(err)
	other, err := st.ImportID([]byte("b"))
	s.must(err)
	if one != again || one == other || one.Version() != 8 || one.Variant() != uuid.RFC4122 {
		t.Errorf("ImportID = %s, again %s, of another text %s; want a UUID of version 8 that follows from the text", one, again, other)
	}
}
