package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/webhook"
)

// login signs a registered person in.
func (s *suite) login(st *store.Store, r registration.Record) session.Issue {
	s.t.Helper()
	i := s.loginFor(r)
	_, err := st.IssueSession(s.ctx(), i)
	s.must(err)
	return i
}

func testLogin(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	s.must(st.Append(s.ctx(), newRefused(s.clock(), r)))
	for range 2 {
		i := s.loginFor(r)
		got, err := st.IssueSession(s.ctx(), i)
		s.must(err)
		if diff := cmp.Diff(&i.Session, got); diff != "" {
			t.Errorf("IssueSession: want(-) got(+):\n%s", diff)
		}
		found, _, err := st.SessionByDigest(s.ctx(), i.Request.Digest)
		if diff := cmp.Diff(&i.Session, found); err != nil || diff != "" {
			t.Errorf("SessionByDigest: %v, want(-) got(+):\n%s", err, diff)
		}
		pending := s.pending(st)
		last := pending[len(pending)-1]
		if last.ID != i.Request.Login.String() || !contains(string(last.Data), i.Session.ID.String()) {
			t.Errorf("the last event = %s %s, want %s about session %s", last.ID, last.Data, i.Request.Login, i.Session.ID)
		}
	}
	want := []string{
		"identity.created 1", "session.refused 2", "session.issued 3", "login.succeeded 4", "session.issued 5", "login.succeeded 6",
	}
	if got := s.types(st); !slices.Equal(got, want) {
		t.Errorf("outbox = %q, want %q", got, want)
	}
	if grant, _, err := st.Grant(s.ctx(), r.Grant.FlowID); err != nil || grant.SessionID != uuid.Nil {
		t.Errorf("grant's session = %s, %v, want none", grant.SessionID, err)
	}
}

// One request, hedged and repeated, is one login.
// A gate that let somebody in holds until the session is there: the address it
// was for may have been changed meanwhile.
func testLoginOfTheVerified(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	for _, known := range []bool{false, true} {
		for _, want := range []error{nil, session.ErrIdentityInactive} {
			s.must(s.edit(st, r.Identity.ID, func(i *identity.Identity) { i.Addresses[0].Verified = true }))
			i, err := st.Identity(s.ctx(), r.Identity.ID)
			s.must(err)
			q := s.loginFor(r).Request
			q.Verified = true
			if known {
				q.Sequence = i.Sequence
			}
			if want != nil {
				s.must(s.edit(st, r.Identity.ID, func(i *identity.Identity) { i.Addresses[0].Verified = false }))
			}
			before := len(s.types(st))
			if _, err := st.IssueSession(s.ctx(), s.issue(q)); !errors.Is(err, want) {
				t.Errorf("sequence known %t: IssueSession: %v, want %v", known, err, want)
			}
			if more := len(s.types(st)) - before; (more > 0) != (want == nil) {
				t.Errorf("sequence known %t, %v: the outbox has %d more", known, want, more)
			}
		}
	}
}

// An address that nobody has to verify any more opens no gate.
func testLoginOfTheUnverifiable(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	s.must(s.edit(st, r.Identity.ID, func(i *identity.Identity) { i.Addresses[0].Verified, i.Addresses[0].Verifiable = true, false }))
	q := s.loginFor(r).Request
	q.Verified = true
	if _, err := st.IssueSession(s.ctx(), s.issue(q)); !errors.Is(err, session.ErrIdentityInactive) {
		t.Errorf("IssueSession: %v, want ErrIdentityInactive", err)
	}
}

