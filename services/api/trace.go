package api

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/usher-auth/usher/events"
)

const maxRequestID = 64

// requestID takes the id that a client or proxy gave, if it can stand in logs
// and events as it is, else makes one.
func requestID(given string) string {
	if given == "" || len(given) > maxRequestID || strings.ContainsFunc(given, notInRequestID) {
		return randomHex(16)
	}
	return given
}

func notInRequestID(r rune) bool {
	return notInLabel(r) && r != '.' && r != ':'
}

// traceParent takes a W3C trace context if it is valid, else begins one, for a request
// that is not recorded: its flags say so, whatever a client's did, or workers would
// record what nobody began. A context of a later version is read as far as ours goes.
func traceParent(given string) string {
	const version, flags = 2, 55 // where they end
	valid := len(given) >= flags &&
		lowerHex(given[:version]) && given[:version] != "ff" &&
		given[2] == '-' && lowerHex(given[3:35]) && strings.Trim(given[3:35], "0") != "" &&
		given[35] == '-' && lowerHex(given[36:52]) && strings.Trim(given[36:52], "0") != "" &&
		given[52] == '-' && lowerHex(given[53:flags]) &&
		(len(given) == flags || given[:version] != "00" && given[flags] == '-')
	if !valid {
		return "00-" + randomHex(16) + "-" + randomHex(8) + unrecorded
	}
	return "00-" + given[3:52] + unrecorded
}

// unrecorded are the flags of a trace context of which nothing is recorded.
const unrecorded = "-00"

// traceID is the part of a trace context that all its members share.
func traceID(parent string) string { return parent[3:35] }

// trace begins the span of a request. It goes on with a trace of this process, where a
// page asks the API, and with that of the request if it comes from a trusted proxy or to
// the admin listener. Of anybody else's there is a link, and no more: who is traced, and
// with whom, is not for clients to say. The span has the route's pattern, method, status
// and request id: no path, query, address or body.
func (e *endpoint) trace(x *exchange) (end func()) {
	ctx, kind, links := x.r.Context(), trace.SpanKindServer, []trace.Link(nil)
	if trace.SpanContextFromContext(ctx).IsValid() {
		kind = trace.SpanKindInternal
	} else if given := x.r.Header.Get("Traceparent"); given != "" {
		from := events.WithTraceParent(ctx, given)
		if e.kind&public == 0 || trusts(x.settings.TrustedProxies, x.r.RemoteAddr) {
			ctx = from
		} else if origin := trace.SpanContextFromContext(from); origin.IsValid() {
			links = []trace.Link{{SpanContext: origin}}
		}
	}
	method := knownMethod(x.r.Method)
	ctx, span := e.server.Tracer.Start(ctx, method+" "+e.route, trace.WithSpanKind(kind), trace.WithLinks(links...), trace.WithAttributes(
		attribute.String("http.request.method", method),
		attribute.String("http.route", e.route),
		attribute.String("usher.request_id", x.id),
	))
	x.r = x.r.WithContext(ctx)
	x.trace = events.TraceParent(ctx)
	return func() {
		span.SetAttributes(attribute.Int("http.response.status_code", x.status))
		if x.status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

func lowerHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

func randomHex(bytes int) string {
	var random [16]byte
	_, _ = rand.Read(random[:bytes]) // never fails, see crypto/rand
	return hex.EncodeToString(random[:bytes])
}
