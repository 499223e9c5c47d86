package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/operator"
)

const pathLetters = base + "/dead-letters"

func lettersRoutes() []route {
	return []route{
		{"GET " + pathLetters, operator.RoleOperator, (*visit).letters},
		{"GET " + pathLetters + "/{hook}/{event}", operator.RoleOperator, (*visit).letter},
		{"POST " + pathLetters + "/redeliver", operator.RoleOperator, (*visit).redeliver},
		{"POST " + pathLetters + "/discard", operator.RoleOperator, (*visit).discard},
	}
}

// deadLetter is an event that a hook has failed at.
type deadLetter struct {
	Hook      string          `json:"hook"`
	EventID   string          `json:"event_id"`
	State     delivery.State  `json:"state"`
	Attempts  int64           `json:"attempts"`
	Round     int64           `json:"round"`
	Reason    string          `json:"reason"`
	FirstAt   time.Time       `json:"first_at"`
	LastAt    time.Time       `json:"last_at"`
	NextAt    time.Time       `json:"next_at"`
	EventType string          `json:"event_type"`
	Event     json.RawMessage `json:"event"`
}

type letterPage struct {
	Letters []deadLetter `json:"dead_letters"`
	Next    string       `json:"next"`
}

// letterFilter says which are shown, or changed.
type letterFilter struct {
	Hook, Type, Reason string
	State              delivery.State
}

func letterFilterOf(form url.Values) letterFilter {
	f := letterFilter{Hook: form.Get("hook"), Type: form.Get("type"), Reason: form.Get("reason_contains"), State: delivery.State(form.Get("state"))}
	if f.State == "" {
		f.State = delivery.Dead
	}
	return f
}

