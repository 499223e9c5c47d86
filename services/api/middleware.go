package api

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"path"
	"runtime/debug"
	"slices"
	"strings"
)

// action answers a request, or gives the error that answers it.
type action func(*exchange) error

type methods map[string]action

func get(a action) methods { return methods{http.MethodGet: a} }

// every is for proxies that ask with the method of the request they guard.
func every(a action) methods {
	return methods{
		http.MethodGet: a, http.MethodHead: a, http.MethodPost: a,
		http.MethodPut: a, http.MethodPatch: a, http.MethodDelete: a,
	}
}

// kind says what is special about an endpoint.
type kind uint

const (
	public       kind = 1 << iota // CORS
	withCSRF                      // gives a browser its CSRF cookie when it has none
	quiet                         // successes are logged at debug level: they are the bulk
	guarded                       // wants a bearer token where the listener is guarded
	readsEvents                   // scope events:read will do
	readsMetrics                  // scope metrics will do
	acts                          // GET does something, so HEAD is not answered like it
	operators                     // of the console, which knows who comes
	foreign                       // another package's handler, with headers of its own
	owned                         // changing it, or what acts, is for owners alone
	secretive                     // shows credentials when asked, to owners alone
	unwatched                     // is asked by machines all the time: no spans
)

// router collects endpoints.
type router struct {
	server    *Server
	mux       *http.ServeMux
	endpoints []*endpoint
}

func (rt *router) add(route string, m methods, k kind) {
	e := &endpoint{server: rt.server, route: route, methods: m, kind: k}
	rt.endpoints = append(rt.endpoints, e)
	rt.mux.Handle(route, e)
}

// mount gives a handler of another package a place, with everything below it
// if the route ends with a slash.
func (rt *router) mount(route string, h http.Handler, k kind) {
	if h == nil {
		return
	}
	serve := answeredBy(h)
	rt.add(route, every(serve), k|foreign)
	if base, below := strings.CutSuffix(route, "/"); below {
		rt.add(base, every(serve), k|foreign)
	}
}

// answeredBy lets a handler of another package answer.
func answeredBy(h http.Handler) action {
	return func(x *exchange) error {
		h.ServeHTTP(&recorder{x.w, x}, x.r)
		return nil
	}
}

var errNoProfile = &problem{status: http.StatusNotFound, reason: "There is no profile of this name."}

// profile serves GET /debug/pprof/{profile}.
func (s *Server) profile(x *exchange) error {
	h := s.Profile(x.r.PathValue("profile"))
	if h == nil {
		return errNoProfile
	}
	return answeredBy(h)(x)
}

// done gives the handler; what was not added is unknown.
func (rt *router) done(k kind) http.Handler {
	unknown := &endpoint{server: rt.server, route: "unknown", kind: k}
	rt.mux.Handle("/", unknown)
	return &listener{rt.mux, rt.endpoints, unknown}
}

// listener answers on one port.
type listener struct {
	mux       *http.ServeMux
	endpoints []*endpoint // but unknown
	unknown   *endpoint
}

// ServeHTTP finds the endpoint.
func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := r.URL.Path
	if strings.HasPrefix(p, routeExternal) {
		p = r.URL.EscapedPath() // what follows is any text, with slashes too
	}
	if !clean(p) {
		l.unknown.ServeHTTP(w, r) // the mux would redirect
		return
	}
	l.mux.ServeHTTP(w, r)
}

func clean(p string) bool {
	return p == "/" || p != "" && path.Clean(p) == strings.TrimSuffix(p, "/") && p != "//"
}

// endpoint is one route. It does what all routes have in common: request id,
// headers, method, errors, panics, log line and measurement.
type endpoint struct {
	server  *Server
	route   string
	methods methods // nil for the unknown route
	kind    kind
}

// ServeHTTP answers a request.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := e.server
	now := s.Current()
	x := &exchange{InForce: now, w: w, r: r, at: s.Now(), settings: now.Settings, id: requestID(r.Header.Get("X-Request-Id"))}
	if s.Tracer != nil && e.kind&unwatched == 0 {
		defer e.trace(x)()
	}
	e.headers(x)
	err := e.run(x)
	begun := x.status != 0
	if err != nil && !begun {
		if e.kind&foreign != 0 {
			x.ourHeaders()
		}
		s.fail(x, err)
	}
	e.observe(x, err)
	if err != nil && begun {
		panic(http.ErrAbortHandler) // half an answer must not look like a whole one
	}
}

