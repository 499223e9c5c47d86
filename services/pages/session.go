package pages

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// session is what the pages read of one.
type session struct {
	ID              string    `json:"id"`
	AuthenticatedAt time.Time `json:"authenticated_at"`
	ExpiresAt       time.Time `json:"expires_at"`
	Devices         []device  `json:"devices"`
	Identity        struct {
		ID                  string         `json:"id"`
		Traits              map[string]any `json:"traits"`
		VerifiableAddresses []address      `json:"verifiable_addresses"`
		RecoveryAddresses   []address      `json:"recovery_addresses"`
	} `json:"identity"`
}

type address struct {
	Value    string `json:"value"`
	Verified bool   `json:"verified"`
	Status   string `json:"status"`
}

// device is the one that the session was used with last.
func (s session) device() device {
	if len(s.Devices) == 0 {
		return device{}
	}
	return s.Devices[len(s.Devices)-1]
}

// when says when and from where the session was begun, with {moment} for the former.
func (s session) when(say *words) string {
	if network := s.device().network(); network != "" {
		return fill(say.SignedInFrom, "network", network)
	}
	return say.SignedInAt
}

// awaited is the address that a verification was begun for and not finished, ""
// if there is none.
func (s session) awaited() string {
	for _, a := range s.Identity.VerifiableAddresses {
		if !a.Verified && a.Status == "sent" {
			return a.Value
		}
	}
	return ""
}

// name is what a person knows the account by.
func (s session) name() string {
	for _, a := range slices.Concat(s.Identity.VerifiableAddresses, s.Identity.RecoveryAddresses) {
		if a.Value != "" {
			return a.Value
		}
	}
	return s.Identity.ID
}

// fact is one thing that is known of a person.
type fact struct{ label, value string }

// facts are the traits by name, but for the one that the account is known by.
func (s session) facts(c *catalogue) []fact {
	return slices.DeleteFunc(c.facts(nil, "traits", "", s.Identity.Traits), func(f fact) bool { return f.value == s.name() })
}

// facts adds to known what a trait says, which is at a path and called by a name.
func (c *catalogue) facts(known []fact, path, name string, trait any) []fact {
	switch t := trait.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(t)) {
			// Most particular first: the "first" of a "name" is the first name.
			known = c.facts(known, path+"."+key, strings.TrimSpace(key+" "+name), t[key])
		}
	case []any:
		for _, item := range t {
			known = c.facts(known, path, name, item)
		}
	default:
		if text := plain(t, &c.Words); text != "" {
			known = append(known, fact{cmp.Or(c.Titles[path], readable(name)), text})
		}
	}
	return known
}

// plain is a value as it is written for people.
func plain(value any, say *words) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		if v {
			return say.Yes
		}
		return say.No
	}
	return ""
}

// readable makes words of a name: "birth_date" becomes "Birth date".
func readable(name string) string {
	words := strings.Join(strings.FieldsFunc(name, func(r rune) bool { return r == '_' || r == '-' || r == ' ' }), " ")
	first, size := utf8.DecodeRuneInString(words)
	if size == 0 {
		return name
	}
	return string(unicode.ToUpper(first)) + words[size:]
}
