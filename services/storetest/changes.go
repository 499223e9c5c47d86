package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/settings"
	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/verification"
	"github.com/usher-auth/usher/services/webhook"
)

// people have the one schema that changes of settings are tested with.
type people struct{}

func (people) Schema(string) (*identity.Schema, bool) {
	schema, err := identity.Compile("default", []byte(`{"type":"object","properties":{"traits":{"type":"object","properties":{
		"email":{"type":"string","format":"email","ory.sh/kratos":{"credentials":{"password":{"identifier":true}},"verification":{"via":"email"}}},
		"user":{"type":"string","ory.sh/kratos":{"credentials":{"password":{"identifier":true}}}},
		"n":{"type":"integer"},"name":{"type":"object"}}}}}`))
	return schema, err == nil
}

// plainHashes cost nothing and keep nothing secret.
type plainHashes struct{}

func (plainHashes) Hash(_ context.Context, p password.Plain) (string, error) { return p.Reveal(), nil }

func (plainHashes) Verify(_ context.Context, p password.Plain, phc string) error {
	if phc != p.Reveal() {
		return password.ErrMismatch
	}
	return nil
}

// codes open verifications.
type codes struct{ s *suite }

func (c codes) Opening(id uuid.UUID, i *identity.Identity, a identity.Address, in settings.Submit) (*flow.Flow, events.Event) {
	asked := verification.Opening{Identity: i, Address: a, Type: in.Flow.Type, Client: in.Client}
	f := asked.Flow(c.s.clock(), time.Hour, flow.MethodCode)
	f.ID = id
	return f, asked.Event(f, c.s.clock())
}

// noCalls are made.
type noCalls struct{}

func (noCalls) Notify(context.Context, string, *webhook.Call) error { return nil }

const (
	firstSecret  = "battery staple 2"
	secondSecret = "correct horse 1"
)

func testChangeProfile(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	s.registered(st, "bob@example.org")
	in, want := s.changing(r.Identity, ""), *r.Identity
	s.advance(time.Second)
	want.Traits, want.UpdatedAt = json.RawMessage(`{ "email":"bea@example.org", "user":"Bea"}`), s.clock()
	got, err := s.settings(st).Profile(s.ctx(), in, want.Traits)
	s.must(err)
	i, err := st.Identity(s.ctx(), want.ID)
	s.must(err)
	want.Addresses = []identity.Address{s.address("bea@example.org")}
	want.Addresses[0].ID = i.Addresses[0].ID
	want.Credentials = slices.Clone(want.Credentials)
	want.Credentials[0].Identifiers, want.Credentials[0].UpdatedAt = []string{"bea@example.org", "bea"}, s.clock()
	if diff := cmp.Diff(&want, i, anySequence); diff != "" || i.Addresses[0].ID == r.Identity.Addresses[0].ID {
		t.Errorf("Identity: want(-) got(+):\n%s", diff)
	}
	if f, err := st.Flow(s.ctx(), got.Verifications[0].Flow.ID); err != nil || f.State != flow.SentEmail || f.Form.Values["email"] != "bea@example.org" {
		t.Errorf("Flow = %+v, %v, want the verification of the new address", f, err)
	}
	if again, err := s.settings(st).Profile(s.ctx(), in, want.Traits); err != nil || len(again.Verifications) != 1 || again.Verifications[0].Flow.ID != got.Verifications[0].Flow.ID {
		t.Errorf("Profile again = %+v, %v, want the same verification", again, err)
	}
	for _, taken := range []string{`{"email":"bob@example.org"}`, `{"email":"bea@example.org","user":"bob@example.org"}`} {
		if _, err := s.settings(st).Profile(s.ctx(), in, json.RawMessage(taken)); !errors.Is(err, identity.ErrExists) || !errors.As(err, new(*flow.Invalid)) {
			t.Errorf("Profile of %s = %v, want %v", taken, err, identity.ErrExists)
		}
	}
	if got, want := s.types(st), []string{"identity.created 1", "identity.created 1", "identity.updated 2", "verification.requested "}; !slices.Equal(got, want) {
		t.Errorf("outbox = %q, want %q", got, want)
	}
	for identifier, owner := range map[string]uuid.UUID{"bea": want.ID, "bea@example.org": want.ID, "ann@example.org": uuid.Nil} {
		if i, err := st.IdentityByIdentifier(s.ctx(), identifier); owner == uuid.Nil != errors.Is(err, identity.ErrNotFound) || i != nil && i.ID != owner {
			t.Errorf("IdentityByIdentifier of %s = %+v, %v, want %s", identifier, i, err, owner)
		}
	}
}

