package registration_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/webhook"
)

// provenSubmit is one of a person whom the provider "corp" knows as "Seven".
func provenSubmit(t flow.Type) registration.Submit {
	in := submit(t)
	in.Method, in.Provider, in.Password = identity.MethodOIDC, "corp", password.Plain{}
	in.External = &registration.External{
		Account:           identity.Account{Provider: "corp", Subject: "Seven", Issuer: "https://corp.example.org"},
		VerifiedAddresses: []string{"no address", "anna@EXAMPLE.org", "another@example.org"},
		MetadataPublic:    json.RawMessage(`{"team":"red"}`),
		MetadataAdmin:     json.RawMessage(`{"cost":7}`),
	}
	return in
}

func TestRegisterWhatWasProvenElsewhere(t *testing.T) {
	t.Parallel()
	for _, kind := range []flow.Type{flow.API, flow.Browser} {
		f := newFakes(t)
		f.plan.Before, f.plan.Waiting, f.plan.Session.Bypass = steps("a"), steps("w"), true
		in := provenSubmit(kind)
		got, err := f.verifying().Register(t.Context(), in)
		if err != nil {
			t.Fatalf("%s: Register: %v", kind, err)
		}
		equal(t, "steps", f.steps, []string{"refuse a", "commit", "notify w", "session"})
		record := f.records[0]
		at := start.Add(hookTime)
		want := []identity.Credential{{
			Type: "oidc", Identifiers: []string{"corp:Seven"}, CreatedAt: at, UpdatedAt: at,
			Config: json.RawMessage(`{"providers":[{"provider":"corp","subject":"Seven","issuer":"https://corp.example.org"}]}`),
		}}
		if diff := cmp.Diff(want, record.Identity.Credentials); diff != "" {
			t.Errorf("%s: credentials (-want +got):\n%s", kind, diff)
		}
		if string(got.Identity.MetadataPublic) != `{"team":"red"}` || string(got.Identity.MetadataAdmin) != `{"cost":7}` {
			t.Errorf("%s: metadata = %s and %s, want what was given", kind, got.Identity.MetadataPublic, got.Identity.MetadataAdmin)
		}
		if seen := f.calls[0].Identity; len(seen.Credentials[0].Config) > 0 || len(seen.MetadataPublic) == 0 || !seen.Addresses[0].Verified {
			t.Errorf("%s: the hook saw %+v, want the metadata, the verified address and no secret", kind, seen)
		}
		if g := record.Grant; g.Method != "oidc" || g.Provider != "corp" || !g.Steps.HashedAt.IsZero() || g.Steps.CheckedAt != at {
			t.Errorf("%s: grant = %+v, want it of oidc and corp, without a hash", kind, g)
		}
		if r := f.requests[0]; r.Method != "oidc" || r.Provider != "corp" || r.AAL != session.AAL1 || got.Session == nil {
			t.Errorf("%s: request = %+v, want it of oidc and corp", kind, r)
		}
		if o := f.outcomes[0]; o.Method != "oidc" || o.Result != registration.OK || o.Hash != 0 {
			t.Errorf("%s: outcome = %+v, want one without a hash", kind, o)
		}
	}
}

func TestEventNamesMethodAndProvider(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	if _, err := f.service().Register(t.Context(), provenSubmit(flow.API)); err != nil {
		t.Fatalf("Register: %v", err)
	}
	payload, err := f.records[0].Event.Encode()
	if err != nil {
		t.Fatal(err)
	}
	eventstest.Validate(t, payload)
	var data map[string]any
	if err := json.Unmarshal(f.records[0].Event.Data, &data); err != nil {
		t.Fatal(err)
	}
	if data["method"] != "oidc" || data["provider"] != "corp" || data["session_planned"] != true {
		t.Errorf("identity.created = %v, want oidc, corp and a planned session", data)
	}
}

