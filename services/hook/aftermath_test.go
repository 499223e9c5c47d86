package hook_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"text/tabwriter"

	"pgregory.net/rapid"

	"github.com/usher-auth/usher/services/hook"
)

var (
	gate   = hook.Configured{Kind: hook.KindRequireVerified}
	revoke = hook.Configured{Kind: hook.KindRevoke}
	verify = hook.Configured{Kind: hook.KindVerification}
	show   = hook.Configured{Kind: hook.KindShowVerification}
)

func TestCompileLogin(t *testing.T) {
	t.Parallel()
	refusing, waiting, background := webHook("r", hook.Refusing), webHook("w", hook.Waiting), webHook("b", hook.Background)
	type on struct{ gate, revoke, verify, show bool }
	for _, tt := range []struct {
		name                        string
		lists                       hook.LoginLists
		before, waiting, background []string
		on                          on
	}{
		{"nothing", hook.LoginLists{}, nil, nil, nil, on{}},
		{
			"the method's list",
			hook.LoginLists{Method: []hook.Configured{waiting, gate, refusing, background, revoke, background, waiting}},
			[]string{"r"},
			[]string{"w", "w"},
			[]string{"b"},
			on{gate: true, revoke: true},
		},
		{
			"the global list where the method has none",
			hook.LoginLists{Global: []hook.Configured{gate, show, verify, background}},
			nil, nil,
			[]string{"b"},
			on{gate: true, verify: true, show: true},
		},
		{
			"a method's list that holds a web_hook takes the place of the whole global list",
			hook.LoginLists{Method: []hook.Configured{background}, Global: []hook.Configured{gate, revoke, waiting}},
			nil, nil,
			[]string{"b"},
			on{},
		},
		{
			"and so does one that holds none",
			hook.LoginLists{Method: []hook.Configured{gate}, Global: []hook.Configured{waiting, background, revoke}},
			nil, nil, nil,
			on{gate: true},
		},
	} {
		p := hook.CompileLogin("password", tt.lists)
		if got := endpoints(p.Before); !slices.Equal(got, tt.before) {
			t.Errorf("%s: Before = %v, want %v", tt.name, got, tt.before)
		}
		if got := endpoints(p.Waiting); !slices.Equal(got, tt.waiting) {
			t.Errorf("%s: Waiting = %v, want %v", tt.name, got, tt.waiting)
		}
		if got := endpoints(p.Background); !slices.Equal(got, tt.background) {
			t.Errorf("%s: Background = %v, want %v", tt.name, got, tt.background)
		}
		if got := (on{p.RequireVerified, p.RevokeOthers, p.Verification, p.ShowVerification}); got != tt.on {
			t.Errorf("%s: %+v is on, want %+v", tt.name, got, tt.on)
		}
	}
}

// loginList draws what a list of login may hold.
func loginList(t *rapid.T, label string) []hook.Configured {
	return rapid.SliceOfN(rapid.SampledFrom([]hook.Configured{
		gate, revoke, verify, show,
		webHook("refuses", hook.Refusing), webHook("refuses-too", hook.Refusing),
		webHook("waits", hook.Waiting), webHook("waits-too", hook.Waiting),
		webHook("follows", hook.Background), webHook("follows-too", hook.Background),
		worker("answers", hook.Refusing), worker("answers-too", hook.Waiting), worker("answers-as-well", hook.Background),
	}), 0, 8).Draw(t, label)
}

// named are the endpoints of a list with a timing, in its order; workers refuse.
func named(list []hook.Configured, timing hook.Timing) []string {
	names := []string{}
	for _, c := range list {
		if c.Kind == hook.KindWebHook && c.Timing == timing || c.Kind == hook.KindWorker && timing == hook.Refusing {
			names = append(names, c.Endpoint)
		}
	}
	return names
}

