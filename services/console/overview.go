package console

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/usher-auth/usher/services/operator"
	"github.com/usher-auth/usher/services/override"
	"github.com/usher-auth/usher/services/stats"
)

const pathOverviewData = base + "/overview.json"

func overviewRoutes() []route {
	return []route{
		{"GET " + pathOverview, operator.RoleOperator, (*visit).overview},
		{"GET " + pathOverviewData, operator.RoleOperator, (*visit).overviewData},
	}
}

// overview is how the installation is.
type overview struct {
	health part[[]failing]
	signIn part[override.Standing]
	hour   part[stats.Hour]
	board  board
	now    time.Time
	public string // URL of the registration page
	assets assets
}

// partNow asks for what moves on the page, and not for the rest of it.
const partNow = "now"

// overview shows how the installation is. It asks nothing of the database but
// whether that answers.
func (v *visit) overview() error {
	o := overview{
		hour: load[stats.Hour](v, "/admin/stats", nil), now: v.Now(),
		public: v.document("", "").public, assets: v.assets,
	}
	o.health.value, o.health.err = v.failing()
	o.signIn.value, o.signIn.err = v.signInAfterRegistration()
	if o.hour.err == nil {
		o.board = newBoard(o.hour.value)
	}
	if v.r.URL.Query().Get("part") == partNow {
		v.draw(http.StatusOK, overviewNow(o))
		return nil
	}
	v.show(http.StatusOK, "Overview", base+"/", overviewPage(o))
	return nil
}

// overviewData is what the page renews itself with.
func (v *visit) overviewData() error {
	hour := load[stats.Hour](v, "/admin/stats", nil)
	if hour.err != nil {
		return hour.err
	}
	v.w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(v.w).Encode(newBoard(hour.value).data())
}

// failing is something that this process needs and that does not answer.
type failing struct {
	name  string
	needs bool // the process is not ready without it
}

// failing asks whether this process is ready; what it says then is an answer too.
func (v *visit) failing() ([]failing, error) {
	r, err := v.request(http.MethodGet, "/admin/health/ready", nil, nil)
	if err != nil {
		return nil, err
	}
	a := &answer{header: http.Header{}}
	v.Admin(v.who).ServeHTTP(a, r)
	if a.status != http.StatusOK && a.status != http.StatusServiceUnavailable {
		return nil, a.refusal()
	}
	var health struct {
		Errors   map[string]string `json:"errors"`
		Warnings map[string]string `json:"warnings"`
	}
	if err := json.Unmarshal(a.body.Bytes(), &health); err != nil {
		return nil, fmt.Errorf("answer to /admin/health/ready: %w", err)
	}
	var all []failing
	for _, name := range slices.Sorted(maps.Keys(health.Errors)) {
		all = append(all, failing{name, true})
	}
	for _, name := range slices.Sorted(maps.Keys(health.Warnings)) {
		all = append(all, failing{name, false})
	}
	return all, nil
}

// lacksHooks tells whether it is known that no process runs the background hooks.
func (o overview) lacksHooks() bool {
	h := o.hour.value
	known := o.hour.err == nil && h.Complete && len(h.Instances) > 0 && h.Until.Sub(h.From) >= silence
	return known && !slices.ContainsFunc(h.Instances, func(i stats.Instance) bool {
		return slices.Contains(i.Parts, "hooks") && o.now.Sub(i.SeenAt) <= silence
	})
}

// meaning is what follows for people while it does not answer.
func (f failing) meaning() string {
	switch f.name {
	case "database":
		return "Nobody can register or sign in. Nothing that was registered is lost."
	case "bus":
		return "Who registers is kept, and not signed in by it; hooks run once the bus is back."
	case "session worker":
		if f.needs {
			return "Registrations fail until one answers; the configuration wants a session or nothing."
		}
		return "Who registers is kept, and has to sign in by themselves until one answers."
	}
	if f.needs {
		return "This process does not work without it."
	}
	return "This process goes on without it."
}

// signInAfterRegistration is the switch as it stands in the plan in force, by the same
// rule as on the page of the settings. It costs no statement.
func (v *visit) signInAfterRegistration() (override.Standing, error) {
	var plan struct {
		SignIn override.Standing `json:"sign_in_after_registration"`
	}
	err := v.get("/admin/plan", nil, &plan)
	return plan.SignIn, err
}

// since says from when the numbers are.
func since(h stats.Hour) string {
	if h.Until.Sub(h.From) >= time.Hour {
		return "The last hour, until " + clock(h.Until) + " UTC."
	}
	return "Collected since " + clock(h.From) + " UTC, until " + clock(h.Until) + " UTC: this process was started less than an hour ago."
}

// silence is how long a process may be silent before it counts as not heard.
const silence = 3 * stats.Step

// clock is a time of day. It is UTC.
func clock(t time.Time) string { return t.UTC().Format("15:04:05") }

// state is what a process does, as far as that is heard.
func state(i stats.Instance, now time.Time) (tone, text string) {
	switch silent := now.Sub(i.SeenAt); {
	case i.ClockOff:
		return "bad", "clock is off"
	case silent > time.Minute:
		return "quiet", "ended or not heard"
	case silent > silence:
		return "warn", "not heard"
	}
	return "ok", "runs"
}
