package settings_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/settings"
	"github.com/usher-auth/usher/services/webhook"
)

const (
	oldPassword = "correct horse 1"
	newPassword = "battery staple 2"
)

type schemas struct{}

func (schemas) Schema(id string) (*identity.Schema, bool) {
	schema, err := identity.Compile("person", []byte(`{"type":"object","properties":{"traits":{"type":"object","properties":{
		"email":{"type":"string","format":"email","ory.sh/kratos":{"credentials":{"password":{"identifier":true}},"verification":{"via":"email"}}},
		"more":{"type":"array","items":{"type":"string","format":"email","ory.sh/kratos":{"verification":{"via":"email"}}}},
		"user":{"type":"string","ory.sh/kratos":{"credentials":{"password":{"identifier":true}}}},
		"name":{"type":"string","maxLength":10}},"additionalProperties":false}}}`))
	if err != nil {
		panic(err)
	}
	return schema, id == "person"
}

func (f *fakes) Hash(_ context.Context, p password.Plain) (string, error) {
	f.hashes++
	return "hash of " + p.Reveal(), f.hashing
}

func (f *fakes) Verify(_ context.Context, p password.Plain, phc string) error {
	if phc != "hash of "+p.Reveal() {
		return password.ErrMismatch
	}
	return f.hashing
}

func (f *fakes) Notify(_ context.Context, _ string, c *webhook.Call) error {
	f.called = append(f.called, c)
	return f.calling
}

func (f *fakes) Opening(id uuid.UUID, i *identity.Identity, a identity.Address, _ settings.Submit) (*flow.Flow, events.Event) {
	v := flow.NewVerification(flow.Flow{Type: flow.Browser}, a.Value, flow.MethodCode, start, time.Hour)
	v.ID = id
	return v, events.New(events.VerificationRequested{FlowID: id.String(), Via: a.Via, IdentityID: i.ID.String(), AddressID: a.ID.String()}, start, events.About{Source: "/usher/verification", Actor: "client"})
}

// newPerson has traits, whose address is verified, and a password unless it is empty.
func newPerson(traits, plain string) *fakes {
	f := newFakes(nil)
	f.anna.SchemaID, f.anna.Traits = "person", json.RawMessage(traits)
	schema, _ := schemas{}.Schema("person")
	var identifiers []string
	f.anna.Addresses, identifiers = schema.Extract(f.anna.Traits)
	for n := range f.anna.Addresses {
		a := &f.anna.Addresses[n]
		a.ID, a.Verified, a.Status = uuid.New(), true, identity.AddressCompleted
	}
	if plain != "" {
		f.anna.Credentials = []identity.Credential{{
			Type: identity.MethodPassword, Identifiers: identifiers, Config: hashed(plain), UpdatedAt: start.Add(-time.Hour),
		}}
	}
	return f
}

func hashed(plain string) json.RawMessage {
	return json.RawMessage(`{"hashed_password":"hash of ` + plain + `"}`)
}

// nodes are the messages of an error by node.
func nodes(err error) map[string]int64 {
	var invalid *flow.Invalid
	said := map[string]int64{}
	if errors.As(err, &invalid) {
		for node, messages := range invalid.Form.Messages {
			said[node] = messages[0].ID
		}
	}
	return said
}

func (f *fakes) types() (all []string) {
	for _, e := range f.stored {
		all = append(all, e.Type)
	}
	return all
}

