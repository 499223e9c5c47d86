package apitest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/usher-auth/usher/schemas"
)

// adminServer is the admin listener in the document. Paths that name no server
// are the public listener's.
const adminServer = "http://127.0.0.1:4434"

// document is the description, ready to be asked for paths.
type document struct {
	spec  *openapi3.T
	paths map[Listener][]*path
	mux   map[Listener]*http.ServeMux
}

// path is a path of the document. It is only looked up: it never answers.
type path struct {
	http.Handler
	template string
	item     *openapi3.PathItem
}

// operation is one method of a path.
type operation struct {
	method string
	*openapi3.Operation
}

// description is read once. That it cannot be read is a bug: it is a part of the program.
var description = sync.OnceValue(func() *document {
	d, err := parse(schemas.OpenAPI)
	if err != nil {
		panic("schemas/openapi.yaml: " + err.Error())
	}
	return d
})

func parse(text []byte) (*document, error) {
	spec, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	if err := spec.Validate(context.Background()); err != nil {
		return nil, fmt.Errorf("validate: %w", err)
	}
	d := &document{
		spec:  spec,
		paths: map[Listener][]*path{},
		mux:   map[Listener]*http.ServeMux{Public: http.NewServeMux(), Admin: http.NewServeMux()},
	}
	for _, template := range spec.Paths.InMatchingOrder() {
		p := &path{template: template, item: spec.Paths.Value(template)}
		pattern := template
		if subtree, _ := p.item.Extensions["x-usher-subtree"].(bool); subtree {
			pattern = strings.TrimSuffix(template, "}") + "...}"
		}
		for _, l := range p.listeners() {
			d.paths[l] = append(d.paths[l], p)
			d.mux[l].Handle(pattern, p)
		}
	}
	return d, nil
}

// listeners says where a path is.
func (p *path) listeners() (all []Listener) {
	if len(p.item.Servers) == 0 {
		return []Listener{Public}
	}
	for _, s := range p.item.Servers {
		if s.URL == adminServer {
			all = append(all, Admin)
		} else {
			all = append(all, Public)
		}
	}
	return all
}

// find gives the path of a URL as the server would, nil if it is not described.
func (d *document) find(l Listener, u *url.URL) *path {
	for _, l := range map[Listener][]Listener{Either: {Public, Admin}, Public: {Public}, Admin: {Admin}}[l] {
		h, _ := d.mux[l].Handler(&http.Request{Method: http.MethodGet, URL: u})
		if p, ok := h.(*path); ok {
			return p
		}
	}
	return nil
}

// operation gives a method of p, nil if it is not described. HEAD is GET, unless
// that does something.
func (p *path) operation(method string) *operation {
	if get := p.item.Get; get != nil && method == http.MethodHead {
		if acts, _ := get.Extensions["x-usher-acts"].(bool); acts {
			return nil
		}
		method = http.MethodGet
	}
	if o := p.item.Operations()[method]; o != nil {
		return &operation{method, o}
	}
	return nil
}

// Operations are the methods and paths that a listener has by the document, such
// as "GET /sessions/whoami", in order.
func Operations(l Listener) (all []string) {
	for _, p := range description().paths[l] {
		for method := range p.item.Operations() {
			all = append(all, method+" "+p.template)
		}
	}
	slices.Sort(all)
	return all
}

// OwnersOperations are those of [Operations] of the admin listener that the document
// gives to owners alone.
func OwnersOperations() (all []string) {
	owners := description().spec.Components.Responses["owners"].Value
	for _, p := range description().paths[Admin] {
		for method, o := range p.item.Operations() {
			if refused := o.Responses.Status(http.StatusForbidden); refused != nil && refused.Value == owners {
				all = append(all, method+" "+p.template)
			}
		}
	}
	slices.Sort(all)
	return all
}

var documentRules = []rule{
	{"documented", undocumented},
	{"schema", unlikeSchema},
	{"no body", unexpectedBody},
}

// undocumented holds path, method and status against the document.
func undocumented(x *exchange) string {
	switch {
	case x.operation != nil:
		if x.operation.Responses.Status(x.Status) == nil {
			return "the document has no such status here"
		}
	case x.preflight():
		return ""
	case x.Listener != Public && slices.Contains([]int{401, 403, 421, 500, 503}, x.Status):
		return "" // the guard of the admin listener comes first
	case x.path == nil && x.Status != http.StatusNotFound:
		return "the document has no such path: only a 404 can come of it"
	case x.path != nil && x.Status != http.StatusMethodNotAllowed:
		return "the document has no such method here: only a 405 can come of it"
	}
	return ""
}

func (x *exchange) preflight() bool {
	return x.Method == http.MethodOptions && x.Status == http.StatusNoContent && x.Header.Get("Access-Control-Allow-Methods") != ""
}

// unlikeSchema holds headers and body against the document. What it does not
// describe is an error, and has the body of errors.
func unlikeSchema(x *exchange) string {
	if x.operation == nil {
		if x.bodiless() || x.page() {
			return ""
		}
		var body any
		if err := json.Unmarshal(x.Body, &body); err != nil {
			return "the body is no JSON"
		}
		return violation(description().spec.Components.Schemas["errorGeneric"].Value.VisitJSON(body, validation...))
	}
	method := x.operation.method
	err := openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: &http.Request{Method: method, URL: x.URL, Header: x.Sent},
			Route:   &routers.Route{Spec: description().spec, Path: x.path.template, PathItem: x.path.item, Method: method, Operation: x.operation.Operation},
		},
		Status: x.Status,
		Header: x.Header,
		Body:   io.NopCloser(bytes.NewReader(x.Body)),
		Options: &openapi3filter.Options{
			ExcludeResponseBody:     x.bodiless() || x.lines(),
			SchemaValidationOptions: validation,
		},
	})
	return violation(err)
}

// unexpectedBody: an answer whose content is not described has none.
func unexpectedBody(x *exchange) string {
	if x.operation == nil {
		return ""
	}
	if r := x.operation.Responses.Status(x.Status); r != nil && len(r.Value.Content) == 0 && len(x.Body) > 0 {
		return "there is a body"
	}
	return ""
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// validation makes the formats of the document bite.
var validation = []openapi3.SchemaValidationOption{
	openapi3.WithStringFormatValidator("uuid", openapi3.NewCallbackValidator(func(text string) error {
		if !uuidForm.MatchString(text) {
			return errors.New("not an id in the contract's form")
		}
		return nil
	})),
	openapi3.DisableSchemaErrorDetails(),
}

// violation is the text of an error, with the innermost reason first.
func violation(err error) string {
	if err == nil {
		return ""
	}
	var schema *openapi3.SchemaError
	if errors.As(err, &schema) {
		return fmt.Sprintf("at %q: %s (%v)", strings.Join(schema.JSONPointer(), "/"), schema.Reason, err)
	}
	return err.Error()
}
