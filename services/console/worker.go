package console

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/operator"
)

// workerSeen is what the page of one hook shows.
type workerSeen struct {
	now  time.Time
	hook shownHook
	// looked tells whether its programs were looked for.
	looked  bool
	waiting part[[]deadLetter]
	// webhook is what only webhooks have.
	webhook part[webhookSeen]
	owner   bool
}

type webhookSeen struct {
	Secrets int `json:"secrets"`
}

// worker shows one hook. The page comes at once; which programs run is filled in.
func (v *visit) worker() error {
	name, err := v.workerName()
	if err != nil {
		return err
	}
	d := workerSeen{now: v.Now(), looked: v.r.URL.Query().Get("look") == "true", owner: v.who.Role.Covers(operator.RoleOwner)}
	if d.looked {
		err = v.get("/admin/hooks/"+name, nil, &d.hook)
	} else {
		d.hook, err = v.declared(name)
	}
	if err != nil {
		return err
	}
	if d.hook.Failures.Waiting > 0 {
		page := load[letterPage](v, "/admin/dead-letters", url.Values{"hook": {name}, "state": {string(delivery.Waiting)}, "limit": {"10"}})
		d.waiting = part[[]deadLetter]{page.value.Letters, page.err}
	}
	if d.hook.Kind == delivery.Webhook && d.hook.Declared != "fixed" {
		d.webhook = load[webhookSeen](v, "/admin/webhooks/"+name, nil)
	}
	if v.r.Header.Get("HX-Request") != "" {
		v.draw(http.StatusOK, workerFacts(d))
		return nil
	}
	v.show(http.StatusOK, name, pathWorkers, workerPage(d))
	return nil
}

// declared gives a hook without its programs, which would have to be waited for.
func (v *visit) declared(name string) (shownHook, error) {
	all, err := v.hooks(false)
	at := slices.IndexFunc(all, func(h shownHook) bool { return h.Name == name })
	if err == nil && at < 0 {
		err = errNoWorker
	}
	if err != nil {
		return shownHook{}, err
	}
	return all[at], nil
}

// actOnHook asks the API for something about the hook in the path, and leads back to
// its page.
func (v *visit) actOnHook(below string, body any, notice string) error {
	name, err := v.workerName()
	if err != nil {
		return err
	}
	if err := v.ask(http.MethodPost, below+name+v.r.URL.Path[len(workerPath(name, "")):], nil, body, nil); err != nil {
		return err
	}
	return v.done(workerPath(name, ""), notice)
}

func (v *visit) pauseWorker() error {
	body := map[string]string{}
	if long := v.r.PostFormValue("for"); long != "" {
		body["for"] = long
	}
	return v.actOnHook("/admin/hooks/", body, "It is paused; its events wait, a week at most.")
}

func (v *visit) resumeWorker() error {
	return v.actOnHook("/admin/hooks/", map[string]string{}, "It gets events again.")
}

func (v *visit) enableWebhook() error {
	return v.actOnHook("/admin/webhooks/", nil, "It gets events again, and those of the last seven days that had come meanwhile.")
}

// webhookTested is what came of a test event.
type webhookTested struct {
	EventID string  `json:"event_id"`
	Status  int     `json:"status"`
	Took    float64 `json:"took_ms"`
	Failed  string  `json:"failed"`
}

func (v *visit) testWebhook() error {
	name, err := v.workerName()
	if err != nil {
		return err
	}
	var t webhookTested
	if err := v.ask(http.MethodPost, "/admin/webhooks/"+name+"/test", nil, nil, &t); err != nil {
		return err
	}
	v.show(http.StatusOK, "Test of "+name, pathWorkers, webhookTestPage(name, t))
	return nil
}

// checkPatience is how long a check may take: less than an answer may.
const checkPatience = "40s"

// workerChecked is what a worker did with the events of a check.
type workerChecked struct {
	Case       delivery.CheckCase `json:"case"`
	Type       string             `json:"type"`
	Verdict    delivery.Verdict   `json:"verdict"`
	TookMS     float64            `json:"took_ms"`
	Events     int64              `json:"events"`
	Settled    int64              `json:"settled"`
	Deliveries int64              `json:"deliveries"`
	Reason     string             `json:"reason"`
	Note       string             `json:"note"`
}

