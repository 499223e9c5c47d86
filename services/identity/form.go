package identity

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxFormDepth is how many parts a name in a form may have.
const maxFormDepth = 16

// entry is a value of a form, at a path below the trait that is being made.
type entry struct {
	path   []string
	values []string
}

// Coerce makes traits of a form's values whose names begin with "traits.". The
// schema's types decide what becomes of them: numbers, true or "on", lists of
// repeated names (tags=a&tags=b) or indexed ones (tags.0=a, tags[0]=a). What can
// not be converted stays text, for [Schema.Check] to report. Empty values are
// dropped, but for text that the schema requires. An error says that two names
// contradict each other, or that one is too deep; it is the sender's.
func (s *Schema) Coerce(form url.Values) (json.RawMessage, error) {
	var entries []entry
	for _, name := range slices.Sorted(maps.Keys(form)) {
		rest, ours := strings.CutPrefix(name, "traits.")
		if !ours {
			continue
		}
		path := strings.Split(brackets.Replace(rest), ".")
		if len(path) > maxFormDepth {
			return nil, fmt.Errorf("form value %q has more than %d parts", shortened(name), maxFormDepth)
		}
		entries = append(entries, entry{path: path, values: form[name]})
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return slices.Compare(a.path, b.path) })
	traits, err := coerceObject(s.traits, "traits", entries, true)
	if err != nil {
		return nil, err
	}
	return json.Marshal(traits)
}

// brackets turns tags[0] into tags.0, and tags[] into tags. with an empty index.
var brackets = strings.NewReplacer("[", ".", "]", "")

// coerce makes the value of t, which is nil where the schema knows nothing.
// It is nil when nothing was entered.
func coerce(t *trait, name string, entries []entry, required bool) (any, error) {
	deeper := slices.ContainsFunc(entries, func(e entry) bool { return len(e.path) > 0 })
	switch {
	case t != nil && t.kind == "array":
		return coerceList(t, name, entries)
	case deeper || (t != nil && t.kind == "object"):
		object, err := coerceObject(t, name, entries, required)
		if len(object) == 0 {
			return nil, err
		}
		return object, err
	}
	var last string
	for _, e := range entries {
		if n := len(e.values); n > 0 {
			last = e.values[n-1]
		}
	}
	// Only text can be there and empty.
	if last == "" && (!required || t.kind != "string") {
		return nil, nil
	}
	return coerceScalar(t, last), nil
}

func coerceObject(t *trait, name string, entries []entry, required bool) (map[string]any, error) {
	object := map[string]any{}
	for len(entries) > 0 {
		if len(entries[0].path) == 0 {
			if strings.Join(entries[0].values, "") != "" {
				return nil, fmt.Errorf("form value %q is also given in parts", shortened(name))
			}
			entries = entries[1:]
			continue
		}
		key := entries[0].path[0]
		var group []entry
		group, entries = split(entries, key)
		var part *trait
		needed := false
		if t != nil {
			part, needed = t.property(key), required && slices.Contains(t.requires, key)
		}
		value, err := coerce(part, name+"."+key, group, needed)
		if err != nil {
			return nil, err
		}
		if value != nil {
			object[key] = value
		}
	}
	return object, nil
}

// coerceList makes a list: first what was given by repetition, then what was
// given by index, in order and without gaps.
func coerceList(t *trait, name string, entries []entry) (any, error) {
	list := []any{}
	var indexed []entry
	for _, e := range entries {
		if len(e.path) == 1 && e.path[0] == "" {
			e.path = nil
		}
		if len(e.path) > 0 {
			if _, err := strconv.ParseUint(e.path[0], 10, 32); err != nil {
				return nil, fmt.Errorf("form value %q is a list, and %q is no index", shortened(name), shortened(e.path[0]))
			}
			indexed = append(indexed, e)
			continue
		}
		for _, value := range e.values {
			if value != "" {
				list = append(list, coerceScalar(t.items, value))
			}
		}
	}
	slices.SortStableFunc(indexed, func(a, b entry) int {
		x, _ := strconv.ParseUint(a.path[0], 10, 32)
		y, _ := strconv.ParseUint(b.path[0], 10, 32)
		return int(x) - int(y)
	})
	for len(indexed) > 0 {
		var group []entry
		index := indexed[0].path[0]
		group, indexed = split(indexed, index)
		value, err := coerce(t.items, name+"."+index, group, false)
		if err != nil {
			return nil, err
		}
		if value != nil {
			list = append(list, value)
		}
	}
	if len(list) == 0 {
		return nil, nil
	}
	return list, nil
}

// split takes the entries below key, which stand first, from sorted entries.
func split(entries []entry, key string) (group, rest []entry) {
	n := 0
	for n < len(entries) && len(entries[n].path) > 0 && entries[n].path[0] == key {
		group = append(group, entry{path: entries[n].path[1:], values: entries[n].values})
		n++
	}
	return group, entries[n:]
}

// coerceScalar converts text to the type of t, or leaves it as it is.
func coerceScalar(t *trait, text string) any {
	if t == nil {
		return text
	}
	switch t.kind {
	case "boolean":
		switch text {
		case "true", "on":
			return true
		case "false", "off":
			return false
		}
	case "number", "integer":
		if number, ok := parseNumber(text); ok {
			return number
		}
	case "string":
		if t.format == "date-time" {
			return withZone(text)
		}
	}
	return text
}

// withZone takes what HTML's datetime-local inputs send, which has no zone, as
// UTC, since RFC 3339 wants one.
func withZone(text string) string {
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05"} { // the latter takes a fraction, too
		if at, err := time.Parse(layout, text); err == nil {
			return at.Format(time.RFC3339Nano)
		}
	}
	return text
}

// parseNumber takes what HTML's number inputs send.
func parseNumber(text string) (json.Number, bool) {
	text = strings.TrimSpace(text)
	if text == "" || strings.Trim(text, "0123456789+-.eE") != "" {
		return "", false
	}
	if text[0] != '+' && json.Valid([]byte(text)) {
		return json.Number(text), true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return "", false
	}
	return json.Number(strconv.FormatFloat(f, 'g', -1, 64)), true
}
