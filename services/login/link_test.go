package login_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/login"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/webhook"
)

var newAccount = identity.Account{Provider: "new", Subject: "9", Issuer: "https://new.example.org"}

// annasLink is an account at "new" that waits for Anna.
func annasLink() *flow.Link {
	return &flow.Link{Account: newAccount, Duplicate: "anna@example.org", Methods: []string{"password"}}
}

// linkingSubmit is one of a flow that has a link, by a password or by corp.
func linkingSubmit(method string) login.Submit {
	in := submit(flow.Browser)
	if method == identity.MethodOIDC {
		in = provenSubmit(flow.Browser)
	}
	in.Flow.Link = annasLink()
	return in
}

// linkBy signs in with the flow's method.
func linkBy(ctx context.Context, s *login.Service, in login.Submit) (*login.Result, error) {
	if in.Method == identity.MethodOIDC {
		return s.LoginProven(ctx, in, annas)
	}
	return s.Login(ctx, in)
}

var waysToLink = []string{identity.MethodPassword, identity.MethodOIDC}

// wantLinked holds that Anna has the account, and that it was told once.
func wantLinked(t *testing.T, name string, f *fakes) {
	t.Helper()
	if got, want := f.anna.Credentials[0].Identifiers, []string{"other:1", subject, "new:9"}; !slices.Equal(got, want) {
		t.Errorf("%s: Anna signs in by %v, want %v", name, got, want)
	}
	if got, want := string(f.anna.Credentials[0].Config), string(identity.OIDCConfig(newAccount)); got != want {
		t.Errorf("%s: of her accounts is stored %s, want %s", name, got, want)
	}
	if len(f.updated) != 1 {
		t.Fatalf("%s: %d events of one link", name, len(f.updated))
	}
	person := f.anna.ID.String()
	data, _ := json.Marshal(events.IdentityUpdated{IdentityID: person, Changed: []string{"credentials"}})
	want := events.Event{
		SpecVersion: "1.0", Source: "/usher/login", Type: "identity.updated", Subject: person, Sequence: "8", DataContentType: "application/json",
		DataSchema: "urn:usher:event:identity.updated:1", RequestID: "http-1", Actor: "person:" + person,
		TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Data: data,
	}
	if diff := cmp.Diff(want, f.updated[0], cmpopts.IgnoreFields(events.Event{}, "ID", "Time")); diff != "" {
		t.Errorf("%s: event (-want +got):\n%s", name, diff)
	}
	payload, err := f.updated[0].Encode()
	if err != nil {
		t.Fatal(err)
	}
	eventstest.Validate(t, payload)
}

func TestLoginLinksWhatWaits(t *testing.T) {
	t.Parallel()
	for _, method := range waysToLink {
		f := newProvenFakes()
		f.anna.Sequence = 7
		f.plan = hook.LoginPlan{Before: steps("a"), RequireVerified: true, Waiting: steps("w"), Background: steps("y"), RevokeOthers: true}
		got, err := linkBy(t.Context(), f.service(), linkingSubmit(method))
		if err != nil || got.Identity.ID != f.anna.ID {
			t.Fatalf("%s: login = %+v, %v, want Anna's session", method, got, err)
		}
		want := []string{"refuse a", "notify w", "save due", "link", "session", "revoke"}
		equal(t, method+": steps", f.steps[slices.Index(f.steps, "refuse a"):], want)
		wantLinked(t, method, f)
		r := f.requests[0]
		if r.Method != method || r.Linked != "new" || r.Sequence != 0 || !r.Verified || (r.Provider == "corp") != (method == identity.MethodOIDC) {
			t.Errorf("%s: request = %+v, want both ways to sign in, and no sequence", method, r)
		}
		if f.linked[0] != f.anna.ID {
			t.Errorf("%s: linked to %s, want it Anna's", method, f.linked[0])
		}
		if o := f.outcomes[0]; o.Result != login.OK || o.Method != method || len(f.appended) > 0 {
			t.Errorf("%s: outcome = %+v with the events %v, want %s", method, o, f.appended, login.OK)
		}
	}
}

