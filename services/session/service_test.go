package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/session"
)

var (
	now    = time.Date(2026, 11, 24, 12, 0, 0, 123456789, time.FixedZone("", 3600))
	stored = now.UTC().Truncate(time.Microsecond)
)

type store struct {
	issue func(session.Issue) (*session.Session, error)
	find  func(session.Digest) (*session.Session, *identity.Identity, error)
}

func (s store) IssueSession(_ context.Context, i session.Issue) (*session.Session, error) {
	return s.issue(i)
}

func (s store) SessionByDigest(_ context.Context, d session.Digest) (*session.Session, *identity.Identity, error) {
	return s.find(d)
}

func service(s store) *session.Service {
	return &session.Service{Store: s, Now: func() time.Time { return now }}
}

func request() session.Request {
	return session.Request{
		ID:          "request-1",
		Deadline:    now.Add(time.Second),
		GrantID:     uuid.New(),
		FlowID:      uuid.New(),
		IdentityID:  uuid.New(),
		Method:      "password",
		AAL:         "aal1",
		Digest:      session.NewToken(session.NativePrefix).Digest(),
		Epoch:       3,
		Lifespan:    24 * time.Hour,
		ClientAddr:  "192.0.2.77:4711",
		UserAgent:   "test/1",
		TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		HTTPRequest: "http-1",
		RequestedAt: now,
	}
}

func TestIssueStoresTheSession(t *testing.T) {
	t.Parallel()
	r := request()
	r.Provider = "acme"
	var asked session.Issue
	got, err := service(store{issue: func(i session.Issue) (*session.Session, error) {
		asked = i
		return &i.Session, nil
	}}).Issue(t.Context(), r)
	if err != nil {
		t.Fatalf("Issue: %v", err)
	}
	want := session.Session{
		IdentityID:      r.IdentityID,
		AAL:             "aal1",
		Methods:         []session.Method{{Method: "password", AAL: "aal1", Provider: "acme", CompletedAt: stored}},
		Devices:         []session.Device{{Address: "192.0.2.77:4711", UserAgent: "test/1"}},
		Epoch:           3,
		AuthenticatedAt: stored,
		IssuedAt:        stored,
		ExpiresAt:       stored.Add(24 * time.Hour),
	}
	noIDs := cmp.Options{cmpopts.IgnoreFields(session.Session{}, "ID"), cmpopts.IgnoreFields(session.Device{}, "ID")}
	if diff := cmp.Diff(want, *got, noIDs); diff != "" {
		t.Errorf("Issue gave another session (-want +got):\n%s", diff)
	}
	if got.ID.Version() != 4 || got.Devices[0].ID.Version() != 4 {
		t.Errorf("ids are of version %d and %d, want 4: it shows no time", got.ID.Version(), got.Devices[0].ID.Version())
	}
	if diff := cmp.Diff(r, asked.Request); diff != "" {
		t.Errorf("the store was asked something else (-want +got):\n%s", diff)
	}
}

func TestIssueMakesTheEvents(t *testing.T) {
	t.Parallel()
	r, former := request(), uuid.New()
	var asked session.Issue
	s := service(store{issue: func(i session.Issue) (*session.Session, error) { asked = i; return &i.Session, nil }})
	if _, err := s.Issue(t.Context(), r); err != nil {
		t.Fatalf("Issue: %v", err)
	}
	person := r.IdentityID.String()
	base := events.Event{
		SpecVersion: "1.0", Source: "/usher/session", Subject: person, Time: stored, DataContentType: "application/json",
		RequestID: "http-1", Actor: "person:" + person, TraceParent: r.TraceParent,
	}
	issued, revoked := base, base
	issued.Type, issued.DataSchema, issued.Sequence = "session.issued", "urn:usher:event:session.issued:1", "8"
	issued.Data = fmt.Appendf(nil, `{"session_id":%q,"identity_id":%q,"method":"password","aal":"aal1","flow_id":%q,"grant_id":%q,"verification_bypassed":true,"network":"192.0.2.0/24"}`,
		asked.Session.ID, person, r.FlowID, r.GrantID)
	revoked.Type, revoked.DataSchema, revoked.Sequence = "session.revoked", "urn:usher:event:session.revoked:1", "7"
	revoked.Data = fmt.Appendf(nil, `{"session_id":%q,"identity_id":%q,"reason":"replaced"}`, former, person)

	for _, c := range []struct{ got, want events.Event }{
		{asked.Event(8, true), issued},
		{asked.Replaced(former, 7), revoked},
	} {
		if diff := cmp.Diff(c.want, c.got, cmpopts.IgnoreFields(events.Event{}, "ID")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.want.Type, diff)
		}
		payload, err := c.got.Encode()
		if err != nil {
			t.Fatal(err)
		}
		eventstest.Validate(t, payload)
	}
	if a, b := asked.Event(8, true), asked.Event(8, true); a.ID == b.ID {
		t.Errorf("two events have the id %s", a.ID)
	}
}

