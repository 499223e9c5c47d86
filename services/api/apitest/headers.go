package apitest

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// headerRules are about headers that are no cookies.
var headerRules = []rule{
	{"request id", func(x *exchange) string {
		sent, got := x.Sent.Get("X-Request-Id"), x.Header.Get("X-Request-Id")
		switch {
		case !goodRequestID.MatchString(got):
			return "X-Request-Id is " + strconv.Quote(got)
		case goodRequestID.MatchString(sent) && got != sent:
			return "X-Request-Id is " + got + ", not that of the request"
		}
		return ""
	}},
	{"nosniff", func(x *exchange) string { return unless(x, "X-Content-Type-Options", "nosniff") }},
	{"no store", storable},
	{"content security policy", laxPolicy},
	{"referrer policy", func(x *exchange) string {
		if x.foreign() && !x.page() {
			return ""
		}
		return unless(x, "Referrer-Policy", "no-referrer", "same-origin")
	}},
	{"no server", func(x *exchange) string {
		return present(x, "Server", "X-Powered-By", "X-Aspnet-Version", "X-Generator", "X-Version", "Via")
	}},
	{"no entity tag", func(x *exchange) string { return present(x, "Etag", "Last-Modified") }},
	{"no timing", func(x *exchange) string {
		return present(x, "Server-Timing", "X-Runtime", "X-Response-Time", "X-Process-Time", "Timing-Allow-Origin")
	}},
	{"no compression", func(x *exchange) string {
		if x.foreign() {
			return ""
		}
		return present(x, "Content-Encoding", "Transfer-Encoding")
	}},
	{"content type", wrongType},
	{"vary", func(x *exchange) string {
		vary := strings.Join(x.Header.Values("Vary"), ", ")
		if !x.foreign() && !strings.Contains(vary, "Cookie") {
			return "Vary lacks Cookie"
		}
		if from := x.Header.Get("Access-Control-Allow-Origin"); from != "" && from != "*" && !strings.Contains(vary, "Origin") {
			return "Vary lacks Origin, and the answer is for one origin"
		}
		return ""
	}},
	{"cors", func(x *exchange) string {
		to := x.Header.Get("Access-Control-Allow-Origin")
		switch {
		case to == "null", len(x.Header.Values("Access-Control-Allow-Origin")) > 1:
			return "Access-Control-Allow-Origin is " + to
		case to == "*" && x.Header.Get("Access-Control-Allow-Credentials") != "":
			return "credentials of every origin are allowed"
		case to != "" && to != "*" && to != x.Sent.Get("Origin"):
			return "Access-Control-Allow-Origin is " + to + ", not the origin that asked"
		}
		return ""
	}},
	{"tls only", func(x *exchange) string {
		values := x.Header.Values("Strict-Transport-Security")
		if len(values) == 0 || len(values) == 1 && maxAge(values[0]) >= 31536000 {
			return ""
		}
		return "Strict-Transport-Security is for less than a year"
	}},
	{"retry after", wrongRetry},
	{"allow", wrongAllow},
	{"authenticate", func(x *exchange) string {
		admin := x.Listener == Admin || x.below("/admin", "/metrics", "/version", "/debug")
		challenge := x.Header.Get("Www-Authenticate")
		if wants := admin && x.Status == http.StatusUnauthorized; wants != (challenge == "Bearer") || !wants && challenge != "" {
			return "WWW-Authenticate is " + strconv.Quote(challenge)
		}
		return ""
	}},
	{"location", wrongLocation},
	{"redirect", func(x *exchange) string {
		redirects := x.Status >= 300 && x.Status < 400
		switch has := x.Header.Get("Location") != ""; {
		case redirects && !has:
			return "there is no Location"
		case redirects && len(x.Body) > 0:
			return "there is a body"
		case has && !redirects && x.Status != http.StatusCreated:
			return "there is a Location"
		}
		return ""
	}},
	{"link", wrongLink},
	{"identity header", func(x *exchange) string {
		id := x.Header.Get("X-Kratos-Authenticated-Identity-Id")
		if owner, _ := inner(x.object(), "identity")["id"].(string); id != "" && !x.bodiless() && id != owner {
			return "X-Kratos-Authenticated-Identity-Id is " + id + ", the body's is " + strconv.Quote(owner)
		}
		return ""
	}},
}

var goodRequestID = regexp.MustCompile(`^[0-9A-Za-z_.:-]{1,64}$`)

// unless says that a header has none of the values.
func unless(x *exchange, name string, values ...string) string {
	if got := x.Header.Values(name); len(got) != 1 || !slices.Contains(values, got[0]) {
		return name + " is " + strings.Join(got, " and ")
	}
	return ""
}

// present names the first of the headers that is there.
func present(x *exchange, names ...string) string {
	for _, name := range names {
		if len(x.Header.Values(name)) > 0 {
			return "there is " + name + ": " + x.Header.Get(name)
		}
	}
	return ""
}

