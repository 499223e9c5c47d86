package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/store"
)

// link adds an account at corp to an identity, unless check says why not.
func (s *suite) link(st *store.Store, id uuid.UUID, subject string, check func(*identity.Identity) error) error {
	return st.UpdateIdentity(s.ctx(), id, func(stored *identity.Identity) (*identity.Change, error) {
		if check != nil {
			if err := check(stored); err != nil {
				return nil, err
			}
		}
		linked, err := stored.WithAccount(account("corp", subject), s.clock())
		if linked == nil {
			return nil, err
		}
		return &identity.Change{Identity: linked, Updated: func(sequence int64) events.Event {
			return s.made(id, sequence, events.IdentityUpdated{IdentityID: id.String(), Changed: []string{"credentials"}})
		}}, nil
	})
}

func testLinkAccount(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	first := s.login(st, r)
	s.advance(time.Second)
	want := *r.Identity
	want.UpdatedAt = s.clock()
	want.Credentials = slices.Insert(slices.Clone(want.Credentials), 0, identity.Credential{
		Type: identity.MethodOIDC, Identifiers: []string{"corp:Seven"}, Config: identity.OIDCConfig(account("corp", "Seven")), CreatedAt: s.clock(), UpdatedAt: s.clock(),
	})
	for range 2 { // the second changes nothing and tells nothing
		s.must(s.link(st, r.Identity.ID, "Seven", nil))
		got, err := st.IdentityByIdentifier(s.ctx(), identity.Handle(identity.MethodOIDC, "corp:Seven"))
		if diff := cmp.Diff(&want, got, anySequence); err != nil || diff != "" {
			t.Errorf("IdentityByIdentifier: %v, want(-) got(+):\n%s", err, diff)
		}
		if got, want := s.types(st), []string{"identity.created 1", "session.issued 2", "login.succeeded 3", "identity.updated 4"}; !slices.Equal(got, want) {
			t.Errorf("outbox = %q, want %q", got, want)
		}
	}
	s.advance(time.Second)
	s.must(s.link(st, r.Identity.ID, "8", nil))
	want.UpdatedAt = s.clock()
	c := &want.Credentials[0]
	c.Identifiers, c.Config, c.UpdatedAt = []string{"corp:Seven", "corp:8"}, identity.OIDCConfig(account("corp", "Seven"), account("corp", "8")), s.clock()
	for _, subject := range []string{"Seven", "8"} {
		got, err := st.IdentityByIdentifier(s.ctx(), identity.Handle(identity.MethodOIDC, "corp:"+subject))
		if diff := cmp.Diff(&want, got, anySequence); err != nil || diff != "" {
			t.Errorf("IdentityByIdentifier of %s: %v, want(-) got(+):\n%s", subject, err, diff)
		}
	}
	if found, _, err := st.SessionByDigest(s.ctx(), first.Request.Digest); err != nil || !found.Active(s.clock()) || found.Epoch != want.Epoch {
		t.Errorf("SessionByDigest = %+v, %v, want the session as it was", found, err)
	}
	q := s.loginFor(r).Request // which knows of no link, nor of its event
	q.Sequence = 3
	_, err := st.IssueSession(s.ctx(), s.issue(q))
	s.must(err)
	if got := s.types(st); len(got) != 7 || got[6] != "login.succeeded 7" {
		t.Errorf("outbox = %q, want it to end with login.succeeded 7", got)
	}
}

func testLinkAccountRefuses(t *testing.T, s *suite) {
	st := s.store(nil)
	ann := s.registered(st, "ann@example.org")
	s.must(st.Register(s.ctx(), s.proven("bob@example.org", "seven")))
	before := s.types(st)
	no := errors.New("not her")
	refuse := func(i *identity.Identity) error {
		if diff := cmp.Diff(ann.Identity, i, anySequence); diff != "" {
			t.Errorf("decide: want(-) got(+):\n%s", diff)
		}
		return no
	}
	for name, c := range map[string]struct{ got, want error }{
		"another's": {s.link(st, ann.Identity.ID, "seven", nil), identity.ErrExists},
		"nobody":    {s.link(st, uuid.New(), "8", nil), identity.ErrNotFound},
		"refused":   {s.link(st, ann.Identity.ID, "8", refuse), no},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: UpdateIdentity = %v, want %v", name, c.got, c.want)
		}
	}
	if got := s.types(st); !slices.Equal(got, before) {
		t.Errorf("outbox = %q, want %q as before", got, before)
	}
	if got, err := st.Identity(s.ctx(), ann.Identity.ID); err != nil || !cmp.Equal(ann.Identity, got, anySequence) {
		t.Errorf("Identity = %+v, %v, want it as before", got, err)
	}
}

