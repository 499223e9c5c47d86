package api

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
)

// schemas lists the identity schemas.
func (s *Server) schemas(x *exchange) error {
	type item struct {
		ID     string          `json:"id"`
		Schema json.RawMessage `json:"schema"`
	}
	list := []item{}
	for _, schema := range x.Schemas.List() {
		list = append(list, item{schema.ID, schema.Raw})
	}
	h := x.w.Header()
	h["X-Total-Count"] = []string{strconv.Itoa(len(list))}
	h["Link"] = []string{"<" + routeSchemas + `>; rel="first"`}
	return x.encode(http.StatusOK, list)
}

// schema gives one identity schema, by its id as it is or in base64url as the
// schema_url of identities has it.
func (s *Server) schema(x *exchange) error {
	id := x.r.PathValue("id")
	schema, ok := x.Schemas.Schema(id)
	if !ok {
		plain, err := base64.RawURLEncoding.DecodeString(id)
		if err != nil {
			return errNoSchema
		}
		if schema, ok = x.Schemas.Schema(string(plain)); !ok {
			return errNoSchema
		}
	}
	x.answer(http.StatusOK, schema.Raw())
	return nil
}
