package e2e_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// spanCollector takes spans as a collector does, by OTLP over HTTP.
type spanCollector struct {
	*httptest.Server
	mu    sync.Mutex
	raw   []byte // all that came
	spans []*tracepb.Span
}

func newSpanCollector(t *testing.T) *spanCollector {
	t.Helper()
	c := &spanCollector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var request collector.ExportTraceServiceRequest
		if err = errors.Join(err, proto.Unmarshal(body, &request)); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s gets %d bytes that are no spans: %v", r.URL.Path, len(body), err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.raw = append(c.raw, body...)
		for _, of := range request.GetResourceSpans() {
			for _, in := range of.GetScopeSpans() {
				c.spans = append(c.spans, in.GetSpans()...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

// tracing is the configuration that sends all traces to c.
func (c *spanCollector) tracing() settings {
	return settings{"tracing": settings{"provider": "otel", "providers": settings{"otlp": settings{
		"server_url": strings.TrimPrefix(c.URL, "http://"), "insecure": true,
	}}}}
}

func (c *spanCollector) got() ([]*tracepb.Span, []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans), slices.Clone(c.raw)
}

// spansOf are the spans of a trace, and those of the traces that begin with a link to it.
func spansOf(all []*tracepb.Span, trace string) (found []*tracepb.Span) {
	traces := map[string]bool{trace: true}
	for _, s := range all {
		for _, l := range s.GetLinks() {
			if hex.EncodeToString(l.GetTraceId()) == trace {
				traces[hex.EncodeToString(s.GetTraceId())] = true
			}
		}
	}
	for _, s := range all {
		if traces[hex.EncodeToString(s.GetTraceId())] {
			found = append(found, s)
		}
	}
	return found
}

// TestTraces: one registration is one linked trace, from the request through commit,
// outbox, bus, session worker and background hooks to the mail and what endpoints are
// told, and has nothing of the person in it.
func TestTraces(t *testing.T) {
	t.Parallel()
	for _, shape := range signedShapes {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			const password = "trace-Pa55word-51c0ffee"
			office, spans, crm, vet := newPostOffice(t), newSpanCollector(t), newEndpoint(t), newEndpoint(t)
			office.open()
			over := merge(mailsTo(office), spans.tracing())
			over = merge(over, hooks(settings{"hook": "show_verification_ui"}, sessionHook,
				crm.webHook("crm", settings{"ignore": true}), vet.webHook("vet", settings{"parse": true})))
			s := newSystem(t, shape, over)
			e := newEndpoint(t)
			s.webhook("add", "signed", e.URL+"/in", "--events", "identity.created")
			s.settled()

			app, address := newApp(t, s.apis[0]), newAddress()
			f, err := app.initAPI()
			if err != nil {
				t.Fatal(err)
			}
			a, err := app.submit(f.ID, submission("", address, password))
			if err != nil || a.status != http.StatusOK {
				t.Fatalf("submit = %v %d %s", err, a.status, a.body)
			}
			var r registered
			a.json(t, &r)
			code := office.codeFor(address)
			delivered := e.waitAbout(t, r.Identity.ID, 1)[0]
			s.allHooked(crm, []string{r.Identity.ID})

			want := []string{
				"POST /self-service/registration", "registration.check", "registration.refusing_hooks", "webhook", "password.hash",
				"registration.commit", "sql INSERT", "session.issue", "session answer", "publish identity.created",
				"publish verification.requested", "webhook-crm identity.created", "signed identity.created", "courier verification.requested", "mail",
			}
			if shape == "parts" {
				want[6] = "sql WITH" // one statement for all tables
			}
			var found []*tracepb.Span
			eventually(t, 20*time.Second, func() error {
				all, _ := spans.got()
				root := slices.IndexFunc(all, func(s *tracepb.Span) bool { return s.GetName() == want[0] })
				if root < 0 {
					return errors.New("no span of the request")
				}
				found = spansOf(all, hex.EncodeToString(all[root].GetTraceId()))
				for _, name := range want {
					if !slices.ContainsFunc(found, func(s *tracepb.Span) bool { return s.GetName() == name }) {
						return fmt.Errorf("no span %q in the trace; it has %v", name, names(found))
					}
				}
				return orphan(found) // each process sends its own spans when it likes
			})
			nest(t, found)
			traceOf := func(parent string) string { return strings.Split(parent+"--", "-")[1] }
			attempt := found[slices.IndexFunc(found, func(s *tracepb.Span) bool { return s.GetName() == "signed identity.created" })]
			if got := traceOf(delivered.header.Get("Traceparent")); got != hex.EncodeToString(attempt.GetTraceId()) {
				t.Errorf("the endpoint was told trace %q, want that of the attempt", got)
			}
			s.stop()
			_, raw := spans.got()
			find(t, "traces", raw, []string{password, address, strings.Split(address, "@")[0], r.SessionToken, code, e.URL, crm.URL})
		})
	}
}

func names(spans []*tracepb.Span) (all []string) {
	for _, s := range spans {
		all = append(all, s.GetName())
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func spansByID(spans []*tracepb.Span) map[string]*tracepb.Span {
	byID := map[string]*tracepb.Span{}
	for _, s := range spans {
		byID[string(s.GetSpanId())] = s
	}
	return byID
}

// orphan says which span has a parent that is not there.
func orphan(spans []*tracepb.Span) error {
	byID := spansByID(spans)
	for _, s := range spans {
		if parent := s.GetParentSpanId(); len(parent) > 0 && byID[string(parent)] == nil {
			return fmt.Errorf("the parent of %q was not sent", s.GetName())
		}
	}
	return nil
}

// nest checks that each span lies within its parent unless it is a message that
// outlives the request.
func nest(t *testing.T, spans []*tracepb.Span) {
	t.Helper()
	byID := spansByID(spans)
	for _, s := range spans {
		parent := byID[string(s.GetParentSpanId())]
		if parent == nil {
			continue
		}
		before := s.GetStartTimeUnixNano() < parent.GetStartTimeUnixNano()
		// What is published later has no end here, and of two questions the slower one is not waited for.
		waited := s.GetKind() != tracepb.Span_SPAN_KIND_PRODUCER && s.GetName() != "session answer"
		behind := waited && s.GetEndTimeUnixNano() > parent.GetEndTimeUnixNano()
		if before || behind {
			t.Errorf("%q lies at %d–%d, outside of its parent %q at %d–%d", s.GetName(), s.GetStartTimeUnixNano(), s.GetEndTimeUnixNano(),
				parent.GetName(), parent.GetStartTimeUnixNano(), parent.GetEndTimeUnixNano())
		}
	}
}