func testLinkAccountAtOnce(t *testing.T, s *suite) {
	st := s.store(nil)
	ann, bob := s.registered(st, "ann@example.org"), s.registered(st, "bob@example.org")
	for _, err := range atOnce(20, func(int) error { return s.link(st, ann.Identity.ID, "7", nil) }) {
		s.must(err)
	}
	people := []uuid.UUID{ann.Identity.ID, bob.Identity.ID}
	s.oneOf(atOnce(2, func(n int) error { return s.link(st, people[n], "8", nil) }), identity.ErrExists)
	updated := 0
	for _, e := range s.pending(st) {
		if e.Type == "identity.updated" {
			updated++
		}
	}
	if updated != 2 {
		t.Errorf("%d events of 2 accounts that were linked", updated)
	}
}

// The issuer of an account is kept with it, however it came; the same subject of
// another issuer is nobody's and can be nobody's while it is there.
func testAccountOfAnotherIssuer(t *testing.T, s *suite) {
	st := s.store(nil)
	registered := s.proven("ann@example.org", "Seven")
	registered.Identity.Credentials[0].Config = identity.OIDCConfig(account("corp", "Seven"))
	s.must(st.Register(s.ctx(), registered))
	linked := s.registered(st, "bob@example.org")
	s.must(s.link(st, linked.Identity.ID, "8", nil))
	before := s.types(st)
	for subject, owner := range map[string]uuid.UUID{"Seven": registered.Identity.ID, "8": linked.Identity.ID} {
		theirs := account("corp", subject)
		stranger := theirs
		stranger.Issuer = "https://new.example.org"
		i, err := s.store(nil).IdentityByIdentifier(s.ctx(), identity.Handle(identity.MethodOIDC, stranger.Identifier()))
		s.must(err)
		if i.ID != owner || i.Holds(theirs) != nil || !errors.Is(i.Holds(stranger), identity.ErrOtherIssuer) {
			t.Errorf("%s of the issuer: %v; of another: %v, want %v", subject, i.Holds(theirs), i.Holds(stranger), identity.ErrOtherIssuer)
		}
		err = st.UpdateIdentity(s.ctx(), owner, func(stored *identity.Identity) (*identity.Change, error) {
			next, err := stored.WithAccount(stranger, s.clock())
			if next == nil {
				return nil, err
			}
			return &identity.Change{Identity: next}, nil
		})
		if !errors.Is(err, identity.ErrOtherIssuer) {
			t.Errorf("UpdateIdentity to %s of another issuer = %v, want %v", subject, err, identity.ErrOtherIssuer)
		}
		if err := s.settings(st).Link(s.ctx(), s.changing(i, "corp"), stranger); !errors.As(err, new(*flow.Invalid)) {
			t.Errorf("Link of %s of another issuer = %v, want that it is refused", subject, err)
		}
	}
	if got := s.types(st); !slices.Equal(got, before) {
		t.Errorf("outbox = %q, want %q as before", got, before)
	}
	// Of two issuers at once one is linked.
	cid := s.registered(st, "cid@example.org").Identity
	refused := 0
	for _, err := range atOnce(2, func(n int) error {
		a := account("corp", "9")
		a.Issuer += []string{"/a", "/b"}[n]
		return s.settings(st).Link(s.ctx(), s.changing(cid, "corp"), a)
	}) {
		if errors.As(err, new(*flow.Invalid)) {
			refused++
		} else {
			s.must(err)
		}
	}
	i, err := st.Identity(s.ctx(), cid.ID)
	s.must(err)
	if c := i.Credential(identity.MethodOIDC); refused != 1 || !slices.Equal(c.Identifiers, []string{"corp:9"}) {
		t.Errorf("%d refused, accounts %q, want one and corp:9", refused, c.Identifiers)
	}
}

// A session of who has linked an account has both ways to sign in, in their
// order, also where it was there before.
func testSessionOfTheLinked(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	first := s.login(st, r)
	fresh, refreshed := s.loginFor(r).Request, s.refreshOf(first)
	for _, q := range []session.Request{fresh, refreshed} {
		i := s.issue(q)
		by := session.Method{Method: "password", AAL: session.AAL1, CompletedAt: s.clock()}
		also := session.Method{Method: "oidc", AAL: session.AAL1, Provider: "corp", CompletedAt: s.clock()}
		i.Session.Methods = []session.Method{by, also}
		want := i.Session.Methods
		if q.Refresh != uuid.Nil {
			want = append(slices.Clone(first.Session.Methods), want...)
		}
		_, err := st.IssueSession(s.ctx(), i)
		s.must(err)
		if found, _, err := st.SessionByDigest(s.ctx(), q.Digest); err != nil || !slices.Equal(found.Methods, want) {
			t.Errorf("SessionByDigest = %+v, %v, want the methods %+v", found, err, want)
		}
	}
}
