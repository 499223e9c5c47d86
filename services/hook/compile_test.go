package hook_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/usher-auth/usher/services/hook"
)

var session = hook.Configured{Kind: hook.KindSession}

func webHook(name string, timing hook.Timing) hook.Configured {
	return hook.Configured{Kind: hook.KindWebHook, Endpoint: name, Timing: timing}
}

// worker is an answering worker; asking for another timing is of no use.
func worker(name string, timing hook.Timing) hook.Configured {
	return hook.Configured{
		Kind: hook.KindWorker, Endpoint: name, Timing: timing,
		Asked: hook.Asked{Timeout: 2 * time.Second, OnMissing: hook.Refuse},
	}
}

func endpoints(steps []hook.Step) []string {
	names := []string{}
	for _, s := range steps {
		names = append(names, s.Endpoint)
	}
	return names
}

func TestCompile(t *testing.T) {
	t.Parallel()
	refusing, waiting, background := webHook("r", hook.Refusing), webHook("w", hook.Waiting), webHook("b", hook.Background)
	for _, tt := range []struct {
		name                        string
		lists                       hook.Lists
		before, waiting, background []string
		session                     hook.Session
	}{
		{"nothing", hook.Lists{}, nil, nil, nil, hook.Session{}},
		{"session only", hook.Lists{Method: []hook.Configured{session}}, nil, nil, nil, hook.Session{On: true}},
		{
			"session in front and twice",
			hook.Lists{Method: []hook.Configured{session, refusing, waiting, session, background}},
			[]string{"r"},
			[]string{"w"},
			[]string{"b"},
			hook.Session{On: true},
		},
		{
			"session alone leaves the global list",
			hook.Lists{Method: []hook.Configured{session}, Global: []hook.Configured{waiting, background}},
			nil,
			[]string{"w"},
			[]string{"b"},
			hook.Session{On: true},
		},
		{
			"one web_hook replaces the whole global list",
			hook.Lists{Method: []hook.Configured{background}, Global: []hook.Configured{refusing, waiting}},
			nil, nil,
			[]string{"b"},
			hook.Session{},
		},
		{
			"before.hooks come first, also those that do not refuse",
			hook.Lists{Before: []hook.Configured{waiting}, Method: []hook.Configured{refusing}},
			[]string{"w", "r"},
			nil, nil,
			hook.Session{},
		},
		{
			"an endpoint gets the event once, and is waited for as often as it is written",
			hook.Lists{Method: []hook.Configured{background, waiting, background, waiting}},
			nil,
			[]string{"w", "w"},
			[]string{"b"},
			hook.Session{},
		},
		{
			"show_verification_ui leaves the global list, wherever it is written, and is there once",
			hook.Lists{Method: []hook.Configured{session, show, show}, Global: []hook.Configured{waiting, background}},
			nil,
			[]string{"", "w"},
			[]string{"b"},
			hook.Session{On: true},
		},
		{
			"show_verification_ui keeps its place",
			hook.Lists{Method: []hook.Configured{waiting, show, refusing}, ShowVerification: true},
			[]string{"r"},
			[]string{"w", ""},
			nil,
			hook.Session{},
		},
		{
			"workers run before the commit, whatever is said of them, in their order",
			hook.Lists{
				Before: []hook.Configured{worker("x", "")},
				Method: []hook.Configured{worker("y", hook.Waiting), session, refusing, worker("z", hook.Background), worker("y", "")},
			},
			[]string{"x", "y", "r", "z", "y"},
			nil, nil,
			hook.Session{On: true},
		},
		{
			"a worker leaves the global web_hooks, and takes the place of the global workers",
			hook.Lists{Method: []hook.Configured{worker("x", "")}, Global: []hook.Configured{refusing, worker("y", ""), background}},
			[]string{"x", "r"},
			nil,
			[]string{"b"},
			hook.Session{},
		},
		{
			"a web_hook leaves the global workers",
			hook.Lists{Method: []hook.Configured{background}, Global: []hook.Configured{refusing, worker("y", "")}},
			[]string{"y"},
			nil,
			[]string{"b"},
			hook.Session{},
		},
		{
			"the global list keeps its order",
			hook.Lists{Global: []hook.Configured{refusing, worker("y", ""), webHook("s", hook.Refusing)}},
			[]string{"r", "y", "s"},
			nil, nil,
			hook.Session{},
		},
		{"show_verification_ui by a flag", hook.Lists{ShowVerification: true}, nil, []string{""}, nil, hook.Session{}},
		{"a gate at login", hook.Lists{Gated: true, Method: []hook.Configured{session}}, nil, nil, nil, hook.Session{On: true, Bypass: true}},
		{"a gate without session", hook.Lists{Gated: true}, nil, nil, nil, hook.Session{}},
		{"social sign-in with a gate", hook.Lists{Gated: true, AutoSession: true}, nil, nil, nil, hook.Session{On: true, ByItself: true, Bypass: true}},
		{"social sign-in", hook.Lists{AutoSession: true}, nil, nil, nil, hook.Session{On: true, ByItself: true}},
		{"social sign-in with session", hook.Lists{AutoSession: true, Method: []hook.Configured{session}}, nil, nil, nil, hook.Session{On: true}},
	} {
		p := hook.Compile("password", tt.lists)
		if got := endpoints(p.Before); !slices.Equal(got, tt.before) {
			t.Errorf("%s: Before = %v, want %v", tt.name, got, tt.before)
		}
		if got := endpoints(p.Waiting); !slices.Equal(got, tt.waiting) {
			t.Errorf("%s: Waiting = %v, want %v", tt.name, got, tt.waiting)
		}
		if got := endpoints(p.Background); !slices.Equal(got, tt.background) {
			t.Errorf("%s: Background = %v, want %v", tt.name, got, tt.background)
		}
		if p.Session != tt.session {
			t.Errorf("%s: Session = %+v, want %+v", tt.name, p.Session, tt.session)
		}
	}
}

