package api

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// errReturnTo says that a return_to leads to where it must not.
var errReturnTo = errors.New("return_to is not allowed")

const maxReturnTo = 2048

// returnURLs knows where a browser may be sent.
type returnURLs struct {
	scheme, host string // those of the default, for relative URLs
	allowed      []target
}

// target is one place that is allowed, with everything below it.
type target struct {
	scheme string
	host   string // with the port, unless it is the scheme's; ".example.com" for any label before it
	path   string // prefix, escaped
}

// dangerous schemes run what they carry, or read it from the disk.
var dangerous = []string{"javascript", "data", "vbscript", "file", "blob", "about", "filesystem", "view-source"}

// newReturnURLs allows what is listed, and the self-service paths below the
// public base URL.
func newReturnURLs(public, fallback string, listed []string) (*returnURLs, error) {
	u, err := parseReturnURL(fallback)
	if err != nil {
		return nil, fmt.Errorf("default return URL %q is not an absolute URL in plain form", fallback)
	}
	t := &returnURLs{scheme: u.Scheme, host: u.Host}
	for _, raw := range append([]string{public + "/self-service"}, listed...) {
		host, wild := strings.CutPrefix(afterScheme(raw), "*.")
		if wild {
			if strings.Count(hostOf(host), ".") < 1 {
				return nil, fmt.Errorf("allowed return URL %q: the star needs a domain behind it", raw)
			}
			raw = raw[:len(raw)-len(host)-len("*.")] + host
		}
		u, err := parseReturnURL(raw)
		if err != nil {
			return nil, fmt.Errorf("allowed return URL %q is not an absolute URL in plain form", raw)
		}
		if slices.Contains(dangerous, u.Scheme) {
			return nil, fmt.Errorf("allowed return URL %q: nobody is sent to this scheme", raw)
		}
		allowed := target{scheme: u.Scheme, host: u.Host, path: u.EscapedPath()}
		if wild {
			allowed.host = "." + allowed.host
		}
		t.allowed = append(t.allowed, allowed)
	}
	// "/self-service" itself is no prefix of "/self-service-of-somebody-else".
	t.allowed[0].path += "/"
	return t, nil
}

func afterScheme(raw string) string {
	_, rest, _ := strings.Cut(raw, "://")
	return rest
}

func hostOf(rest string) string {
	if end := strings.IndexAny(rest, ":/?#"); end >= 0 {
		return rest[:end]
	}
	return rest
}

// resolve judges where a client wants to be sent, an absolute URL or a path
// with one slash in front, and gives the URL written anew. It is as strict as
// it can be without refusing what browsers and SDKs send: anything that two
// parsers could read in two ways is [errReturnTo].
func (t *returnURLs) resolve(raw string) (string, error) {
	if strings.HasPrefix(raw, "/") && !strings.HasPrefix(raw, "//") {
		raw = t.scheme + "://" + t.host + raw
	}
	u, err := parseReturnURL(raw)
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(t.allowed, func(a target) bool { return a.covers(u) }) {
		return "", errReturnTo
	}
	return u.String(), nil
}

// listed tells whether browsers may be sent to an origin, so that its pages
// may submit browser flows.
func (t *returnURLs) listed(origin string) bool {
	u, err := parseReturnURL(origin)
	return err == nil && slices.ContainsFunc(t.allowed, func(a target) bool { return a.scheme == u.Scheme && a.at(u.Host) })
}

func (t target) covers(u *url.URL) bool {
	return t.scheme == u.Scheme && t.at(u.Host) && strings.HasPrefix(u.EscapedPath(), t.path)
}

func (t target) at(host string) bool {
	if strings.HasPrefix(t.host, ".") {
		return strings.HasSuffix(host, t.host)
	}
	return host == t.host
}

// parseReturnURL reads an absolute URL and brings it into one form: lower-case
// scheme and host, no default port, an escaped path that begins with a slash.
func parseReturnURL(raw string) (*url.URL, error) {
	if len(raw) > maxReturnTo || !utf8.ValidString(raw) || strings.ContainsFunc(raw, misleading) {
		return nil, errReturnTo
	}
	scheme, rest, found := strings.Cut(raw, "://")
	if !found || !validScheme(scheme) {
		return nil, errReturnTo
	}
	authority := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority = rest[:end]
	}
	if !validAuthority(authority) {
		return nil, errReturnTo
	}
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.Opaque != "" || u.Host != authority {
		return nil, errReturnTo
	}
	if u.Path == "" {
		u.Path = "/"
	}
	if !plainPath(u.Path) {
		return nil, errReturnTo
	}
	u.Scheme = strings.ToLower(u.Scheme)
	u.Host = withoutDefaultPort(u.Scheme, strings.ToLower(u.Host))
	u.RawQuery = escapeBytes(u.RawQuery)
	return u, nil
}

// misleading characters are dropped, turned or drawn in unexpected ways by
// browsers: controls, white space, the backslash, what has no shape.
func misleading(r rune) bool {
	return r == '\\' || unicode.IsControl(r) || unicode.IsSpace(r) || unicode.Is(unicode.Cf, r)
}

func validScheme(s string) bool {
	for n, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		case n > 0 && (c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return s != ""
}

// validAuthority takes a host name in its ASCII form, an IPv4 address or an
// IPv6 address in brackets, and a port. No user, no escapes, no empty label.
func validAuthority(s string) bool {
	host := s
	if at := strings.LastIndexByte(s, ':'); at > strings.LastIndexByte(s, ']') {
		port := s[at+1:]
		host = s[:at]
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || strconv.Itoa(n) != port {
			return false
		}
	}
	if address, ok := strings.CutPrefix(host, "["); ok {
		address, ok = strings.CutSuffix(address, "]")
		return ok && address != "" && strings.Trim(address, "0123456789abcdefABCDEF:.") == ""
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, notInLabel) {
			return false
		}
	}
	return true
}

func notInLabel(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
		return false
	}
	return true
}

// plainPath refuses a path that a browser or a server would change, so that a
// prefix says what it seems to say.
func plainPath(decoded string) bool {
	if strings.ContainsFunc(decoded, func(r rune) bool { return r == '\\' || unicode.IsControl(r) }) {
		return false
	}
	for segment := range strings.SplitSeq(decoded, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

func withoutDefaultPort(scheme, host string) string {
	switch scheme {
	case "http":
		return strings.TrimSuffix(host, ":80")
	case "https":
		return strings.TrimSuffix(host, ":443")
	}
	return host
}

// escapeBytes escapes whatever is not visible ASCII.
func escapeBytes(s string) string {
	strange := func(c byte) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' || c == '`' }
	clean := true
	for _, c := range []byte(s) {
		if strange(c) {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for _, c := range []byte(s) {
		if strange(c) {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