// checkWorker gives a worker the events of one case, and shows what it did.
func (v *visit) checkWorker() error {
	name, err := v.workerName()
	if err != nil {
		return err
	}
	body := map[string]string{"case": v.r.PostFormValue("case"), "for": checkPatience}
	if eventType := v.r.PostFormValue("type"); eventType != "" {
		body["type"] = eventType
	}
	var c workerChecked
	if err := v.ask(http.MethodPost, "/admin/hooks/"+name+"/check", nil, body, &c); err != nil {
		return err
	}
	v.show(http.StatusOK, "Check of "+name, pathWorkers, checkedPage(name, c))
	return nil
}

// checkMeaning says what a case of a check is.
func checkMeaning(c delivery.CheckCase) string {
	switch c {
	case delivery.CheckEvent:
		return "one event: it must be done"
	case delivery.CheckAgain:
		return "the same event twice: it must be done both times"
	case delivery.CheckBacklog:
		return "twenty events at once: all must be done"
	case delivery.CheckUnknown:
		return "an event of a type that nobody knows: it is done"
	case delivery.CheckIncomplete:
		return "an event without data: it is done or reported"
	case delivery.CheckNoJSON:
		return "a body that is no JSON: it must be reported"
	}
	return string(c)
}

// replayWanted is a replay as its form has it.
type replayWanted struct {
	Since     string // as the form field has it, in UTC
	Until     string
	Types     []string
	PerSecond string
	// ID, After and Total are those of one that goes on.
	ID, After string
	Total     int64
}

// replayed is how far a replay has come.
type replayed struct {
	ID    string    `json:"id"`
	After int64     `json:"after"`
	Until time.Time `json:"until"`
	Count int64     `json:"count"`
	More  bool      `json:"more"`
}

func replayOf(form url.Values) replayWanted {
	w := replayWanted{
		Since: form.Get("since"), Until: form.Get("until"), Types: form["type"], PerSecond: form.Get("per_second"),
		ID: form.Get("id"), After: form.Get("after"),
	}
	w.Total, _ = strconv.ParseInt(form.Get("total"), 10, 64) // only shown
	return w
}

// body is what the API is asked, or what is wrong with the form.
func (w replayWanted) body() (map[string]any, error) {
	body := map[string]any{}
	for name, text := range map[string]string{"since": w.Since, "until": w.Until} {
		if text == "" {
			continue
		}
		t, err := readTime(text)
		if err != nil {
			return nil, &refusal{Status: http.StatusBadRequest, Reason: fmt.Sprintf("%q is no date and time; nothing was replayed", text)}
		}
		body[name] = t.Format(time.RFC3339Nano)
	}
	if len(w.Types) > 0 {
		body["types"] = w.Types
	}
	for name, text := range map[string]string{"per_second": w.PerSecond, "after": w.After} {
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return nil, &refusal{Status: http.StatusBadRequest, Reason: fmt.Sprintf("%q is no number; nothing was replayed", text)}
		}
		body[name] = n
	}
	if w.ID != "" {
		body["id"] = w.ID
	}
	return body, nil
}

// askReplay shows what a replay would do; nothing is done.
func (v *visit) askReplay() error {
	name, err := v.workerName()
	if err != nil {
		return err
	}
	w := replayOf(v.r.URL.Query())
	if _, err := w.body(); err != nil {
		return err
	}
	w.Until = cmp.Or(w.Until, v.Now().UTC().Format(formTime+":05"))
	v.show(http.StatusOK, "Replay to "+name, pathWorkers, replayPage(name, w))
	return nil
}

// replayWorker replays for some seconds and shows how far it came; while there is
// more the page goes on.
func (v *visit) replayWorker() error {
	name, err := v.workerName()
	if err != nil {
		return err
	}
	form, err := v.form()
	if err != nil {
		return err
	}
	w := replayOf(form)
	body, err := w.body()
	if err != nil {
		return err
	}
	var r replayed
	if err := v.ask(http.MethodPost, "/admin/hooks/"+name+"/replay", nil, body, &r); err != nil {
		return err
	}
	w.ID, w.After, w.Until = r.ID, strconv.FormatInt(r.After, 10), r.Until.UTC().Format(time.RFC3339Nano)
	w.Total += r.Count
	if v.r.Header.Get("HX-Request") != "" {
		v.draw(http.StatusOK, replayProgress(name, w, r.More))
		return nil
	}
	v.show(http.StatusOK, "Replay to "+name, pathWorkers, replayedPage(name, w, r.More))
	return nil
}
