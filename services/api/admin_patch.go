package api

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"

	"github.com/usher-auth/usher/services/admin"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/strictjson"
)

// maxOperations is how many operations a patch may have.
const maxOperations = 100

// patchable are the members of an identity that a patch may read and change.
var patchable = []string{"external_id", "schema_id", "state", "traits", "metadata_public", "metadata_admin"}

// patch is a JSON Patch (RFC 6902) that touches nothing but what is patchable.
type patch struct{ operations jsonpatch.Patch }

// decodePatch reads a patch strictly. What is wrong is named by the operation's
// place: the text never repeats what was sent.
func decodePatch(body []byte) (patch, error) {
	if err := strictjson.Array(body); err != nil {
		return patch{}, refuse("%v", err)
	}
	operations, err := jsonpatch.DecodePatch(body)
	if err != nil {
		return patch{}, refuse("the body is no JSON Patch: every operation needs op and path, and value or from")
	}
	if len(operations) > maxOperations {
		return patch{}, refuse("a patch may have at most %d operations", maxOperations)
	}
	for n, o := range operations {
		if err := checkOperation(o); err != "" {
			return patch{}, refuse("operation %d: %s", n+1, err)
		}
	}
	return patch{operations}, nil
}

// checkOperation says what is wrong, "" if nothing is.
func checkOperation(o jsonpatch.Operation) string {
	kind := o.Kind()
	if _, ok := o["value"]; !ok && (kind == "add" || kind == "replace" || kind == "test") {
		return "it needs a value"
	}
	path, err := o.Path()
	if err != nil || !mayPatch(path) {
		return "path must be below /" + strings.Join(patchable, ", /")
	}
	if kind != "move" && kind != "copy" {
		return ""
	}
	if from, err := o.From(); err != nil || !mayPatch(from) {
		return "from must be below /" + strings.Join(patchable, ", /")
	}
	return ""
}

func mayPatch(path string) bool {
	below, ok := strings.CutPrefix(path, "/")
	member, _, _ := strings.Cut(below, "/")
	return ok && slices.Contains(patchable, member)
}

// apply says what the patch makes of an identity.
func (p patch) apply(i *identity.Identity) (w admin.Wanted, err error) {
	var externalID *string // null where there is none, so that replace finds it
	if i.ExternalID != "" {
		externalID = &i.ExternalID
	}
	document, err := encode(map[string]any{
		"external_id": externalID, "schema_id": i.SchemaID, "state": i.State, "traits": i.Traits, "metadata_public": i.MetadataPublic, "metadata_admin": i.MetadataAdmin,
	})
	if err != nil {
		return w, err
	}
	patched, err := p.run(document)
	if err != nil {
		return w, err
	}
	members, err := strictjson.Object(patched)
	if err != nil {
		return w, refuse("what the patch makes: %v", err)
	}
	w.Traits, w.MetadataPublic, w.MetadataAdmin = members["traits"], unlessNull(members["metadata_public"]), unlessNull(members["metadata_admin"])
	switch {
	case len(w.Traits) == 0 || w.Traits[0] != '{':
		return w, refuse("traits must be an object")
	case len(w.Traits)+len(w.MetadataPublic)+len(w.MetadataAdmin) > maxBody:
		return w, refuse("traits and metadata would be larger than %d bytes", maxBody)
	case len(members["external_id"]) > 0 && json.Unmarshal(members["external_id"], &w.ExternalID) != nil:
		return w, refuse("external_id must be a string, or null")
	case json.Unmarshal(members["schema_id"], &w.SchemaID) != nil || w.SchemaID == "":
		return w, refuse("schema_id must name an identity schema")
	case json.Unmarshal(members["state"], &w.State) != nil || w.State == "":
		return w, refuse("state must be %s or %s", identity.Active, identity.Inactive)
	}
	return w, nil
}

// run applies the operations. What copies add is bounded; the rest cannot be
// larger than the body.
func (p patch) run(document []byte) (patched []byte, err error) {
	defer func() {
		if recover() != nil { // the library does that where a test meets null in an array
			err = refuse("the patch cannot be applied")
		}
	}()
	options := jsonpatch.NewApplyOptions()
	options.SupportNegativeIndices = false
	options.AccumulatedCopySizeLimit = maxBody
	options.EscapeHTML = false
	patched, err = p.operations.ApplyWithOptions(document, options)
	var copied *jsonpatch.AccumulatedCopySizeError
	switch {
	case errors.As(err, &copied):
		return nil, refuse("what the patch copies is larger than %d bytes", maxBody)
	case errors.Is(err, jsonpatch.ErrTestFailed):
		return nil, refuse("a test of the patch failed")
	case err != nil:
		return nil, refuse("the patch does not apply: a path leads to nothing")
	}
	return patched, nil
}
