package api_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/override"
)

// settingsDesk keeps revisions in memory and knows two settings.
type settingsDesk struct {
	rows []override.Revision
	told []events.Event
	// broken is what the store answers, refused what cannot hold.
	broken, refused error
}

func (d *settingsDesk) service() *override.Service {
	return &override.Service{Store: d, Configuration: d, Follower: d, Now: func() time.Time { return noon }}
}

func withSettings(d *settingsDesk) func(*world) {
	return func(w *world) { w.options.Overrides = d.service() }
}

func (d *settingsDesk) SaveSettings(_ context.Context, r override.Revision, e events.Event) error {
	d.rows, d.told = append(d.rows, r), append(d.told, e)
	return d.broken
}

func (d *settingsDesk) NewestSettings(context.Context) (override.Revision, error) {
	if len(d.rows) == 0 {
		return override.Revision{Values: override.Values{}}, d.broken
	}
	return d.rows[len(d.rows)-1], d.broken
}

func (d *settingsDesk) SettingsBefore(_ context.Context, before int64, limit int) ([]override.Revision, error) {
	found := []override.Revision{}
	for _, r := range slices.Backward(d.rows) {
		if (before == 0 || r.Number < before) && len(found) < limit {
			found = append(found, r)
		}
	}
	return found, d.broken
}

func (d *settingsDesk) Follow(ctx context.Context) (override.InForce, error) {
	newest, err := d.NewestSettings(ctx)
	return override.InForce{Newest: newest, Number: newest.Number, Values: newest.Values}, err
}

func (d *settingsDesk) Settings(v override.Values) []override.State {
	on := override.Setting{Name: override.SignIn, Label: "Sign In After Registration", Help: "…", Kind: override.Switch}
	life := override.Setting{Name: "session.lifespan", Label: "A session lasts", Help: "…", Kind: override.Duration, Min: time.Second, Max: time.Hour}
	fixed := override.Setting{Name: override.Gate, Label: "Gate", Help: "…", Kind: override.Switch}
	states := []override.State{
		{Setting: on, Range: on.Wanted(), Value: true, File: true, Source: override.FromFile},
		{Setting: life, Range: life.Wanted(), Value: "1h0m0s", File: "1h0m0s", Source: override.FromFile},
		{Setting: fixed, Range: fixed.Wanted(), Value: false, File: false, Source: override.Locked},
	}
	for n := range states {
		if value, ok := v[states[n].Name]; ok {
			states[n].Value, states[n].Source = value, override.Saved
		}
	}
	return states
}

func (d *settingsDesk) Effect(_ context.Context, v override.Values) (override.Effect, error) {
	e := override.NoEffect()
	if v[override.SignIn] == false {
		if d.refused != nil {
			return e, d.refused
		}
		return e, nil
	}
	e.Rows = append(e.Rows, override.Row{Flow: "registration", Method: "password", FlowType: "api", When: "before the answer", Step: "session", Line: 3})
	return e, nil
}

