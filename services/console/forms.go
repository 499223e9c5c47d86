package console

import (
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// errForm says that a form could not be read.
var errForm = &refusal{Status: http.StatusBadRequest, Reason: "The form could not be read. Nothing was changed."}

// form reads the form that was posted.
func (v *visit) form() (url.Values, error) {
	if v.r.ParseForm() != nil {
		return nil, errForm
	}
	return v.r.PostForm, nil
}

// formTime is how a field for a date and a time has it.
const formTime = "2006-01-02T15:04"

// readTime reads a field for a date and a time, in UTC, with seconds or without, or
// the exact time that a page has put into a form.
func readTime(text string) (time.Time, error) {
	for _, layout := range []string{formTime, formTime + ":05", time.RFC3339Nano} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("time %q: want %s", text, formTime)
}
