package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/usher-auth/usher/services/strictjson"
)

// compact gives JSON without the spaces between its parts.
func compact(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return raw
	}
	out := bytes.NewBuffer(make([]byte, 0, len(raw)))
	if err := json.Compact(out, raw); err != nil {
		return raw
	}
	return out.Bytes()
}

// decode also gives the name of the first member that a [Line] has not.
func decode(text []byte) (l *Line, unknown string, err error) {
	err = strictjson.Named(text, strictjson.MaxKept, func(key string) (inside bool) {
		if unknown == "" && !lower(key) {
			unknown = key
		}
		return !ofOthers(key)
	})
	if err != nil {
		return nil, "", err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	l = new(Line)
	if err = d.Decode(l); err != nil && unknown == "" {
		name, ok := strings.CutPrefix(err.Error(), "json: unknown field ")
		if !ok {
			return l, "", broken(text, err)
		}
		unknown, _ = strconv.Unquote(name)
	}
	if unknown != "" {
		return l, unknown, fmt.Errorf("unknown member %q", unknown)
	}
	return l, "", nil
}

// lower tells whether a name is none that encoding/json takes for that of another member.
func lower(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf || 'A' <= r && r <= 'Z' })
}

// ofOthers tells whether what is in a member is not defined here.
func ofOthers(name string) bool {
	return name == "traits" || name == "metadata_public" || name == "metadata_admin"
}

// without gives an object without the members of a name that say nothing, however deep,
// but leaves what others define as it is. It also tells whether there was one.
func without(name string, text []byte) (_ []byte, found bool) {
	switch text = bytes.TrimSpace(text); {
	case bytes.HasPrefix(text, []byte("{")):
		var members map[string]json.RawMessage
		if json.Unmarshal(text, &members) != nil {
			return text, false
		}
		for key, of := range members {
			switch {
			case ofOthers(key), key == "config":
				continue
			case key == name && saysNothing(of):
				delete(members, key)
				found = true
				continue
			}
			less, in := without(name, of)
			members[key], found = less, found || in
		}
		text, _ = json.Marshal(members) // it was JSON
	case bytes.HasPrefix(text, []byte("[")):
		var elements []json.RawMessage
		if json.Unmarshal(text, &elements) != nil {
			return text, false
		}
		for n, of := range elements {
			less, in := without(name, of)
			elements[n], found = less, found || in
		}
		text, _ = json.Marshal(elements)
	}
	return text, found
}

// saysNothing tells whether a member could as well be absent.
func saysNothing(raw json.RawMessage) bool {
	switch string(compact(raw)) {
	case "null", `""`, "[]", "{}":
		return true
	}
	return false
}

// broken says what is wrong with the values of a line, without them.
func broken(text []byte, err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		kind, _, _ := strings.Cut(wrong.Value, " ") // without the number
		return fmt.Errorf("%s must not be a JSON %s", wrong.Field, kind)
	}
	const either = "an id is no UUID, or a time is not of RFC 3339" // the error may quote it
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil {
		return errors.New(either)
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		one, err := json.Marshal(map[string]json.RawMessage{name: members[name]})
		if err == nil && json.Unmarshal(one, new(Line)) != nil {
			return fmt.Errorf("%s: %s", name, either)
		}
	}
	return errors.New(either)
}