// lists draws what could be configured.
func lists(t *rapid.T) hook.Lists {
	kind := rapid.SampledFrom([]hook.Configured{
		session, show,
		webHook("refuses", hook.Refusing), webHook("refuses-too", hook.Refusing),
		webHook("waits", hook.Waiting), webHook("waits-too", hook.Waiting),
		webHook("follows", hook.Background), webHook("follows-too", hook.Background),
		worker("answers", hook.Refusing), worker("answers-too", hook.Waiting), worker("answers-as-well", hook.Background),
	})
	hooks := kind.Filter(func(c hook.Configured) bool { return c.Kind == hook.KindWebHook || c.Kind == hook.KindWorker })
	atOnce := hooks.Filter(func(c hook.Configured) bool { return c.Timing != hook.Background })
	return hook.Lists{
		Method:      rapid.SliceOfN(kind, 0, 8).Draw(t, "method"),
		Global:      rapid.SliceOfN(hooks, 0, 4).Draw(t, "global"),
		Before:      rapid.SliceOfN(atOnce, 0, 3).Draw(t, "before"),
		AutoSession: rapid.Bool().Draw(t, "auto session"),

		ShowVerification: rapid.Bool().Draw(t, "show verification"),
		Gated:            rapid.Bool().Draw(t, "gated"),
	}
}

func only(kind string, list []hook.Configured) []hook.Configured {
	return slices.DeleteFunc(slices.Clone(list), func(c hook.Configured) bool { return c.Kind != kind })
}

func withoutSession(list []hook.Configured) []hook.Configured {
	return slices.DeleteFunc(slices.Clone(list), func(c hook.Configured) bool { return c.Kind == hook.KindSession })
}

// P5: what else runs does not depend on session, wherever and however often it
// is written, nor on the method's name.
func TestSessionMovesNoOtherHook(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := lists(t)
		with := hook.Compile("password", l)

		l.Method = withoutSession(l.Method)
		l.AutoSession = !l.AutoSession
		without := hook.Compile("oidc", l)
		for _, part := range []struct {
			name          string
			with, without []hook.Step
		}{
			{"Before", with.Before, without.Before},
			{"Waiting", with.Waiting, without.Waiting},
			{"Background", with.Background, without.Background},
		} {
			if !slices.Equal(part.with, part.without) {
				t.Fatalf("%s = %v with session, %v without", part.name, part.with, part.without)
			}
		}
	})
}

