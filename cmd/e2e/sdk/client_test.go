package sdk_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ory/client-go"
)

var publicURL, adminURL = os.Getenv("USHER_PUBLIC_URL"), os.Getenv("USHER_ADMIN_URL")

func TestMain(m *testing.M) {
	if publicURL == "" || adminURL == "" {
		fmt.Fprintln(os.Stderr, "USHER_PUBLIC_URL and USHER_ADMIN_URL say where the server is; go test -run TestSDKs ./cmd/e2e starts one")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// newSDK is the SDK for a listener; jar is nil for clients without cookies.
func newSDK(base string, jar http.CookieJar) *client.APIClient {
	cfg := client.NewConfiguration()
	cfg.Servers = client.ServerConfigurations{{URL: base}}
	cfg.HTTPClient = &http.Client{Jar: jar, Timeout: 30 * time.Second}
	return client.NewAPIClient(cfg)
}

// newApp is the SDK in an app, which keeps session tokens.
func newApp() client.FrontendAPI { return newSDK(publicURL, nil).FrontendAPI }

// newScript is the SDK in a script of a page, whose browser keeps the cookies.
func newScript(t *testing.T) client.FrontendAPI {
	t.Helper()
	api := newSDK(publicURL, newJar(t))
	api.GetConfig().AddDefaultHeader("Origin", publicURL)
	api.GetConfig().AddDefaultHeader("Sec-Fetch-Site", "same-origin")
	return api.FrontendAPI
}

// admin is the SDK for the admin listener.
func admin() *client.APIClient { return newSDK(adminURL, nil) }

func newJar(t *testing.T) http.CookieJar {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return jar
}

// called is what a call of the SDK gave.
type called[T any] struct {
	value    T
	response *http.Response
	err      error
}

func call[T any](value T, response *http.Response, err error) called[T] {
	return called[T]{value, response, err}
}

// done is [call] for what gives no value.
func done(response *http.Response, err error) called[struct{}] {
	return called[struct{}]{struct{}{}, response, err}
}

// ok gives the decoded answer; it fails the test if there is none, or not with this status.
func (c called[T]) ok(t *testing.T, status int) T {
	t.Helper()
	var problem *client.GenericOpenAPIError
	if errors.As(c.err, &problem) {
		t.Fatalf("call: %v: %s", c.err, problem.Body())
	}
	if c.err != nil {
		t.Fatalf("call: %v", c.err)
	}
	if c.response.StatusCode != status {
		t.Fatalf("call: status %d, want %d", c.response.StatusCode, status)
	}
	return c.value
}

// refused gives the error as the type that the SDK has for it; it fails the
// test if the call went well, has another status, or cannot be decoded.
func refused[M, T any](t *testing.T, c called[T], status int) M {
	t.Helper()
	var problem *client.GenericOpenAPIError
	if !errors.As(c.err, &problem) {
		t.Fatalf("call: error %v, want one of the SDK with status %d", c.err, status)
	}
	if c.response.StatusCode != status {
		t.Fatalf("call: status %d %s, want %d", c.response.StatusCode, problem.Body(), status)
	}
	m, ok := problem.Model().(M)
	if !ok {
		t.Fatalf("call: %v: the body decodes as %T, want %T: %s", problem, problem.Model(), m, problem.Body())
	}
	return m
}

// refusedAs is [refused] for the error envelope; id is the error's, "" for none.
func refusedAs[T any](t *testing.T, c called[T], status int, id string) client.ErrorGeneric {
	t.Helper()
	problem := refused[client.ErrorGeneric](t, c, status)
	equal(t, "id of the error", problem.Error.GetId(), id)
	if problem.Error.GetMessage() == "" {
		t.Error("the error has no message")
	}
	return problem
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

// hasMessage wants the message with this id, at the form or at one of its nodes.
func hasMessage(t *testing.T, ui client.UiContainer, id int64) {
	t.Helper()
	all := slices.Clone(ui.Messages)
	for _, n := range ui.Nodes {
		all = append(all, n.Messages...)
	}
	if !slices.ContainsFunc(all, func(m client.UiText) bool { return m.Id == id }) {
		t.Errorf("messages = %v, want one with id %d", all, id)
	}
}

// csrf is the token in the form of a browser's flow.
func csrf(t *testing.T, ui client.UiContainer) *string {
	t.Helper()
	for _, n := range ui.Nodes {
		if input := n.Attributes.UiNodeInputAttributes; input != nil && input.Name == "csrf_token" {
			if token, ok := input.Value.(string); ok && token != "" {
				return &token
			}
		}
	}
	t.Fatal("the form has no csrf_token")
	return nil
}

const (
	password = "a long enough secret 7"
	nowhere  = "00000000-0000-4000-8000-000000000000"
)

// newAddress is an address that nobody else has.
func newAddress() string { return "go-" + strings.ToLower(rand.Text()) + "@example.org" }

// newVerified makes a person with a verified address and a password.
func newVerified(t *testing.T) (address string, made *client.Identity) {
	t.Helper()
	address = newAddress()
	body := client.NewCreateIdentityBody("default", map[string]any{"email": address})
	body.Credentials = &client.IdentityWithCredentials{Password: &client.IdentityWithCredentialsPassword{
		Config: &client.IdentityWithCredentialsPasswordConfig{Password: client.PtrString(password)},
	}}
	body.VerifiableAddresses = []client.VerifiableIdentityAddress{
		*client.NewVerifiableIdentityAddress("completed", address, true, "email"),
	}
	return address, call(admin().IdentityAPI.CreateIdentity(t.Context()).CreateIdentityBody(*body).Execute()).ok(t, http.StatusCreated)
}

var sixDigits = regexp.MustCompile(`\b\d{6}\b`)

// mailedCode waits for the code that is mailed to an address for a flow. It is
// the only run of six digits in the mail.
func mailedCode(t *testing.T, address, flow string) string {
	t.Helper()
	return mailed(t, address, func(body string) string {
		if !strings.Contains(body, flow) {
			return ""
		}
		found := sixDigits.FindAllString(body, -1)
		slices.Sort(found)
		if found = slices.Compact(found); len(found) != 1 {
			t.Fatalf("mail to %s: six digits %v, want one run of them", address, found)
		}
		return found[0]
	})
}

// mailed waits for a mail to an address in which find finds something.
func mailed(t *testing.T, address string, find func(body string) string) string {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		for _, m := range call(admin().CourierAPI.ListCourierMessages(t.Context()).Recipient(address).Execute()).ok(t, http.StatusOK) {
			if found := find(m.Body); found != "" {
				return found
			}
		}
	}
	t.Fatalf("no such mail to %s", address)
	return ""
}

// wrong is a code that is not the right one.
func wrong(right string) string {
	if right == "000000" {
		return "000001"
	}
	return "000000"
}
