package recovery_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/recovery"
	"github.com/usher-auth/usher/services/session"
	"github.com/usher-auth/usher/services/webhook"
)

var start = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

const goodCode = "123456"

// fakes are a store of one person and one code, and what else a recovery uses. steps
// are what was done, in order.
type fakes struct {
	anna     *identity.Identity
	verified bool
	live     []uuid.UUID
	used     bool
	tries    int
	steps    []string
	proofs   []recovery.Proof
	stored   []events.Event
	created  []flow.Flow
	saved    []flow.Flow
	asked    []session.Request
	outcomes []recovery.Outcome
	plan     hook.AfterPlan
	fails    map[string]error // by step
	troubles []error
}

func newFakes() *fakes {
	return &fakes{
		anna:  &identity.Identity{ID: uuid.New(), State: identity.Active, Epoch: 3, Credentials: []identity.Credential{{Type: "password"}}},
		live:  []uuid.UUID{uuid.New(), uuid.New()},
		fails: map[string]error{},
	}
}

func (f *fakes) service() *recovery.Service {
	return &recovery.Service{
		Store: f, Sessions: f, Hooks: f, Plan: func() hook.AfterPlan { return f.plan }, MaxTries: 5,
		Lifespan: 24 * time.Hour, IssueTimeout: time.Second, SettingsLifespan: time.Hour, Privileged: 15 * time.Minute,
		Now: func() time.Time { return start }, Observe: func(o recovery.Outcome) { f.outcomes = append(f.outcomes, o) },
		Trouble: func(err error) { f.troubles = append(f.troubles, err) },
	}
}

func (f *fakes) step(name string) error {
	f.steps = append(f.steps, name)
	return f.fails[name]
}

func (f *fakes) CountTry(context.Context, uuid.UUID) (int, error) {
	f.tries++
	return f.tries, f.step("count")
}

func (f *fakes) Recover(_ context.Context, p recovery.Proof) (recovery.Recovered, error) {
	f.proofs = append(f.proofs, p)
	if err := f.step("recover"); err != nil {
		return recovery.Recovered{}, err
	}
	if p.Code != goodCode {
		return recovery.Recovered{}, recovery.ErrWrongCode
	}
	r := recovery.Recovered{IdentityID: f.anna.ID, AddressID: uuid.New(), Via: "email", Epoch: f.anna.Epoch, Again: f.used}
	if f.used {
		return r, nil
	}
	f.used = true
	f.anna.Epoch++
	r.Epoch, r.Verified, r.First, r.Ended = f.anna.Epoch, !f.verified, !f.verified, f.live
	sequence := int64(6)
	f.stored = p.Events(r, func() int64 { sequence++; return sequence })
	return r, nil
}

func (f *fakes) Identity(context.Context, uuid.UUID) (*identity.Identity, error) {
	return f.anna, f.step("load")
}

func (f *fakes) Notify(_ context.Context, endpoint string, c *webhook.Call) error {
	if c.Identity.Credentials != nil {
		return errors.New("the hook is shown credentials")
	}
	return f.step("notify " + endpoint)
}

func (f *fakes) Issue(_ context.Context, r session.Request) (*session.Session, error) {
	f.asked = append(f.asked, r)
	return &session.Session{ID: uuid.New(), IdentityID: r.IdentityID, AuthenticatedAt: start}, f.step("issue")
}

func (f *fakes) CreateFlow(_ context.Context, made *flow.Flow) error {
	f.created = append(f.created, *made)
	return f.step("create")
}

func (f *fakes) SaveFlow(_ context.Context, saved *flow.Flow) error {
	f.saved = append(f.saved, *saved)
	return f.step("save")
}

