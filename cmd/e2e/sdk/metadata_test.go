package sdk_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestSchemas(t *testing.T) {
	t.Parallel()
	for _, u := range []string{publicURL, adminURL} {
		api := newSDK(u, nil).IdentityAPI
		listed := call(api.ListIdentitySchemas(t.Context()).Execute()).ok(t, http.StatusOK)
		equal(t, "schema of "+u, listed[0].Id, "default")
		if schema := call(api.GetIdentitySchema(t.Context(), "default").Execute()).ok(t, http.StatusOK); schema["properties"] == nil {
			t.Errorf("schema of %s = %v, want one with properties", u, schema)
		}
		refusedAs(t, call(api.GetIdentitySchema(t.Context(), "no-such-schema").Execute()), http.StatusNotFound, "")
	}

	// The address of the schema that identities carry.
	_, person := newVerified(t)
	equal(t, "status of the schema's URL", ask(t, http.MethodGet, person.SchemaUrl, nil).StatusCode, http.StatusOK)
}

func TestFlowError(t *testing.T) {
	t.Parallel()
	app := newApp()
	stub := call(app.GetFlowError(t.Context()).Id("stub:500").Execute()).ok(t, http.StatusOK)
	equal(t, "code", stub.Error["code"], any(500.0))
	refusedAs(t, call(app.GetFlowError(t.Context()).Id(nowhere).Execute()), http.StatusNotFound, "")
}

func TestHTMLFlowError(t *testing.T) {
	t.Parallel()
	browser := newPage(t)
	to := browser.get("/self-service/login/browser?return_to=" + url.QueryEscape("https://elsewhere.example.net/"))
	if !strings.HasSuffix(to.Path, "/error") {
		t.Fatalf("led to %s, want the page of an error", to)
	}
	failed := call(browser.sdk.GetFlowError(t.Context()).Id(to.Query().Get("id")).Execute()).ok(t, http.StatusOK)
	equal(t, "id of the error", failed.Error["id"], any("self_service_flow_return_to_forbidden"))
}

// TestHealth uses plain HTTP, as monitors do: the SDK has no health.
func TestHealth(t *testing.T) {
	t.Parallel()
	for _, u := range []string{
		publicURL + "/health/alive", publicURL + "/health/ready", adminURL + "/health/alive", adminURL + "/health/ready",
		publicURL + "/health/accepting", adminURL + "/health/accepting",
		adminURL + "/admin/health/alive", adminURL + "/admin/health/ready",
	} {
		resp := ask(t, http.MethodGet, u, nil)
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "status of "+u, resp.StatusCode, http.StatusOK)
		equal(t, "body", strings.TrimSpace(string(body)), `{"status":"ok"}`)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	if v := call(admin().MetadataAPI.GetVersion(t.Context()).Execute()).ok(t, http.StatusOK); v.Version == "" {
		t.Error("the version is empty")
	}
}

// ask is for what the SDK does not have.
func ask(t *testing.T, method, u string, header http.Header) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header.Clone()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}
