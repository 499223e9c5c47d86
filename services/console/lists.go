package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
)

// listPage is how many rows a page of a list has.
const listPage = 25

// list asks the admin API for the page of a list behind a token, which is empty for
// the first, and gives the token of the next one, empty if there is none.
func (v *visit) list(path string, query url.Values, after string, into any) (next string, err error) {
	query.Set("page_size", strconv.Itoa(listPage))
	if after != "" {
		query.Set("page_token", after)
	}
	a, err := v.answer(http.MethodGet, path, query, nil)
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(a.body.Bytes(), into); err != nil {
		return "", fmt.Errorf("answer to GET %s: %w", path, err)
	}
	found := nextPage.FindStringSubmatch(a.header.Get("Link"))
	if found == nil {
		return "", nil
	}
	to, err := url.Parse(found[1])
	if err != nil {
		return "", fmt.Errorf("next page of %s: %w", path, err)
	}
	return to.Query().Get("page_token"), nil
}

// nextPage is the next page in a Link header.
var nextPage = regexp.MustCompile(`<([^>]*)>; rel="next"`)

// with is a query with one more parameter.
func with(query url.Values, name, value string) url.Values {
	more := url.Values{name: {value}}
	for key, values := range query {
		more[key] = values
	}
	return more
}
