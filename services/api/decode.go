package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/strictjson"
)

const maxBody = 64 << 10

// undecodable is a body that cannot be read as what it says it is. Its text
// is shown to the client: it names what is wrong, never what was sent.
type undecodable struct{ reason string }

func (u *undecodable) Error() string { return u.reason }

func refuse(format string, args ...any) error { return &undecodable{fmt.Sprintf(format, args...)} }

// submission is the decoded body of a submit. Unknown members are ignored.
type submission struct {
	method    string
	csrf      string
	password  password.Plain
	traits    json.RawMessage // as sent; nil when it was a form
	transient json.RawMessage
	form      url.Values        // when it was a form; a schema knows the types of its traits
	texts     map[string]string // what else the kind of flow asks for, by name
	upstream  map[string]string // parameters for the provider
}

// decodeSubmit reads the body of a submit in any of the contract's encodings.
// The names are those of the texts that the kind of flow asks for. What cannot be
// read is an [*undecodable].
func decodeSubmit(r *http.Request, names ...string) (submission, error) {
	body, err := readBody(r)
	if err != nil {
		return submission{}, err
	}
	header := r.Header.Get("Content-Type")
	if header == "" && len(body) == 0 {
		return submission{}, nil
	}
	media, params, err := mime.ParseMediaType(header)
	if err != nil {
		return submission{}, refuse("the Content-Type cannot be read")
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return submission{}, refuse("the charset must be UTF-8")
	}
	switch media {
	case typeJSON:
		return fromJSON(body, names)
	case typeForm:
		if !utf8.Valid(body) {
			return submission{}, refuse("the form is not UTF-8")
		}
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return submission{}, refuse("the form cannot be read")
		}
		return fromForm(form, names)
	case typeMultipart:
		form, err := multipartForm(body, params["boundary"])
		if err != nil {
			return submission{}, err
		}
		return fromForm(form, names)
	}
	return submission{}, refuse("the Content-Type is neither JSON nor a form")
}

// The rest of the request is not there to be answered by showing the flow again.
var (
	errBodyEnds = &problem{status: http.StatusBadRequest, reason: "The body ends too early."}
	errBodyLate = &problem{status: http.StatusRequestTimeout, reason: "The body did not come in time."}
)

// readBody reads at most 64 KiB.
func readBody(r *http.Request) ([]byte, error) { return readUpTo(maxBody, r) }

func readUpTo(limit int, r *http.Request) ([]byte, error) {
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, refuse("the Content-Encoding is not supported")
	}
	if r.ContentLength > int64(limit) {
		return nil, refuse("the body is larger than %d bytes", limit)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, int64(limit)+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, errBodyLate
	case err != nil:
		return nil, errBodyEnds
	case len(body) > limit:
		return nil, refuse("the body is larger than %d bytes", limit)
	}
	return body, nil
}

// bodyOf reads a body of one of these types, of at most 64 KiB.
func (x *exchange) bodyOf(types ...string) ([]byte, error) { return x.bodyUpTo(maxBody, types...) }

func (x *exchange) bodyUpTo(limit int, types ...string) ([]byte, error) {
	media, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(types, media) {
		return nil, refuse("the Content-Type must be %s", types[0])
	}
	return readUpTo(limit, x.r)
}

var memberName = regexp.MustCompile(`^[a-z_]+$`)

// decode reads a body into v, which has a field for all that may stand there: an
// administrator's typing error must not pass as success. No body at all is an
// empty object, and more than 64 KiB are too many.
func (x *exchange) decode(v any) error { return x.decodeUpTo(maxBody, v) }

func (x *exchange) decodeUpTo(limit int, v any) error {
	if x.r.ContentLength == 0 {
		return nil
	}
	body, err := x.bodyUpTo(limit, typeJSON)
	if err != nil {
		return err
	}
	return strictly(body, v)
}