// One list runs as it is written: web_hooks keep their order, and each
// background endpoint comes once.
func TestLoginRunsOneList(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := hook.LoginLists{Method: loginList(t, "method"), Global: loginList(t, "global")}
		given := hook.LoginLists{Method: slices.Clone(l.Method), Global: slices.Clone(l.Global)}
		p := hook.CompileLogin("password", l)
		if !reflect.DeepEqual(l, given) {
			t.Fatalf("CompileLogin changed its input to %+v, was %+v", l, given)
		}
		runs := l.Method
		if len(runs) == 0 {
			runs = l.Global
		}
		for _, part := range []struct {
			name   string
			got    []hook.Step
			timing hook.Timing
		}{{"Before", p.Before, hook.Refusing}, {"Waiting", p.Waiting, hook.Waiting}} {
			if got, want := endpoints(part.got), named(runs, part.timing); !slices.Equal(got, want) {
				t.Fatalf("%s = %v, want %v", part.name, got, want)
			}
		}
		var want []string
		for _, name := range named(runs, hook.Background) {
			if !slices.Contains(want, name) {
				want = append(want, name)
			}
		}
		if got := endpoints(p.Background); !slices.Equal(got, want) {
			t.Fatalf("Background = %v, want %v", got, want)
		}
		for kind, on := range map[string]bool{
			hook.KindRequireVerified: p.RequireVerified, hook.KindRevoke: p.RevokeOthers,
			hook.KindVerification: p.Verification, hook.KindShowVerification: p.ShowVerification,
		} {
			if want := slices.Contains(runs, hook.Configured{Kind: kind}); on != want {
				t.Fatalf("%s is on: %t, want %t", kind, on, want)
			}
		}
	})
}

// No web_hook of the list that runs, wherever it stands, opens the gate or
// leaves old sessions alive; nor does the order of the others.
func TestNoWebHookMovesTheGate(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		list := append(loginList(t, "list"), show) // so that something is left
		bare := slices.DeleteFunc(slices.Clone(list), func(c hook.Configured) bool { return c.Kind == hook.KindWebHook })
		moved := rapid.Permutation(list).Draw(t, "moved")
		want := hook.CompileLogin("password", hook.LoginLists{Method: bare, Global: loginList(t, "global")})
		for _, l := range []hook.LoginLists{{Method: list}, {Method: moved}, {Global: moved}} {
			p := hook.CompileLogin("oidc", l)
			if p.RequireVerified != want.RequireVerified || p.RevokeOthers != want.RevokeOthers {
				t.Fatalf("%+v: gate %t and revocation %t, want %t and %t", l, p.RequireVerified, p.RevokeOthers, want.RequireVerified, want.RevokeOthers)
			}
		}
	})
}

