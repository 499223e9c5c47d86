package registration_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/registration"
)

func webHook(endpoint string, timing hook.Timing) hook.Configured {
	return hook.Configured{Kind: hook.KindWebHook, Endpoint: endpoint, Timing: timing}
}

// anyHook is one entry of a hook list, but for session.
func anyHook() *rapid.Generator[hook.Configured] {
	return rapid.SampledFrom([]hook.Configured{
		webHook("refuse-1", hook.Refusing), webHook("refuse-2", hook.Refusing),
		webHook("wait-1", hook.Waiting), webHook("wait-2", hook.Waiting),
		webHook("back-1", hook.Background), webHook("back-2", hook.Background),
		worker("answer-1"), worker("answer-2"),
	})
}

func worker(name string) hook.Configured {
	return hook.Configured{Kind: hook.KindWorker, Endpoint: name, Timing: hook.Refusing}
}

// endpoints are those of a list with a timing, in its order.
func endpoints(list []hook.Configured, timing hook.Timing) (names []string) {
	for _, c := range list {
		if c.Timing == timing {
			names = append(names, c.Endpoint)
		}
	}
	return names
}

// register registers one person under what is configured.
func register(rt *rapid.T, l hook.Lists, in registration.Submit) (*fakes, *registration.Result) {
	f := newFakes(rt)
	f.plan = hook.Compile("password", l)
	got, err := f.service().Register(rt.Context(), in)
	if err != nil {
		rt.Fatalf("Register: %v", err)
	}
	return f, got
}

// TestSessionRunsLastWhereverItIsWritten is P4: for every permutation and
// repetition of a hook list, session comes once and nothing comes after it, and
// each worker answers before the commit.
func TestSessionRunsLastWhereverItIsWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		session := hook.Configured{Kind: hook.KindSession}
		list := rapid.SliceOfN(rapid.OneOf(anyHook(), rapid.Just(session)), 0, 12).Draw(rt, "list")
		at := rapid.IntRange(0, len(list)).Draw(rt, "session")
		list = slices.Insert(list, at, session)
		in := submit(rapid.SampledFrom([]flow.Type{flow.API, flow.Browser}).Draw(rt, "type"))

		f, got := register(rt, hook.Lists{Method: list}, in)

		want := []string{"policy"}
		for _, c := range list {
			switch {
			case c.Kind == hook.KindWorker:
				want = append(want, "ask "+c.Endpoint)
			case c.Timing == hook.Refusing:
				want = append(want, "refuse "+c.Endpoint)
			}
		}
		want = append(want, "hash", "commit")
		for _, e := range endpoints(list, hook.Waiting) {
			want = append(want, "notify "+e)
		}
		want = append(want, "session")
		if !slices.Equal(f.steps, want) {
			rt.Errorf("steps = %v, want %v", f.steps, want)
		}
		if got.Session == nil || got.Token.Reveal() == "" {
			rt.Errorf("the result carries no session: %+v", got)
		}
	})
}

// TestSessionMovesNoBackgroundHook is P5: neither the session step nor the kind
// of flow nor the client decides which background hooks get the event.
func TestSessionMovesNoBackgroundHook(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		l := hook.Lists{
			Method: rapid.SliceOfN(anyHook(), 0, 6).Draw(rt, "method"),
			Global: rapid.SliceOfN(anyHook(), 0, 6).Draw(rt, "global"),
			Before: rapid.SliceOfN(rapid.Just(webHook("before", hook.Refusing)), 0, 2).Draw(rt, "before"),
		}
		chosen := l.Method
		if !slices.ContainsFunc(chosen, func(c hook.Configured) bool { return c.Kind == hook.KindWebHook }) {
			chosen = l.Global
		}
		var want []string // each once, however often it is written
		for _, e := range endpoints(chosen, hook.Background) {
			if !slices.Contains(want, e) {
				want = append(want, e)
			}
		}

		for range 3 {
			on := l
			on.Method = slices.Clone(l.Method)
			for range rapid.IntRange(0, 3).Draw(rt, "sessions") {
				at := rapid.IntRange(0, len(on.Method)).Draw(rt, "session")
				on.Method = slices.Insert(on.Method, at, hook.Configured{Kind: hook.KindSession})
			}
			in := submit(rapid.SampledFrom([]flow.Type{flow.API, flow.Browser}).Draw(rt, "type"))
			in.Client.UserAgent = rapid.String().Draw(rt, "agent")
			in.Client.Addr = rapid.SampledFrom([]string{"", "192.0.2.1:1", "[2001:db8::1]:1"}).Draw(rt, "address")

			f, _ := register(rt, on, in)

			var got []string
			for _, input := range f.records[0].Inputs {
				got = append(got, input.Endpoint)
			}
			if !slices.Equal(got, want) {
				rt.Errorf("with %v the event goes to %v, want %v", on.Method, got, want)
			}
			if e := f.records[0].Event; e.Type != "identity.created" {
				rt.Errorf("event = %s, want identity.created whatever is configured", e.Type)
			}
		}
	})
}