// The flow says whose password it asks for, if nobody was entered.
func TestLinkStandsForTheIdentifier(t *testing.T) {
	t.Parallel()
	f := newProvenFakes()
	in := linkingSubmit(identity.MethodPassword)
	in.Identifier = ""
	if got, err := f.service().Login(t.Context(), in); err != nil || got.Identity.ID != f.anna.ID {
		t.Errorf("Login without an identifier = %+v, %v, want Anna", got, err)
	}
	in.Password = password.New("wrong")
	_, err := f.service().Login(t.Context(), in)
	if got, want := messages(t, err), map[string][]int64{"": {4000006}}; !sameMessages(got, want) || f.appended[0].Type != "login.failed" {
		t.Errorf("Login with a wrong password: messages %v and %v, want %v", got, f.appended, want)
	}
	in.Password = password.Plain{}
	_, err = f.service().Login(t.Context(), in)
	if got, want := messages(t, err), map[string][]int64{"password": {4000002}}; !sameMessages(got, want) {
		t.Errorf("Login with nothing: messages %v, want %v", got, want)
	}
}

// An account is Anna's by what she signs in with and by each of her addresses,
// but not by what another way to sign in happens to read like.
func TestLinkOnlyToWhomItIsADuplicateOf(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set  func(f *fakes, l *flow.Link)
		fits bool
	}{
		"address": {func(*fakes, *flow.Link) {}, true},
		"username": {func(f *fakes, l *flow.Link) {
			f.anna.Credentials[1].Identifiers, l.Duplicate = []string{"anna"}, "anna"
		}, true},
		"address that is no identifier": {func(f *fakes, l *flow.Link) {
			f.anna.Addresses = append(f.anna.Addresses, identity.Address{Value: "second@example.org"})
			l.Duplicate = "second@example.org"
		}, true},
		"another's":         {func(_ *fakes, l *flow.Link) { l.Duplicate = "ben@example.org" }, false},
		"nobody's":          {func(_ *fakes, l *flow.Link) { l.Duplicate = "" }, false},
		"a subject of hers": {func(_ *fakes, l *flow.Link) { l.Duplicate = subject }, false},
	} {
		for _, method := range waysToLink {
			f := newProvenFakes()
			f.plan.Before = steps("a")
			in := linkingSubmit(method)
			c.set(f, in.Flow.Link)
			got, err := linkBy(t.Context(), f.service(), in)
			if (err == nil) != c.fits || (len(f.linked) > 0) != c.fits {
				t.Errorf("%s, %s: login = %+v, %v with %d links, want it to fit: %t", name, method, got, err, len(f.linked), c.fits)
			}
			if c.fits {
				continue
			}
			if got, want := messages(t, err), map[string][]int64{"": {4010009}}; !sameMessages(got, want) {
				t.Errorf("%s, %s: messages = %v, want %v", name, method, got, want)
			}
			if o := f.outcomes[0]; o.Result != login.Invalid || len(f.calls)+len(f.appended)+len(f.requests) > 0 {
				t.Errorf("%s, %s: outcome = %+v after %v, want %s and nothing done", name, method, o, f.steps, login.Invalid)
			}
		}
	}
}

// Whoever does not get in links nothing, and has nothing linked.
func TestNothingIsLinkedToWhoIsKeptOut(t *testing.T) {
	t.Parallel()
	no := errors.New("no")
	for name, set := range map[string]func(f *fakes, in *login.Submit){
		"wrong password": func(_ *fakes, in *login.Submit) { in.Password = password.New("wrong") },
		"inactive":       func(f *fakes, _ *login.Submit) { f.anna.State = identity.Inactive },
		"refused": func(f *fakes, _ *login.Submit) {
			f.refuse = func(string, *webhook.Call) error { return &webhook.Refusal{} }
		},
		"unverified":    func(f *fakes, _ *login.Submit) { f.anna.Addresses[0].Verified = false },
		"hook is down":  func(f *fakes, _ *login.Submit) { f.notify = func(string, *webhook.Call) error { return no } },
		"store is down": func(f *fakes, _ *login.Submit) { f.saveDue = func() error { return no } },
	} {
		for _, method := range waysToLink {
			if name == "wrong password" && method != identity.MethodPassword {
				continue
			}
			f := newProvenFakes()
			f.plan = hook.LoginPlan{Before: steps("a"), RequireVerified: true, Waiting: steps("w"), Background: steps("y")}
			in := linkingSubmit(method)
			set(f, &in)
			if got, err := linkBy(t.Context(), f.service(), in); err == nil || len(f.linked) > 0 || len(f.requests) > 0 {
				t.Errorf("%s, %s: login = %+v, %v after %v, want nothing linked and no session", name, method, got, err, f.steps)
			}
		}
	}
}