func testLoginAgain(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	first := s.loginFor(r)
	ids := make([]uuid.UUID, 8)
	for _, err := range atOnce(len(ids), func(n int) error {
		q := first.Request
		q.Again = n%2 == 1
		got, err := st.IssueSession(s.ctx(), s.issue(q))
		if err == nil {
			ids[n] = got.ID
		}
		return err
	}) {
		if err != nil {
			t.Errorf("IssueSession with one request: %v", err)
		}
	}
	if different := distinct(ids); different != 1 {
		t.Errorf("one request gave %d sessions, want 1", different)
	}
	want := []string{"identity.created 1", "session.issued 2", "login.succeeded 3"}
	if got := s.types(st); !slices.Equal(got, want) {
		t.Errorf("outbox = %q, want %q", got, want)
	}
	s.login(st, r)
	if got, want := s.types(st), append(want, "session.issued 4", "login.succeeded 5"); !slices.Equal(got, want) {
		t.Errorf("outbox after another login = %q, want %q", got, want)
	}
}

// Logins that share a commit are those of different people and of one.
func testLoginsAtOnce(t *testing.T, s *suite) {
	st := s.store(nil)
	people := make([]registration.Record, 5)
	for n := range people {
		people[n] = s.registered(st, fmt.Sprintf("a%d@example.org", n))
	}
	const each = 12
	logins := make([]session.Issue, each*len(people))
	for _, err := range atOnce(len(logins), func(n int) error {
		logins[n] = s.loginFor(people[n%len(people)])
		_, err := st.IssueSession(s.ctx(), logins[n])
		return err
	}) {
		s.must(err)
	}
	for _, i := range logins {
		if found, _, err := st.SessionByDigest(s.ctx(), i.Request.Digest); err != nil || found.ID != i.Session.ID {
			t.Errorf("SessionByDigest = %+v, %v, want session %s", found, err, i.Session.ID)
		}
	}
	next := map[string]int{}
	for _, e := range s.pending(st) {
		next[e.Subject]++
		if want := sequence(next[e.Subject]); e.Sequence != want {
			t.Fatalf("%s of %s has sequence %s, want %s", e.Type, e.Subject, e.Sequence, want)
		}
	}
	for _, r := range people {
		if got, want := next[r.Identity.ID.String()], 1+2*each; got != want {
			t.Errorf("%d events about one person, want %d", got, want)
		}
	}
}

func testLoginRefuses(t *testing.T, s *suite) {
	st := s.store(nil)
	ann, bob := s.registered(st, "ann@example.org"), s.registered(st, "bob@example.org")
	of := s.login(st, bob)
	inactive := s.registered(st, "inactive@example.org")
	s.exec(`UPDATE identities SET state = 'inactive' WHERE id = '` + inactive.Identity.ID.String() + `'`)
	before := s.types(st)
	for name, c := range map[string]struct {
		who    registration.Record
		change func(*session.Request)
		want   error
	}{
		"another's token": {ann, func(r *session.Request) { r.Digest = of.Request.Digest }, session.ErrGrantUsed},
		"another epoch":   {ann, func(r *session.Request) { r.Epoch++ }, session.ErrIdentityInactive},
		"inactive":        {inactive, nil, session.ErrIdentityInactive},
		"nobody":          {ann, func(r *session.Request) { r.IdentityID = uuid.New() }, session.ErrIdentityGone},
		"late":            {ann, func(r *session.Request) { r.Deadline = s.clock().Add(-1) }, session.ErrLate},
	} {
		q := s.loginFor(c.who).Request
		if c.change != nil {
			c.change(&q)
		}
		if got, err := st.IssueSession(s.ctx(), s.issue(q)); !errors.Is(err, c.want) {
			t.Errorf("%s: IssueSession = %+v, %v, want %v", name, got, err, c.want)
		}
	}
	if got := s.types(st); !slices.Equal(got, before) {
		t.Errorf("outbox = %q, want %q as before", got, before)
	}
}