// login is a request of a person who comes back.
func login() session.Request {
	r := request()
	r.GrantID, r.Login = uuid.Nil, uuid.Must(uuid.NewV7())
	return r
}

func TestIssueOfALogin(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*session.Request)
		more   string // of login.succeeded
	}{
		"new session":       {func(*session.Request) {}, `"refreshed":false,"network":"192.0.2.0/24"`},
		"refreshed session": {func(r *session.Request) { r.Refresh = uuid.New() }, `"refreshed":true,"network":"192.0.2.0/24"`},
		"nothing known":     {func(r *session.Request) { r.ClientAddr = "" }, `"refreshed":false`},
	} {
		r := login()
		c.change(&r)
		var asked session.Issue
		s := service(store{issue: func(i session.Issue) (*session.Session, error) { asked = i; return &i.Session, nil }})
		if _, err := s.Issue(t.Context(), r); err != nil {
			t.Fatalf("%s: Issue: %v", name, err)
		}
		if data := string(asked.Event(1, false).Data); strings.Contains(data, "grant_id") {
			t.Errorf("%s: session.issued of a login holds a grant: %s", name, data)
		}
		person, sessionID := r.IdentityID.String(), uuid.New()
		got := asked.Login(9, sessionID)
		want := events.Event{
			ID: r.Login.String(), SpecVersion: "1.0", Source: "/usher/login", Type: "login.succeeded", Subject: person, Time: stored,
			Sequence: "9", DataContentType: "application/json", DataSchema: "urn:usher:event:login.succeeded:1",
			RequestID: "http-1", Actor: "person:" + person, TraceParent: r.TraceParent,
			Data: fmt.Appendf(nil, `{"identity_id":%q,"session_id":%q,"method":"password","flow_id":%q,%s}`, person, sessionID, r.FlowID, c.more),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: event (-want +got):\n%s", name, diff)
		}
		payload, err := got.Encode()
		if err != nil {
			t.Fatal(err)
		}
		eventstest.Validate(t, payload)
	}
}

func TestIssueOfARegistrationHasNoLogin(t *testing.T) {
	t.Parallel()
	s := service(store{issue: func(i session.Issue) (*session.Session, error) {
		if i.Login != nil {
			t.Error("the store is to keep a login.succeeded")
		}
		return &i.Session, nil
	}})
	r := request()
	r.Bypass = true
	if _, err := s.Issue(t.Context(), r); err != nil {
		t.Fatalf("Issue: %v", err)
	}
}