// run finds the action and runs it; a panic is an error like another.
func (e *endpoint) run(x *exchange) (err error) {
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		if abort, ok := cause.(error); ok && errors.Is(abort, http.ErrAbortHandler) {
			panic(cause)
		}
		err = fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
	}()
	if e.kind&public != 0 && x.cross() {
		x.answer(http.StatusNoContent, nil)
		return nil
	}
	if e.kind&withCSRF != 0 {
		x.ensureCSRF()
	}
	if e.kind&public == 0 {
		if err := e.server.guard(x, e.kind); err != nil {
			return err
		}
	}
	if e.methods == nil {
		return errUnknownRoute
	}
	if e.kind&(public|foreign) == 0 {
		if err := x.textual(); err != nil {
			return err
		}
	}
	a, ok := e.methods[x.r.Method]
	if !ok && x.r.Method == http.MethodHead && e.kind&acts == 0 {
		a, ok = e.methods[http.MethodGet]
	}
	if !ok {
		x.w.Header()["Allow"] = []string{e.allow()}
		return errMethod
	}
	return a(x)
}

func (e *endpoint) allow() string {
	return strings.Join(slices.Sorted(maps.Keys(e.methods)), ", ")
}

// Header values that never change are shared by all answers.
var (
	headerJSON       = []string{typeJSON}
	headerNoStore    = []string{"private, no-cache, no-store, must-revalidate"}
	headerVary       = []string{"Cookie"}
	headerNoSniff    = []string{"nosniff"}
	headerPolicy     = []string{"default-src 'none'; frame-ancestors 'none'; base-uri 'none'"}
	headerNoReferrer = []string{"no-referrer"}
	headerTLSOnly    = []string{"max-age=31536000"}
)

// headers sets what every answer carries. Foreign handlers say the rest
// themselves; what they give is not kept by anybody unless they say so.
func (e *endpoint) headers(x *exchange) {
	h := x.w.Header()
	h["X-Request-Id"] = []string{x.id}
	h["X-Content-Type-Options"] = headerNoSniff
	h["Cache-Control"] = headerNoStore
	if x.settings.secure && e.kind&public != 0 || x.r.TLS != nil {
		h["Strict-Transport-Security"] = headerTLSOnly
	}
	if e.kind&foreign == 0 {
		x.ourHeaders()
	}
}

// ourHeaders sets what every answer of this package carries besides.
func (x *exchange) ourHeaders() {
	h := x.w.Header()
	h["Content-Type"] = headerJSON
	h["Vary"] = append(headerVary[:1:1], h["Vary"]...)
	h["Content-Security-Policy"] = headerPolicy
	h["Referrer-Policy"] = headerNoReferrer
}

// observe writes the log line and the measurement. Neither holds a path, a
// query or anything of a body.
func (e *endpoint) observe(x *exchange, err error) {
	took := e.server.Now().Sub(x.at)
	if x.status == 0 {
		x.status = http.StatusOK // a foreign handler that wrote nothing
	}
	if e.server.Observe != nil {
		e.server.Observe(x.r.Context(), e.route, knownMethod(x.r.Method), x.status, took)
	}
	ctx := x.r.Context()
	level := slog.LevelInfo
	switch {
	case ctx.Err() != nil: // nobody waited for the answer any more
	case err != nil && classify(err).status >= http.StatusInternalServerError:
		level = slog.LevelError
	case e.kind&quiet != 0 && x.status < http.StatusBadRequest:
		level = slog.LevelDebug
	}
	if !e.server.Log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 9)
	attrs = append(attrs,
		slog.String("method", knownMethod(x.r.Method)),
		slog.String("route", e.route),
		slog.Int("status", x.status),
		slog.Duration("took", took),
		slog.Int64("bytes", x.bytes),
		slog.String("network", coarseNetwork(clientAddr(x.r.RemoteAddr, x.r.Header["X-Forwarded-For"], x.settings.TrustedProxies))),
		slog.String("request_id", x.id),
		slog.String("trace_id", traceID(x.traceParent())),
	)
	if level == slog.LevelError {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	e.server.Log.LogAttrs(ctx, level, "request", attrs...)
}

// coarseNetwork is the network that an address is in, as much of it as says where trouble
// comes from and not from whom: /24, or /48 of IPv6.
func coarseNetwork(addr string) string {
	ip, ok := parseAddr(addr)
	if !ok {
		return ""
	}
	bits := 24
	if ip.Is6() {
		bits = 48
	}
	p, _ := ip.Prefix(bits) // the bits fit the address
	return p.String()
}

// knownMethod keeps what clients invent out of logs and metrics.
func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return m
	}
	return "other"
}
