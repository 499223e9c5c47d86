package console

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/usher-auth/usher/services/stats"
)

// board is the hour as people read it: numbers, and charts with their tables. What
// renews itself has an id.
type board struct {
	since  string
	busy   bool // somebody has registered or signed in
	tiles  []tile
	charts []chart
	from   time.Time
	step   int
}

// tile is one number.
type tile struct{ id, label, value, note, link string }

// chart is series over time, in words, and as a table of five minutes a row.
type chart struct {
	id, title, unit string
	summary         string
	labels          []string
	values          [][]*float64
	rows            [][]string // the first cell is the time
}

// lasts is the unit of charts of durations: each value says its own.
const lasts = "seconds"

// rowLength is how long a row of a chart's table is.
const rowLength = 5 * time.Minute

func newBoard(h stats.Hour) board {
	b := board{since: since(h), from: h.From, step: h.Step}
	c := h.Total.Counts
	registered, denied := c["registrations.ok"]+c["registrations.no_session"], sumOf(c, stats.Registrations, "ok", "no_session", "repeated")
	signedIn, wrong := c["logins.ok"]+c["logins.refreshed"], sumOf(c, stats.Logins, "ok", "refreshed")
	b.busy = registered+denied+signedIn+wrong > 0
	b.tiles = append([]tile{
		{"registered", "Registrations", count(registered), noted(count(denied)+" not accepted", c["registrations.no_session"], "without a session"), base + "/registrations"},
		{"signed-in", "Logins", count(signedIn), count(wrong) + " not accepted", ""},
		latency("hop-now", "Time to get a session", h.Total.Times[stats.Hop]),
		latency("hook-now", "Time of a background hook", h.Total.Times[stats.Hook]),
		{"failures", "Failed requests", count(c[stats.RequestErrors]), "of " + count(c[stats.Requests]), ""},
		{"mails", "Mails sent", count(c[stats.MailsSent]), count(c[stats.MailsFailed]) + " attempts failed", base + "/mail"},
	}, waiting(h.Now)...)
	b.charts = []chart{
		b.counted(h, "registrations", "Registrations and logins", "Registered", "Logged in", "Not accepted"),
		b.lasted(h, "hop", "Time to get a session from the session worker", h.Times[stats.Hop], h.Total.Times[stats.Hop]),
		b.lasted(h, "hooks", "Time of one attempt of a background hook", h.Times[stats.Hook], h.Total.Times[stats.Hook]),
		b.outbox(h),
		b.counted(h, "errors", "Errors", "Requests", "Sessions", "Hook attempts", "Publishing"),
	}
	for n := range b.charts {
		b.charts[n].rows = b.table(b.charts[n])
	}
	return b
}

// sumOf is that of all outcomes but some.
func sumOf(counts map[string]int64, kind string, but ...string) (n int64) {
	for name, c := range counts {
		if strings.HasPrefix(name, kind) {
			n += c
		}
	}
	for _, outcome := range but {
		n -= counts[kind+outcome]
	}
	return n
}

// noted adds to a note what is there.
func noted(note string, n int64, what string) string {
	if n > 0 {
		note += ", " + count(n) + " " + what
	}
	return note
}

func latency(id, label string, s stats.Summary) tile {
	t := tile{id: id, label: label, value: "–", note: "none yet"}
	if s.P99 != nil && s.P50 != nil {
		t.value, t.note = seconds(*s.P50), "half of "+count(s.Count)+"; 99 of 100 within "+seconds(*s.P99)
	}
	return t
}

// waiting are the numbers of what waits now.
func waiting(now *stats.Gauges) []tile {
	outbox := tile{"outbox-now", "Events not published yet", "–", "nobody tells it just now", ""}
	dead := tile{"dead", "Dead letters, now", "–", "nobody tells it just now", base + "/dead-letters"}
	if now != nil {
		outbox.value, outbox.note = count(now.OutboxDepth), "the oldest is "+seconds(now.OutboxOldest)+" old"
		if now.OutboxDepth == 0 {
			outbox.note = "everything is published"
		}
		dead.value, dead.note = count(now.DeadLetters), count(now.Retries)+" wait for another attempt"
	}
	return []tile{outbox, dead}
}

// seconds is a duration as people say it.
func seconds(s float64) string { return span(time.Duration(s * float64(time.Second))) }

// counted makes a chart of counts.
func (b board) counted(h stats.Hour, id, title string, labels ...string) chart {
	c := chart{id: id, title: title, unit: "each ten seconds", labels: labels}
	var texts []string
	for _, label := range labels {
		values, all := countsOf(h, id, label)
		c.values = append(c.values, values)
		texts = append(texts, count(all)+" "+strings.ToLower(label))
	}
	c.summary = strings.Join(texts, ", ") + "."
	if id == "errors" {
		c.summary = "Failed: " + strings.Join(texts, ", ") + "."
	}
	return c
}

