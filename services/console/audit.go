package console

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/operator"
)

const (
	pathAudit = base + "/audit"
	apiEvents = "/admin/events"
	apiAudit  = "/admin/audit"

	// auditPage is how many events the tail shows at once, also when it is followed.
	auditPage = 50
	// recentRecords is how much of the log is verified where that is enough.
	recentRecords = 100_000
)

func auditRoutes() []route {
	return []route{
		{"GET " + pathAudit, operator.RoleOperator, (*visit).audit},
		{"GET " + pathAudit + "/tail", operator.RoleOperator, (*visit).auditTail},
		{"GET " + pathAudit + "/events/{event}", operator.RoleOperator, (*visit).auditEvent},
		{"POST " + pathAudit + "/verify", operator.RoleOperator, (*visit).verifyAudit},
		{"GET " + pathAudit + "/verify", operator.RoleOperator, (*visit).auditCheck},
		{"GET " + pathAudit + "/checkpoints", operator.RoleOperator, (*visit).checkpoints},
		{"GET " + pathAudit + "/export", operator.RoleOperator, (*visit).exportAudit},
	}
}

// event is a CloudEvent of the log.
type event struct {
	ID          string          `json:"id"`
	Type        string          `json:"type"`
	Subject     string          `json:"subject"`
	Time        time.Time       `json:"time"`
	Actor       string          `json:"actor"`
	Source      string          `json:"source"`
	TraceParent string          `json:"traceparent"`
	RequestID   string          `json:"requestid"`
	Data        json.RawMessage `json:"data"`
}

// telling are the members that say most of an event, the first of them first.
var telling = []string{"action", "method", "provider", "flow_type", "hook", "reason", "setting", "target", "name", "role", "kind"}

// gist is what an event says besides its type, in a line: what tells most first.
func (e event) gist() string {
	var members map[string]json.RawMessage
	if json.Unmarshal(e.Data, &members) != nil {
		return ""
	}
	names := slices.SortedFunc(maps.Keys(members), func(a, b string) int {
		return cmp.Or(cmp.Compare(placeOf(a), placeOf(b)), cmp.Compare(a, b))
	})
	var all []string
	for _, name := range names {
		raw := members[name]
		var text string
		switch {
		case name == "identity_id" || len(raw) == 0 || raw[0] == '{' || raw[0] == '[':
			continue
		case json.Unmarshal(raw, &text) != nil:
			text = string(raw)
		}
		if uuid.Validate(text) == nil {
			text = text[:8] + "…"
		}
		if text != "" {
			all = append(all, name+" "+text)
		}
	}
	return strings.Join(all, " · ")
}

// placeOf is the place of a member among the others: ids stand last.
func placeOf(member string) int {
	if at := slices.Index(telling, member); at >= 0 {
		return at
	}
	if strings.HasSuffix(member, "_id") || member == "id" {
		return len(telling) + 1
	}
	return len(telling)
}

// looked tells whether somebody has only looked at something.
func (e event) looked() bool {
	var data struct {
		Action string `json:"action"`
	}
	return e.Type == "admin.acted" && json.Unmarshal(e.Data, &data) == nil && (strings.HasSuffix(data.Action, ".list") || strings.HasSuffix(data.Action, ".read"))
}

// trace is the id of the trace that the event belongs to, empty for none.
func (e event) trace() string {
	if parts := strings.Split(e.TraceParent, "-"); len(parts) == 4 {
		return parts[1]
	}
	return ""
}

// identity is whom the event is about, empty for nobody.
func (e event) identity() string {
	if id, err := uuid.Parse(e.Subject); err == nil {
		return id.String()
	}
	return ""
}

// eventList is a page of the newest events.
type eventList struct {
	Events []event `json:"events"`
	Next   string  `json:"next"`
	Latest string  `json:"latest"`
}

// auditFilter is what events are asked for.
type auditFilter struct {
	eventType, actor, subject string
	since, until              string // as the form gives them, in UTC
}

func filterOf(q url.Values) auditFilter {
	return auditFilter{
		eventType: q.Get("type"), actor: strings.TrimSpace(q.Get("actor")), subject: strings.TrimSpace(q.Get("subject")),
		since: q.Get("since"), until: q.Get("until"),
	}
}

// query are the filters that are set, as the page has them.
func (f auditFilter) query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"type": f.eventType, "actor": f.actor, "subject": f.subject, "since": f.since, "until": f.until} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// asked is the query for the admin API.
func (f auditFilter) asked(after string) (url.Values, error) {
	q := f.query()
	for _, name := range []string{"since", "until"} {
		if q.Get(name) == "" {
			continue
		}
		t, err := readTime(q.Get(name))
		if err != nil {
			return nil, &refusal{Status: http.StatusBadRequest, Reason: fmt.Sprintf("%s must be a time such as 2026-11-26T12:00", name)}
		}
		q.Set(name, t.Format(time.RFC3339))
	}
	q.Set("order", "newest")
	q.Set("limit", strconv.Itoa(auditPage))
	if after != "" {
		q.Set("after", after)
	}
	return q, nil
}

// exportable are the filters that an export takes.
func (f auditFilter) exportable() url.Values {
	q := url.Values{}
	if f.eventType != "" {
		q.Set("type", f.eventType)
	}
	if f.subject != "" {
		q.Set("subject", f.subject)
	}
	return q
}

// auditTail is a page of the audit trail.
type auditTail struct {
	filter auditFilter
	events part[eventList]
	live   bool // it follows by itself
	first  bool
	now    time.Time
}

// poll is where the tail asks for what is newer.
func (t auditTail) poll() string {
	return pathAudit + "/tail?" + with(t.filter.query(), "head", t.events.value.Latest).Encode()
}

