package app

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/registration"
	"github.com/usher-auth/usher/services/store"
	"github.com/usher-auth/usher/services/tracing"
	"github.com/usher-auth/usher/workers"
)

const sampledParent, unsampledParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"

// TestSampling: who begins a trace goes by the ratio, what follows from it by the trace.
func TestSampling(t *testing.T) {
	t.Parallel()
	for ratio, name := range map[float64]string{0: "none", 1: "all"} {
		kept := newTracesTo(tracetest.NewInMemoryExporter(), ratio, resource.Empty())
		start := func(parent string, options ...trace.SpanStartOption) bool {
			_, span := kept.tracer().Start(events.WithTraceParent(t.Context(), parent), "x", options...)
			return span.SpanContext().IsSampled()
		}
		attempt := func(from string) bool {
			origin := trace.SpanContextFromContext(events.WithTraceParent(t.Context(), from))
			return start("", trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(trace.Link{SpanContext: origin}))
		}
		request := func(of string) bool {
			origin := trace.SpanContextFromContext(events.WithTraceParent(t.Context(), of))
			return start("", trace.WithSpanKind(trace.SpanKindServer), trace.WithLinks(trace.Link{SpanContext: origin}))
		}
		if start("") != (ratio == 1) || request(sampledParent) != (ratio == 1) || request(unsampledParent) != (ratio == 1) {
			t.Errorf("%s: a request that begins a trace does not go by the ratio", name)
		}
		if !start(sampledParent) || start(unsampledParent) {
			t.Errorf("%s: what goes on does not go by its trace", name)
		}
		if !attempt(sampledParent) || attempt(unsampledParent) {
			t.Errorf("%s: an attempt does not go by what its event is from", name)
		}
	}
}

// TestTracesAreOffUnlessConfigured: off is no tracer, no wrapped database, nothing to end.
func TestTracesAreOffUnlessConfigured(t *testing.T) {
	t.Parallel()
	none, err := newTraces(t.Context(), &config.Config{}, Everything, "1.0.0", slog.New(slog.DiscardHandler))
	if err != nil || none != nil || none.tracer() != nil || none.options() != nil || none.openDB() != nil || none.close() != nil {
		t.Errorf("traces without configuration = %v, %v, want nothing at all", none, err)
	}
}

// TestCollectorThatIsAway is told of once, and holds up nobody, the end neither.
func TestCollectorThatIsAway(t *testing.T) {
	t.Parallel()
	stuck := make(chan struct{})
	frozen := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-stuck
	}))
	t.Cleanup(frozen.Close)
	t.Cleanup(func() { close(stuck) })
	cfg := &config.Config{}
	cfg.Tracing.Provider = config.ProviderOTel
	cfg.Tracing.Providers.OTLP.ServerURL, cfg.Tracing.Providers.OTLP.Sampling.Ratio = frozen.URL, 1
	all, err := newTraces(t.Context(), cfg, Everything, "1.0.0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for range 10_000 { // more than may wait
		_, span := all.tracer().Start(t.Context(), "x")
		span.End()
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("10,000 spans took %s while the collector is frozen, want that nobody waits for it", took)
	}
	began = time.Now()
	if err := all.close(); err != nil || time.Since(began) > flushTime+time.Second {
		t.Errorf("close = %v after %s, want nil within %s", err, time.Since(began), flushTime)
	}
}

type exporting struct {
	sdktrace.SpanExporter
	err error
}

func (e *exporting) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return e.err }

func TestExportThatFailsIsToldOnce(t *testing.T) {
	t.Parallel()
	said, to := &bytes.Buffer{}, &exporting{}
	e := &tellingExporter{SpanExporter: to, log: slog.New(slog.NewTextHandler(said, nil))}
	for _, to.err = range []error{nil, errors.New("refused"), errors.New("refused"), nil, nil} {
		if err := e.ExportSpans(t.Context(), nil); err != nil {
			t.Errorf("ExportSpans = %v, want that it is told here", err)
		}
	}
	if got := said.String(); strings.Count(got, "not taken") != 1 || strings.Count(got, "taken again") != 1 {
		t.Errorf("the log says %q, want one line of each", got)
	}
}

