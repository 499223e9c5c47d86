package api

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

const (
	typeJSON      = "application/json"
	typeForm      = "application/x-www-form-urlencoded"
	typeMultipart = "multipart/form-data"
)

// jsonRequest tells whether a submit wants JSON: it says so, or sends JSON itself.
func jsonRequest(h http.Header) bool {
	if prefersJSON(h["Accept"]) {
		return true
	}
	sent, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && sent == typeJSON
}

// prefersJSON tells whether an Accept header prefers JSON over HTML. HTML wins
// when nothing was said, or nothing but "anything".
func prefersJSON(accept []string) bool {
	if len(accept) == 1 && accept[0] == typeJSON {
		return true
	}
	var json, html preference
	order := 0
	for _, line := range accept {
		for element := range strings.SplitSeq(line, ",") {
			order++
			name, q := mediaRange(element)
			switch name {
			case typeJSON:
				json.take(preference{q, 2, order})
			case "application/*":
				json.take(preference{q, 1, order})
			case "text/html", "application/xhtml+xml":
				html.take(preference{q, 2, order})
			case "text/*":
				html.take(preference{q, 1, order})
			case "*/*":
				json.take(preference{q, 0, order})
				html.take(preference{q, 0, order})
			}
		}
	}
	return json.over(html)
}

// preference is what an Accept header says about one media type.
type preference struct {
	q     float64
	exact int // how precisely the type was named: 2 by name, 1 by its first half, 0 by */*
	order int // place in the header, from 1; 0 if it was not named at all
}

// take keeps the most exact mention, the first of equals.
func (p *preference) take(other preference) {
	if p.order == 0 || other.exact > p.exact {
		*p = other
	}
}

func (p preference) over(other preference) bool {
	switch {
	case p.q == 0:
		return false
	case p.q != other.q:
		return p.q > other.q
	case p.exact != other.exact:
		return p.exact > other.exact
	}
	return p.exact > 0 && p.order < other.order
}

// mediaRange reads one element of an Accept header. What cannot be read as a
// weight counts as none.
func mediaRange(element string) (name string, q float64) {
	name, params, _ := strings.Cut(element, ";")
	for param := range strings.SplitSeq(params, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if strings.EqualFold(strings.TrimSpace(key), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil || !(q >= 0 && q <= 1) {
				q = 0
			}
			return strings.ToLower(strings.TrimSpace(name)), q
		}
	}
	return strings.ToLower(strings.TrimSpace(name)), 1
}
