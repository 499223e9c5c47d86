package api

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// queryAll gives all values of a parameter but the empty ones, which count as absent.
func (x *exchange) queryAll(name string) []string {
	return slices.DeleteFunc(x.r.URL.Query()[name], func(v string) bool { return v == "" })
}

// choice reads a parameter that is true or false; nil if it is absent.
func (x *exchange) choice(name string) (*bool, error) {
	text := x.query(name)
	if text == "" {
		return nil, nil
	}
	yes := text == "true"
	if !yes && text != "false" {
		return nil, refuse("%s must be true or false", name)
	}
	return &yes, nil
}

// keyPage reads the size of a page and the id that it is behind.
func (x *exchange) keyPage() (size int, after uuid.UUID, err error) {
	name := "page_size"
	if x.query(name) == "" {
		name = "per_page"
	}
	if size, err = x.limit(name, usualPage, maxPage); err != nil {
		return 0, after, err
	}
	if token := x.query("page_token"); token != "" {
		raw, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil || len(raw) != len(after) {
			return 0, after, refuse("page_token is none of this server")
		}
		after = uuid.UUID(raw)
	}
	return size, after, nil
}

// keyToken is the page_token of the page behind an id.
func keyToken(id uuid.UUID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// linkKeyPages says where the first page is, and the next one unless its token
// is empty. The parameters kept stay as the request had them.
func (x *exchange) linkKeyPages(size int, next string, kept ...string) {
	q := url.Values{"page_size": {strconv.Itoa(size)}}
	links := []string{x.link("first", q, kept)}
	if next != "" {
		q.Set("page_token", next)
		links = append(links, x.link("next", q, kept))
	}
	x.w.Header()["Link"] = []string{strings.Join(links, ",")}
}

func (x *exchange) link(rel string, q url.Values, kept []string) string {
	for _, name := range kept {
		if values := x.queryAll(name); len(values) > 0 {
			q[name] = values
		}
	}
	return "<" + x.r.URL.Path + "?" + q.Encode() + `>; rel="` + rel + `"`
}

// numbered is a page of the older kind: by number, the first is 1.
type numbered struct{ number, size int }

func (p numbered) offset() int { return (p.number - 1) * p.size }

// maxPageNumber bounds what a database must read through.
const maxPageNumber = 1_000_000

// byNumber tells whether a page of the older kind is asked for. per_page alone does not
// say so: an SDK sends it always.
func (x *exchange) byNumber() bool { return x.query("page") != "" }

// numberedPage reads page and per_page. The contract has two first pages, 0 and 1.
func (x *exchange) numberedPage() (p numbered, err error) {
	if x.query("page_token") != "" {
		return p, refuse("give either page or page_token")
	}
	size := "per_page"
	if x.query(size) == "" {
		size = "page_size"
	}
	if p.size, err = x.limit(size, usualPage, maxPage); err != nil {
		return p, err
	}
	if x.query("page") == "0" {
		p.number = 1
		return p, nil
	}
	p.number, err = x.limit("page", 1, maxPageNumber)
	return p, err
}

// linkNumberedPages says where the pages around this one are, and how many items
// there are in all.
func (x *exchange) linkNumberedPages(p numbered, total int, kept ...string) {
	last := max(1, (total+p.size-1)/p.size)
	to := func(rel string, number int) string {
		return x.link(rel, url.Values{"page": {strconv.Itoa(number)}, "per_page": {strconv.Itoa(p.size)}}, kept)
	}
	links := []string{to("first", 1)}
	if p.number > 1 {
		links = append(links, to("prev", min(p.number-1, last)))
	}
	if p.number < last {
		links = append(links, to("next", p.number+1))
	}
	h := x.w.Header()
	h["Link"] = []string{strings.Join(append(links, to("last", last)), ",")}
	h["X-Total-Count"] = []string{strconv.Itoa(total)}
}