func TestProfile(t *testing.T) {
	t.Parallel()
	const before = `{"email":"anna@example.org","name":"Anna"}`
	for name, tt := range map[string]struct {
		traits string
		old    bool // the session
		broken error
		want   map[string]int64 // messages, by node
		err    error
		stored []string
		result string
	}{
		"a name":                    {`{"email":"anna@example.org","name":"Ann"}`, false, nil, nil, nil, []string{"identity.updated"}, settings.OK},
		"a name, not fresh":         {`{"email":"anna@example.org","name":"Ann"}`, true, nil, nil, nil, []string{"identity.updated"}, settings.OK},
		"the same":                  {` {"email":"anna@example.org", "name":"Anna"}`, true, nil, nil, nil, nil, settings.Unchanged},
		"written otherwise":         {`{"email":"Anna@EXAMPLE.org","name":"Anna"}`, true, nil, nil, nil, []string{"identity.updated"}, settings.OK},
		"an address":                {`{"email":"ann@example.org","name":"Anna"}`, false, nil, nil, nil, []string{"identity.updated", "verification.requested"}, settings.OK},
		"an address, not fresh":     {`{"email":"ann@example.org","name":"Anna"}`, true, nil, nil, settings.ErrNotFresh, nil, settings.Stale},
		"one more":                  {`{"email":"anna@example.org","name":"Anna","more":["a@example.org"]}`, true, nil, nil, settings.ErrNotFresh, nil, settings.Stale},
		"an identifier, not fresh":  {`{"email":"anna@example.org","name":"Anna","user":"anna"}`, true, nil, nil, settings.ErrNotFresh, nil, settings.Stale},
		"an identifier":             {`{"email":"anna@example.org","name":"Anna","user":"anna"}`, false, nil, nil, nil, []string{"identity.updated"}, settings.OK},
		"wrong in two places":       {`{"email":"anna","name":"Anna Magdalena"}`, false, nil, map[string]int64{"traits.email": 4000040, "traits.name": 4000017}, nil, nil, settings.Invalid},
		"wrong and not fresh":       {`{"email":"anna","name":"Anna"}`, true, nil, map[string]int64{"traits.email": 4000040}, nil, nil, settings.Invalid},
		"what nobody knows":         {`{"email":"anna@example.org","size":3}`, false, nil, map[string]int64{"traits": 4000001}, nil, nil, settings.Invalid},
		"nothing to sign in with":   {`{"name":"Anna"}`, false, nil, map[string]int64{"": 4000009}, nil, nil, settings.Invalid},
		"none":                      {``, false, nil, map[string]int64{"": 4000009}, nil, nil, settings.Invalid},
		"taken":                     {`{"email":"ann@example.org","name":"Anna"}`, false, identity.ErrExists, map[string]int64{"": 4000007}, identity.ErrExists, nil, settings.Invalid},
		"the database is down":      {`{"email":"anna@example.org","name":"Ann"}`, false, errDown, nil, errDown, nil, settings.Broken},
		"more than can be verified": {`{"email":"anna@example.org","more":["a@a.org","b@a.org","c@a.org","d@a.org"]}`, false, nil, nil, nil, []string{"identity.updated", "verification.requested", "verification.requested", "verification.requested"}, settings.OK},
	} {
		f := newPerson(before, oldPassword)
		f.broken = tt.broken
		in := f.submit("")
		in.Fresh = !tt.old
		r, err := f.service().Profile(t.Context(), in, json.RawMessage(tt.traits))
		if got := nodes(err); !maps.Equal(got, tt.want) || tt.err != nil && !errors.Is(err, tt.err) || (err == nil) != (len(tt.want) == 0 && tt.err == nil) {
			t.Errorf("%s: Profile = %v %v, want %v and %v", name, err, got, tt.want, tt.err)
		}
		if got := f.types(); !slices.Equal(got, tt.stored) {
			t.Errorf("%s: events %v, want %v", name, got, tt.stored)
		}
		if !slices.Equal(f.outcomes, []settings.Outcome{{Change: "profile", Result: tt.result}}) {
			t.Errorf("%s: outcomes %v, want %s", name, f.outcomes, tt.result)
		}
		if want := tt.traits; tt.result == settings.OK && (string(f.anna.Traits) != want || f.anna.UpdatedAt != start) || tt.result != settings.OK && string(f.anna.Traits) != before {
			t.Errorf("%s: traits %s of %s", name, f.anna.Traits, f.anna.UpdatedAt)
		}
		var invalid *flow.Invalid
		if errors.As(err, &invalid) && tt.traits != "" && invalid.Form.Values["traits.name"] != flow.Entered(json.RawMessage(tt.traits))["traits.name"] {
			t.Errorf("%s: values %v, want what was entered", name, invalid.Form.Values)
		}
		if asked := strings.Count(strings.Join(tt.stored, " "), "verification"); err == nil && (r.Opened != asked || len(r.Verifications) != asked || len(f.flows) != asked) {
			t.Errorf("%s: %+v with %d flows, want %d", name, r, len(f.flows), asked)
		}
		if len(tt.stored) > 0 && f.commits != 1 {
			t.Errorf("%s: %d commits, want one", name, f.commits)
		}
	}
}

var errDown = errors.New("down")

