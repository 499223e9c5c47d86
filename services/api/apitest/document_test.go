package apitest_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/usher-auth/usher/schemas"
	"github.com/usher-auth/usher/services/api/apitest"
)

func load(t *testing.T) *openapi3.T {
	t.Helper()
	spec, err := openapi3.NewLoader().LoadFromData(schemas.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// TestDocument also asks what a document may leave out, but this one does not.
func TestDocument(t *testing.T) {
	t.Parallel()
	spec := load(t)
	if err := spec.Validate(context.Background()); err != nil {
		t.Fatal(err)
	}
	var tags []string
	for _, tag := range spec.Tags {
		tags = append(tags, tag.Name)
	}
	for path, item := range spec.Paths.Map() {
		for method, o := range item.Operations() {
			if o.Summary == "" || o.OperationID == "" || len(o.Tags) != 1 || !slices.Contains(tags, o.Tags[0]) {
				t.Errorf("%s %s has summary %q, id %q and tags %v, want all of them and one listed tag", method, path, o.Summary, o.OperationID, o.Tags)
			}
		}
	}
	if n := len(apitest.Operations(apitest.Public)) + len(apitest.Operations(apitest.Admin)); n < 55 {
		t.Errorf("the document describes %d operations, want 55 or more", n)
	}
}

// accepted are the schemas of requests: what they do not know is ignored, where
// the contract says so.
var accepted = []string{
	"updateRegistrationFlowWithPasswordMethod", "registrationForm", "updateLoginFlowWithPasswordMethod", "loginForm",
	"updateRegistrationFlowWithOidcMethod", "updateRegistrationFlowWithProfileMethod", "updateLoginFlowWithOidcMethod", "upstreamParameters", "updateSettingsFlowBody", "settingsForm",
	"updateVerificationFlowWithCodeMethod", "updateRecoveryFlowWithCodeMethod", "verificationForm", "recoveryForm", "performNativeLogoutBody", "jsonPatch",
}

// later are what is passed on as somebody else has written it: people's traits, and
// events, which a later version may have made.
var later = []string{"identityTraits", "event"}

// TestAnswersAreClosed: a key that slips into an answer is seen.
func TestAnswersAreClosed(t *testing.T) {
	t.Parallel()
	for name, s := range load(t).Components.Schemas {
		if !s.Value.Type.Is("object") || slices.Contains(later, name) {
			continue
		}
		open := s.Value.AdditionalProperties.Has == nil || *s.Value.AdditionalProperties.Has
		if open != slices.Contains(accepted, name) {
			t.Errorf("schema %s is open: %v, want %v", name, open, !open)
		}
	}
}

// TestEverythingIsUsed: what nothing refers to is a mistake.
func TestEverythingIsUsed(t *testing.T) {
	t.Parallel()
	spec := load(t)
	text := string(schemas.OpenAPI)
	used := func(kind, name string) {
		t.Helper()
		if !strings.Contains(text, "'#/components/"+kind+"/"+name+"'") {
			t.Errorf("nothing refers to %s %s", kind, name)
		}
	}
	for name := range spec.Components.Schemas {
		used("schemas", name)
	}
	for name := range spec.Components.Responses {
		used("responses", name)
	}
	for name := range spec.Components.Parameters {
		used("parameters", name)
	}
	for name := range spec.Components.Headers {
		used("headers", name)
	}
}