// TestExamples: a histogram's bucket has the trace of what is recorded, in OpenMetrics.
func TestExamples(t *testing.T) {
	t.Parallel()
	m := newMetrics("1.0.0")
	ctx := events.WithTraceParent(t.Context(), sampledParent)
	m.request(ctx, "/x", "GET", 200, time.Millisecond)
	m.registration(ctx, registration.Outcome{Method: "password", Result: registration.OK, Hash: time.Second})
	m.attempt("crm", workers.Attempt{Outcome: workers.Done, TraceID: sampledParent[3:35]})
	m.request(events.WithTraceParent(t.Context(), unsampledParent), "/y", "GET", 200, time.Millisecond)
	ask := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	ask.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	answer := httptest.NewRecorder()
	m.handler().ServeHTTP(answer, ask)
	for _, name := range []string{"http_request_duration_seconds", "registration_step_duration_seconds", "hook_attempt_duration_seconds"} {
		n := 0
		for line := range strings.Lines(answer.Body.String()) {
			if strings.HasPrefix(line, "usher_"+name+"_bucket") && strings.Contains(line, `# {trace_id="`+sampledParent[3:35]+`"}`) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s has %d examples, want one", name, n)
		}
	}
}

func TestLinesHaveTheirTrace(t *testing.T) {
	t.Parallel()
	said := &bytes.Buffer{}
	log := slog.New(tracedLines{slog.NewTextHandler(said, nil)}).With("part", "x")
	ctx := events.WithTraceParent(t.Context(), sampledParent)
	log.InfoContext(t.Context(), "none")
	log.InfoContext(ctx, "one")
	log.InfoContext(ctx, "its own", "trace_id", "other")
	want := []string{"msg=none part=x\n", "msg=one part=x trace_id=" + sampledParent[3:35] + "\n", "msg=\"its own\" part=x trace_id=other\n"}
	lines := strings.SplitAfter(said.String(), "\n")
	for n, w := range want {
		if !strings.HasSuffix(lines[n], w) {
			t.Errorf("line %q, want …%q", lines[n], w)
		}
	}
}

// TestStatementsAreRecordedWithoutValues, and without the errors that quote them.
func TestStatementsAreRecordedWithoutValues(t *testing.T) {
	t.Parallel()
	recorded := tracetest.NewInMemoryExporter()
	all := newTracesTo(recorded, 1, resource.Empty())
	cfg, _, err := config.Load(config.Options{Dev: true, Env: []string{}, Overrides: map[string]any{"data_dir": t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := openMigrated(t.Context(), cfg, store.Options{Log: slog.New(slog.DiscardHandler), OpenDB: all.openDB()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Ping(t.Context()); err != nil { // in no trace
		t.Fatal(err)
	}
	ctx, root := all.tracer().Start(t.Context(), "root")
	err = tracing.Do(ctx, "look", func(ctx context.Context) error {
		_, err := s.IdentitiesByIdentifier(ctx, "canary@example.org")
		return err
	})
	root.End()
	if err = errors.Join(err, all.provider.ForceFlush(t.Context())); err != nil {
		t.Fatal(err)
	}
	statements := 0
	for _, span := range recorded.GetSpans() {
		for _, a := range span.Attributes {
			if a.Key == "db.query.text" && strings.HasPrefix(a.Value.AsString(), "SELECT") {
				statements++
			}
			if strings.Contains(a.Value.String(), "canary") {
				t.Errorf("%s: %s = %s", span.Name, a.Key, a.Value.String())
			}
		}
		if span.SpanContext.TraceID() != root.SpanContext().TraceID() {
			t.Errorf("%s is recorded and in no trace", span.Name)
		}
	}
	if statements != 1 {
		t.Errorf("%d statements recorded, want one", statements)
	}
}
