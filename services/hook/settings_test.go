package hook_test

import (
	"slices"
	"testing"

	"github.com/usher-auth/usher/services/hook"
)

func TestCompileSettings(t *testing.T) {
	t.Parallel()
	waiting, background := webHook("w", hook.Waiting), webHook("b", hook.Background)
	global := []hook.Configured{webHook("gw", hook.Waiting), webHook("gb", hook.Background)}
	for _, tt := range []struct {
		name                string
		lists               hook.SettingsLists
		waiting, background []string
		revoke, show        bool
	}{
		{"nothing", hook.SettingsLists{}, nil, nil, false, false},
		{"the global list", hook.SettingsLists{Global: global}, []string{"gw"}, []string{"gb"}, false, false},
		{"the method's list", hook.SettingsLists{Method: []hook.Configured{waiting, background, background, waiting}, Global: global}, []string{"w", "w"}, []string{"b"}, false, false},
		{"what calls nobody moves no web_hook", hook.SettingsLists{Method: []hook.Configured{revoke, show}, Global: global}, []string{"gw"}, []string{"gb"}, true, true},
		{"both", hook.SettingsLists{Method: []hook.Configured{show, background}, Global: global}, nil, []string{"b"}, false, true},
		{"for one method only", hook.SettingsLists{Global: []hook.Configured{revoke, show}}, nil, nil, false, false},
	} {
		p := hook.CompileSettings("password", tt.lists)
		if got := endpoints(p.Waiting); !slices.Equal(got, tt.waiting) {
			t.Errorf("%s: Waiting = %v, want %v", tt.name, got, tt.waiting)
		}
		if got := endpoints(p.Background); !slices.Equal(got, tt.background) {
			t.Errorf("%s: Background = %v, want %v", tt.name, got, tt.background)
		}
		if p.RevokeOthers != tt.revoke || p.ShowVerification != tt.show {
			t.Errorf("%s: revoke %t, show %t, want %t and %t", tt.name, p.RevokeOthers, p.ShowVerification, tt.revoke, tt.show)
		}
	}
}

// The table has each step with the line that it is written in, as it happens.
func TestRowsOfSettings(t *testing.T) {
	t.Parallel()
	at := func(c hook.Configured, line int) hook.Configured { c.Line = line; return c }
	p := hook.CompileSettings("password", hook.SettingsLists{Method: []hook.Configured{
		at(webHook("b", hook.Background), 1), at(show, 2), at(webHook("w", hook.Waiting), 3), at(revoke, 4), at(revoke, 5),
	}})
	want := []hook.Row{
		{When: "in the commit", Step: "revoke_active_sessions", Line: 4},
		{When: "before the answer", Step: "web_hook w", Line: 3},
		{When: "in the answer", Step: "show_verification_ui", Line: 2},
		{When: "from the event", Step: "web_hook b", Line: 1},
	}
	if got := p.Rows(); !slices.Equal(got, want) {
		t.Errorf("Rows = %+v, want %+v", got, want)
	}
}