// Whom the proof vouches for gets no mail and needs no bypass; whom it does not
// vouch for gets both.
func TestVouchedAddresses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		vouched                  []string
		verified, mailed, bypass bool
	}{
		"vouched for":     {[]string{" Anna@example.org"}, true, false, false},
		"another":         {[]string{"eve@example.org"}, false, true, true},
		"none":            {nil, false, true, true},
		"is no address":   {[]string{"anna"}, false, true, true},
		"one of several":  {[]string{"eve@example.org", "anna@example.org"}, true, false, false},
		"a longer domain": {[]string{"anna@example.org.evil.example"}, false, true, true},
	} {
		f := newFakes(t)
		f.plan.Session.Bypass = true
		in := provenSubmit(flow.API)
		in.External.VerifiedAddresses = c.vouched
		if _, err := f.verifying().Register(t.Context(), in); err != nil {
			t.Fatalf("%s: Register: %v", name, err)
		}
		r := f.records[0]
		a := r.Identity.Addresses[0]
		if a.Verified != c.verified || a.VerifiedAt.IsZero() == c.verified || (a.Status == identity.AddressCompleted) != c.verified {
			t.Errorf("%s: address = %+v, want verified: %t", name, a, c.verified)
		}
		if (r.Verification != nil) != c.mailed || r.Grant.Bypass != c.bypass || f.requests[0].Bypass != c.bypass {
			t.Errorf("%s: verification %+v and bypass %t, want %t and %t", name, r.Verification, r.Grant.Bypass, c.mailed, c.bypass)
		}
	}
}

// A hook that changes the traits moves nothing of the proof, and has the last word
// about an address that stays.
func TestHookChangesWhatWasProven(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		traits   string
		verified bool
	}{
		"still vouched for": {`{"email":"another@example.org","name":{}}`, true},
		"not vouched for":   {`{"email":"eve@example.org","name":{}}`, false},
		"taken back":        {`{"email":"anna@example.org","name":{}}`, false},
	} {
		f := newFakes(t)
		f.plan.Before = steps("a")
		f.refuse = func(_ string, c2 *webhook.Call) error {
			c2.Identity.Traits = json.RawMessage(c.traits)
			if name == "taken back" {
				a := &c2.Identity.Addresses[0]
				a.Verified, a.VerifiedAt, a.Status = false, time.Time{}, identity.AddressPending
			}
			return nil
		}
		if _, err := f.service().Register(t.Context(), provenSubmit(flow.API)); err != nil {
			t.Fatalf("%s: Register: %v", name, err)
		}
		i := f.records[0].Identity
		if i.Addresses[0].Verified != c.verified {
			t.Errorf("%s: address = %+v, want verified: %t", name, i.Addresses[0], c.verified)
		}
		if got := i.Credential("oidc"); len(i.Credentials) != 1 || got == nil || !slices.Equal(got.Identifiers, []string{"corp:Seven"}) || len(got.Config) == 0 {
			t.Errorf("%s: credentials = %+v, want the proven one", name, i.Credentials)
		}
	}
}

func TestProvenNeedsNoIdentifierInTheTraits(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	in := provenSubmit(flow.API)
	in.Traits = json.RawMessage(`{"name":{"first":"Anna"}}`)
	if _, err := f.service().Register(t.Context(), in); err != nil {
		t.Errorf("Register: %v", err)
	}
	in.Flow, in.Traits = submit(flow.API).Flow, json.RawMessage(`{}`)
	_, err := f.service().Register(t.Context(), in)
	if got, want := messages(t, err), map[string][]int64{"traits.name": {4000002}}; !sameMessages(got, want) {
		t.Errorf("messages = %v, want %v: the form is to ask for what is missing", got, want)
	}
}

// The edge must tell it from what a person can mend alone: it offers a link.
func TestTakenIsToldApart(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	if _, err := f.service().Register(t.Context(), provenSubmit(flow.API)); err != nil {
		t.Fatalf("Register: %v", err)
	}
	_, err := f.service().Register(t.Context(), provenSubmit(flow.API)) // another flow
	if got, want := messages(t, err), map[string][]int64{"": {4000007}}; !sameMessages(got, want) || !errors.Is(err, identity.ErrExists) {
		t.Errorf("Register = %v with %v, want ErrExists with %v", err, got, want)
	}
}

