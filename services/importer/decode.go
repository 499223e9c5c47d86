package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
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
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	l = new(Line)
	if err := d.Decode(l); err != nil {
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			unknown, _ = strconv.Unquote(name)
			return nil, unknown, errors.New("unknown member " + name)
		}
		return nil, "", broken(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, "", errors.New("there is more than one JSON value")
	}
	return l, "", nil
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
			switch key {
			case "traits", "metadata_public", "metadata_admin", "config":
				continue
			case name:
				if saysNothing(of) {
					delete(members, key)
					found = true
					continue
				}
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

// broken says what is wrong with JSON without its values.
func broken(err error) error {
	var wrong *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &wrong) && wrong.Field == "":
		return fmt.Errorf("an identity must be a JSON object, not a JSON %s", kind(wrong.Value))
	case errors.As(err, &wrong):
		return fmt.Errorf("%s must not be a JSON %s", wrong.Field, kind(wrong.Value))
	case errors.As(err, &syntax):
		return fmt.Errorf("broken JSON at byte %d", syntax.Offset)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errors.New("broken JSON: it ends too early")
	}
	return errors.New("an id is no UUID, or a time is not of RFC 3339") // the error may quote it
}

// kind is the type of a value that encoding/json names, without the number.
func kind(value string) string {
	name, _, _ := strings.Cut(value, " ")
	return name
}
