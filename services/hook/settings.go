package hook

// SettingsLists are the configured hooks of settings with one method.
type SettingsLists struct {
	// Method is the list after.<method>.hooks, the only one that may hold
	// revoke_active_sessions and show_verification_ui.
	Method []Configured
	// Global is after.hooks. Its web_hooks run where Method holds none.
	Global []Configured
}

// SettingsPlan says what runs once settings were changed with one method.
type SettingsPlan struct {
	Method string `json:"method"`
	// RevokeOthers ends the person's other sessions in the commit of the change.
	RevokeOthers bool `json:"revoke_active_sessions"`
	// ShowVerification leads a page on to the verification that the change has opened;
	// the answer to a script or an app names it anyway.
	ShowVerification bool `json:"show_verification_ui"`
	// Waiting run behind the commit, in order; the answer waits for them.
	Waiting []Step `json:"waiting"`
	// Background run from identity.updated, each endpoint once.
	Background []Step `json:"background"`
	// Lines are where the kinds that are on are written first, by kind.
	Lines map[string]int `json:"lines,omitempty"`
}

// CompileSettings places the configured hooks of settings with a method. The
// web_hooks come from the method's list if that holds any, else from the global one,
// so that turning another kind on or off moves none of them. There is nothing left
// to refuse: what does not run in the background is waited for.
func CompileSettings(method string, l SettingsLists) SettingsPlan {
	called := l.Method
	if !has(l.Method, KindWebHook) {
		called = l.Global
	}
	p := SettingsPlan{
		Method:           method,
		RevokeOthers:     has(l.Method, KindRevoke),
		ShowVerification: has(l.Method, KindShowVerification),
		Waiting:          []Step{},
		Background:       once(timed(called, Background)),
	}
	for _, c := range called {
		if c.Kind == KindWebHook && c.Timing != Background {
			p.Waiting = append(p.Waiting, c.step())
		}
	}
	for _, kind := range []string{KindRevoke, KindShowVerification} {
		if at := first(l.Method, kind); at >= 0 && l.Method[at].Line > 0 {
			if p.Lines == nil {
				p.Lines = map[string]int{}
			}
			p.Lines[kind] = l.Method[at].Line
		}
	}
	return p
}

// Rows gives the plan from the first step to the last, like [LoginPlan.Rows].
func (p SettingsPlan) Rows() []Row {
	var rows []Row
	add := func(on bool, when, kind string) {
		if on {
			rows = append(rows, Row{When: when, Step: kind, Line: p.Lines[kind]})
		}
	}
	add(p.RevokeOthers, "in the commit", KindRevoke)
	rows = append(rows, rowsOf("before the answer", p.Waiting)...)
	add(p.ShowVerification, "in the answer", KindShowVerification)
	return append(rows, rowsOf("from the event", p.Background)...)
}
