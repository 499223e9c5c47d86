package api

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/delivery"
)

const (
	maxEvents = 1000
	maxTypes  = 50
	latest    = "latest" // the cursor at the end of the log
)

// selection reads what events are asked for, but for where to begin.
func (s *Server) selection(x *exchange) (q audit.Query, err error) {
	q = audit.Query{Types: x.queryAll("type"), Subject: x.query("subject")}
	if len(q.Types) > maxTypes {
		return q, refuse("type may be given %d times at most", maxTypes)
	}
	if err := refuseUnknown("type", q.Types, delivery.EventTypes()); err != nil {
		return q, err
	}
	q.Limit, err = x.limit("limit", 100, maxEvents)
	return q, err
}

// eventQuery reads what events are asked for in the order of the log; a cursor
// given apart from the query wins.
func (s *Server) eventQuery(x *exchange, cursor string) (q audit.Query, err error) {
	if newest, err := x.newest(); newest || err != nil {
		return q, cmp.Or(err, refuse("here the order is that of the log"))
	}
	for _, name := range []string{"actor", "since", "until"} {
		if x.query(name) != "" {
			return q, refuse("%s goes with order=%s at %s", name, newestFirst, routeEvents)
		}
	}
	if q, err = s.selection(x); err != nil {
		return q, err
	}
	if cursor == "" {
		cursor = x.query("after")
	}
	if cursor == latest {
		q.After, _, err = s.Events.EventHead(x.r.Context())
	} else if cursor != "" {
		q.After, err = parseCursor(cursor)
	}
	return q, err
}

// events gives the event log in order, from behind a cursor. The cursor in
// the answer is always good for going on, also when nothing new is there yet.
func (s *Server) events(x *exchange) error {
	if newest, err := x.newest(); newest && err == nil {
		return s.newestEvents(x)
	}
	q, err := s.eventQuery(x, "")
	if err != nil {
		return fmt.Errorf("events: %w", err)
	}
	wait, err := x.wait()
	if err != nil {
		return err
	}
	if wait > 0 {
		x.outlast(wait + partTime)
	}
	records, end, err := s.eventsBehind(x.r.Context(), q, wait)
	if err != nil {
		return fmt.Errorf("events: %w", err)
	}

	var b bytes.Buffer
	writeEvents(&b, records)
	next := formatCursor(end)
	b.WriteString(`,"next":"` + next + `"}`)
	if len(records) == q.Limit {
		x.w.Header()["Link"] = []string{"<" + routeEvents + "?" + onward(q, next).Encode() + `>; rel="next"`}
	}
	x.answer(http.StatusOK, b.Bytes())
	return nil
}

// onward is the query for the next page.
func onward(q audit.Query, next string) url.Values {
	v := url.Values{"after": {next}, "limit": {strconv.Itoa(q.Limit)}, "type": q.Types}
	if q.Subject != "" {
		v.Set("subject", q.Subject)
	}
	return v
}

// wait reads how long a long poll may wait.
func (x *exchange) wait() (time.Duration, error) {
	text := x.query("wait")
	if text == "" {
		return 0, nil
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || !(seconds >= 0 && seconds <= maxWait) { // nor NaN
		return 0, refuse("wait must be a number of seconds from 0 to %d", maxWait)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

const cursorPrefix = "seq:"

func formatCursor(seq int64) string {
	return base64.RawURLEncoding.EncodeToString([]byte(cursorPrefix + strconv.FormatInt(seq, 10)))
}

func parseCursor(cursor string) (int64, error) {
	plain, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return 0, refuse("the cursor is none of this server")
	}
	digits, ok := strings.CutPrefix(string(plain), cursorPrefix)
	seq, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || seq < 0 {
		return 0, refuse("the cursor is none of this server")
	}
	return seq, nil
}

// limit reads how many items are asked for.
func (x *exchange) limit(parameter string, usual, most int) (int, error) {
	text := x.query(parameter)
	if text == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, refuse("%s must be a number from 1 to %d", parameter, most)
	}
	return n, nil
}