// A new address has to be verified, one that stays keeps what it is; the password goes
// with them.
func TestAddressesOfAProfile(t *testing.T) {
	t.Parallel()
	f := newPerson(`{"email":"anna@example.org","more":["b@example.org"]}`, oldPassword)
	stays := f.anna.Addresses[1]
	in := f.submit("")
	const traits = `{"email":"ann@example.org","more":["B@example.org"],"user":"Annie"}`
	r, err := f.service().Profile(t.Context(), in, json.RawMessage(traits))
	if err != nil {
		t.Fatal(err)
	}
	a := f.anna.Addresses
	if len(a) != 2 || a[0].Value != "ann@example.org" || a[0].Verified || a[0].Status != identity.AddressPending || a[0].CreatedAt != start || a[1] != stays {
		t.Errorf("addresses %+v, want a new one and %+v", a, stays)
	}
	if got := f.anna.Credentials[0]; !slices.Equal(got.Identifiers, []string{"ann@example.org", "annie"}) || string(got.Config) != string(hashed(oldPassword)) {
		t.Errorf("password %+v, want its identifiers to be those of the traits", got)
	}
	var data struct {
		Changed []string
	}
	if err := json.Unmarshal(f.stored[0].Data, &data); err != nil || !slices.Equal(data.Changed, []string{"traits", "credentials"}) {
		t.Errorf("event %s, want traits and credentials", f.stored[0].Data)
	}
	opened := r.Verifications[0]
	if want := `"address_id":"` + a[0].ID.String() + `"`; opened.Address != a[0].Value || f.flows[opened.Flow.ID] != opened.Flow || !strings.Contains(string(f.stored[1].Data), want) {
		t.Errorf("verification %+v, event %s, want of %s", opened, f.stored[1].Data, a[0].ID)
	}
	again, err := f.service().Profile(t.Context(), in, json.RawMessage(traits)) // the answer was lost
	if err != nil || len(again.Verifications) != 1 || again.Verifications[0] != opened || again.Opened != 0 || f.commits != 1 {
		t.Errorf("again: %+v %v after %d commits, want the same verification and nothing stored", again, err, f.commits)
	}
	other := f.submit("")
	if later, err := f.service().Profile(t.Context(), other, json.RawMessage(traits)); err != nil || len(later.Verifications) != 0 {
		t.Errorf("in another flow: %+v %v, want no verification that it has not opened", later, err)
	}
	f.flows[opened.Flow.ID].State = flow.PassedChallenge
	if passed, err := f.service().Profile(t.Context(), in, json.RawMessage(traits)); err != nil || len(passed.Verifications) != 0 {
		t.Errorf("after the verification: %+v %v, want none", passed, err)
	}
}

// Where addresses are not verified nothing is opened.
func TestProfileWithoutVerification(t *testing.T) {
	t.Parallel()
	f := newPerson(`{"email":"anna@example.org"}`, oldPassword)
	s := f.service()
	s.Verification = nil
	r, err := s.Profile(t.Context(), f.submit(""), json.RawMessage(`{"email":"ann@example.org"}`))
	if err != nil || len(r.Verifications) > 0 || !slices.Equal(f.types(), []string{"identity.updated"}) || f.anna.Addresses[0].Verified {
		t.Errorf("Profile = %+v %v, events %v, want the address unverified and no mail", r, err, f.types())
	}
}