func submit(method, code string) recovery.Submit {
	return recovery.Submit{
		Flow: &flow.Flow{
			ID: uuid.New(), Kind: flow.Recovery, Type: flow.Browser, State: flow.SentEmail, Active: method,
			RequestURL: "https://id.example.org/recovery", Languages: "de", ReturnTo: "https://app.example.org/", Form: flow.Form{Values: map[string]any{"email": "anna@example.org"}},
		},
		Method: method, Code: code, Type: flow.Browser, CSRF: []byte("next cookie"),
		Client: flow.Client{Addr: "192.0.2.7:1", RequestID: "http-1", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
	}
}

func TestRecover(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]struct {
		purpose flow.Purpose
		session string
	}{flow.MethodCode: {flow.RecoverByCode, "code_recovery"}, flow.MethodLink: {flow.RecoverByLink, "link_recovery"}} {
		f := newFakes()
		f.plan = hook.AfterPlan{Waiting: []hook.Step{{Endpoint: "crm"}}, Background: []hook.Step{{Endpoint: "audit"}}}
		in := submit(method, " "+goodCode+"\n")
		r, err := f.service().Recover(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(f.steps, ", "); got != "count, recover, load, notify crm, issue, create, save" {
			t.Errorf("%s: steps = %s", method, got)
		}
		p := f.proofs[0]
		if p.Purpose != want.purpose || p.Code != goodCode || p.FlowID != in.Flow.ID || len(p.Due) != 1 || p.Due[0].EventID != p.EventID {
			t.Errorf("%s: proof = %+v, want one for %s with the call of audit", method, p, want.purpose)
		}
		asked := f.asked[0]
		if asked.Method != want.session || asked.Epoch != 4 || asked.IdentityID != f.anna.ID || asked.Login == uuid.Nil || asked.Digest != r.Token.Digest() || asked.Lifespan != 24*time.Hour {
			t.Errorf("%s: asked for %+v, want a login by %s in the new epoch", method, asked, want.session)
		}
		s := f.created[0]
		if s.Kind != flow.Settings || s.IdentityID != f.anna.ID || s.Type != flow.Browser || string(s.CSRF) != "next cookie" || s.State != flow.ShowForm || s.ReturnTo != in.Flow.ReturnTo || s.Languages != "de" {
			t.Errorf("%s: settings = %+v, want the person's, for the browser's next cookie", method, s)
		}
		if said := s.Form.Messages[""]; len(said) != 1 || said[0].ID != 1060001 || !strings.Contains(string(said[0].Context), "2026-11-26T12:15:00Z") {
			t.Errorf("%s: settings say %+v, want 1060001 until 12:15", method, said)
		}
		if in.Flow.State != flow.PassedChallenge || f.saved[0].State != flow.PassedChallenge || len(in.Flow.Form.Values) > 0 || r.Identity.Credentials != nil {
			t.Errorf("%s: the flow is %+v, want it passed", method, in.Flow)
		}
		if !slices.Equal(f.outcomes, []recovery.Outcome{{Method: method, Result: recovery.OK}}) {
			t.Errorf("%s: outcomes = %v", method, f.outcomes)
		}
	}
}

// A session that no answer could bring to anybody is not issued; all else is as ever.
func TestRecoverWithoutASession(t *testing.T) {
	t.Parallel()
	f := newFakes()
	in := submit(flow.MethodCode, goodCode)
	in.Sessionless = true
	r, err := f.service().Recover(t.Context(), in)
	if err != nil || r.Session != nil || r.Token != (session.Token{}) || r.Settings == nil {
		t.Fatalf("Recover = %+v, %v, want the settings and no session", r, err)
	}
	if got := strings.Join(f.steps, ", "); got != "count, recover, load, create, save" || in.Flow.State != flow.PassedChallenge {
		t.Errorf("steps = %s, the flow is %s", got, in.Flow.State)
	}
	if said := f.created[0].Form.Messages[""]; len(said) != 1 || said[0].ID != 1060001 {
		t.Errorf("settings say %+v, want 1060001", said)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	for verified, want := range map[bool][]string{
		false: {"recovery.completed 7", "address.verified 8", "identity.activated 9", "session.revoked 10", "session.revoked 11"},
		true:  {"recovery.completed 7", "session.revoked 8", "session.revoked 9"},
	} {
		f := newFakes()
		f.verified = verified
		if _, err := f.service().Recover(t.Context(), submit(flow.MethodCode, goodCode)); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range f.stored {
			got = append(got, e.Type+" "+e.Sequence)
			payload, err := e.Encode()
			if err != nil {
				t.Fatal(err)
			}
			eventstest.Validate(t, payload)
			if e.Actor != "person:"+f.anna.ID.String() || e.Subject != f.anna.ID.String() || e.RequestID != "http-1" || strings.Contains(string(payload), goodCode) {
				t.Errorf("%s = %s, want it of the person and without the code", e.Type, payload)
			}
		}
		if !slices.Equal(got, want) || f.stored[0].ID != f.proofs[0].EventID.String() {
			t.Errorf("verified before %t: events = %q, want %q", verified, got, want)
		}
	}
}

// What is not the code signs nobody in, and each counts before anybody looks.
func TestWrongCodes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code   string
		tried  int
		state  string
		want   error
		looks  int
		result string
	}{
		"another":  {"000000", 0, flow.SentEmail, recovery.ErrWrongCode, 1, recovery.Wrong},
		"too long": {strings.Repeat("1", 65), 0, flow.SentEmail, recovery.ErrWrongCode, 0, recovery.Wrong},
		"too many": {goodCode, 5, flow.SentEmail, recovery.ErrTooManyTries, 0, recovery.Wrong},
		"done":     {goodCode, 0, flow.PassedChallenge, recovery.ErrDone, 0, recovery.Done},
	} {
		f := newFakes()
		f.tries = c.tried
		in := submit(flow.MethodCode, c.code)
		in.Flow.State = c.state
		if _, err := f.service().Recover(t.Context(), in); !errors.Is(err, c.want) || len(f.proofs) != c.looks || len(f.asked) > 0 {
			t.Errorf("%s: Recover = %v with %d looks, want %v with %d and no session", name, err, len(f.proofs), c.want, c.looks)
		}
		if f.outcomes[0].Result != c.result {
			t.Errorf("%s: outcome %v, want %s", name, f.outcomes, c.result)
		}
	}
	f := newFakes()
	var invalid *flow.Invalid
	if _, err := f.service().Recover(t.Context(), submit(flow.MethodCode, "  ")); !errors.As(err, &invalid) || invalid.Form.Messages["code"][0].ID != 4000002 || f.tries != 0 {
		t.Errorf("no code = %v after %d tries, want 4000002 and none", err, f.tries)
	}
}

