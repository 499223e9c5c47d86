package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/settings"
	"github.com/usher-auth/usher/services/store"
)

// anyway is a server that people sign in at with whatever they have.
var anyway = settings.Ways{Password: true, Providers: []string{"corp", "other"}}

func (s *suite) settings(st *store.Store) *settings.Service {
	return &settings.Service{
		Store: st, Schemas: people{}, Policy: password.Policy{}, Passwords: plainHashes{}, Verification: codes{s},
		Plan: func(string) hook.SettingsPlan { return hook.SettingsPlan{} }, Now: s.clock,
	}
}

// changing is a change by a session that is stored past the store: it has no event.
func (s *suite) changing(i *identity.Identity, provider string) settings.Submit {
	s.t.Helper()
	by := &session.Session{ID: uuid.New(), IdentityID: i.ID, Epoch: i.Epoch, ExpiresAt: s.clock().Add(time.Hour)}
	if i.SchemaID != "" { // or it is nobody's
		s.exec(`INSERT INTO sessions (id, identity_id, token_digest, aal, methods, devices, epoch, revoked, authenticated_at, issued_at, expires_at)
			VALUES ($1, $2, $3, 'aal1', '[]', '[]', $4, false, $5, $6, $7)`,
			by.ID, i.ID, by.ID[:], i.Epoch, s.clock().UnixMicro(), s.clock().UnixMicro(), by.ExpiresAt.UnixMicro())
	}
	f := s.newFlow()
	f.Kind, f.State, f.IdentityID = flow.Settings, flow.ShowForm, i.ID
	return settings.Submit{Flow: f, Session: by, Fresh: true, Provider: flow.Provider{ID: provider, Label: provider}}
}

// A flow of settings takes several submits, and its identity stays with it.
func testFlowsOfSettings(t *testing.T, s *suite) {
	st := s.store(nil)
	f := s.newFlow()
	f.Kind, f.State, f.IdentityID = flow.Settings, flow.ShowForm, uuid.New()
	s.must(st.CreateFlow(s.ctx(), f))
	said := flow.Form{Messages: map[string][]flow.Message{"": {flow.LastWay()}}}
	for _, change := range []flow.Flow{{State: flow.Success}, {State: flow.ShowForm, Form: said}, {State: flow.Success, Active: "oidc"}} {
		f.State, f.Active, f.Form = change.State, change.Active, change.Form
		s.must(st.SaveFlow(s.ctx(), f))
		got, _, err := st.FlowAndGrant(s.ctx(), f.ID)
		if diff := cmp.Diff(f, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("FlowAndGrant: %v, want(-) got(+):\n%s", err, diff)
		}
	}
	attempt := flow.Attempt{Digest: []byte("digest"), Provider: "corp"}
	s.must(st.BeginAttempt(s.ctx(), f.ID, attempt))
	if got, _, err := st.TakeAttempt(s.ctx(), f.ID, attempt.Digest); err != nil || got.IdentityID != f.IdentityID || got.Attempt == nil {
		t.Errorf("TakeAttempt = %+v, %v, want the flow of %s", got, err, f.IdentityID)
	}
}