func TestSetPassword(t *testing.T) {
	t.Parallel()
	const traits = `{"email":"anna@example.org"}`
	for name, tt := range map[string]struct {
		traits, former, plain string
		hashing, broken       error
		want                  map[string]int64
		err                   error
		result                string
		hashes                int
	}{
		"another":          {traits, oldPassword, newPassword, nil, nil, nil, nil, settings.OK, 1},
		"the first":        {traits, "", newPassword, nil, nil, nil, nil, settings.OK, 1},
		"the same":         {traits, oldPassword, oldPassword, nil, nil, map[string]int64{"password": 4000039}, settings.ErrSamePassword, settings.Invalid, 0},
		"too short":        {traits, oldPassword, "short", nil, nil, map[string]int64{"password": 4000032}, nil, settings.Invalid, 0},
		"similar":          {traits, oldPassword, "anna@example.or", nil, nil, map[string]int64{"password": 4000031}, nil, settings.Invalid, 0},
		"missing":          {traits, oldPassword, "", nil, nil, map[string]int64{"password": 4000002}, nil, settings.Invalid, 0},
		"no identifier":    {`{"name":"Anna"}`, "", newPassword, nil, nil, map[string]int64{"": 4000009}, nil, settings.Invalid, 0},
		"busy":             {traits, "", newPassword, password.ErrBusy, nil, nil, password.ErrBusy, settings.Busy, 1},
		"identifier taken": {traits, "", newPassword, nil, identity.ErrExists, map[string]int64{"": 4000007}, identity.ErrExists, settings.Invalid, 1},
		"down":             {traits, oldPassword, newPassword, nil, errDown, nil, errDown, settings.Broken, 1},
	} {
		f := newPerson(tt.traits, tt.former)
		f.hashing, f.broken = tt.hashing, tt.broken
		_, err := f.service().SetPassword(t.Context(), f.submit(""), password.New(tt.plain))
		if got := nodes(err); !maps.Equal(got, tt.want) || tt.err != nil && !errors.Is(err, tt.err) || (err == nil) != (len(tt.want) == 0 && tt.err == nil) {
			t.Errorf("%s: SetPassword = %v %v, want %v and %v", name, err, got, tt.want, tt.err)
		}
		if !slices.Equal(f.outcomes, []settings.Outcome{{Change: "password", Result: tt.result}}) || f.hashes != tt.hashes {
			t.Errorf("%s: outcomes %v, %d hashes, want %s and %d", name, f.outcomes, f.hashes, tt.result, tt.hashes)
		}
		if tt.result != settings.OK {
			if len(f.stored) > 0 {
				t.Errorf("%s: events %v, want none", name, f.types())
			}
			continue
		}
		c := f.anna.Credential(identity.MethodPassword)
		if string(c.Config) != string(hashed(tt.plain)) || !slices.Equal(c.Identifiers, []string{"anna@example.org"}) || c.UpdatedAt != start || f.commits != 1 {
			t.Errorf("%s: password %+v after %d commits", name, c, f.commits)
		}
		if got := string(f.stored[0].Data); !slices.Equal(f.types(), []string{"identity.updated"}) || !strings.Contains(got, `"changed":["credentials"]`) || f.anna.Epoch != 3 {
			t.Errorf("%s: events %v %s, epoch %d, want the other sessions as they are", name, f.types(), got, f.anna.Epoch)
		}
	}
}

// The answer to a password that was set may be lost: the same one in the same flow is
// no error, in another flow it is.
func TestSetPasswordAgain(t *testing.T) {
	t.Parallel()
	f := newPerson(`{"email":"anna@example.org"}`, oldPassword)
	in, s := f.submit(""), f.service()
	for range 2 {
		if _, err := s.SetPassword(t.Context(), in, password.New(newPassword)); err != nil {
			t.Fatal(err)
		}
	}
	if f.commits != 1 {
		t.Errorf("%d commits, want one", f.commits)
	}
	in.Flow.IssuedAt = start.Add(time.Second)
	if _, err := s.SetPassword(t.Context(), in, password.New(newPassword)); !maps.Equal(nodes(err), map[string]int64{"password": 4000039}) {
		t.Errorf("in a later flow: %v, want 4000039", err)
	}
}

// Where the plan says so the other sessions end, this one goes on, and a login that is
// on its way gets none.
func TestSetPasswordEndsOtherSessions(t *testing.T) {
	t.Parallel()
	f := newPerson(`{"email":"anna@example.org","name":"Anna"}`, oldPassword)
	f.plan.RevokeOthers = true
	in, s := f.submit(""), f.service()
	if _, err := s.Profile(t.Context(), in, json.RawMessage(`{"email":"anna@example.org","name":"Ann"}`)); err != nil || f.kept != uuid.Nil || f.anna.Epoch != 3 {
		t.Errorf("Profile = %v, kept %s, epoch %d, want sessions left alone", err, f.kept, f.anna.Epoch)
	}
	if _, err := s.SetPassword(t.Context(), in, password.New(newPassword)); err != nil {
		t.Fatal(err)
	}
	if got := f.types(); !slices.Equal(got[1:], []string{"identity.updated", "session.revoked"}) || f.kept != in.Session.ID || f.anna.Epoch != 4 {
		t.Errorf("events %v, kept %s, epoch %d, want all but %s ended", got, f.kept, f.anna.Epoch, in.Session.ID)
	}
	if _, err := s.Profile(t.Context(), in, json.RawMessage(`{"email":"anna@example.org"}`)); err != nil {
		t.Errorf("Profile by the session as it was read before = %v, want that it goes on", err)
	}
}

