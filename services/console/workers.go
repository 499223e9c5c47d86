package console

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/operator"
)

const (
	pathWorkers = base + "/workers"
	oneWorker   = pathWorkers + "/{name}"
)

func workersRoutes() []route {
	return []route{
		{"GET " + pathWorkers, operator.RoleOperator, (*visit).workers},
		{"GET " + oneWorker, operator.RoleOperator, (*visit).worker},
		{"POST " + oneWorker + "/pause", operator.RoleOperator, (*visit).pauseWorker},
		{"POST " + oneWorker + "/resume", operator.RoleOperator, (*visit).resumeWorker},
		{"POST " + oneWorker + "/check", operator.RoleOperator, (*visit).checkWorker},
		{"GET " + oneWorker + "/replay", operator.RoleOperator, (*visit).askReplay},
		{"POST " + oneWorker + "/replay", operator.RoleOperator, (*visit).replayWorker},
		{"POST " + oneWorker + "/enable", operator.RoleOperator, (*visit).enableWebhook},
		{"POST " + oneWorker + "/test", operator.RoleOperator, (*visit).testWebhook},
		{"GET " + pathWorkers + "/new", operator.RoleOwner, (*visit).askNewWorker},
		{"POST " + pathWorkers + "/new", operator.RoleOwner, (*visit).newWorker},
		{"POST " + oneWorker + "/rotate", operator.RoleOwner, (*visit).rotateWorker},
		{"POST " + oneWorker + "/rotate/finish", operator.RoleOwner, (*visit).finishRotation},
		{"POST " + oneWorker + "/credential", operator.RoleOwner, (*visit).downloadCredential},
		{"GET " + oneWorker + "/remove", operator.RoleOwner, (*visit).askRemoveWorker},
		{"POST " + oneWorker + "/remove", operator.RoleOwner, (*visit).removeWorker},
	}
}

// shownHook is a hook as the admin API gives it.
type shownHook struct {
	Name      string         `json:"name"`
	Kind      delivery.Kind  `json:"kind"`
	Events    []string       `json:"events"`
	Traits    []string       `json:"traits"`
	URL       string         `json:"url"`
	Declared  string         `json:"declared"`
	Disabled  string         `json:"disabled"`
	CreatedAt time.Time      `json:"created_at"`
	Consumer  *hookConsumer  `json:"consumer"`
	Failures  hookFailures   `json:"failures"`
	Instances []hookInstance `json:"instances"`
}

type hookConsumer struct {
	Pending     int64     `json:"pending"`
	AckPending  int64     `json:"ack_pending"`
	Redelivered int64     `json:"redelivered"`
	Waiting     int       `json:"waiting"`
	PausedUntil time.Time `json:"paused_until"`
	DeliveredAt time.Time `json:"delivered_at"`
}

type hookFailures struct {
	Waiting   int64 `json:"waiting"`
	Dead      int64 `json:"dead"`
	Discarded int64 `json:"discarded"`
}

type hookInstance struct {
	ID        string    `json:"id"`
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
	Work      *hookWork `json:"work"`
}

type hookWork struct {
	Done    int64 `json:"done"`
	Skipped int64 `json:"skipped"`
	Retry   int64 `json:"retry"`
	Dead    int64 `json:"dead"`
}

// sessionWorker is a session worker that has answered.
type sessionWorker struct {
	ID        string    `json:"id"`
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
	RoundTrip float64   `json:"round_trip_ms"`
	Answered  int64     `json:"answered"`
	Refused   int64     `json:"refused"`
	Late      int64     `json:"late"`
	Failed    int64     `json:"failed"`
	Average   float64   `json:"average_ms"`
}

// milliseconds is the duration of so many.
func milliseconds(n float64) time.Duration { return time.Duration(n * float64(time.Millisecond)) }

// workersSeen is what the page shows, as it is now.
type workersSeen struct {
	now time.Time
	// looked tells whether running programs were looked for, which takes a moment.
	looked   bool
	hooks    part[[]shownHook]
	sessions part[[]sessionWorker]
	owner    bool
}

// workers shows all hooks and the session workers. The page comes at once; which
// programs run is filled in.
func (v *visit) workers() error {
	d := workersSeen{now: v.Now(), looked: v.r.URL.Query().Get("look") == "true", owner: v.who.Role.Covers(operator.RoleOwner)}
	var both sync.WaitGroup
	both.Go(func() { d.hooks.value, d.hooks.err = v.hooks(d.looked) })
	if d.looked {
		both.Go(func() {
			seen := load[struct {
				Workers []sessionWorker `json:"session_workers"`
			}](v, "/admin/session-workers", nil)
			d.sessions = part[[]sessionWorker]{seen.value.Workers, seen.err}
		})
	}
	both.Wait()
	if v.r.Header.Get("HX-Request") != "" {
		v.draw(http.StatusOK, workersNow(d))
		return nil
	}
	v.show(http.StatusOK, "Workers", pathWorkers, workersPage(d))
	return nil
}

// hooks are all hooks, with the programs that run where they are to be looked for.
func (v *visit) hooks(look bool) ([]shownHook, error) {
	query := url.Values{}
	if !look {
		query.Set("instances", "false")
	}
	var found struct {
		Hooks []shownHook `json:"hooks"`
	}
	err := v.get("/admin/hooks", query, &found)
	return found.Hooks, err
}