// What becomes of a session that is made fresh: its id, life and devices are
// the stored one's.
func TestIssueOfARefreshSaysOnlyWhatChanges(t *testing.T) {
	t.Parallel()
	r := login()
	r.Refresh = uuid.New()
	s := service(store{issue: func(i session.Issue) (*session.Session, error) { return &i.Session, nil }})
	got, err := s.Issue(t.Context(), r)
	if err != nil {
		t.Fatalf("Issue: %v", err)
	}
	want := &session.Session{
		ID: r.Refresh, IdentityID: r.IdentityID, AAL: "aal1", Epoch: 3, AuthenticatedAt: stored,
		Methods: []session.Method{{Method: "password", AAL: "aal1", CompletedAt: stored}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("session (-want +got):\n%s", diff)
	}
}

// The account that a login has linked is a second method, of a new session and
// of one that is made fresh; login.succeeded tells of the first alone.
func TestIssueOfALinkedLogin(t *testing.T) {
	t.Parallel()
	for name, refresh := range map[string]uuid.UUID{"new": uuid.Nil, "refreshed": uuid.New()} {
		r := login()
		r.Linked, r.Refresh = "corp", refresh
		var asked session.Issue
		s := service(store{issue: func(i session.Issue) (*session.Session, error) { asked = i; return &i.Session, nil }})
		got, err := s.Issue(t.Context(), r)
		if err != nil {
			t.Fatalf("%s: Issue: %v", name, err)
		}
		want := []session.Method{
			{Method: "password", AAL: "aal1", CompletedAt: stored},
			{Method: "oidc", AAL: "aal1", Provider: "corp", CompletedAt: stored},
		}
		if diff := cmp.Diff(want, got.Methods); diff != "" {
			t.Errorf("%s: methods (-want +got):\n%s", name, diff)
		}
		if data := string(asked.Login(9, uuid.New()).Data); !strings.Contains(data, `"method":"password"`) || strings.Contains(data, "corp") {
			t.Errorf("%s: login.succeeded = %s, want it of the password", name, data)
		}
	}
}

func TestIssueRefusesWithoutTheStore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*session.Request)
		want   error
	}{
		"no request id":       {func(r *session.Request) { r.ID = "" }, session.ErrInvalid},
		"no identity":         {func(r *session.Request) { r.IdentityID = uuid.Nil }, session.ErrInvalid},
		"no digest":           {func(r *session.Request) { r.Digest = session.Digest{} }, session.ErrInvalid},
		"no method":           {func(r *session.Request) { r.Method = "" }, session.ErrInvalid},
		"no AAL":              {func(r *session.Request) { r.AAL = "" }, session.ErrInvalid},
		"an AAL of tomorrow":  {func(r *session.Request) { r.AAL = "aal2" }, session.ErrInvalid},
		"no lifespan":         {func(r *session.Request) { r.Lifespan = 0 }, session.ErrInvalid},
		"a negative lifespan": {func(r *session.Request) { r.Lifespan = -time.Hour }, session.ErrInvalid},
		"too long a lifespan": {func(r *session.Request) { r.Lifespan = session.MaxLifespan + 1 }, session.ErrInvalid},
		"no cause":            {func(r *session.Request) { r.GrantID = uuid.Nil }, session.ErrInvalid},
		"two causes":          {func(r *session.Request) { r.Login = uuid.New() }, session.ErrInvalid},
		"a login that skips the gate": {func(r *session.Request) {
			r.GrantID, r.Login, r.Bypass = uuid.Nil, uuid.New(), true
		}, session.ErrInvalid},
		"a refresh by registration": {func(r *session.Request) { r.Refresh = uuid.New() }, session.ErrInvalid},
		"a link by registration":    {func(r *session.Request) { r.Linked = "corp" }, session.ErrInvalid},
		"the deadline is now":       {func(r *session.Request) { r.Deadline = stored }, session.ErrLate},
		"the deadline passed":       {func(r *session.Request) { r.Deadline = now.Add(-time.Minute) }, session.ErrLate},
		"no deadline":               {func(r *session.Request) { r.Deadline = time.Time{} }, session.ErrLate},
	} {
		r := request()
		c.change(&r)
		s := service(store{issue: func(session.Issue) (*session.Session, error) {
			t.Errorf("%s: Issue asked the store", name)
			return nil, nil
		}})
		if _, err := s.Issue(t.Context(), r); !errors.Is(err, c.want) {
			t.Errorf("%s: Issue = %v, want %v", name, err, c.want)
		}
	}
}

func TestIssueTakesTheLongestLifespan(t *testing.T) {
	t.Parallel()
	r := request()
	r.Lifespan = session.MaxLifespan
	s := service(store{issue: func(i session.Issue) (*session.Session, error) { return &i.Session, nil }})
	if _, err := s.Issue(t.Context(), r); err != nil {
		t.Errorf("Issue for %v: %v", r.Lifespan, err)
	}
}

