// Package strictjson reads JSON that somebody else has sent: it refuses what two readers
// could understand in two ways, and what a store cannot keep.
//
// Beyond the grammar that is: a key that stands twice, at any depth; a depth over a limit;
// text that is not UTF-8, lone surrogates, the NUL character; giant numbers; anything
// behind the value.
package strictjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// MaxDepth is how deep [Object] and [Array] go.
const MaxDepth = 16

// MaxKept is how deep what is kept may be, such as the metadata of a web_hook: an export
// of them comes in again.
const MaxKept = 1000

const maxNumber = 64 // characters; what is longer is an attempt to make us calculate

// ErrJSON is the reason of every refusal. The texts say where and why, and nothing of
// what was sent.
var ErrJSON = errors.New("the JSON is refused")

// Object reads one JSON object and gives its members as they were sent.
func Object(data []byte) (map[string]json.RawMessage, error) {
	s := scanner{data: data, deepest: MaxDepth}
	members := map[string]json.RawMessage{}
	err := s.whole('{', "object", func() error {
		return s.object(func(key string, value []byte) { members[key] = value })
	})
	if err != nil {
		return nil, err
	}
	return members, nil
}

// Array reads one JSON array.
func Array(data []byte) error {
	s := scanner{data: data, deepest: MaxDepth}
	return s.whole('[', "array", s.array)
}

// Named reads one JSON object, as deep as depth, and tells name of the members, before their
// values. Of what is in a value it is told if it gives true.
func Named(data []byte, depth int, name func(key string) (inside bool)) error {
	s := scanner{data: data, deepest: depth, name: name}
	return s.whole('{', "object", func() error { return s.object(nil) })
}

// scanner walks over JSON text without building anything from it.
type scanner struct {
	data    []byte
	at      int
	depth   int
	deepest int
	name    func(key string) (inside bool) // unless nil
}

// whole reads a value that begins with a byte, and has nothing behind it.
func (s *scanner) whole(first byte, kind string, read func() error) error {
	if !utf8.Valid(s.data) {
		return fmt.Errorf("%w: it is not UTF-8", ErrJSON)
	}
	s.space()
	if s.peek() != first {
		return fmt.Errorf("%w: it is not an %s", ErrJSON, kind)
	}
	if err := read(); err != nil {
		return err
	}
	s.space()
	if s.at != len(s.data) {
		return s.refuse("something follows the " + kind)
	}
	return nil
}

func (s *scanner) refuse(why string) error {
	return fmt.Errorf("%w at byte %d: %s", ErrJSON, s.at, why)
}

// peek gives the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.at < len(s.data) {
		return s.data[s.at]
	}
	return 0
}

func (s *scanner) space() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

func (s *scanner) value() error {
	switch c := s.peek(); {
	case c == '{':
		return s.object(nil)
	case c == '[':
		return s.array()
	case c == '"':
		_, err := s.text()
		return err
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	}
	for _, literal := range []string{"true", "false", "null"} {
		if len(s.data)-s.at >= len(literal) && string(s.data[s.at:s.at+len(literal)]) == literal {
			s.at += len(literal)
			return nil
		}
	}
	return s.refuse("a value is expected")
}

// object tells member, unless it is nil, of each of its members.
func (s *scanner) object(member func(key string, value []byte)) error {
	if err := s.enter(); err != nil {
		return err
	}
	keys := map[string]bool{}
	for first := true; ; first = false {
		s.space()
		if s.peek() == '}' && first {
			break
		}
		if s.peek() != '"' {
			return s.refuse("a key is expected")
		}
		key, err := s.text()
		if err != nil {
			return err
		}
		if keys[key] {
			return s.refuse("the key stands twice")
		}
		keys[key] = true
		s.space()
		if s.peek() != ':' {
			return s.refuse("a colon is expected")
		}
		s.at++
		s.space()
		start := s.at
		if err := s.named(key); err != nil {
			return err
		}
		if member != nil {
			member(key, s.data[start:s.at])
		}
		if more, err := s.next('}'); err != nil {
			return err
		} else if !more {
			break
		}
	}
	s.leave()
	return nil
}

