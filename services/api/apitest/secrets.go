package apitest

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// secretRules are about what must not be disclosed.
var secretRules = []rule{
	{"token in a header", func(x *exchange) string {
		for name, values := range x.Header {
			if slices.ContainsFunc(values, token.MatchString) {
				return "there is one in " + name
			}
		}
		return ""
	}},
	{"token in a body", func(x *exchange) string {
		for _, found := range token.FindAllString(string(x.Body), -1) {
			if prefix := found[:len("ory_st_")]; !handedOut(x, prefix) && !strings.Contains(found, example) {
				return "there is one that begins with " + prefix
			}
		}
		return ""
	}},
	{"token or cookie", func(x *exchange) string {
		if x.object()["session_token"] == nil {
			return ""
		}
		return present(x, "Set-Cookie")
	}},
	{"password hash", func(x *exchange) string {
		if hash.Match(x.Body) && (!x.below("/admin/identities") || !x.URL.Query().Has("include_credential")) {
			return "there is one in the body"
		}
		return ""
	}},
	{"password", func(x *exchange) string {
		return walk(x.value, func(o map[string]any) string {
			if o["node_type"] == "input" && o["type"] == "password" && o["value"] != nil {
				return "the form shows it"
			}
			return ""
		})
	}},
	{"stack trace", func(x *exchange) string {
		if found := trace.Find(x.Body); found != nil {
			return "the body has " + string(found)
		}
		return ""
	}},
	{"cause", func(x *exchange) string {
		if !x.failed() {
			return ""
		}
		if found := cause.Find(x.Body); found != nil {
			return "the error has " + string(found)
		}
		return ""
	}},
}

var (
	token = regexp.MustCompile(`(ory_(st|sc|lo)_|usher_at_)[0-9A-Za-z]{16,}`)
	hash  = regexp.MustCompile(`\$(2[abxy]|argon2id?|scrypt|pbkdf2[\w-]*)\$`)
	trace = regexp.MustCompile(`goroutine \d+|\.go:\d+|runtime error|panic:`)
	cause = regexp.MustCompile(`(?i)\bsqlstate\b|\bpq: |\bsqlite\b|\bnats: |\bselect .* from\b|\binsert into\b|\bupdate \w+ set\b|no such table|dial tcp|connection refused|/(home|root|tmp|var)/`)
)

// example is in the token of the answers that settings are shown with; nobody has it.
const example = "EXAMPLEexample"

// handedOut tells whether the contract has a token of this kind in this body.
func handedOut(x *exchange, prefix string) bool {
	if x.Status != http.StatusOK {
		return false
	}
	switch prefix {
	case "ory_st_":
		submit := strings.TrimPrefix(x.URL.Path, "/self-service/")
		return x.Method == http.MethodPost && (submit == "registration" || submit == "login" || submit == "recovery") || x.URL.Path == "/sessions/token-exchange"
	case "ory_lo_":
		return x.URL.Path == "/self-service/logout/browser"
	}
	return false
}