// storable: no answer is kept by anybody, but for files whose name changes with them.
func storable(x *exchange) string {
	cache := x.Header.Get("Cache-Control")
	switch {
	case x.below("/ui/assets") && strings.Contains(cache, "immutable"):
		return present(x, "Set-Cookie") // it would be kept with the file
	case x.foreign():
		if !strings.Contains(cache, "no-store") {
			return "Cache-Control is " + strconv.Quote(cache)
		}
		return ""
	}
	return unless(x, "Cache-Control", "private, no-cache, no-store, must-revalidate")
}

func laxPolicy(x *exchange) string {
	if x.foreign() && !x.page() {
		return ""
	}
	policy := x.Header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(policy, part) {
			return "Content-Security-Policy lacks " + part
		}
	}
	for _, part := range []string{"unsafe-", "*", "data:", "http:", "https:"} {
		if strings.Contains(policy, part) {
			return "Content-Security-Policy has " + part
		}
	}
	return ""
}

// wrongType: the contract's JSON has no charset, and what is empty has no type.
func wrongType(x *exchange) string {
	kind := x.Header.Get("Content-Type")
	switch {
	case x.Method == http.MethodHead:
	case len(x.Body) == 0:
		if kind != "" && !x.foreign() {
			return "there is no body, but Content-Type: " + kind
		}
	case x.page():
		if !slices.Contains([]string{"text/html; charset=utf-8", "text/css; charset=utf-8", "image/svg+xml", "application/json"}, kind) {
			return "Content-Type is " + strconv.Quote(kind)
		}
	case x.foreign():
		if !strings.HasPrefix(kind, "application/json") && !strings.HasPrefix(kind, "text/plain;") && !strings.HasPrefix(kind, "application/openmetrics-text;") {
			return "Content-Type is " + strconv.Quote(kind)
		}
	case x.Status == http.StatusOK && x.below("/admin/audit/export"):
		return unless(x, "Content-Type", "application/x-ndjson")
	default:
		return unless(x, "Content-Type", "application/json")
	}
	return ""
}

func maxAge(policy string) int {
	for part := range strings.SplitSeq(policy, ";") {
		if seconds, ok := strings.CutPrefix(strings.TrimSpace(part), "max-age="); ok {
			n, _ := strconv.Atoi(seconds)
			return n
		}
	}
	return 0
}

// wrongRetry: who is turned away for now is told when to come back. Whoever asks
// whether a process is ready decides that by itself.
func wrongRetry(x *exchange) string {
	values := x.Header.Values("Retry-After")
	now := x.Status == http.StatusServiceUnavailable || x.Status == http.StatusTooManyRequests
	switch {
	case x.page(), x.below("/health", "/admin/health"):
	case now && len(values) == 0:
		return "there is no Retry-After"
	case !now && len(values) > 0:
		return "there is a Retry-After"
	}
	for _, v := range values {
		if n, err := strconv.Atoi(v); err != nil || n < 1 || n > 3600 {
			return "Retry-After is " + v
		}
	}
	return ""
}

func wrongAllow(x *exchange) string {
	allow := x.Header.Get("Allow")
	if x.Status != http.StatusMethodNotAllowed {
		if allow != "" {
			return "there is Allow: " + allow
		}
		return ""
	}
	methods := strings.Split(allow, ", ")
	switch {
	case allow == "":
		return "there is no Allow"
	case !slices.IsSorted(methods):
		return "Allow is not in order: " + allow
	case slices.Contains(methods, x.Method):
		return "Allow has the method that is not allowed"
	}
	return ""
}

// wrongLocation: a browser is led to an absolute URL, or to a path of the same origin.
func wrongLocation(x *exchange) string {
	values := x.Header.Values("Location")
	if len(values) == 0 {
		return ""
	}
	to := values[0]
	u, err := url.Parse(to)
	switch {
	case len(values) > 1:
		return "there are two"
	case err != nil:
		return "it cannot be read"
	case strings.ContainsFunc(to, func(r rune) bool { return r > unicode.MaxASCII || unicode.IsControl(r) || r == ' ' || r == '\\' }):
		return "it holds what no URL does"
	case u.User != nil:
		return "it holds a user"
	case u.IsAbs() && (u.Host == "" || u.Scheme != "http" && u.Scheme != "https"):
		return "it is of another kind than http"
	case !u.IsAbs() && (u.Host != "" || strings.HasPrefix(to, "//")):
		return "it is another origin's without saying how"
	case !u.IsAbs() && !x.page() && !strings.HasPrefix(to, "/"):
		return "it is relative to the path"
	}
	return ""
}

var linkForm = regexp.MustCompile(`^</[^<>"]*>; rel="(first|next|prev|last)"(,</[^<>"]*>; rel="(first|next|prev|last)")*$`)

func wrongLink(x *exchange) string {
	link := strings.Join(x.Header.Values("Link"), ",")
	if link != "" && !linkForm.MatchString(link) {
		return "Link is " + link
	}
	return ""
}