func testLinkAndUnlink(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	service, want := s.settings(st), *r.Identity
	expect := func(what string, types ...string) {
		t.Helper()
		got, err := st.Identity(s.ctx(), want.ID)
		if diff := cmp.Diff(&want, got, anySequence); err != nil || diff != "" {
			t.Errorf("%s: %v, want(-) got(+):\n%s", what, err, diff)
		}
		if got := s.types(st); !slices.Equal(got, types) {
			t.Errorf("%s: outbox = %q, want %q", what, got, types)
		}
	}
	s.advance(time.Second)
	for range 2 { // the second changes nothing and tells nothing
		s.must(service.Link(s.ctx(), s.changing(r.Identity, "corp"), account("corp", "Seven")))
	}
	want.UpdatedAt = s.clock()
	want.Credentials = slices.Insert(slices.Clone(want.Credentials), 0, identity.Credential{
		Type: identity.MethodOIDC, Identifiers: []string{"corp:Seven"}, Config: identity.OIDCConfig(account("corp", "Seven")), CreatedAt: s.clock(), UpdatedAt: s.clock(),
	})
	expect("linked", "identity.created 1", "identity.updated 2")
	handle := identity.Handle(identity.MethodOIDC, "corp:Seven")
	if i, err := st.IdentityByIdentifier(s.ctx(), handle); err != nil || i.ID != want.ID {
		t.Errorf("IdentityByIdentifier = %+v, %v, want who has linked it", i, err)
	}
	s.must(service.Link(s.ctx(), s.changing(r.Identity, "other"), account("other", "8")))
	s.must(service.Unlink(s.ctx(), s.changing(r.Identity, "other"), anyway))
	expect("one of two removed", "identity.created 1", "identity.updated 2", "identity.updated 3", "identity.updated 4")

	s.must(service.Unlink(s.ctx(), s.changing(r.Identity, "corp"), anyway))
	want.Credentials = want.Credentials[1:]
	expect("the last removed", "identity.created 1", "identity.updated 2", "identity.updated 3", "identity.updated 4", "identity.updated 5")
	if err := service.Unlink(s.ctx(), s.changing(r.Identity, "corp"), anyway); !errors.Is(err, settings.ErrNotLinked) {
		t.Errorf("Unlink of nothing = %v, want %v", err, settings.ErrNotLinked)
	}
	if i, err := st.IdentityByIdentifier(s.ctx(), handle); !errors.Is(err, identity.ErrNotFound) {
		t.Errorf("IdentityByIdentifier of what was removed = %+v, %v", i, err)
	}
	bob := s.registered(st, "bob@example.org") // what was given up can be another's
	s.must(service.Link(s.ctx(), s.changing(bob.Identity, "corp"), account("corp", "Seven")))
	if err := service.Link(s.ctx(), s.changing(r.Identity, "corp"), account("corp", "Seven")); !errors.Is(err, identity.ErrExists) {
		t.Errorf("Link of another's account = %v, want %v", err, identity.ErrExists)
	}
	if err := service.Link(s.ctx(), s.changing(&identity.Identity{ID: uuid.New()}, "corp"), account("corp", "9")); !errors.Is(err, session.ErrIdentityInactive) {
		t.Errorf("Link of nobody = %v, want %v", err, session.ErrIdentityInactive)
	}
}

// Who removes all their accounts at once keeps one: nobody locks themselves out.
func testUnlinkAtOnce(t *testing.T, s *suite) {
	stores := []*store.Store{s.store(nil), s.store(nil)}
	r := s.proven("ann@example.org", "Seven")
	s.must(stores[0].Register(s.ctx(), r))
	s.must(s.settings(stores[0]).Link(s.ctx(), s.changing(r.Identity, "other"), account("other", "8")))
	providers := []string{"corp", "other"}
	kept := 0
	for _, err := range atOnce(2, func(n int) error {
		return s.settings(stores[n]).Unlink(s.ctx(), s.changing(r.Identity, providers[n]), anyway)
	}) {
		var invalid *flow.Invalid
		if errors.As(err, &invalid) {
			kept++
		} else {
			s.must(err)
		}
	}
	i, err := stores[0].Identity(s.ctx(), r.Identity.ID)
	if err != nil || kept != 1 || len(settings.Linked(i)) != 1 {
		t.Errorf("Identity = %+v, %v with %d refused, want one account left", i, err, kept)
	}
}

// An account can be linked to one person only, and of what is linked and removed
// at once each has happened or not.
func testLinkAtOnce(t *testing.T, s *suite) {
	st := s.store(nil)
	people := []*identity.Identity{s.registered(st, "ann@example.org").Identity, s.registered(st, "bob@example.org").Identity}
	s.oneOf(atOnce(2, func(n int) error {
		return s.settings(st).Link(s.ctx(), s.changing(people[n], "corp"), account("corp", "7"))
	}), identity.ErrExists)
	for _, err := range atOnce(8, func(int) error {
		return s.settings(st).Link(s.ctx(), s.changing(people[0], "other"), account("other", "7"))
	}) {
		s.must(err)
	}
	if i, err := st.Identity(s.ctx(), people[0].ID); err != nil || !slices.Contains(settings.Linked(i), "other") || len(i.Credential(identity.MethodOIDC).Identifiers) > 2 {
		t.Errorf("Identity = %+v, %v, want other:7 once", i, err)
	}
}
