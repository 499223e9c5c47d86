package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Why traits cannot be judged or stored, whatever their schema says. The
// texts are shown to people.
var (
	errNotJSON = errors.New("the traits are not JSON")
	errText    = errors.New("the traits hold text that is not Unicode, or the character U+0000")
	errNumber  = errors.New("the traits hold a number that is too long, too large or too small")
)

const (
	maxNumberLength   = 64
	maxNumberExponent = 308
)

// decode reads traits; none, and null, are an empty object. It refuses what
// databases do not store and numbers that would take long to compute with.
func decode(traits json.RawMessage) (any, error) {
	traits = bytes.TrimSpace(traits)
	if len(traits) == 0 || string(traits) == "null" {
		return map[string]any{}, nil
	}
	if !storableText(traits) {
		return nil, errText
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(traits))
	if err != nil {
		return nil, errNotJSON
	}
	if !computable(value) {
		return nil, errNumber
	}
	return value, nil
}

// storableText tells whether JSON holds only text that can be stored: UTF-8,
// no U+0000 and no half of a surrogate pair.
func storableText(traits []byte) bool {
	if !utf8.Valid(traits) {
		return false
	}
	if !bytes.Contains(traits, []byte(`\u`)) {
		return true
	}
	for i := 0; i < len(traits); i++ {
		if traits[i] != '\\' {
			continue
		}
		i++ // the escaped character, or the u
		code, ok := codeUnit(traits, i)
		switch {
		case !ok:
		case code == 0, 0xDC00 <= code && code <= 0xDFFF:
			return false
		case 0xD800 <= code && code <= 0xDBFF:
			if i+5 >= len(traits) || traits[i+5] != '\\' {
				return false
			}
			low, ok := codeUnit(traits, i+6)
			if !ok || low < 0xDC00 || low > 0xDFFF {
				return false
			}
			i += 6
		}
	}
	return true
}

// codeUnit reads the "uXXXX" of an escape.
func codeUnit(s []byte, at int) (uint64, bool) {
	if at+5 > len(s) || s[at] != 'u' {
		return 0, false
	}
	code, err := strconv.ParseUint(string(s[at+1:at+5]), 16, 16)
	return code, err == nil
}

// computable tells whether all numbers in value are of a usual size.
func computable(value any) bool {
	switch v := value.(type) {
	case json.Number:
		_, exponent, _ := strings.Cut(strings.ToLower(v.String()), "e")
		if exponent == "" {
			return len(v) <= maxNumberLength
		}
		n, err := strconv.Atoi(exponent)
		return err == nil && len(v) <= maxNumberLength && -maxNumberExponent <= n && n <= maxNumberExponent
	case []any:
		for _, item := range v {
			if !computable(item) {
				return false
			}
		}
	case map[string]any:
		for _, member := range v {
			if !computable(member) {
				return false
			}
		}
	}
	return true
}