// query is the filter as the parameters of the API and of this page.
func (f letterFilter) query() url.Values {
	q := url.Values{"state": {string(f.State)}}
	for name, value := range map[string]string{"hook": f.Hook, "type": f.Type, "reason_contains": f.Reason} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// words says in a sentence what a filter means.
func (f letterFilter) words() string {
	var all []string
	if f.Hook != "" {
		all = append(all, "of "+f.Hook)
	}
	if f.Type != "" {
		all = append(all, "of "+f.Type)
	}
	if f.Reason != "" {
		all = append(all, fmt.Sprintf("whose reason holds %q", f.Reason))
	}
	if len(all) == 0 {
		return "all dead letters of all hooks"
	}
	return "all dead letters " + strings.Join(all, ", ")
}

// lettersPageSize is how many a page shows.
const lettersPageSize = "50"

// lettersSeen is what the list shows.
type lettersSeen struct {
	now    time.Time
	filter letterFilter
	first  bool
	page   part[letterPage]
}

// letters shows what hooks have failed at, the oldest first.
func (v *visit) letters() error {
	query := v.r.URL.Query()
	d := lettersSeen{now: v.Now(), filter: letterFilterOf(query), first: query.Get("after") == ""}
	q := d.filter.query()
	q.Set("limit", lettersPageSize)
	if !d.first {
		q.Set("after", query.Get("after"))
	}
	if d.page = load[letterPage](v, "/admin/dead-letters", q); mine(d.page.err) {
		return d.page.err
	}
	v.show(http.StatusOK, "Dead letters", pathLetters, lettersListPage(d))
	return nil
}

// path is the page of one.
func (l deadLetter) path() string {
	return pathLetters + "/" + url.PathEscape(l.Hook) + "/" + url.PathEscape(l.EventID)
}

// key says which it is, in a form.
func (l deadLetter) key() string { return l.Hook + "/" + l.EventID }

// letterTone is the tone of the badge of a state.
func letterTone(s delivery.State) string {
	switch s {
	case delivery.Dead:
		return "bad"
	case delivery.Waiting:
		return "warn"
	case delivery.Done:
		return "ok"
	case delivery.Discarded:
	}
	return "quiet"
}

// letter shows one with its event.
func (v *visit) letter() error {
	hook, event := v.r.PathValue("hook"), v.r.PathValue("event")
	if !isLetter(hook, event) {
		return &refusal{Status: http.StatusNotFound, Reason: "There is no such dead letter."}
	}
	var l deadLetter
	if err := v.get("/admin/dead-letters/"+hook+"/"+event, nil, &l); err != nil {
		return err
	}
	v.show(http.StatusOK, "Dead letter", pathLetters, oneLetterPage(l, v.Now()))
	return nil
}

// isLetter tells whether this can be a dead letter: nothing else may stand in a
// path of the API.
func isLetter(hook, event string) bool {
	_, err := uuid.Parse(event)
	return err == nil && events.CheckName(hook) == nil
}

const (
	// mostLetters is how many the API changes at once.
	mostLetters = 500
	// mostChosen is how many a form may choose: a page shows no more.
	mostChosen = 100
)

// lettersMeant are those that a form is about: chosen ones, or all of a filter.
type lettersMeant struct {
	chosen []deadLetter
	filter letterFilter
	// verb is the order to the API.
	verb   string
	reason string
	// refused says what the form lacks.
	refused string
}

// meant reads the form.
func (v *visit) meant(verb string) (m lettersMeant, sure bool, err error) {
	form, err := v.form()
	if err != nil {
		return m, false, err
	}
	m = lettersMeant{filter: letterFilterOf(form), verb: verb, reason: strings.TrimSpace(form.Get("reason"))}
	if form.Get("which") == "all" {
		return m, form.Get("sure") == "true", nil
	}
	for _, key := range form["letter"] {
		hook, event, _ := strings.Cut(key, "/")
		if !isLetter(hook, event) {
			return m, false, errForm
		}
		m.chosen = append(m.chosen, deadLetter{Hook: hook, EventID: event})
	}
	if len(m.chosen) == 0 || len(m.chosen) > mostChosen {
		return m, false, &refusal{Status: http.StatusBadRequest, Reason: fmt.Sprintf("Choose from 1 to %d dead letters. Nothing was changed.", mostChosen)}
	}
	return m, form.Get("sure") == "true", nil
}

// redeliver gives dead letters to their hooks once more. All of a filter are asked
// for once more before.
func (v *visit) redeliver() error {
	m, sure, err := v.meant("redeliver")
	if err != nil {
		return err
	}
	if len(m.chosen) == 0 && !sure {
		v.show(http.StatusOK, "Redeliver", pathLetters, lettersSurePage(m))
		return nil
	}
	return v.change(m)
}

// discard decides that dead letters stay dead, for a reason, which is asked for.
func (v *visit) discard() error {
	m, sure, err := v.meant("discard")
	if err != nil {
		return err
	}
	if sure && m.reason != "" {
		return v.change(m)
	}
	status := http.StatusOK
	if sure {
		status, m.refused = http.StatusBadRequest, "A discard needs a reason. Nothing was changed."
	}
	v.show(status, "Discard", pathLetters, lettersSurePage(m))
	return nil
}

// change asks the API. What was done before it refused stays done, and is said.
func (v *visit) change(m lettersMeant) error {
	done, more := int64(0), false
	for _, body := range m.orders() {
		var changed struct {
			Count int64 `json:"count"`
			More  bool  `json:"more"`
		}
		if err := v.ask(http.MethodPost, "/admin/dead-letters/"+m.verb, nil, body, &changed); err != nil {
			if refused, ok := asRefusal(err); ok && done > 0 {
				return &refusal{Status: refused.Status, Said: true, Reason: fmt.Sprintf("%s after %d of them; doing it again is safe", refused.Reason, done)}
			}
			return err
		}
		done, more = done+changed.Count, changed.More && len(m.chosen) == 0
	}
	return v.done(pathLetters+"?"+m.filter.query().Encode(), m.said(done, more))
}

// orders are the bodies of the requests to the API.
func (m lettersMeant) orders() (all []map[string]any) {
	for _, l := range m.chosen {
		all = append(all, map[string]any{"hook": l.Hook, "event": l.EventID})
	}
	if len(m.chosen) == 0 {
		body := map[string]any{"limit": mostLetters, "all": true}
		for name, value := range map[string]string{"hook": m.filter.Hook, "type": m.filter.Type, "reason_contains": m.filter.Reason} {
			if value != "" {
				body[name] = value
			}
		}
		all = append(all, body)
	}
	if m.verb == "discard" {
		for _, body := range all {
			body["reason"] = m.reason
		}
	}
	return all
}

// said says what was done.
func (m lettersMeant) said(done int64, more bool) string {
	text := count(done) + " redelivered; the hooks have them again, or get them now."
	if m.verb == "discard" {
		text = count(done) + " discarded."
	}
	if more {
		text += " There are more: do it again for the next."
	}
	if missed := int64(len(m.chosen)) - done; missed > 0 {
		text += fmt.Sprintf(" %d had changed meanwhile and were left alone.", missed)
	}
	return text
}

// stateName is what people call a state.
func stateName(s delivery.State) string {
	switch s {
	case delivery.Waiting:
		return "waiting for another attempt"
	case delivery.Done:
		return "done after all"
	case delivery.Dead, delivery.Discarded:
	}
	return string(s)
}
