package console

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/operator"
)

const (
	// maxRows is how many registrations a page shows.
	maxRows = 50
	// feedEvery is how often the log is read while somebody watches, feedPage how many
	// events at a time.
	feedEvery = 500 * time.Millisecond
	feedPage  = 1000
	// drawnPerSecond is how many new rows an eye can follow, and drawnAtOnce how many
	// may come together.
	drawnPerSecond = 4
	drawnAtOnce    = 8
	// rateOver is the time over which registrations are readAt.
	rateOver = 5 * time.Second
)

// registered is a row of the list.
type registered struct {
	events.IdentityCreated
	At time.Time
	// Session is what has become of it: "none" was planned, "planned", "issued", or "refused".
	Session string
}

// registrationTypes are the events that the list is made of.
var registrationTypes = []string{
	events.IdentityCreated{}.EventType(), events.SessionIssued{}.EventType(), events.SessionRefused{}.EventType(),
}

// eventsPage is an answer of /admin/events.
type eventsPage struct {
	Events []events.Event `json:"events"`
	Next   string         `json:"next"`
	Latest string         `json:"latest"`
}

// shown is what all who watch see. It is not changed once it is given out.
type shown struct {
	rows []registered // the newest first
	// perSecond is how many registrations there were lately, drawn whether all of them are in rows.
	perSecond float64
	drawn     bool
	err       error
	// ready tells whether anything was read; changed is closed when there is something newer.
	ready   bool
	changed chan struct{}
}

// feed reads new registrations out of the event log, once however many tabs watch:
// from the first that comes to the last that goes.
type feed struct {
	read func(ctx context.Context, query url.Values) (eventsPage, error)
	now  func() time.Time

	// life is held by who begins or ends the reader.
	life  sync.Mutex
	tabs  int
	stop  context.CancelFunc
	ended chan struct{}

	mu     sync.Mutex
	latest *shown
}

// join begins to watch; leave ends it, and has ended what it began.
func (f *feed) join() (leave func()) {
	f.life.Lock()
	defer f.life.Unlock()
	if f.tabs++; f.tabs == 1 {
		ctx, stop := context.WithCancel(context.Background())
		f.stop, f.ended = stop, make(chan struct{})
		f.mu.Lock()
		f.latest = &shown{changed: make(chan struct{})}
		f.mu.Unlock()
		go f.run(ctx, f.ended)
	}
	return sync.OnceFunc(f.leave)
}

func (f *feed) leave() {
	f.life.Lock()
	defer f.life.Unlock()
	if f.tabs--; f.tabs == 0 {
		f.stop()
		<-f.ended
	}
}

// see gives what is to be seen now.
func (f *feed) see() *shown {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.latest
}

// give gives out what is new, and wakes who watches.
func (f *feed) give(s shown) {
	s.ready, s.changed = true, make(chan struct{})
	f.mu.Lock()
	former := f.latest
	f.latest = &s
	f.mu.Unlock()
	close(former.changed)
}

