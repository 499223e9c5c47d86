package api

import (
	"bytes"
	"fmt"
	"net/http"
	"time"
)

const (
	typeStream = "text/event-stream"
	// heartbeat is how long a stream is silent at most.
	heartbeat = 15 * time.Second
	// streamPage is how many events are in memory for one reader, who must take
	// them within partTime.
	streamPage = 100
	partTime   = 30 * time.Second
)

// streamEvents gives the event log as server-sent events, from behind a cursor
// and without an end. The id of each is a cursor; a browser sends the last one
// when it connects again.
func (s *Server) streamEvents(x *exchange) error {
	q, err := s.eventQuery(x, x.r.Header.Get("Last-Event-Id"))
	if err != nil {
		return err
	}
	q.Limit = streamPage
	h := x.w.Header()
	h["Content-Type"] = []string{typeStream}
	h["X-Accel-Buffering"] = []string{"no"}
	x.status = http.StatusOK
	x.w.WriteHeader(x.status)
	var b bytes.Buffer
	b.WriteString("retry: 1000\n\n")
	for {
		x.outlast(partTime)
		if !x.send(b.Bytes()) || s.drained() {
			return nil
		}
		x.outlast(heartbeat + partTime)
		records, next, err := s.eventsBehind(x.r.Context(), q, s.heartbeat())
		if err != nil {
			return fmt.Errorf("stream events: %w", err)
		}
		b.Reset()
		for _, r := range records {
			fmt.Fprintf(&b, "id: %s\nevent: %s\ndata: %s\n\n", formatCursor(r.Seq), r.Type, r.Payload)
		}
		if len(records) == 0 {
			// Without data it is no event, and still moves what the reader goes on from.
			fmt.Fprintf(&b, ": nothing new\nid: %s\n\n", formatCursor(next))
		}
		q.After = next
	}
}

// send sends a part of an answer; false: the reader is gone, or too slow.
func (x *exchange) send(part []byte) bool {
	_, err := x.w.Write(part)
	return err == nil && http.NewResponseController(x.w).Flush() == nil && x.r.Context().Err() == nil
}

func (s *Server) heartbeat() time.Duration {
	if s.Heartbeat > 0 {
		return s.Heartbeat
	}
	return heartbeat
}