func TestLinkThatIsNotStored(t *testing.T) {
	t.Parallel()
	down := errors.New("database is down")
	for name, c := range map[string]struct {
		link   func(f *fakes) error
		want   error
		result string
	}{
		"another's":     {func(*fakes) error { return identity.ErrExists }, identity.ErrExists, login.Invalid},
		"gone":          {func(*fakes) error { return identity.ErrNotFound }, session.ErrIdentityGone, login.NoSession},
		"inactive":      {func(f *fakes) error { f.anna.State = identity.Inactive; return nil }, session.ErrIdentityInactive, login.NoSession},
		"other epoch":   {func(f *fakes) error { f.change(func(i *identity.Identity) { i.Epoch++ }); return nil }, session.ErrIdentityInactive, login.NoSession},
		"other address": {func(f *fakes) error { f.anna.Addresses, f.anna.Credentials[1].Identifiers = nil, nil; return nil }, nil, login.Invalid},
		"of another issuer": {func(f *fakes) error {
			f.anna.Credentials[0].Identifiers = []string{"new:9"}
			f.anna.Credentials[0].Config = identity.OIDCConfig(identity.Account{Provider: "new", Subject: "9", Issuer: "https://old.example.org"})
			return nil
		}, identity.ErrOtherIssuer, login.Invalid},
		"down": {func(*fakes) error { return down }, down, login.Broken},
	} {
		f := newProvenFakes()
		f.link = func() error { return c.link(f) }
		got, err := f.service().Login(t.Context(), linkingSubmit(identity.MethodPassword))
		if got != nil || err == nil || (c.want != nil && !errors.Is(err, c.want)) || errors.Is(err, identity.ErrNotFound) {
			t.Errorf("%s: Login = %+v, %v, want %v", name, got, err, c.want)
		}
		if o := f.outcomes[0]; o.Result != c.result || len(f.requests) > 0 || len(f.updated) > 0 {
			t.Errorf("%s: outcome = %+v after %v, want %s and no session", name, o, f.steps, c.result)
		}
		if want := map[string][]int64{"": {4000027}}; c.result == login.Invalid && c.want != nil && !sameMessages(messages(t, err), want) {
			t.Errorf("%s: messages = %v, want %v", name, messages(t, err), want)
		}
	}
}

// The second of a double click signs in all the same, and links nothing again.
func TestLinkTwice(t *testing.T) {
	t.Parallel()
	f := newProvenFakes()
	s := f.service()
	for range 2 {
		if got, err := s.Login(t.Context(), linkingSubmit(identity.MethodPassword)); err != nil || got.Session == nil {
			t.Fatalf("Login = %+v, %v, want a session", got, err)
		}
	}
	wantLinked(t, "twice", f)
	if f.requests[0].Linked != "new" || f.requests[1].Linked != "new" {
		t.Errorf("requests = %+v, want both ways to sign in, both times", f.requests)
	}
}

// Who comes back by the account itself has it already, whoever it was to be
// linked to: there is nothing to link.
func TestSignInWithTheAccountThatWaits(t *testing.T) {
	t.Parallel()
	f := newProvenFakes()
	in := linkingSubmit(identity.MethodOIDC)
	in.Flow.Link.Account, in.Flow.Link.Duplicate = annas, "ben@example.org"
	got, err := f.service().LoginProven(t.Context(), in, annas)
	if err != nil || got.Session == nil || len(f.linked) > 0 || f.requests[0].Linked != "" {
		t.Errorf("LoginProven = %+v, %v with %d links, want a session by one method", got, err, len(f.linked))
	}
}

func TestLinkOfARefresh(t *testing.T) {
	t.Parallel()
	f := newProvenFakes()
	in := refreshing(flow.API, f.anna.ID)
	in.Flow.Link = annasLink()
	if _, err := f.service().Login(t.Context(), in); err != nil {
		t.Fatalf("Login: %v", err)
	}
	wantLinked(t, "refresh", f)
	if r := f.requests[0]; r.Refresh != in.Current.Session.ID || r.Linked != "new" {
		t.Errorf("request = %+v, want the session refreshed by both", r)
	}
}