// All that a change stores is in one durable commit: on PostgreSQL each row tells
// which.
func testChangeIsOneCommit(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	service := s.settings(st)
	service.Hooks = noCalls{}
	service.Plan = func(string) hook.SettingsPlan {
		return hook.SettingsPlan{RevokeOthers: true, Background: []hook.Step{{Kind: hook.KindWebHook, Endpoint: "crm"}}}
	}
	s.login(st, r)
	in := s.changing(r.Identity, "")
	s.exec(`DELETE FROM outbox`)
	for what, change := range map[string]func() error{
		"profile": func() error {
			_, err := service.Profile(s.ctx(), in, json.RawMessage(`{"email":"bea@example.org"}`))
			return err
		},
		"password": func() error {
			_, err := service.SetPassword(s.ctx(), in, password.New(firstSecret))
			return err
		},
	} {
		before := s.appended.Load()
		s.must(change())
		if n := s.appended.Load() - before; n != 1 {
			t.Errorf("%s: Appended was called %d times, want one for one commit", what, n)
		}
		pending := s.pending(st)
		if events := len(pending); events != 2 || s.count(`hook_inputs`) != 1 {
			t.Errorf("%s: %d events and %d hook inputs, want 2 and 1", what, events, s.count(`hook_inputs`))
		}
		if input, ok, err := st.HookInput(s.ctx(), uuid.MustParse(pending[0].ID), "crm"); err != nil || !ok || input.Flow.ID != in.Flow.ID.String() {
			t.Errorf("%s: HookInput = %+v, %t, %v, want that of %s", what, input, ok, err, pending[0].Type)
		}
		if s.Driver == "postgres" {
			var commits int
			s.must(s.raw().QueryRowContext(s.ctx(), `SELECT count(DISTINCT x) FROM (SELECT xmin::text x FROM outbox UNION ALL SELECT xmin::text FROM hook_inputs
				UNION ALL SELECT xmin::text FROM identities UNION ALL SELECT xmin::text FROM credentials) AS rows`).Scan(&commits))
			if commits != 1 {
				t.Errorf("%s: its rows are of %d commits, want 1", what, commits)
			}
		}
		s.exec(`DELETE FROM outbox`)
		s.exec(`DELETE FROM hook_inputs`)
	}
}

