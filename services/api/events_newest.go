package api

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tidwall/gjson"

	"github.com/usher-auth/usher/services/audit"
)

const (
	oldestFirst = "oldest"
	newestFirst = "newest"

	// Who did something has no index: at most maxLooked records are looked through
	// for an actor, in pages of lookPage, before the answer says how far that was.
	maxLooked = 5000
	lookPage  = 1000
)

// newestQuery is what a page of the newest events is asked by.
type newestQuery struct {
	audit.Query
	actor string
}

func (s *Server) newestQuery(x *exchange) (q newestQuery, err error) {
	if q.Query, err = s.selection(x); err != nil {
		return q, err
	}
	if x.query("wait") != "" {
		return q, refuse("the newest are what is there already: wait goes with order=%s", oldestFirst)
	}
	q.Newest, q.actor = true, x.query("actor")
	if q.Since, err = x.time("since"); err != nil {
		return q, err
	}
	if q.Until, err = x.time("until"); err != nil {
		return q, err
	}
	if cursor := x.query("after"); cursor != "" && cursor != latest {
		if q.Before, err = parseCursor(cursor); err == nil && q.Before == 0 {
			err = refuse("the cursor is none of this server")
		}
	}
	return q, err
}

// newestEvents gives the event log backwards, from its end or from before a
// cursor. The end that it began at is a cursor to follow the log from.
func (s *Server) newestEvents(x *exchange) error {
	q, err := s.newestQuery(x)
	if err != nil {
		return fmt.Errorf("newest events: %w", err)
	}
	ctx := x.r.Context()
	head, _, err := s.Events.EventHead(ctx)
	if err != nil {
		return fmt.Errorf("newest events: %w", err)
	}
	if q.Before == 0 || q.Before > head+1 {
		q.Before = head + 1 // what is logged meanwhile is behind that end
	}
	records, next, err := s.eventsBefore(ctx, q)
	if err != nil {
		return fmt.Errorf("newest events: %w", err)
	}
	var b bytes.Buffer
	writeEvents(&b, records)
	cursor := ""
	if next > 0 {
		cursor = formatCursor(next)
		x.w.Header()["Link"] = []string{"<" + routeEvents + "?" + q.onward(cursor).Encode() + `>; rel="next"`}
	}
	b.WriteString(`,"next":"` + cursor + `","latest":"` + formatCursor(head) + `"}`)
	x.answer(http.StatusOK, b.Bytes())
	return nil
}

// eventsBefore gives the records that q selects, and the seq to go on before; 0
// when there are none any more.
func (s *Server) eventsBefore(ctx context.Context, q newestQuery) (records []audit.Record, next int64, err error) {
	wanted := q.Limit
	if q.actor != "" {
		q.Limit = lookPage
	}
	for looked := 0; looked < maxLooked; looked += q.Limit {
		page, err := s.Events.Events(ctx, q.Query)
		if err != nil {
			return nil, 0, err
		}
		for _, r := range page {
			q.Before = r.Seq
			if q.actor == "" || actor(r.Payload) == q.actor {
				records = append(records, r)
			}
			if len(records) == wanted {
				break
			}
		}
		switch {
		case q.Before == 1 || len(page) < q.Limit && len(records) < wanted:
			return records, 0, nil
		case len(records) == wanted:
			return records, q.Before, nil
		}
	}
	return records, q.Before, nil
}

// actor is who an event says has done it.
func actor(payload []byte) string { return gjson.GetBytes(payload, "actor").Str }

// onward is the query for the next page.
func (q newestQuery) onward(next string) url.Values {
	v := onward(q.Query, next)
	v.Set("order", newestFirst)
	for name, value := range map[string]string{"actor": q.actor, "since": instant(q.Since), "until": instant(q.Until)} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v
}

// instant is a time as a parameter, empty for none.
func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// time reads a parameter that is a time; zero if it is absent.
func (x *exchange) time(parameter string) (time.Time, error) {
	text := x.query(parameter)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, refuse("%s must be a time such as %s", parameter, "2026-11-26T12:00:00Z")
	}
	return t, nil
}

// writeEvents begins an answer with events. Their payloads are stored as canonical
// JSON and go out as they are.
func writeEvents(b *bytes.Buffer, records []audit.Record) {
	b.WriteString(`{"events":[`)
	for n, r := range records {
		if n > 0 {
			b.WriteByte(',')
		}
		b.Write(r.Payload)
	}
	b.WriteByte(']')
}

// newest tells whether the newest are asked for first.
func (x *exchange) newest() (bool, error) {
	switch order := x.query("order"); order {
	case "", oldestFirst:
		return false, nil
	case newestFirst:
		return true, nil
	default:
		return false, refuse("order must be %s or %s, not %s", newestFirst, oldestFirst, strconv.Quote(order))
	}
}