// P5: the web_hooks are those of one list and never of both, and so are the workers.
func TestOneListRuns(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := lists(t)
		p := hook.Compile("password", l)
		want := map[string]bool{}
		for _, kind := range []string{hook.KindWebHook, hook.KindWorker} {
			runs := only(kind, l.Method)
			if len(runs) == 0 {
				runs = only(kind, l.Global)
			}
			for _, c := range runs {
				want[c.Endpoint] = true
			}
		}
		if l.ShowVerification || slices.Contains(l.Method, show) {
			want[""] = true
		}
		got := map[string]bool{}
		after := p.Before[len(l.Before):]
		for _, name := range endpoints(slices.Concat(after, p.Waiting, p.Background)) {
			got[name] = true
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%v run, want %v", got, want)
		}
	})
}

// P4: session is the last step that may write to the answer, and each step
// before it keeps its place among its like.
func TestSessionIsLast(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := lists(t)
		p := hook.Compile("password", l)
		rows := p.Rows()
		at := slices.IndexFunc(rows, func(r hook.Row) bool { return r.When == "last in the answer" })
		if on := slices.Contains(l.Method, session) || l.AutoSession; p.Session.On != on || (at >= 0) != on {
			t.Fatalf("session is %t and in row %d, want %t", p.Session.On, at, on)
		}
		if at < 0 {
			return
		}
		for _, r := range rows[at+1:] {
			if r.When != "from the event" {
				t.Fatalf("%+v stands behind session", r)
			}
		}
		elsewhere := withoutSession(l.Method)
		for range len(l.Method) - len(elsewhere) {
			elsewhere = slices.Insert(elsewhere, rapid.IntRange(0, len(elsewhere)).Draw(t, "place"), session)
		}
		l.Method = elsewhere
		if again := hook.Compile("password", l).Rows(); !slices.Equal(again, rows) {
			t.Fatalf("rows = %v when session is written elsewhere, want %v", again, rows)
		}
	})
}

// P4: a worker answers before the commit or not at all, so it comes before
// whatever makes the answer.
func TestWorkersAnswerBeforeTheCommit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := hook.Compile("password", lists(t))
		for _, s := range slices.Concat(p.Waiting, p.Background) {
			if s.Kind == hook.KindWorker {
				t.Fatalf("%s runs behind the commit", s)
			}
		}
		for _, s := range p.Before {
			if s.Kind == hook.KindWorker && (s.Timeout != 2*time.Second || s.OnMissing != hook.Refuse) {
				t.Fatalf("%s lost what is configured", s)
			}
		}
		verified := hook.CompileAfter(rapid.Permutation(lists(t).Method).Draw(t, "verified"))
		for _, s := range slices.Concat(verified.Waiting, verified.Background) {
			if s.Kind == hook.KindWorker {
				t.Fatalf("%s runs behind a verification", s)
			}
		}
	})
}

// Notes are there exactly when something that may modify the answer is
// written behind session.
func TestNotesTellWhatIsWrittenBehindSession(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := lists(t)
		for i := range l.Method {
			l.Method[i].Line = 10 + i
		}
		var want []int
		behind := false
		for _, c := range l.Method {
			if behind && c.Kind != hook.KindSession && (c.Timing != hook.Background || c.Kind == hook.KindWorker) {
				want = append(want, c.Line)
			}
			behind = behind || c.Kind == hook.KindSession
		}
		var got []int
		for _, n := range hook.Compile("password", l).Notes {
			got = append(got, n.Line)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("Notes are about the lines %v, want %v", got, want)
		}
	})
}

func TestCompileIsDeterministicAndLeavesItsInput(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := lists(t)
		given := l
		given.Method, given.Global, given.Before = slices.Clone(l.Method), slices.Clone(l.Global), slices.Clone(l.Before)
		first, second := hook.Compile("password", l), hook.Compile("password", l)
		if !reflect.DeepEqual(first, second) {
			t.Fatalf("Compile = %+v, then %+v", first, second)
		}
		if !reflect.DeepEqual(l, given) {
			t.Fatalf("Compile changed its input to %+v, was %+v", l, given)
		}
	})
}