// busAway tells whether nothing is known of any consumer: those of Usher's own
// parts are there whenever there is a bus.
func busAway(all []shownHook) bool {
	own := slices.ContainsFunc(all, func(h shownHook) bool { return h.Declared == "fixed" && h.Kind != delivery.Answer })
	return own && !slices.ContainsFunc(all, func(h shownHook) bool { return h.Consumer != nil })
}

// ownRun tells whether a process of Usher gives a hook its events.
func (h *shownHook) ownRun() bool {
	return h.Kind != delivery.Answer && (h.Declared == "fixed" || h.Kind == delivery.Webhook)
}

// unattended tells whether nobody takes the events of any hook that Usher itself runs:
// each has a consumer, and none is asked for.
func (d workersSeen) unattended() bool {
	found := false
	for n := range d.hooks.value {
		h := &d.hooks.value[n]
		if !h.ownRun() || h.Consumer == nil || h.Disabled != "" || !h.Consumer.PausedUntil.IsZero() {
			continue
		}
		if found = true; h.Consumer.Waiting > 0 || len(h.Instances) > 0 {
			return false
		}
	}
	return d.looked && found
}

// waiting is how many events wait for somebody to take them.
func (d workersSeen) waiting() (n int64) {
	for _, h := range d.hooks.value {
		if h.Consumer != nil {
			n += h.Consumer.Pending + h.Consumer.AckPending
		}
	}
	return n
}

// state is what is known of a hook on this page.
func (d workersSeen) state(h *shownHook) hookState {
	if d.unattended() && h.ownRun() && h.Consumer != nil && h.Disabled == "" && h.Consumer.PausedUntil.IsZero() {
		return hookState{"bad", "not running", "No process of Usher runs the hooks; its events wait."}
	}
	return h.state(d.looked, busAway(d.hooks.value))
}

// hookState is a word about a hook, and the sentence behind it.
type hookState struct{ tone, word, why string }

// state is what an operator has to know first.
func (h *shownHook) state(looked, away bool) hookState {
	switch c := h.Consumer; {
	case h.Disabled != "":
		return hookState{"bad", "disabled", "It gets nothing: " + h.Disabled}
	case len(h.Instances) > 0 && h.Kind == delivery.Answer:
		return hookState{"ok", "running", "It is asked before each commit."}
	case h.Kind == delivery.Answer && looked && !away:
		return hookState{"bad", "not running", "Nobody answers in its name."}
	case h.Kind == delivery.Answer, away:
		return hookState{"quiet", "unknown", "The bus has not been asked, or does not answer."}
	case c == nil:
		return hookState{"warn", "not ready", "The bus does not have its durable consumer yet; it is made within half a minute."}
	case !c.PausedUntil.IsZero():
		return hookState{"warn", "paused", "Its events wait."}
	case h.Failures.Waiting > 0:
		return hookState{"warn", "retrying", "It has failed at events, and gets them again."}
	case c.Waiting > 0 || c.AckPending > 0 || len(h.Instances) > 0:
		return hookState{"ok", "running", "It takes events."}
	case c.Pending > 0:
		return hookState{"bad", "not running", "Events wait and nobody takes them."}
	}
	return hookState{"quiet", "not running", "Nobody takes its events; none waits."}
}

// kindName is what people call the kind of a hook.
func (h *shownHook) kindName() string {
	switch {
	case h.Kind == delivery.Answer:
		return "answering worker"
	case h.Declared == "fixed":
		return "built-in " + string(h.Kind)
	}
	return string(h.Kind)
}

// declaredIn says where a hook is declared.
func (h *shownHook) declaredIn() string {
	switch h.Declared {
	case "file":
		return "in the configuration file; only there it is changed or removed"
	case "fixed":
		return "built in, or by the hooks of the configuration"
	}
	return "while the server runs"
}

// versions are those of the instances, each once.
func (h *shownHook) versions() string {
	var all []string
	for _, i := range h.Instances {
		all = append(all, cmp.Or(i.Version, "?"))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}

// work sums what the instances say of their work; false: none says anything.
func (h *shownHook) work() (sum hookWork, said bool) {
	for _, i := range h.Instances {
		if w := i.Work; w != nil {
			said = true
			sum = hookWork{sum.Done + w.Done, sum.Skipped + w.Skipped, sum.Retry + w.Retry, sum.Dead + w.Dead}
		}
	}
	return sum, said
}

// forGood is how far away the end of a pause is that has none.
const forGood = 50 * 365 * 24 * time.Hour

// forGood tells whether the pause has no end.
func (c *hookConsumer) forGood(now time.Time) bool { return c.PausedUntil.Sub(now) > forGood }

// ours tells whether a hook was declared here, and can be removed here.
func (h *shownHook) ours() bool { return h.Declared == "stored" }

// program tells whether a hook is a program of somebody else, with a credential.
func (h *shownHook) program() bool { return h.Kind != delivery.Webhook && h.Declared != "fixed" }

// workerPath is the page of a hook, or what is below it.
func workerPath(name, below string) string { return pathWorkers + "/" + url.PathEscape(name) + below }

// lettersOf is the list of what a hook has failed at, in a state.
func lettersOf(name string, state delivery.State) string {
	return pathLetters + "?" + url.Values{"hook": {name}, "state": {string(state)}}.Encode()
}

var errNoWorker = &refusal{Status: http.StatusNotFound, Reason: "There is no worker or webhook of this name."}

// workerName is the name in the path. What cannot be one is no hook: it must not
// lead to another route of the API.
func (v *visit) workerName() (string, error) {
	name := v.r.PathValue("name")
	if events.CheckName(name) != nil {
		return "", errNoWorker
	}
	return name, nil
}