// What is decided is decided on what others have stored meanwhile.
func TestOvertaken(t *testing.T) {
	t.Parallel()
	const traits = `{"email":"anna@example.org"}`
	f := newPerson(traits, oldPassword)
	f.overtake = func(i *identity.Identity) { i.Credentials[0].Config = hashed(newPassword) }
	if _, err := f.service().SetPassword(t.Context(), f.submit(""), password.New(newPassword)); !errors.Is(err, settings.ErrSamePassword) || f.commits != 0 {
		t.Errorf("SetPassword of what another has set = %v, want %v", err, settings.ErrSamePassword)
	}
	f = newPerson(traits, oldPassword)
	f.overtake = func(i *identity.Identity) {
		i.Traits = json.RawMessage(`{"email":"battery@staple.org","user":"battery staple2"}`)
	}
	if _, err := f.service().SetPassword(t.Context(), f.submit(""), password.New(newPassword)); !maps.Equal(nodes(err), map[string]int64{"password": 4000031}) {
		t.Errorf("SetPassword like the new identifier = %v, want 4000031", err)
	}
	f = newPerson(traits, oldPassword)
	f.overtake = func(i *identity.Identity) { i.Credentials[0].Config = hashed("a third one") }
	if _, err := f.service().Profile(t.Context(), f.submit(""), json.RawMessage(`{"email":"ann@example.org"}`)); err != nil || string(f.anna.Credentials[0].Config) != string(hashed("a third one")) {
		t.Errorf("Profile = %v with %s, want the password that another has set", err, f.anna.Credentials[0].Config)
	}
}

func TestHooksOfSettings(t *testing.T) {
	t.Parallel()
	f := newPerson(`{"email":"anna@example.org","name":"Anna"}`, oldPassword)
	f.plan = hook.SettingsPlan{
		ShowVerification: true,
		Waiting:          []hook.Step{{Kind: hook.KindWebHook, Endpoint: "vet"}},
		Background:       []hook.Step{{Kind: hook.KindWebHook, Endpoint: "crm"}},
	}
	in := f.submit("")
	in.TransientPayload = json.RawMessage(`{"why":"moved"}`)
	const traits = `{"email":"ann@example.org","name":"Ann"}`
	ctx, cancel := context.WithCancel(t.Context())
	r, err := f.service().Profile(ctx, in, json.RawMessage(traits))
	cancel()
	if err != nil || !r.ShowVerification {
		t.Fatalf("Profile = %+v %v", r, err)
	}
	id := f.stored[0].ID
	if len(f.due) != 1 || f.due[0].Endpoint != "crm" || f.due[0].EventID.String() != id || string(f.due[0].Input.Flow.TransientPayload) != `{"why":"moved"}` {
		t.Errorf("due %+v, want crm with the event %s", f.due, id)
	}
	if c := f.called; len(c) != 1 || c[0].EventID != id || string(c[0].Identity.Traits) != traits || c[0].Identity.Credentials != nil || string(c[0].Flow.TransientPayload) != `{"why":"moved"}` {
		t.Errorf("called %+v, want with what was stored and no credential", c)
	}
	if _, err := f.service().Profile(t.Context(), in, json.RawMessage(traits)); err != nil || len(f.called) != 1 || len(f.due) != 1 {
		t.Errorf("again: %v, %d calls, %d due, want none more", err, len(f.called), len(f.due))
	}
	f.calling = &webhook.Failed{Endpoint: "vet", Err: errDown}
	if _, err := f.service().SetPassword(t.Context(), in, password.New(newPassword)); !errors.Is(err, errDown) || string(f.anna.Credentials[0].Config) != string(hashed(newPassword)) {
		t.Errorf("SetPassword = %v with %s, want the hook's error and the password set", err, f.anna.Credentials[0].Config)
	}
	if last := f.outcomes[len(f.outcomes)-1]; last.Result != settings.HookFailed {
		t.Errorf("outcome %v, want %s", last, settings.HookFailed)
	}
}
