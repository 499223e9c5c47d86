package identity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// object is a JSON object that knows the order of its members, which is the
// order in which people are shown them.
type object struct {
	keys    []string
	members map[string]any
}

// parseOrdered decodes a document whose objects are *object. The document is
// known to be JSON.
func parseOrdered(document []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(document))
	d.UseNumber()
	return nextValue(d)
}

func nextValue(d *json.Decoder) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		o := &object{members: map[string]any{}}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			value, err := nextValue(d)
			if err != nil {
				return nil, err
			}
			o.set(key.(string), value)
		}
		_, err = d.Token()
		return o, err
	case json.Delim('['):
		list := []any{}
		for d.More() {
			value, err := nextValue(d)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		_, err = d.Token()
		return list, err
	}
	return token, nil
}

func (o *object) set(key string, value any) {
	if _, ok := o.members[key]; !ok {
		o.keys = append(o.keys, key)
	}
	o.members[key] = value
}

// child is a member that is an object, nil if there is none.
func (o *object) child(key string) *object {
	c, _ := o.members[key].(*object)
	return c
}

func (o *object) text(key string) string {
	s, _ := o.members[key].(string)
	return s
}

func (o *object) list(key string) []any {
	l, _ := o.members[key].([]any)
	return l
}

// plain is v with maps in place of ordered objects.
func plain(v any) any {
	switch v := v.(type) {
	case *object:
		m := make(map[string]any, len(v.keys))
		for key, member := range v.members {
			m[key] = plain(member)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i := range v {
			l[i] = plain(v[i])
		}
		return l
	}
	return v
}

// lookup follows a reference within the document, "#" or "#/definitions/name".
func lookup(document any, reference string) (any, error) {
	path, local := strings.CutPrefix(reference, "#")
	path, err := url.PathUnescape(path)
	if err != nil || !local || (path != "" && path[0] != '/') {
		return nil, fmt.Errorf("$ref %q: only references of the form #/… are followed", reference)
	}
	value := document
	for token := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if token == "" {
			continue
		}
		token = unescapePointer.Replace(token)
		switch v := value.(type) {
		case *object:
			value = v.members[token]
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v) {
				return nil, fmt.Errorf("$ref %q leads nowhere", reference)
			}
			value = v[i]
		default:
			return nil, fmt.Errorf("$ref %q leads nowhere", reference)
		}
	}
	return value, nil
}

var (
	escapePointer   = strings.NewReplacer("~", "~0", "/", "~1")
	unescapePointer = strings.NewReplacer("~1", "/", "~0", "~")
)

// pointer is the JSON pointer of a place in a document.
func pointer(path []string) string {
	var b strings.Builder
	b.WriteByte('#')
	for _, token := range path {
		b.WriteByte('/')
		_, _ = escapePointer.WriteString(&b, token)
	}
	return b.String()
}