// A code is entered as it was dictated.
func TestACodeInParts(t *testing.T) {
	t.Parallel()
	f := newFakes()
	if _, err := f.service().Recover(t.Context(), submit(flow.MethodCode, goodCode[:3]+" "+goodCode[3:])); err != nil || f.proofs[0].Code != goodCode {
		t.Errorf("Recover = %v with %v, want the code without its blank", err, f.proofs)
	}
}

// A part that fails behind the commit leaves a flow that takes the same code again.
func TestTheSameCodeAgain(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, at := range []string{"load", "notify crm", "issue", "create"} {
		f := newFakes()
		f.plan = hook.AfterPlan{Waiting: []hook.Step{{Endpoint: "crm"}}}
		f.fails[at] = broken
		in := submit(flow.MethodCode, goodCode)
		if _, err := f.service().Recover(t.Context(), in); !errors.Is(err, broken) || errors.Is(err, recovery.ErrNoSession) != (at == "issue") || in.Flow.State != flow.SentEmail {
			t.Errorf("%s fails: Recover = %v, the flow is %s, want it to wait", at, err, in.Flow.State)
		}
		delete(f.fails, at)
		f.steps = nil
		if _, err := f.service().Recover(t.Context(), in); err != nil || slices.Contains(f.steps, "notify crm") || in.Flow.State != flow.PassedChallenge {
			t.Errorf("%s had failed: the same code = %v by %q, want a session and no hook twice", at, err, f.steps)
		}
		if f.asked[len(f.asked)-1].Epoch != 4 || f.outcomes[1].Result != recovery.Repeated {
			t.Errorf("%s had failed: asked for epoch %d, outcome %v", at, f.asked[len(f.asked)-1].Epoch, f.outcomes[1])
		}
	}
	f := newFakes()
	f.fails["save"] = broken
	if _, err := f.service().Recover(t.Context(), submit(flow.MethodCode, goodCode)); err != nil || len(f.troubles) != 1 {
		t.Errorf("save fails: Recover = %v, %d troubles, want the session all the same", err, len(f.troubles))
	}
}

// Whoever hangs up behind the commit changes nothing.
func TestTheEndOfARequest(t *testing.T) {
	t.Parallel()
	f := newFakes()
	ctx, end := context.WithCancel(t.Context())
	f.plan = hook.AfterPlan{Waiting: []hook.Step{{Endpoint: "crm"}}}
	s := f.service()
	s.Hooks = ender{f, end}
	if r, err := s.Recover(ctx, submit(flow.MethodCode, goodCode)); err != nil || r.Settings == nil {
		t.Errorf("Recover of who hangs up = %v", err)
	}
}

// ender ends the request when a hook is called.
type ender struct {
	*fakes
	end func()
}

func (e ender) Notify(ctx context.Context, endpoint string, c *webhook.Call) error {
	e.end()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return e.fakes.Notify(ctx, endpoint, c)
}
