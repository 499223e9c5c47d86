package api_test

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/usher-auth/usher/services/api"
)

func returnSettings(t testing.TB) *api.Compiled {
	s := newSettings(t)
	s.PublicURL = "https://id.example.com"
	s.DefaultReturnURL = "https://app.example.com/welcome"
	s.AllowedReturnURLs = []string{
		"https://app.example.com/app",
		"https://*.apps.example.com",
		"http://localhost:3000/",
		"myapp://callback",
	}
	return compile(t, s)
}

// mayLeadTo are the places that the settings above allow, as a browser sees them.
func mayLeadTo(scheme, host, port, path string) bool {
	switch scheme {
	case "https":
		return port == "" && (host == "app.example.com" && strings.HasPrefix(path, "/app") ||
			strings.HasSuffix(host, ".apps.example.com") ||
			host == "id.example.com" && strings.HasPrefix(path, "/self-service/"))
	case "http":
		return host == "localhost" && port == "3000"
	case "myapp":
		return host == "callback"
	}
	return false
}

func TestReturnTo(t *testing.T) {
	t.Parallel()
	c := returnSettings(t)
	for _, tt := range []struct{ in, want string }{
		{"https://app.example.com/app", "https://app.example.com/app"},
		{"https://app.example.com/app/", "https://app.example.com/app/"},
		{"https://app.example.com/apple", "https://app.example.com/apple"}, // a prefix, by the contract
		{"HTTPS://APP.Example.Com/app/x?y=1&z=%20#top", "https://app.example.com/app/x?y=1&z=%20#top"},
		{"https://app.example.com:443/app", "https://app.example.com/app"},
		{"https://app.example.com/app/ümlaut", "https://app.example.com/app/%C3%BCmlaut"},
		{"https://app.example.com/app?q=ü", "https://app.example.com/app?q=%C3%BC"},
		{"https://app.example.com/app?next=https://evil.example", "https://app.example.com/app?next=https://evil.example"},
		{"https://app.example.com/app/%2F", "https://app.example.com/app/%2F"},
		{"https://app.example.com/app//x", "https://app.example.com/app//x"},
		{"https://a.apps.example.com", "https://a.apps.example.com/"},
		{"https://a.b.apps.example.com/x", "https://a.b.apps.example.com/x"},
		{"https://xn--bcher-kva.apps.example.com/", "https://xn--bcher-kva.apps.example.com/"},
		{"http://localhost:3000", "http://localhost:3000/"},
		{"http://localhost:3000/x#/route", "http://localhost:3000/x#/route"},
		{"myapp://callback", "myapp://callback/"},
		{"myapp://callback/x?y", "myapp://callback/x?y"},
		{"https://id.example.com/self-service/settings/browser", "https://id.example.com/self-service/settings/browser"},
		{"/app/x?y", "https://app.example.com/app/x?y"},
	} {
		if got, err := c.Resolve(tt.in); got != tt.want || err != nil {
			t.Errorf("resolve(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
}

// TestReturnToTricks tries what is known to lead redirects astray.
func TestReturnToTricks(t *testing.T) {
	t.Parallel()
	c := returnSettings(t)
	tricks := readTricks(t)
	if len(tricks) < 200 {
		t.Fatalf("%d tricks, want 200 or more", len(tricks))
	}
	for _, trick := range tricks {
		if got, err := c.Resolve(trick); !errors.Is(err, api.ErrReturnTo) {
			t.Errorf("resolve(%q) = %q, %v, want %v", trick, got, err, api.ErrReturnTo)
		}
	}
}

// TestReturnToByTheStandard holds what is accepted against what browsers make of
// it by the URL standard, not by a parser of ours: see testdata/return_to_whatwg.mjs.
func TestReturnToByTheStandard(t *testing.T) {
	t.Parallel()
	c := returnSettings(t)
	judged := readJudged(t)
	if len(judged) < 500 {
		t.Fatalf("%d cases, want 500 or more", len(judged))
	}
	accepted := map[string]bool{}
	for _, j := range judged {
		got, err := c.Resolve(j.in)
		if err != nil {
			continue
		}
		accepted[j.in] = true
		scheme, place, _ := strings.Cut(j.origin, "://")
		host, port, _ := strings.Cut(place, ":")
		if !mayLeadTo(scheme, host, port, j.path) {
			t.Errorf("resolve(%q) = %q: a browser goes to %q%s", j.in, got, j.origin, j.path)
		}
		if want := j.origin + cmp.Or(j.path, "/") + j.rest; got != want {
			t.Errorf("resolve(%q) = %q, want what a browser reads: %q", j.in, got, want)
		}
	}
	for _, good := range []string{
		"https://app.example.com/app", "https://app.example.com/app/x?y=1&z=%20#top", "https://a.b.apps.example.com/x", "http://localhost:3000",
		"myapp://callback/x?y", "/app/x?y", "https://app.example.com/app/\u00fcmlaut", "https://id.example.com/self-service/settings/browser",
		"HTTPS://xn--bcher-kva.apps.example.com", "https://app.example.com:443/app?x=//evil.example#@evil.example",
	} {
		if !accepted[good] {
			t.Errorf("%q is not in the table or was refused", good)
		}
	}
}

// judgement is a value of return_to and where it leads by the standard: nowhere
// if origin is empty.
type judgement struct{ in, origin, path, rest string }

func readJudged(t *testing.T) (all []judgement) {
	t.Helper()
	f, err := os.Open("testdata/return_to_whatwg.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for rows := json.NewDecoder(f); ; {
		var row []string
		if err := rows.Decode(&row); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		row = append(row, "", "", "")
		all = append(all, judgement{in: row[0], origin: row[1], path: row[2], rest: row[3]})
	}
}

func readTricks(t testing.TB) (tricks []string) {
	f, err := os.Open("testdata/return_to_tricks.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if line := lines.Text(); strings.HasPrefix(line, `"`) {
			trick, err := strconv.Unquote(line)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			tricks = append(tricks, trick)
		}
	}
	return tricks
}

func TestReturnURLsOfSettings(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"", "app.example.com", "/app", "//app.example.com", "https://*.com", "https://*", "https://*.", "https://a.*.example.com",
		"https://user@app.example.com", "javascript://app.example.com", "data://x", "file:///etc", "https://app.example.com/a/../b",
		"https://app.example.com:0/", "https://app.example.com:99999", "https://bücher.example", "https://app example.com",
	} {
		s := newSettings(t)
		s.AllowedReturnURLs = []string{bad}
		if _, err := s.Compile(); err == nil {
			t.Errorf("Compile with allowed return URL %q: no error", bad)
		}
	}
}

// FuzzReturnTo holds what is accepted against what a browser makes of it.
func FuzzReturnTo(f *testing.F) {
	for _, trick := range readTricks(f) {
		f.Add(trick)
	}
	f.Add("https://app.example.com/app?x#y")
	f.Add("/app")
	f.Add("myapp://callback")
	c := returnSettings(f)
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := c.Resolve(raw)
		if err != nil {
			return
		}
		for _, text := range []string{raw, got} {
			scheme, host, port, path := browse(text, "https", "app.example.com")
			if !mayLeadTo(scheme, host, port, path) {
				t.Errorf("resolve(%q) = %q: for a browser %q is scheme %q host %q port %q path %q", raw, got, text, scheme, host, port, path)
			}
		}
		if strings.ContainsFunc(got, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			t.Errorf("resolve(%q) = %q, want visible ASCII", raw, got)
		}
		if again, err := c.Resolve(got); again != got || err != nil {
			t.Errorf("resolve(%q) = %q, %v, want the same again", got, again, err)
		}
	})
}

// browse reads a URL as browsers do (the URL standard): leading and trailing
// controls go, tabs and line breaks go everywhere, a backslash is a slash, any
// number of slashes begins the authority, the last @ ends the user information.
func browse(raw, baseScheme, baseHost string) (scheme, host, port, path string) {
	raw = strings.Trim(raw, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f ")
	raw = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(raw)
	scheme, rest := baseScheme, raw
	if before, after, ok := strings.Cut(raw, ":"); ok && isScheme(before) {
		scheme, rest = strings.ToLower(before), after
	}
	special := scheme == "http" || scheme == "https"
	if special {
		query := strings.IndexAny(rest, "?#")
		if query < 0 {
			query = len(rest)
		}
		rest = strings.ReplaceAll(rest[:query], `\`, "/") + rest[query:]
	}
	relative := rest == raw || special && !strings.HasPrefix(rest, "/") && scheme == baseScheme
	host = baseHost
	switch {
	case strings.HasPrefix(rest, "//"), special && !relative:
		rest = strings.TrimLeft(rest, "/")
		end := strings.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		host, rest = rest[:end], rest[end:]
	case !strings.HasPrefix(rest, "/"):
		return scheme, host, "", "relative"
	}
	if at := strings.LastIndexByte(host, '@'); at >= 0 {
		host = host[at+1:]
	}
	if at := strings.LastIndexByte(host, ':'); at > strings.LastIndexByte(host, ']') {
		host, port = host[:at], host[at+1:]
	}
	if plain, err := url.PathUnescape(host); err == nil {
		host = plain
	}
	host = strings.ToLower(host)
	if n, err := strconv.Atoi(port); err == nil {
		port = strconv.Itoa(n)
	}
	if scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		port = ""
	}
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		host = addr.String()
	}
	if end := strings.IndexAny(rest, "?#"); end >= 0 {
		rest = rest[:end]
	}
	return scheme, host, port, withoutDots(rest)
}

func isScheme(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789+-.", unicode.ToLower(r))
	}) < 0 && !strings.ContainsAny(s[:1], "0123456789+-.")
}

// withoutDots walks a path's dot segments, also the escaped ones.
func withoutDots(path string) string {
	var kept []string
	for segment := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		switch strings.ReplaceAll(strings.ToLower(segment), "%2e", ".") {
		case ".":
		case "..":
			if len(kept) > 0 {
				kept = kept[:len(kept)-1]
			}
		default:
			kept = append(kept, segment)
		}
	}
	return "/" + strings.Join(kept, "/")
}