// strictly decodes an object into v, which has a field for all that may stand there.
func strictly(body []byte, v any) error {
	members, err := strictjson.Object(body)
	if err != nil {
		return refuse("%v", err)
	}
	for name := range members {
		if !memberName.MatchString(name) { // encoding/json would take "STATE" for state
			return refuse("unknown field %q", name)
		}
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	var wrong *json.UnmarshalTypeError
	if err := d.Decode(v); errors.As(err, &wrong) {
		return refuse("%s has the wrong type", wrong.Field)
	} else if err != nil {
		return refuse("%s", strings.TrimPrefix(err.Error(), "json: ")) // unknown field "…"
	}
	return nil
}

func fromJSON(body []byte, names []string) (submission, error) {
	members, err := strictjson.Object(body)
	if err != nil {
		return submission{}, refuse("%v", err)
	}
	var s submission
	var secret *string
	for _, field := range []struct {
		name string
		to   any
		kind string
	}{
		{"method", &s.method, "a string"},
		{"csrf_token", &s.csrf, "a string"},
		{"password", &secret, "a string"},
	} {
		if raw, ok := members[field.name]; ok && json.Unmarshal(raw, field.to) != nil {
			return submission{}, refuse("%s must be %s", field.name, field.kind)
		}
	}
	if secret != nil {
		s.password = password.New(*secret)
	}
	for _, name := range names {
		var text string
		if raw, ok := members[name]; ok && json.Unmarshal(raw, &text) != nil {
			return submission{}, refuse("%s must be a string", name)
		}
		s.put(name, text)
	}
	if s.traits, err = objectMember(members, "traits"); err != nil {
		return submission{}, err
	}
	if s.traits == nil {
		s.traits = json.RawMessage("{}")
	}
	if s.transient, err = objectMember(members, "transient_payload"); err != nil {
		return submission{}, err
	}
	upstream, err := objectMember(members, upstreamParameters)
	if err == nil && upstream != nil && json.Unmarshal(upstream, &s.upstream) != nil {
		err = refuse("%s must be strings", upstreamParameters)
	}
	return s, err
}

const upstreamParameters = "upstream_parameters"

// objectMember gives a member that must be an object, nil if it is absent or null.
func objectMember(members map[string]json.RawMessage, name string) (json.RawMessage, error) {
	raw := members[name]
	switch {
	case len(raw) == 0 || raw[0] == 'n':
		return nil, nil
	case raw[0] != '{':
		return nil, refuse("%s must be an object", name)
	}
	return raw, nil
}

func fromForm(form url.Values, names []string) (submission, error) {
	for name, values := range form {
		if strings.Count(name, ".") >= strictjson.MaxDepth {
			return submission{}, refuse("the form is nested too deep")
		}
		if slices.ContainsFunc(append(values, name), func(s string) bool { return !text(s) }) {
			return submission{}, refuse("the form holds text that is not UTF-8, or the NUL character")
		}
	}
	s := submission{form: form}
	var secret string
	for name, to := range map[string]*string{"method": &s.method, "csrf_token": &s.csrf, "password": &secret} {
		var err error
		if *to, err = single(form, name); err != nil {
			return submission{}, err
		}
	}
	if secret != "" {
		s.password = password.New(secret)
	}
	for _, name := range names {
		text, err := single(form, name)
		if err != nil {
			return submission{}, err
		}
		s.put(name, text)
	}
	for name, values := range form {
		if parameter, ok := strings.CutPrefix(name, upstreamParameters+"."); ok {
			if s.upstream == nil {
				s.upstream = map[string]string{}
			}
			s.upstream[parameter] = values[0]
		}
	}
	var err error
	s.transient, err = transientPayload(form)
	return s, err
}

// put keeps a text, if there is one.
func (s *submission) put(name, text string) {
	if text == "" {
		return
	}
	if s.texts == nil {
		s.texts = map[string]string{}
	}
	s.texts[name] = text
}

// single is a value of a form that may stand there twice only if it is the same.
func single(form url.Values, name string) (string, error) {
	values := form[name]
	for _, value := range values {
		if value != values[0] {
			return "", refuse("%s stands twice in the form", name)
		}
	}
	return form.Get(name), nil
}

// transientPayload makes the object of the fields "transient_payload.*"; all
// its leaves are strings, since no schema says better.
func transientPayload(form url.Values) (json.RawMessage, error) {
	payload := map[string]any{}
	for name, values := range form {
		path, ok := strings.CutPrefix(name, "transient_payload.")
		if !ok {
			continue
		}
		parts := strings.Split(path, ".")
		object := payload
		for _, part := range parts[:len(parts)-1] {
			inner, ok := object[part].(map[string]any)
			if !ok {
				if object[part] != nil {
					return nil, refuse("transient_payload holds a value and an object of one name")
				}
				inner = map[string]any{}
				object[part] = inner
			}
			object = inner
		}
		leaf := parts[len(parts)-1]
		if object[leaf] != nil {
			return nil, refuse("transient_payload holds a value and an object of one name")
		}
		object[leaf] = values[0]
	}
	if len(payload) == 0 {
		return nil, nil
	}
	return json.Marshal(payload)
}

// multipartForm reads a multipart form without files.
func multipartForm(body []byte, boundary string) (url.Values, error) {
	if boundary == "" || len(boundary) > 70 {
		return nil, refuse("the multipart boundary is missing or too long")
	}
	form, err := multipart.NewReader(bytes.NewReader(body), boundary).ReadForm(maxBody)
	if err != nil {
		return nil, refuse("the multipart form cannot be read")
	}
	if len(form.File) > 0 {
		return nil, refuse("the form holds a file") // in memory only, as the body is
	}
	return form.Value, nil
}