// countsOf adds up the counters that a line of a chart stands for.
func countsOf(h stats.Hour, chart, label string) (values []*float64, all int64) {
	sums := make([]float64, len(h.Outbox.Depth))
	for name, counts := range h.Counts {
		if lineOf(name) != chart+" "+label {
			continue
		}
		for n := range min(len(counts), len(sums)) {
			sums[n] += float64(counts[n])
			all += counts[n]
		}
	}
	for n := range sums {
		values = append(values, &sums[n])
	}
	return values, all
}

// lineOf is which chart and line a counter belongs to.
func lineOf(counter string) string {
	switch counter {
	case "registrations.ok", "registrations.no_session":
		return "registrations Registered"
	case "logins.ok", "logins.refreshed":
		return "registrations Logged in"
	case "registrations.repeated":
		return "" // was counted when it was registered
	case stats.RequestErrors:
		return "errors Requests"
	case stats.SessionErrors:
		return "errors Sessions"
	case stats.HooksFailed:
		return "errors Hook attempts"
	case stats.RelayErrors:
		return "errors Publishing"
	}
	if strings.HasPrefix(counter, stats.Registrations) || strings.HasPrefix(counter, stats.Logins) {
		return "registrations Not accepted"
	}
	return ""
}

// lasted makes a chart of durations.
func (b board) lasted(h stats.Hour, id, title string, s stats.Series, total stats.Summary) chart {
	c := chart{id: id, title: title, unit: lasts, labels: []string{"Half within", "99 of 100 within"}, values: [][]*float64{s.P50, s.P99}, summary: "None within this time."}
	if total.P50 != nil && total.P99 != nil {
		c.summary = fmt.Sprintf("%s in all: half of them took up to %s, 99 of 100 up to %s.", count(total.Count), seconds(*total.P50), seconds(*total.P99))
	}
	return c
}

// outbox makes the chart of what waits for the relay.
func (b board) outbox(h stats.Hour) chart {
	c := chart{id: "outbox", title: "Age of the oldest event that is not published", unit: lasts, labels: []string{"Oldest"}, values: [][]*float64{h.Outbox.Oldest}, summary: "Nobody has told it within this time."}
	oldest, known := 0.0, false
	for _, age := range h.Outbox.Oldest {
		if age != nil {
			oldest, known = max(oldest, *age), true
		}
	}
	switch {
	case known && oldest == 0:
		c.summary = "No event was seen waiting."
	case known:
		c.summary = "Events waited for up to " + seconds(oldest) + " before they were published."
	}
	return c
}

// table makes the rows of a chart, the newest first: sums of counts, the highest of
// durations.
func (b board) table(c chart) (rows [][]string) {
	length := int(rowLength/time.Second) / max(b.step, 1)
	all := 0
	for _, values := range c.values {
		all = max(all, len(values))
	}
	for end := all; end > 0; end -= length {
		begin := max(0, end-length)
		at := b.from.Add(time.Duration(begin*b.step) * time.Second)
		row := []string{at.UTC().Format("15:04:05")}
		for _, values := range c.values {
			row = append(row, c.cell(values[min(begin, len(values)):min(end, len(values))]))
		}
		rows = append(rows, row)
	}
	return rows
}

func (c chart) cell(values []*float64) string {
	sum, highest, known := 0.0, 0.0, false
	for _, value := range values {
		if value != nil {
			sum, highest, known = sum+*value, max(highest, *value), true
		}
	}
	switch {
	case !known:
		return "–"
	case c.unit == lasts:
		return seconds(highest)
	}
	return count(int64(sum))
}

// id is that of a cell.
func (c chart) cellID(row, column int) string {
	return c.id + "." + strconv.Itoa(row) + "." + strconv.Itoa(column)
}

// boardData is what the page renews itself with: the points of the charts, and the
// texts by id.
type boardData struct {
	From   int64                   `json:"from"` // Unix time in seconds
	Step   int                     `json:"step"`
	Busy   bool                    `json:"busy"`
	Charts map[string][][]*float64 `json:"charts"`
	Texts  map[string]string       `json:"texts"`
}

func (b board) data() boardData {
	d := boardData{From: b.from.Unix(), Step: b.step, Busy: b.busy, Charts: map[string][][]*float64{}, Texts: map[string]string{"since": b.since}}
	for _, t := range b.tiles {
		d.Texts[t.id], d.Texts[t.id+".note"] = t.value, t.note
	}
	for _, c := range b.charts {
		d.Charts[c.id], d.Texts[c.id+".summary"] = c.values, c.summary
		for r, row := range c.rows {
			for n, text := range row {
				d.Texts[c.cellID(r, n)] = text
			}
		}
	}
	return d
}
