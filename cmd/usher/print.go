package main

import (
	"encoding/json"
	"io"

	"github.com/usher-auth/usher/cmd/internal/doctor"
)

// terminal is one that what others have written gives no orders to: names, reasons and
// mails hold what they hold.
type terminal struct{ io.Writer }

// Write writes p with what is no sign as its number.
func (t terminal) Write(p []byte) (int, error) {
	if _, err := io.WriteString(t.Writer, doctor.Visible(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// unguarded is where w leads to, for what may give orders.
func unguarded(w io.Writer) io.Writer {
	if t, ok := w.(terminal); ok {
		return t.Writer
	}
	return w
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