func TestLoginNotes(t *testing.T) {
	t.Parallel()
	at := func(c hook.Configured, line int) hook.Configured { c.Line = line; return c }
	for _, tt := range []struct {
		name  string
		lists hook.LoginLists
		want  []int // lines
	}{
		{"nothing", hook.LoginLists{}, nil},
		{"a gate that runs", hook.LoginLists{Global: []hook.Configured{at(gate, 1)}}, nil},
		{
			"a gate and a revocation that do not",
			hook.LoginLists{Method: []hook.Configured{webHook("b", hook.Background)}, Global: []hook.Configured{at(gate, 7), at(revoke, 8)}},
			[]int{7, 8},
		},
		{
			"a worker that does not run",
			hook.LoginLists{
				Method: []hook.Configured{webHook("b", hook.Background)},
				Global: []hook.Configured{at(worker("x", ""), 7), at(worker("y", ""), 8)},
			},
			[]int{7, 8},
		},
		{"a worker behind the gate", hook.LoginLists{Method: []hook.Configured{at(gate, 1), at(worker("x", ""), 2)}}, []int{2}},
		{"a worker above the gate", hook.LoginLists{Method: []hook.Configured{at(worker("x", hook.Waiting), 1), at(gate, 2)}}, nil},
		{"a gate in both", hook.LoginLists{Method: []hook.Configured{at(gate, 1)}, Global: []hook.Configured{at(gate, 7)}}, nil},
		{"shown, never opened", hook.LoginLists{Method: []hook.Configured{at(show, 3)}}, []int{3}},
		{"shown and opened", hook.LoginLists{Method: []hook.Configured{at(show, 3), at(verify, 4)}}, nil},
		{
			"web_hooks on the wrong side of the gate",
			hook.LoginLists{Method: []hook.Configured{
				at(webHook("w", hook.Waiting), 1), at(webHook("b", hook.Background), 2), at(gate, 3),
				at(webHook("r", hook.Refusing), 4), at(webHook("b", hook.Background), 5),
			}},
			[]int{1, 4},
		},
		{
			"web_hooks on the right side",
			hook.LoginLists{Method: []hook.Configured{at(webHook("r", hook.Refusing), 1), at(gate, 2), at(webHook("w", hook.Waiting), 3)}},
			nil,
		},
	} {
		var got []int
		for _, n := range hook.CompileLogin("password", tt.lists).Notes {
			got = append(got, n.Line)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: notes about the lines %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestCompileAfter(t *testing.T) {
	t.Parallel()
	p := hook.CompileAfter([]hook.Configured{
		webHook("b", hook.Background), webHook("w", hook.Waiting), gate, webHook("r", hook.Refusing), webHook("c", hook.Background), webHook("b", hook.Background),
	})
	if got, want := endpoints(p.Waiting), []string{"w", "r"}; !slices.Equal(got, want) {
		t.Errorf("Waiting = %v, want %v", got, want)
	}
	if got, want := endpoints(p.Background), []string{"b", "c"}; !slices.Equal(got, want) {
		t.Errorf("Background = %v, want %v", got, want)
	}
}

// behind is a list with an entry of each kind and every remark about its order.
var behind = hook.LoginLists{
	Method: []hook.Configured{
		{Kind: hook.KindWebHook, Endpoint: "webhook-audit", Timing: hook.Background, Line: 30},
		{Kind: hook.KindWebHook, Endpoint: "webhook-crm", Timing: hook.Waiting, Line: 34},
		{Kind: hook.KindRequireVerified, Line: 38},
		{Kind: hook.KindWebHook, Endpoint: "webhook-risk", Timing: hook.Refusing, Line: 39},
		{Kind: hook.KindShowVerification, Line: 43},
		{Kind: hook.KindVerification, Line: 44},
		{Kind: hook.KindRequireVerified, Line: 45},
	},
	Global: []hook.Configured{{Kind: hook.KindRevoke, Line: 48}, worker("vet", "")},
}

func TestLoginPlanPrints(t *testing.T) {
	t.Parallel()
	p := hook.CompileLogin("password", behind)
	var b bytes.Buffer
	printPlan(t, &b, p.Rows(), p.Notes)
	b.WriteString("\n")
	p = hook.CompileLogin("password", hook.LoginLists{Global: append(slices.Clone(behind.Global), show)})
	printPlan(t, &b, p.Rows(), p.Notes)
	b.WriteString("\n")
	printPlan(t, &b, hook.CompileAfter(behind.Method).Rows(), nil)
	golden(t, "aftermath.txt", b.Bytes())
}

func printPlan(t *testing.T, b *bytes.Buffer, rows []hook.Row, notes []hook.Note) {
	t.Helper()
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%d\n", r.When, r.Step, r.Line)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, n := range notes {
		fmt.Fprintf(b, "\nline %d: %s\n", n.Line, n.Text)
	}
}

func TestLoginPlanAsJSON(t *testing.T) {
	t.Parallel()
	text, err := json.MarshalIndent([]any{
		hook.CompileLogin("password", behind), hook.CompileLogin("password", hook.LoginLists{}), hook.CompileAfter(nil),
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "aftermath.json", append(text, '\n'))
}