// named steps over the value of a member.
func (s *scanner) named(key string) error {
	if s.name != nil && !s.name(key) {
		defer func(name func(string) bool) { s.name = name }(s.name)
		s.name = nil
	}
	return s.value()
}

func (s *scanner) array() error {
	if err := s.enter(); err != nil {
		return err
	}
	for first := true; ; first = false {
		s.space()
		if s.peek() == ']' && first {
			break
		}
		if err := s.value(); err != nil {
			return err
		}
		if more, err := s.next(']'); err != nil {
			return err
		} else if !more {
			break
		}
	}
	s.leave()
	return nil
}

func (s *scanner) enter() error {
	s.at++
	if s.depth++; s.depth > s.deepest {
		return s.refuse("it is nested too deep")
	}
	return nil
}

func (s *scanner) leave() {
	s.at++
	s.depth--
}

// next steps over a comma; it reports false at the closing bracket.
func (s *scanner) next(closing byte) (more bool, err error) {
	s.space()
	switch s.peek() {
	case ',':
		s.at++
		return true, nil
	case closing:
		return false, nil
	}
	return false, s.refuse("a comma or the end is expected")
}

// text steps over a string and gives what it says.
func (s *scanner) text() (string, error) {
	start := s.at
	plain := true
	for s.at++; ; s.at++ {
		switch c := s.peek(); {
		case c == '"':
			s.at++
			if plain {
				return string(s.data[start+1 : s.at-1]), nil
			}
			var said string
			err := json.Unmarshal(s.data[start:s.at], &said)
			return said, err
		case c < ' ':
			return "", s.refuse("a string does not end, or holds a control character")
		case c == '\\':
			plain = false
			if err := s.escape(); err != nil {
				return "", err
			}
		}
	}
}

// escape steps to the last byte of an escape.
func (s *scanner) escape() error {
	s.at++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return nil
	case 'u':
	default:
		return s.refuse("an unknown escape")
	}
	unit, ok := s.unit()
	switch {
	case !ok:
		return s.refuse("an escape is not four hexadecimal digits")
	case unit == 0:
		return s.refuse("the NUL character")
	case unit < 0xD800 || unit > 0xDFFF:
		return nil
	case unit > 0xDBFF || len(s.data)-s.at < 3 || s.data[s.at+1] != '\\' || s.data[s.at+2] != 'u':
		return s.refuse("half a character")
	}
	s.at += 2
	if low, ok := s.unit(); !ok || low < 0xDC00 || low > 0xDFFF {
		return s.refuse("half a character")
	}
	return nil
}

// unit reads the four digits behind \u and stands on the last one.
func (s *scanner) unit() (uint64, bool) {
	if len(s.data)-s.at < 5 {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(s.data[s.at+1:s.at+5]), 16, 32) // takes digits only, no sign
	s.at += 4
	return unit, err == nil
}

func (s *scanner) number() error {
	start := s.at
	if s.peek() == '-' {
		s.at++
	}
	whole := s.digits()
	if whole == 0 || whole > 1 && s.data[s.at-whole] == '0' {
		return s.refuse("not a number")
	}
	if s.peek() == '.' {
		s.at++
		if s.digits() == 0 {
			return s.refuse("not a number")
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.at++
		if c := s.peek(); c == '+' || c == '-' {
			s.at++
		}
		if n := s.digits(); n == 0 || n > 3 {
			return s.refuse("not a number of usual size")
		}
	}
	if text := s.data[start:s.at]; len(text) > maxNumber {
		return s.refuse("a number is too long")
	} else if _, err := strconv.ParseFloat(string(text), 64); err != nil {
		return s.refuse("not a number of usual size")
	}
	return nil
}

func (s *scanner) digits() (n int) {
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.at++
		n++
	}
	return n
}