// tail reads a page of the newest events.
func (v *visit) tail() auditTail {
	q := v.r.URL.Query()
	t := auditTail{filter: filterOf(q), first: q.Get("after") == "", now: v.Now()}
	t.live = t.first && q.Get("live") != "off" && t.filter.until == ""
	asked, err := t.filter.asked(q.Get("after"))
	if err != nil {
		t.events.err = err
		return t
	}
	t.events = load[eventList](v, apiEvents, asked)
	return t
}

// audit shows what happened, the newest first.
func (v *visit) audit() error {
	t := v.tail()
	check := load[auditCheck](v, apiAudit+"/verify", nil)
	v.show(http.StatusOK, "Audit", pathAudit, auditPageOf(t, check))
	return nil
}

// auditTail gives the newest events again, unless nothing came since.
func (v *visit) auditTail() error {
	t := v.tail()
	t.live = t.first
	if t.events.err == nil && t.events.value.Latest == v.r.URL.Query().Get("head") {
		v.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	v.draw(http.StatusOK, auditEvents(t))
	return nil
}

// eventTypes are those that can be chosen.
func eventTypes() []string { return delivery.EventTypes() }

// logRecord is an event with its place in the log.
type logRecord struct {
	Seq      int64           `json:"seq"`
	Former   string          `json:"former"`
	Hash     string          `json:"hash"`
	LoggedAt time.Time       `json:"logged_at"`
	Event    json.RawMessage `json:"event"`
}

// auditEvent shows one event and the hash that binds it.
func (v *visit) auditEvent() error {
	id, err := uuid.Parse(v.r.PathValue("event"))
	if err != nil {
		return &refusal{Status: http.StatusNotFound, Reason: "There is no event with this id."}
	}
	var r logRecord
	if err := v.get(apiEvents+"/"+id.String(), nil, &r); err != nil {
		return err
	}
	var e event
	if err := json.Unmarshal(r.Event, &e); err != nil {
		return fmt.Errorf("event %s: %w", id, err)
	}
	v.show(http.StatusOK, e.Type, pathAudit, recordPage(r, e, v.Now()))
	return nil
}

// auditCheck is how far the log was verified, as the admin API tells.
type auditCheck struct {
	State     string    `json:"state"`
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at"`
	Done      int64     `json:"done"`
	All       int64     `json:"all"`
	PerSecond int64     `json:"per_second"`
	Report    struct {
		Records     int64 `json:"records"`
		Checkpoints int64 `json:"checkpoints"`
		First       int64 `json:"first"`
		Last        int64 `json:"last"`
		Signed      int64 `json:"signed"`
	} `json:"report"`
	Broken struct {
		Kind    string `json:"kind"`
		Seq     int64  `json:"seq"`
		EventID string `json:"event_id"`
		Detail  string `json:"detail"`
	} `json:"broken"`
}

func (c auditCheck) running() bool { return c.State == "running" }

// said is what it has come to, in words.
func (c auditCheck) said() string {
	switch r := c.Report; c.State {
	case "running":
		return fmt.Sprintf("%s of %s records, %s a second", count(c.Done), count(c.All), count(c.PerSecond))
	case "broken":
		return fmt.Sprintf("Record %s %s:", count(c.Broken.Seq), c.Broken.Kind)
	default:
		said := fmt.Sprintf("%s records and %s checkpoints, %s records a second.", count(r.Records), count(r.Checkpoints), count(c.PerSecond))
		if r.First > 1 {
			said += fmt.Sprintf(" It began at record %s, behind a checkpoint.", count(r.First))
		}
		if r.Last > r.Signed {
			said += fmt.Sprintf(" The last %s are behind no checkpoint yet.", count(r.Last-r.Signed))
		}
		return said
	}
}

// verifyAudit begins to verify the log.
func (v *visit) verifyAudit() error {
	last := 0
	if v.r.PostFormValue("of") == "recent" {
		last = recentRecords
	}
	if err := v.ask(http.MethodPost, apiAudit+"/verify", nil, map[string]int{"last": last}, nil); err != nil {
		return err
	}
	return v.done(pathAudit+"?live=off#verify", "Verifying has begun.")
}

// auditCheck gives how far it is, as a page or as what the page moves by.
func (v *visit) auditCheck() error {
	check := load[auditCheck](v, apiAudit+"/verify", nil)
	if v.r.Header.Get("HX-Request") == "" {
		v.redirect(pathAudit + "#verify")
		return nil
	}
	v.draw(http.StatusOK, checkState(check, v.Now()))
	return nil
}

// checkpointList is a page of checkpoints.
type checkpointList struct {
	Checkpoints []struct {
		Seq       int64     `json:"seq"`
		Head      string    `json:"head"`
		At        time.Time `json:"at"`
		KeyID     string    `json:"key_id"`
		Signature string    `json:"signature"`
	} `json:"checkpoints"`
	Next string `json:"next"`
}

// checkpoints lists what was signed, the newest first.
func (v *visit) checkpoints() error {
	after := v.r.URL.Query().Get("after")
	query := url.Values{"limit": {strconv.Itoa(auditPage)}}
	if after != "" {
		query.Set("after", after)
	}
	list := load[checkpointList](v, apiAudit+"/checkpoints", query)
	v.show(http.StatusOK, "Checkpoints", pathAudit, checkpointsPage(list, after == "", v.Now()))
	return nil
}

// exportAudit lets the admin API answer with the log as a file.
func (v *visit) exportAudit() error {
	name := "usher-audit-" + v.Now().UTC().Format("20060102-150405") + ".jsonl"
	return v.download(name, apiAudit+"/export", filterOf(v.r.URL.Query()).exportable())
}
