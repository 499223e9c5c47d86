package api_test

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/usher-auth/usher/services/registration"
)

// traced is a world whose spans are recorded.
func traced(t *testing.T, change ...func(*world)) (*world, *tracetest.SpanRecorder) {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	tracing := func(w *world) { w.options.Tracer = provider.Tracer("test") }
	return newWorld(t, append([]func(*world){tracing}, change...)...), recorder
}

// TestWhoIsTracedIsNotForClientsToSay: the trace of a trusted proxy, and of who asks the
// admin listener, goes on; of anybody else's there is a link.
func TestWhoIsTracedIsNotForClientsToSay(t *testing.T) {
	t.Parallel()
	own := goodTrace[3:35]
	for name, tt := range map[string]struct {
		admin, proxy, goesOn, linked bool
		given                        string
	}{
		"client":          {given: goodTrace, linked: true},
		"client's own":    {},
		"no context":      {given: "00-0-0-01"},
		"trusted proxy":   {given: goodTrace, proxy: true, goesOn: true},
		"admin listener":  {given: goodTrace, admin: true, goesOn: true},
		"proxy, no trace": {proxy: true},
	} {
		w, recorder := traced(t, func(w *world) {
			if tt.proxy {
				w.settings.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			}
		})
		c, path := w.app(), "/sessions/whoami"
		if tt.admin {
			c, path = w.admin(), "/admin/identities"
		}
		c.get(path, "Traceparent", tt.given)
		spans := recorder.Ended()
		if len(spans) != 1 {
			t.Errorf("%s: %d spans, want one", name, len(spans))
			continue
		}
		s := spans[0]
		goesOn := s.SpanContext().TraceID().String() == own && s.Parent().IsRemote()
		linked := len(s.Links()) == 1 && s.Links()[0].SpanContext.TraceID().String() == own
		if goesOn != tt.goesOn || linked != tt.linked || s.SpanKind() != trace.SpanKindServer || s.Name() != "GET "+path {
			t.Errorf("%s: %s goes on %t, linked %t; want %t, %t", name, s.Name(), goesOn, linked, tt.goesOn, tt.linked)
		}
	}
}

// TestSpansHoldNothingOfClients is S81 for spans.
func TestSpansHoldNothingOfClients(t *testing.T) {
	t.Parallel()
	var in registration.Submit
	w, recorder := traced(t, func(w *world) { w.inForce.Registration = recording{&in} })
	c := w.app()
	c.postJSON(c.nativeFlow("?return_to=http://127.0.0.1:4455/canary").submit(), submitBody("", "canary@example.org", "canary canary"), "Traceparent", goodTrace)
	c.get("/canary?canary", "User-Agent", "canary", "Cookie", "ory_kratos_session=canary")
	c.do("CANARY", "/sessions/whoami", "")
	for _, path := range []string{"/health/alive", "/health/ready", "/health/accepting"} {
		c.get(path)
	}
	names := map[string]int{}
	for _, s := range recorder.Ended() {
		names[s.Name()]++
		for _, a := range s.Attributes() {
			if strings.Contains(strings.ToLower(a.Value.String()), "canary") || strings.Contains(a.Value.String(), "127.0.0.1") {
				t.Errorf("%s: %s = %s holds what a client sent", s.Name(), a.Key, a.Value.String())
			}
		}
	}
	for name, n := range map[string]int{"POST /self-service/registration": 1, "GET unknown": 1, "other /sessions/whoami": 1, "GET /health/ready": 0} {
		if names[name] != n {
			t.Errorf("%d spans %q of %v, want %d", names[name], name, names, n)
		}
	}
	if !strings.Contains(w.log.String(), `"trace_id":"`+in.Client.TraceParent[3:35]+`"`) || in.Client.TraceParent == goodTrace {
		t.Errorf("the use case got trace %s, want the span's, which the log has too", in.Client.TraceParent)
	}
}

// TestPageIsPartOfItsRequest: what a page asks the API is a step of the page's request.
func TestPageIsPartOfItsRequest(t *testing.T) {
	t.Parallel()
	w, recorder := traced(t, func(w *world) {
		w.options.Pages = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			asked := r.Clone(context.WithoutCancel(r.Context()))
			asked.URL.Path = "/sessions/whoami"
			w.server.Public().ServeHTTP(rw, asked)
		})
	})
	c := w.app()
	c.foreign = true
	c.get("/ui/welcome")
	spans := recorder.Ended()
	if len(spans) != 2 || spans[0].Name() != "GET /sessions/whoami" || spans[0].Parent().SpanID() != spans[1].SpanContext().SpanID() || spans[0].SpanKind() != trace.SpanKindInternal {
		t.Errorf("spans = %v, want whoami within the page", spans)
	}
}