func TestRepeatOfWhatWasProven(t *testing.T) {
	t.Parallel()
	in := provenSubmit(flow.API)
	f, s, first := registered(t, in)
	again := in
	again.Traits = json.RawMessage(`{}`) // the proof says who it is
	for name, repeat := range map[string]func() (*registration.Result, error){
		"Repeat":   func() (*registration.Result, error) { return s.Repeat(t.Context(), again) },
		"Register": func() (*registration.Result, error) { return s.Register(t.Context(), in) },
	} {
		got, err := repeat()
		if err != nil || got.Identity.ID != first.Identity.ID || got.Session == nil || got.Token == first.Token {
			t.Errorf("%s = %+v, %v, want the same identity with a new token", name, got, err)
		}
	}
	if slices.Contains(f.steps, "verify") || slices.Contains(f.steps, "hash") {
		t.Errorf("steps = %v, want no hash", f.steps)
	}

	for name, change := range map[string]func(*registration.Submit){
		"another subject":  func(in *registration.Submit) { in.External.Account.Subject = "seven" },
		"another issuer":   func(in *registration.Submit) { in.External.Account.Issuer = "https://other.example.org" },
		"another provider": func(in *registration.Submit) { in.Provider = "other" },
		"a password": func(in *registration.Submit) {
			in.Method, in.Provider, in.External, in.Password = "password", "", nil, password.New(goodPassword)
		},
	} {
		in := provenSubmit(flow.API)
		in.Flow = again.Flow
		change(&in)
		if got, err := s.Repeat(t.Context(), in); !errors.Is(err, registration.ErrFlowUsed) {
			t.Errorf("Repeat with %s = %+v, %v, want ErrFlowUsed", name, got, err)
		}
	}
}

func TestPasswordRegistrationIsNotRepeatedByAProof(t *testing.T) {
	t.Parallel()
	in := submit(flow.API)
	f, s, first := registered(t, in)
	stored := f.people[first.Identity.ID] // has linked it since
	stored.Credentials = append(stored.Credentials, identity.Credential{Type: "oidc", Identifiers: []string{"corp:Seven"}})
	other := provenSubmit(flow.API)
	other.Flow = in.Flow
	if got, err := s.Repeat(t.Context(), other); !errors.Is(err, registration.ErrFlowUsed) {
		t.Errorf("Repeat = %+v, %v, want ErrFlowUsed", got, err)
	}
}

func TestWhatIsNoProof(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*registration.Submit){
		"of a code":     func(in *registration.Submit) { in.Method = "code" },
		"of a password": func(in *registration.Submit) { in.Method = "password" },
		"no provider":   func(in *registration.Submit) { in.External.Account.Provider = "" },
		"no subject":    func(in *registration.Submit) { in.External.Account.Subject = "" },
		"no issuer":     func(in *registration.Submit) { in.External.Account.Issuer = "" },
	} {
		f := newFakes(t)
		in := provenSubmit(flow.API)
		change(&in)
		if got, err := f.service().Register(t.Context(), in); err == nil || len(f.steps) > 0 {
			t.Errorf("%s: Register = %+v after %v, want an error and nothing done", name, got, f.steps)
		}
	}
}

// The session of social sign-in is there though nobody has configured it.
func TestProvenIsSignedInByItself(t *testing.T) {
	t.Parallel()
	for _, auto := range []bool{true, false} {
		f := newFakes(t)
		f.plan = hook.Compile(identity.MethodOIDC, hook.Lists{AutoSession: auto})
		got, err := f.service().Register(t.Context(), provenSubmit(flow.Browser))
		if err != nil || (got.Session != nil) != auto {
			t.Errorf("Register with auto_session %t = %+v, %v", auto, got, err)
		}
	}
}