// run reads until ctx ends.
func (f *feed) run(ctx context.Context, ended chan<- struct{}) {
	defer close(ended)
	r := reading{draw: newPace(), now: f.now}
	tick := time.NewTicker(feedEvery)
	defer tick.Stop()
	for {
		changed, err := f.step(ctx, &r)
		if ctx.Err() != nil {
			return
		}
		if changed || err != nil && r.err == nil || err == nil && r.err != nil {
			r.err = err
			f.give(r.shown())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// newPace limits what is drawn.
func newPace() *rate.Limiter { return rate.NewLimiter(drawnPerSecond, drawnAtOnce) }

// step reads what is new; true if there is something to be shown.
func (f *feed) step(ctx context.Context, r *reading) (changed bool, err error) {
	if r.cursor == "" {
		r.began = r.now()
		r.rows, r.cursor, err = newestRows(ctx, f.read)
		return true, err
	}
	for {
		page, err := f.read(ctx, url.Values{"type": registrationTypes, "after": {r.cursor}, "limit": {strconv.Itoa(feedPage)}, "wait": {r.wait()}})
		if err != nil {
			return changed, err
		}
		r.cursor = page.Next
		changed = r.take(page.Events) || changed
		if len(page.Events) < feedPage || ctx.Err() != nil {
			return changed || r.slows(), nil
		}
	}
}

// newestRows are the registrations at the end of the log, with the cursor of it.
func newestRows(ctx context.Context, read func(context.Context, url.Values) (eventsPage, error)) ([]registered, string, error) {
	made, err := read(ctx, url.Values{"order": {"newest"}, "type": registrationTypes[:1], "limit": {strconv.Itoa(maxRows)}})
	if err != nil {
		return nil, "", err
	}
	sessions, err := read(ctx, url.Values{"order": {"newest"}, "type": registrationTypes[1:], "limit": {strconv.Itoa(4 * maxRows)}})
	if err != nil {
		return nil, "", err
	}
	rows := rowsOf(made.Events)
	markSessions(rows, sessions.Events)
	return rows, made.Latest, nil
}

// rowsOf are the rows of events, in their order.
func rowsOf(all []events.Event) (rows []registered) {
	for _, e := range all {
		if e.Type != registrationTypes[0] {
			continue
		}
		row := registered{At: e.Time, Session: "none"}
		if json.Unmarshal(e.Data, &row.IdentityCreated) != nil || row.IdentityID == "" {
			continue // it is in the log, and no registration
		}
		if row.SessionPlanned {
			row.Session = "planned"
		}
		rows = append(rows, row)
	}
	return rows
}

// markSessions says what became of the sessions of rows; true if that is news.
func markSessions(rows []registered, all []events.Event) (changed bool) {
	for _, e := range all {
		if e.Type == registrationTypes[0] {
			continue
		}
		at := slices.IndexFunc(rows, func(r registered) bool { return r.IdentityID == e.Subject && r.Session == "planned" })
		if at < 0 {
			continue
		}
		rows[at].Session, changed = "issued", true
		if e.Type == registrationTypes[2] {
			rows[at].Session = "refused"
		}
	}
	return changed
}

// reading is how far the reader is.
type reading struct {
	cursor string
	rows   []registered
	draw   *rate.Limiter
	now    func() time.Time
	err    error
	counts []readAt
	began  time.Time // to read on
	// skipped is when a registration was not drawn last.
	skipped time.Time
}

// readAt is how many registrations were read at a time.
type readAt struct {
	at time.Time
	n  int
}

// take adds events to what is shown; true if that changes it. Where there are more
// than can be followed, the newest are drawn.
func (r *reading) take(all []events.Event) (changed bool) {
	fresh := rowsOf(all)
	now := r.now()
	if len(fresh) > 0 {
		r.counts = append(r.counts, readAt{now, len(fresh)})
		slices.Reverse(fresh)
		drawn := len(fresh)
		for n := range fresh {
			if !r.draw.AllowN(now, 1) {
				drawn, r.skipped = n, now
				break
			}
		}
		rows := slices.Concat(fresh[:drawn], r.rows)
		r.rows, changed = rows[:min(len(rows), maxRows)], true
	}
	rows := slices.Clone(r.rows) // the others are given out
	if markSessions(rows, all) {
		r.rows, changed = rows, true
	}
	return changed
}

// wait is for how many seconds the log may be silent: it is asked seldom where
// nobody registers, and soon again while the rate falls.
func (r *reading) wait() string {
	if len(r.counts) > 0 {
		return "1"
	}
	return "15"
}

// slows tells whether the rate is to be shown anew although nobody registers.
func (r *reading) slows() bool {
	return len(r.counts) > 0 && r.now().Sub(r.counts[0].at) >= rateOver
}

func (r *reading) shown() shown {
	now := r.now()
	r.counts = slices.DeleteFunc(r.counts, func(c readAt) bool { return now.Sub(c.at) >= rateOver })
	total := 0
	for _, c := range r.counts {
		total += c.n
	}
	over := max(time.Second, min(rateOver, now.Sub(r.began)))
	return shown{
		rows: r.rows, err: r.err, perSecond: float64(total) / over.Seconds(),
		drawn: r.skipped.IsZero() || now.Sub(r.skipped) > rateOver,
	}
}

// readEvents asks the admin API for events, in the console's own name: what it
// reads is shown to several operators.
func (c *console) readEvents(ctx context.Context, query url.Values) (page eventsPage, err error) {
	r := (&http.Request{Header: http.Header{}, Host: "localhost"}).WithContext(ctx)
	v := &visit{console: c, r: r, who: operator.Session{Name: "console"}}
	err = v.get("/admin/events", query, &page)
	return page, err
}