// The other sessions end with the password, and so does a login that is on its way;
// this one goes on.
func testChangePassword(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	other, late := s.login(st, r), s.loginFor(r)
	in := s.changing(r.Identity, "")
	service := s.settings(st)
	_, err := service.SetPassword(s.ctx(), in, password.New(firstSecret))
	s.must(err)
	if found, _, err := st.SessionByDigest(s.ctx(), other.Request.Digest); err != nil || !found.Active(s.clock()) {
		t.Errorf("SessionByDigest = %+v, %v, want the other session as it was", found, err)
	}
	service.Plan = func(string) hook.SettingsPlan { return hook.SettingsPlan{RevokeOthers: true} }
	_, err = service.SetPassword(s.ctx(), in, password.New(secondSecret))
	s.must(err)
	found, i, err := st.SessionByDigest(s.ctx(), other.Request.Digest)
	if err != nil || found.Active(s.clock()) {
		t.Errorf("SessionByDigest = %+v, %v, want the other session ended", found, err)
	}
	if mine, err := st.Session(s.ctx(), in.Session.ID); err != nil || !mine.Active(s.clock()) || mine.Epoch != i.Epoch || i.Epoch == in.Session.Epoch {
		t.Errorf("Session = %+v, %v, want it to go on in epoch %d", mine, err, i.Epoch)
	}
	if _, err := st.IssueSession(s.ctx(), late); !errors.Is(err, session.ErrIdentityInactive) {
		t.Errorf("IssueSession of who has entered the former password = %v, want %v", err, session.ErrIdentityInactive)
	}
	want := []string{
		"identity.created 1", "session.issued 2", "login.succeeded 3", "identity.updated 4", "identity.updated 5", "session.revoked 6",
	}
	if got := s.types(st); !slices.Equal(got, want) {
		t.Errorf("outbox = %q, want %q", got, want)
	}
	i, err = st.Identity(s.ctx(), r.Identity.ID)
	s.must(err)
	if c := i.Credential(identity.MethodPassword); string(c.Config) != `{"hashed_password":"`+secondSecret+`"}` {
		t.Errorf("password %s, want the second", c.Config)
	}
	corp := in
	corp.Provider.ID = "corp"
	s.must(service.Link(s.ctx(), corp, account("corp", "7")))
	// Who has signed up elsewhere has no password, until they set one.
	bob := s.proven("bob@example.org", "8")
	bob.Identity.Credentials[0].Config = identity.OIDCConfig(account("corp", "8"))
	s.must(st.Register(s.ctx(), bob))
	_, err = service.SetPassword(s.ctx(), s.changing(bob.Identity, ""), password.New(firstSecret))
	s.must(err)
	if i, err := st.IdentityByIdentifier(s.ctx(), "bob@example.org"); err != nil || i.Credential(identity.MethodPassword) == nil || i.Credential(identity.MethodOIDC) == nil {
		t.Errorf("IdentityByIdentifier = %+v, %v, want both credentials", i, err)
	}
}

// Of changes at once none is lost: the later is decided on what the former has stored.
func testChangesAtOnce(t *testing.T, s *suite) {
	stores := []*store.Store{s.store(nil), s.store(nil)}
	r := s.registered(stores[0], "ann@example.org")
	other := s.changing(r.Identity, "other")
	s.must(s.settings(stores[0]).Link(s.ctx(), other, account("other", "8")))
	traits := func(n int) json.RawMessage {
		return json.RawMessage(fmt.Sprintf(`{"email":"ann@example.org","n":%d,"user":"ann%d"}`, n, n))
	}
	in := s.changing(r.Identity, "")
	corp := s.changing(r.Identity, "corp")
	updated := s.count(`outbox`)
	for _, err := range atOnce(12, func(n int) error {
		service := s.settings(stores[n%2])
		var err error
		switch n {
		case 0, 1:
			_, err = service.SetPassword(s.ctx(), in, password.New([]string{firstSecret, secondSecret}[n]))
		case 2:
			err = service.Link(s.ctx(), corp, account("corp", "7"))
		case 3:
			err = service.Unlink(s.ctx(), other, anyway)
		default:
			_, err = service.Profile(s.ctx(), in, traits(n))
		}
		return err
	}) {
		s.must(err)
	}
	i, err := stores[0].Identity(s.ctx(), r.Identity.ID)
	s.must(err)
	var got struct{ N int }
	s.must(json.Unmarshal(i.Traits, &got))
	c := i.Credential(identity.MethodPassword)
	if !slices.Equal(c.Identifiers, []string{"ann@example.org", fmt.Sprintf("ann%d", got.N)}) || got.N < 4 {
		t.Errorf("traits %s, password of %q, want those of one profile", i.Traits, c.Identifiers)
	}
	if config := string(c.Config); config != `{"hashed_password":"`+firstSecret+`"}` && config != `{"hashed_password":"`+secondSecret+`"}` {
		t.Errorf("password %s, want one that was set", config)
	}
	if !slices.Equal(settings.Linked(i), []string{"corp"}) {
		t.Errorf("linked %q, want corp alone", settings.Linked(i))
	}
	if n := s.count(`outbox`) - updated; n != 12 {
		t.Errorf("%d events, want one of each change", n)
	}
	// An address is one person's, whoever asks first.
	bob := s.registered(stores[1], "bob@example.org")
	both := []settings.Submit{in, s.changing(bob.Identity, "")}
	s.oneOf(atOnce(2, func(n int) error {
		_, err := s.settings(stores[n]).Profile(s.ctx(), both[n], json.RawMessage(`{"email":"new@example.org"}`))
		return err
	}), identity.ErrExists)
}