func TestIssueGivesTheStoresAnswer(t *testing.T) {
	t.Parallel()
	former := &session.Session{ID: uuid.New()}
	s := service(store{issue: func(session.Issue) (*session.Session, error) { return former, nil }})
	if got, err := s.Issue(t.Context(), request()); err != nil || got != former {
		t.Errorf("Issue again = %v, %v, want the session that is stored", got, err)
	}
	for _, want := range []error{session.ErrGrantUsed, session.ErrIdentityGone, session.ErrIdentityInactive, session.ErrInvalid} {
		s := service(store{issue: func(session.Issue) (*session.Session, error) { return nil, fmt.Errorf("store: %w", want) }})
		if _, err := s.Issue(t.Context(), request()); !errors.Is(err, want) {
			t.Errorf("Issue = %v, want %v", err, want)
		}
	}
}

func TestIssueBoundsWhatTheClientSaysOfItself(t *testing.T) {
	t.Parallel()
	for agent, want := range map[string]string{
		strings.Repeat("a", 513):       strings.Repeat("a", 512),
		strings.Repeat("a", 511) + "é": strings.Repeat("a", 511),
		"caf\xe9":                      "caf",
	} {
		r := request()
		r.UserAgent = agent
		r.ClientAddr = strings.Repeat("1", 100_000)
		s := service(store{issue: func(i session.Issue) (*session.Session, error) { return &i.Session, nil }})
		got, err := s.Issue(t.Context(), r)
		if err != nil {
			t.Fatalf("Issue: %v", err)
		}
		d := got.Devices[0]
		if d.UserAgent != want || !utf8.ValidString(d.UserAgent) {
			t.Errorf("agent of %d bytes is kept as %d bytes, want %d", len(agent), len(d.UserAgent), len(want))
		}
		if len(d.Address) > 512 {
			t.Errorf("address of %d bytes is kept as %d", len(r.ClientAddr), len(d.Address))
		}
	}
}

func TestWhoami(t *testing.T) {
	t.Parallel()
	broken := errors.New("the database is down")
	for name, c := range map[string]struct {
		change func(*session.Session, *identity.Identity)
		err    error
		want   error
	}{
		"valid":                           {change: func(*session.Session, *identity.Identity) {}},
		"not stored":                      {err: fmt.Errorf("store: %w", session.ErrNotFound), want: session.ErrNotFound},
		"store broken":                    {err: broken, want: broken},
		"revoked":                         {change: func(s *session.Session, _ *identity.Identity) { s.Revoked = true }, want: session.ErrNotFound},
		"expires now":                     {change: func(s *session.Session, _ *identity.Identity) { s.ExpiresAt = now }, want: session.ErrNotFound},
		"expired":                         {change: func(s *session.Session, _ *identity.Identity) { s.ExpiresAt = now.Add(-1) }, want: session.ErrNotFound},
		"epoch was raised":                {change: func(_ *session.Session, i *identity.Identity) { i.Epoch++ }, want: session.ErrNotFound},
		"identity is inactive":            {change: func(_ *session.Session, i *identity.Identity) { i.State = identity.Inactive }, want: session.ErrNotFound},
		"identity is in an unknown state": {change: func(_ *session.Session, i *identity.Identity) { i.State = "locked" }, want: session.ErrNotFound},
	} {
		s := &session.Session{ID: uuid.New(), Epoch: 3, ExpiresAt: now.Add(time.Hour)}
		i := &identity.Identity{ID: uuid.New(), Epoch: 3, State: identity.Active}
		if c.change != nil {
			c.change(s, i)
		}
		digest := session.NewToken(session.NativePrefix).Digest()
		got, who, err := service(store{find: func(d session.Digest) (*session.Session, *identity.Identity, error) {
			if d != digest {
				t.Errorf("%s: the store was asked for %s, want %s", name, d, digest)
			}
			return s, i, c.err
		}}).Whoami(t.Context(), digest)
		switch {
		case c.want == nil && (err != nil || got != s || who != i):
			t.Errorf("%s: Whoami = %v, %v, %v, want the session and its identity", name, got, who, err)
		case c.want != nil && !errors.Is(err, c.want):
			t.Errorf("%s: Whoami = %v, want %v", name, err, c.want)
		case c.want != nil && (got != nil || who != nil):
			t.Errorf("%s: Whoami gives %v and %v beside its error", name, got, who)
		}
	}
}