func TestSettingsRoutes(t *testing.T) {
	t.Parallel()
	d := &settingsDesk{}
	c := newWorld(t, withSettings(d)).admin()
	for _, step := range []struct {
		method, path, body string
		status             int
		want               string // what the answer holds
	}{
		{"GET", "", "", 200, `{"revision":{"revision":0,"values":{},`},
		{"GET", "/history", "", 200, `[]`},
		{"POST", "/preview", `{"set":{"sign_in_after_registration":false}}`, 200, `"after":{"rows":[],`},
		{"POST", "/preview", `{"set":{"sign_in_after_registration":"off"}}`, 200, `"refused":["sign_in_after_registration: want true or false"]`},
		{"POST", "/preview", `{}`, 200, `"refused":["nothing is to be set or reset"]`},
		{"PATCH", "", `{"revision":0,"set":{"sign_in_after_registration":false}}`, 200, `{"revision":{"revision":1,"values":{"sign_in_after_registration":false},"actor":"admin:`},
		{"GET", "", "", 200, `"value":false,"file":true,"source":"saved"`},
		{"PATCH", "", `{"revision":0,"set":{"session.lifespan":"10m"}}`, 409, `"newest":{"revision":1,"values":{"sign_in_after_registration":false},"actor":"admin:`},
		{"PATCH", "", `{"revision":1,"set":{"session.lifespan":"600s"}}`, 200, `"session.lifespan":"10m0s"`},
		{"PATCH", "", `{"revision":2,"reset":["sign_in_after_registration"]}`, 200, `"revision":3,"values":{"session.lifespan":"10m0s"}`},
		{"PATCH", "", `{"revision":3,"set":{"session.lifespan":"2h"}}`, 400, "want 1s to 1h, not 2h"},
		{"PATCH", "", `{"revision":3,"set":{"require_verified_address":true}}`, 400, "console.locked"},
		{"PATCH", "", `{"revision":3,"set":{"session.lifespam":"2m"}}`, 400, "is no setting: want one of"},
		{"PATCH", "", `{"revision":3,"reset":["session.lifespam"]}`, 400, "is no setting: want one of"},
		{"PATCH", "", `{"revision":3,"set":{"session.lifespan":"2m"},"reset":["session.lifespan"]}`, 400, "either set or reset"},
		{"PATCH", "", `{"revision":3}`, 400, "nothing is to be set"},
		{"PATCH", "", `{"set":{"session.lifespan":"2m"}}`, 400, "revision is missing"},
		{"PATCH", "", `{"revision":3,"values":{}}`, 400, "unknown field"},
		{"PATCH", "", `{"revision":3,"set":{"session.lifespan":"2m","session.lifespan":"3m"}}`, 400, "twice"},
		{"GET", "/history?page_size=2", "", 200, `[{"revision":3,`},
		{"GET", "/history?before=3&page_size=1", "", 200, `[{"revision":2,`},
		{"GET", "/history?before=0", "", 400, "before"},
		{"GET", "/history?page_size=101", "", 400, "page_size"},
		{"POST", "/revert", `{"revision":3,"to":1}`, 200, `"revision":4,"values":{"sign_in_after_registration":false}`},
		{"POST", "/revert", `{"revision":3,"to":1}`, 409, `"newest"`},
		{"POST", "/revert", `{"revision":4,"to":9}`, 404, "no such revision"},
		{"POST", "/revert", `{"revision":4,"to":-1}`, 404, "no such revision"},
		{"POST", "/revert", `{"revision":4}`, 400, "must both be given"},
		{"POST", "/revert", `{"revision":4,"to":0}`, 200, `"revision":5,"values":{}`},
	} {
		g := c.do(step.method, "/admin/settings"+step.path, step.body, "Content-Type", "application/json")
		if g.status != step.status || !strings.Contains(g.body, step.want) {
			t.Errorf("%s %s %s = %d %s, want %d with %s", step.method, step.path, step.body, g.status, g.body, step.status, step.want)
		}
	}
	var said []string
	for _, e := range d.told {
		said = append(said, e.Type+" "+string(e.Data))
		if e.Actor == "" || e.RequestID == "" {
			t.Errorf("event %+v says not who and in which request", e)
		}
	}
	want := []string{
		`settings.changed {"action":"saved","revision":1,"changed":["sign_in_after_registration"]}`,
		`settings.changed {"action":"saved","revision":2,"changed":["session.lifespan"]}`,
		`settings.changed {"action":"saved","revision":3,"changed":["sign_in_after_registration"]}`,
		`settings.changed {"action":"reverted","revision":4,"changed":["session.lifespan","sign_in_after_registration"]}`,
		`settings.changed {"action":"reverted","revision":5,"changed":["sign_in_after_registration"]}`,
	}
	if !slices.Equal(said, want) {
		t.Errorf("events:\n%s\nwant:\n%s", strings.Join(said, "\n"), strings.Join(want, "\n"))
	}
}

func TestSettingsThatCannotHold(t *testing.T) {
	t.Parallel()
	d := &settingsDesk{refused: &override.Refused{Reasons: []string{"a: one", "b: two"}}}
	c := newWorld(t, withSettings(d)).admin()
	const off = `{"revision":0,"set":{"sign_in_after_registration":false}}`
	if g := c.do("PATCH", "/admin/settings", off, "Content-Type", "application/json"); g.status != 400 || !strings.Contains(g.body, `"refused":["a: one","b: two"]`) {
		t.Errorf("PATCH of what cannot hold = %d %s, want both reasons", g.status, g.body)
	}
	if len(d.rows) != 0 {
		t.Errorf("saved %+v, want nothing", d.rows)
	}
	d.rows = []override.Revision{{Number: 7, Values: override.Values{}, Damaged: true}}
	if g := c.do("POST", "/admin/settings/revert", `{"revision":7,"to":7}`, "Content-Type", "application/json"); g.status != 409 || !strings.Contains(g.body, "cannot be read") {
		t.Errorf("revert to what is damaged = %d %s, want 409", g.status, g.body)
	}
	d.broken = errors.New("away")
	if g := c.get("/admin/settings"); g.status != 500 || strings.Contains(g.body, "away") {
		t.Errorf("GET without a store = %d %s, want 500 that shows nothing", g.status, g.body)
	}
}