func testRefresh(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	first := s.login(st, r)
	s.advance(time.Minute)
	q := s.refreshOf(first)
	want := first.Session
	want.AuthenticatedAt = s.clock()
	want.Methods = append(slices.Clone(want.Methods), session.Method{Method: "password", AAL: "aal1", CompletedAt: s.clock()})
	for range 2 { // the second is the same request, repeated
		got, err := st.IssueSession(s.ctx(), s.issue(q))
		if diff := cmp.Diff(&want, got); err != nil || diff != "" {
			t.Errorf("IssueSession to refresh: %v, want(-) got(+):\n%s", err, diff)
		}
		found, _, err := st.SessionByDigest(s.ctx(), first.Request.Digest)
		if diff := cmp.Diff(&want, found); err != nil || diff != "" {
			t.Errorf("SessionByDigest: %v, want(-) got(+):\n%s", err, diff)
		}
		s.must(st.Move(s.ctx(), s.publish(st, 3))) // all but the refresh, then the refresh too
		q.Again = true
	}
	_, err := st.IssueSession(s.ctx(), s.issue(q))
	s.must(err)
	if got := s.types(st); len(got) != 0 {
		t.Errorf("outbox = %q, want nothing of a repeated refresh", got)
	}
	s.must(st.Append(s.ctx(), newRefused(s.clock(), r)))
	if got, want := s.types(st), []string{"session.refused 5"}; !slices.Equal(got, want) {
		t.Errorf("outbox = %q, want %q", got, want)
	}
}

func testIdentityByIdentifier(t *testing.T, s *suite) {
	st := s.store(nil)
	ann := s.record("ann@example.org", "ann@example.net")
	ann.Identity.Credentials[0].Identifiers = append(ann.Identity.Credentials[0].Identifiers, "ann")
	ann.Identity.Credentials = append(ann.Identity.Credentials, identity.Credential{
		Type: "oidc", Identifiers: []string{"https://issuer.example:7"}, Config: []byte(`{ "b":1, "a":"ü\u0041"}`),
		CreatedAt: s.clock(), UpdatedAt: s.clock(),
	})
	ann.Identity.Addresses[1].Identifier, ann.Identity.Addresses[1].Verified, ann.Identity.Addresses[1].VerifiedAt = false, true, s.clock()
	ann.Identity.MetadataAdmin = []byte(`{"b":1,"a":2}`)
	slices.SortFunc(ann.Identity.Credentials, func(a, b identity.Credential) int { return strings.Compare(a.Type, b.Type) })
	s.must(st.Register(s.ctx(), ann))
	bare := s.record("unused@example.org")
	bare.Identity.Addresses, bare.Identity.Credentials[0].Identifiers = nil, []string{"bare"}
	s.must(st.Register(s.ctx(), bare))
	for identifier, want := range map[string]*identity.Identity{
		"ann@example.org":          ann.Identity,
		"ann":                      ann.Identity,
		"bare":                     bare.Identity,
		"https://issuer.example:7": nil, // cannot be entered
		"ann@example.net":          nil, // no identifier
		"bob@example.org":          nil,
		"":                         nil,

		identity.Handle(identity.MethodOIDC, "https://issuer.example:7"): ann.Identity,
	} {
		got, err := st.IdentityByIdentifier(s.ctx(), identifier)
		if want == nil {
			if !errors.Is(err, identity.ErrNotFound) {
				t.Errorf("IdentityByIdentifier(%q) = %+v, %v, want %v", identifier, got, err, identity.ErrNotFound)
			}
			continue
		}
		if diff := cmp.Diff(want, got, anySequence); err != nil || diff != "" {
			t.Errorf("IdentityByIdentifier(%q): %v, want(-) got(+):\n%s", identifier, err, diff)
		}
	}
}