func TestLoginLinking(t *testing.T) {
	t.Parallel()
	f := newProvenFakes()
	f.anna.Sequence = 7
	f.plan = hook.LoginPlan{Before: steps("a"), RequireVerified: true, Waiting: steps("w")}
	in := provenSubmit(flow.Browser)
	in.Provider = "new"
	in.Flow.Link = &flow.Link{Account: identity.Account{Provider: "old", Subject: "1", Issuer: "https://old.example.org"}, Duplicate: "ben@example.org"} // of no account here
	got, err := f.service().LoginLinking(t.Context(), in, *annasLink())
	if err != nil || got.Identity.ID != f.anna.ID {
		t.Fatalf("LoginLinking = %+v, %v, want Anna", got, err)
	}
	equal(t, "steps", f.steps, []string{"find anna@example.org", "refuse a", "notify w", "link", "session"})
	wantLinked(t, "LoginLinking", f)
	if r := f.requests[0]; r.Method != "oidc" || r.Provider != "new" || r.Linked != "" || r.Sequence != 0 {
		t.Errorf("request = %+v, want it of the new account alone", r)
	}
	if diff := cmp.Diff([]login.Outcome{{Method: "oidc", Result: login.OK, Hop: hopTime}}, f.outcomes, cmpopts.IgnoreFields(login.Outcome{}, "Trouble")); diff != "" {
		t.Errorf("outcome (-want +got):\n%s", diff)
	}
}

// An address that was entered and never verified may be somebody else's, who
// would have the account then.
func TestLoginLinkingOnlyByAVerifiedAddress(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set   func(f *fakes, l *flow.Link)
		steps []string
	}{
		"not verified": {func(f *fakes, _ *flow.Link) { f.anna.Addresses[0].Verified = false }, []string{"find anna@example.org"}},
		"nobody's":     {func(f *fakes, _ *flow.Link) { clear(f.people) }, []string{"find anna@example.org"}},
		"no address": {func(f *fakes, l *flow.Link) {
			f.person("ben", "x", identity.Address{Value: "ben@example.org", Verified: true})
			l.Duplicate = "ben"
		}, []string{"find ben"}},
		"no more when it is linked": {func(f *fakes, _ *flow.Link) {
			f.link = func() error { f.anna.Addresses[0].Verified = false; return nil }
		}, []string{"find anna@example.org", "refuse a", "link"}},
	} {
		f := newProvenFakes()
		f.plan.Before = steps("a")
		l := annasLink()
		c.set(f, l)
		got, err := f.service().LoginLinking(t.Context(), provenSubmit(flow.API), *l)
		if got != nil || !errors.Is(err, identity.ErrNotFound) || len(f.updated) > 0 {
			t.Errorf("%s: LoginLinking = %+v, %v, want ErrNotFound", name, got, err)
		}
		equal(t, name+": steps", f.steps, c.steps)
		if len(f.outcomes) > 0 {
			t.Errorf("%s: outcomes = %+v, want none", name, f.outcomes)
		}
	}
}

func TestLoginLinkingIsDenied(t *testing.T) {
	t.Parallel()
	f := newProvenFakes()
	f.anna.State = identity.Inactive
	_, err := f.service().LoginLinking(t.Context(), provenSubmit(flow.API), *annasLink())
	if got, want := messages(t, err), map[string][]int64{"": {4010011}}; !sameMessages(got, want) || len(f.linked) > 0 || f.appended[0].Type != "login.failed" {
		t.Errorf("LoginLinking of the inactive: messages %v after %v, want %v", got, f.steps, want)
	}
	down := errors.New("database is down")
	f.find = func() error { return down }
	if _, err := f.service().LoginLinking(t.Context(), provenSubmit(flow.API), *annasLink()); !errors.Is(err, down) {
		t.Errorf("LoginLinking = %v, want what is broken", err)
	}
	for name, set := range map[string]func(in *login.Submit, l *flow.Link){
		"password":  func(in *login.Submit, _ *flow.Link) { in.Method = identity.MethodPassword },
		"no proof":  func(_ *login.Submit, l *flow.Link) { l.Subject = "" },
		"nobody":    func(_ *login.Submit, l *flow.Link) { l.Duplicate = "" },
		"no method": func(in *login.Submit, _ *flow.Link) { in.Method = "" },
	} {
		f := newProvenFakes()
		in, l := provenSubmit(flow.API), annasLink()
		set(&in, l)
		if got, err := f.service().LoginLinking(t.Context(), in, *l); got != nil || err == nil || errors.Is(err, identity.ErrNotFound) || len(f.steps) > 0 {
			t.Errorf("%s: LoginLinking = %+v, %v after %v, want an error at once", name, got, err, f.steps)
		}
	}
}