// A session that has ended changes nothing, however it has, also when it ends at the
// same time.
func testChangesByWhoHasEnded(t *testing.T, s *suite) {
	st := s.store(nil)
	for name, end := range map[string]func(in settings.Submit){
		"logged out": func(in settings.Submit) {
			by := session.By{Actor: "client", Source: "/usher/session"}
			n, err := st.RevokeSessions(s.ctx(), session.Which{IdentityID: in.Session.IdentityID, ID: in.Session.ID}, by.Revoked(in.Session.IdentityID, "logout", s.clock()))
			if err != nil || n != 1 {
				t.Fatalf("RevokeSessions = %d, %v", n, err)
			}
		},
		"deactivated": func(in settings.Submit) {
			s.must(s.edit(st, in.Session.IdentityID, func(i *identity.Identity) { i.State = identity.Inactive }))
		},
		"recovered": func(in settings.Submit) {
			s.must(s.edit(st, in.Session.IdentityID, func(i *identity.Identity) { i.Epoch++ }))
		},
		"deleted": func(in settings.Submit) { s.exec(`DELETE FROM sessions WHERE id = $1`, in.Session.ID) },
		"another's": func(in settings.Submit) {
			in.Session.ID = s.changing(s.registered(st, uuid.NewString()+"@example.net").Identity, "").Session.ID
		},
	} {
		r := s.registered(st, uuid.NewString()+"@example.org")
		in := s.changing(r.Identity, "corp")
		end(in)
		before := s.count(`outbox`)
		service := s.settings(st)
		_, profile := service.Profile(s.ctx(), in, json.RawMessage(`{"email":"`+r.Identity.Addresses[0].Value+`","n":1}`))
		_, set := service.SetPassword(s.ctx(), in, password.New(firstSecret))
		for what, err := range map[string]error{"Profile": profile, "SetPassword": set, "Link": service.Link(s.ctx(), in, account("corp", "1"))} {
			if !errors.Is(err, session.ErrIdentityInactive) {
				t.Errorf("%s: %s = %v, want %v", name, what, err, session.ErrIdentityInactive)
			}
		}
		if n := s.count(`outbox`) - before; n != 0 {
			t.Errorf("%s: %d events, want none", name, n)
		}
	}
}

// The code on its way to an address that is another's by now, or nobody's, verifies
// nothing, also when the person goes back to it.
func testAddressIsChangedBeforeItsCode(t *testing.T, s *suite) {
	st := s.store(nil)
	r := s.registered(st, "ann@example.org")
	sent, onItsWay := s.mail(st, r, 0), s.codeFor(uuid.New(), r, 0)
	in := s.changing(r.Identity, "")
	for _, address := range []string{"bea@example.org", "ann@example.org"} {
		_, err := s.settings(st).Profile(s.ctx(), in, json.RawMessage(`{"email":"`+address+`"}`))
		s.must(err)
		if _, err := st.Verify(s.ctx(), s.proof(sent, rightCode)); !errors.Is(err, verification.ErrWrongCode) {
			t.Errorf("Verify after the change to %s = %v, want %v", address, err, verification.ErrWrongCode)
		}
		if _, err := st.Queue(s.ctx(), s.message(r, 0), onItsWay); err == nil {
			if _, err := st.Verify(s.ctx(), s.proof(onItsWay.FlowID, rightCode)); !errors.Is(err, verification.ErrWrongCode) {
				t.Errorf("Verify of a code that was queued after the change to %s = %v, want %v", address, err, verification.ErrWrongCode)
			}
		}
		i, err := st.Identity(s.ctx(), r.Identity.ID)
		if err != nil || len(i.Addresses) != 1 || i.Addresses[0].Verified || i.Addresses[0].Value != address {
			t.Errorf("Identity = %+v, %v, want %s unverified", i, err, address)
		}
	}
}
