package console

import (
	"maps"
	"net/http"
	"net/url"
)

// download lets the admin API answer the browser itself, with a file of this name. A
// refusal is none of it.
func (v *visit) download(name, path string, query url.Values) error {
	r, err := v.request(http.MethodGet, path, query, nil)
	if err != nil {
		return err
	}
	d := &download{ResponseWriter: v.w, name: name}
	v.Admin(v.who).ServeHTTP(d, r)
	if d.refused != nil {
		return v.explained(d.refused.refusal())
	}
	return nil
}

// download is an answer that becomes a file once it is known to be none of refusal.
type download struct {
	http.ResponseWriter
	name    string
	header  http.Header
	began   bool
	refused *answer
}

// Header is that of the answer; it goes to the browser with the file alone.
func (d *download) Header() http.Header {
	if d.began {
		return d.ResponseWriter.Header()
	}
	if d.header == nil {
		d.header = http.Header{}
	}
	return d.header
}

// WriteHeader begins the file, or keeps what is refused.
func (d *download) WriteHeader(status int) {
	switch {
	case d.began || d.refused != nil || status < http.StatusOK:
	case status >= http.StatusMultipleChoices:
		d.refused = &answer{header: d.Header(), status: status}
	default:
		to := d.ResponseWriter.Header()
		maps.Copy(to, d.header)
		to.Set("Content-Disposition", `attachment; filename="`+d.name+`"`)
		d.began = true
		d.ResponseWriter.WriteHeader(status)
	}
}

// Write writes to the file, or keeps what is refused.
func (d *download) Write(b []byte) (int, error) {
	d.WriteHeader(http.StatusOK)
	if d.refused != nil {
		return d.refused.Write(b)
	}
	return d.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (d *download) Unwrap() http.ResponseWriter { return d.ResponseWriter }

// Flush sends what was written, if that is the file.
func (d *download) Flush() {
	if d.began {
		_ = http.NewResponseController(d.ResponseWriter).Flush() // whoever asked may be gone
	}
}