func testReplaceCredential(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	former := r.Identity.Credentials[0].Config
	s.advance(time.Second)
	next := json.RawMessage(`{"hashed_password": "$2a$04$next"}`)
	for name, c := range map[string]struct {
		kind         string
		former, want json.RawMessage
	}{
		"another kind":   {"oidc", former, former},
		"another former": {"password", next, former},
	} {
		s.must(st.ReplaceCredential(s.ctx(), r.Identity.ID, c.kind, c.former, next))
		if i, err := st.Identity(s.ctx(), r.Identity.ID); err != nil || string(i.Credentials[0].Config) != string(c.want) {
			t.Errorf("%s: config = %s, %v, want %s", name, i.Credentials[0].Config, err, c.want)
		}
	}
	s.must(st.ReplaceCredential(s.ctx(), r.Identity.ID, "password", former, next))
	i, err := st.Identity(s.ctx(), r.Identity.ID)
	s.must(err)
	if c := i.Credentials[0]; string(c.Config) != string(next) || !c.UpdatedAt.Equal(s.clock()) {
		t.Errorf("credential = %s of %v, want %s of %v", c.Config, c.UpdatedAt, next, s.clock())
	}
}

func testSaveDue(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	due := []webhook.Due{newInput(r, "crm"), newInput(r, "mail")}
	s.must(st.SaveDue(s.ctx(), nil))
	s.must(st.SaveDue(s.ctx(), due))
	in, ok, err := st.HookInput(s.ctx(), r.Grant.EventID, "mail")
	if diff := cmp.Diff(due[1].Input, in); err != nil || !ok || diff != "" {
		t.Errorf("HookInput = %t, %v, want(-) got(+):\n%s", ok, err, diff)
	}
	s.noneHolds(`SELECT sealed FROM hook_inputs`, 2, "canary")
}

// refreshOf asks to make a login's session fresh.
func (s *suite) refreshOf(i session.Issue) session.Request {
	q := i.Request
	q.ID, q.Login, q.Refresh = uuid.NewString(), uuid.Must(uuid.NewV7()), i.Session.ID
	q.RequestedAt, q.Deadline = s.clock(), s.clock().Add(time.Second)
	return q
}

func testRefreshRefuses(t *testing.T, s *suite) {
	st := s.store(nil)
	ann, bob := s.registered(st, "ann@example.org"), s.registered(st, "bob@example.org")
	mine, another, revoked := s.login(st, ann), s.login(st, bob), s.login(st, ann)
	s.exec(`UPDATE sessions SET revoked = true WHERE id = '` + revoked.Session.ID.String() + `'`)
	s.advance(2 * time.Minute)
	young := s.login(st, ann)
	s.advance(time.Hour - time.Minute)
	before := s.types(st)
	for name, c := range map[string]struct {
		of     session.Issue
		change func(*session.Request)
		want   error
	}{
		"over":          {mine, nil, session.ErrIdentityInactive},
		"revoked":       {revoked, nil, session.ErrIdentityInactive},
		"another epoch": {young, func(r *session.Request) { r.Epoch++ }, session.ErrIdentityInactive},
		"no such":       {young, func(r *session.Request) { r.Refresh = uuid.New() }, session.ErrInvalid},
		"another token": {young, func(r *session.Request) { r.Digest = another.Request.Digest }, session.ErrInvalid},
		"another's":     {young, func(r *session.Request) { r.Refresh, r.Digest = another.Session.ID, another.Request.Digest }, session.ErrInvalid},
		"no login":      {young, func(r *session.Request) { r.Login = uuid.Nil }, session.ErrInvalid},
	} {
		q := s.refreshOf(c.of)
		if c.change != nil {
			c.change(&q)
		}
		if got, err := st.IssueSession(s.ctx(), s.issue(q)); !errors.Is(err, c.want) {
			t.Errorf("%s: IssueSession to refresh = %+v, %v, want %v", name, got, err, c.want)
		}
	}
	if got := s.types(st); !slices.Equal(got, before) {
		t.Errorf("outbox = %q, want %q as before", got, before)
	}
	for range 40 {
		s.advance(time.Second / 10)
		_, err := st.IssueSession(s.ctx(), s.issue(s.refreshOf(young)))
		s.must(err)
	}
	if found, _, err := st.SessionByDigest(s.ctx(), young.Request.Digest); err != nil || len(found.Methods) != 32 {
		t.Errorf("after 40 refreshes the session remembers %d methods, %v, want 32", len(found.Methods), err)
	}
}
