package e2e_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/oidc"
)

// provider is the OpenID provider of the folder provider, in a process of its
// own, which a test may stop and start again. Whoever is asked for by name is a
// user there: an address is verified unless it begins with "unverified.", and
// who is named otherwise has none.
type provider struct {
	*process
	issuer string
}

// What the provider knows its clients by, and its users.
const (
	userinfoClient   = "usher"          // finds its claims at userinfo
	idTokenClient    = "usher-id-token" // finds them in the id_token
	providerSecret   = "secret-of-the-client"
	providerPassword = "verysecure"
)

// providerBin is built once, and only if a test wants it.
var providerBin = sync.OnceValues(func() (string, error) {
	download := exec.Command("go", "mod", "download")
	download.Dir = "provider"
	if out, err := download.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the modules of cmd/e2e/provider cannot be had: %s", strings.TrimSpace(string(out)))
	}
	bin := filepath.Join(filepath.Dir(usherBin), "provider")
	build := exec.Command("go", "build", "-o", bin, ".")
	build.Dir, build.Env = "provider", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build in cmd/e2e/provider: %w\n%s", err, out)
	}
	return bin, nil
})

// newProvider starts a provider that ends with the test.
func newProvider(t *testing.T) *provider {
	t.Helper()
	bin, err := providerBin()
	if err != nil {
		leftOut(t, err.Error())
	}
	listen := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	p := &provider{issuer: "http://" + listen, process: &process{
		name: "provider", bin: bin, log: filepath.Join(t.TempDir(), "provider.log"),
		args: []string{"-listen", listen, "-redirect", "http://127.0.0.1:*/self-service/methods/oidc/callback/*"},
	}}
	p.begin(t)
	t.Cleanup(func() {
		if p.running() {
			p.kill()
		}
	})
	return p
}

// begin starts the process, again if it was stopped: then it knows no sign-in
// from before, and has another key.
func (p *provider) begin(t *testing.T) {
	t.Helper()
	p.start(t)
	p.waitReady(t, p.issuer+"/.well-known/openid-configuration")
}

// subject is who a user is to the provider.
func subject(user string) string { return hex.EncodeToString([]byte(user)) }

// mapper makes an identity of the claims of email, and of nothing where there
// is none.
const mapper = `local claims = std.extVar('claims');
{
  identity: {
    traits: { [if 'email' in claims then 'email']: claims.email },
    verified_addresses: if 'email' in claims then [{ via: 'email', value: claims.email }] else [],
  },
}`

// oidcProvider is the configuration of the provider as id; over lies over it.
func (p *provider) oidcProvider(id string, over settings) settings {
	return merge(settings{
		"id": id, "provider": "generic", "issuer_url": p.issuer,
		"client_id": userinfoClient, "client_secret": providerSecret, "claims_source": "userinfo",
		"scope":      []any{"openid", "email"},
		"mapper_url": "base64://" + base64.StdEncoding.EncodeToString([]byte(mapper)),
	}, over)
}

var errLoginForm = errors.New("the provider shows no login form")

// signInAt walks from the authorization URL over the provider's own login form,
// as a browser of which nobody else knows, and gives where it is sent back to.
func signInAt(authorization, user string) (callback string, err error) {
	browser := &http.Client{Timeout: 10 * time.Second, CheckRedirect: stay}
	location, _, err := walk(browser, http.MethodGet, authorization, nil)
	if err != nil {
		return "", err
	}
	_, page, err := walk(browser, http.MethodGet, location, nil)
	if err != nil {
		return "", err
	}
	id := authRequest.FindStringSubmatch(page)
	if id == nil {
		return "", fmt.Errorf("%w: %.200s", errLoginForm, page)
	}
	location, page, err = walk(browser, http.MethodPost, location, url.Values{"id": {id[1]}, "username": {user}, "password": {providerPassword}})
	if err != nil || location == "" {
		return "", fmt.Errorf("login at the provider: %w %.200s", err, page)
	}
	callback, page, err = walk(browser, http.MethodGet, location, nil)
	if err == nil && callback == "" {
		err = fmt.Errorf("the provider leads nowhere: %.200s", page)
	}
	return callback, err
}

var authRequest = regexp.MustCompile(`name="id" value="([^"]+)"`)

// walk sends a request, with a form unless it is nil, and gives where the
// answer leads and what stands there.
func walk(browser *http.Client, method, target string, form url.Values) (location, page string, err error) {
	req, err := http.NewRequest(method, target, strings.NewReader(form.Encode()))
	if err != nil {
		return "", "", err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	a, err := exchange(browser, req)
	if err != nil {
		return "", "", err
	}
	if location = a.header.Get("Location"); location != "" {
		to, err := req.URL.Parse(location)
		if err != nil {
			return "", "", err
		}
		location = to.String()
	}
	return location, string(a.body), nil
}

// Our side of the protocol meets the provider alone, with all its ways to get
// claims, and finds the key of one that was started again.
func TestAnOpenIDProviderThatIsNotOurs(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	sealer, err := oidc.NewSealer([]byte("a secret of sixteen bytes or more"))
	if err != nil {
		t.Fatal(err)
	}
	config := oidc.Config{
		ID: "example", Provider: oidc.Generic, IssuerURL: p.issuer, ClientID: userinfoClient, ClientSecret: providerSecret,
		Scope: []string{"email"}, Mapper: mapper, ClaimsSource: oidc.FromUserinfo, AuthoritativeFor: []string{"example.org"},
	}
	fromIDToken := config
	fromIDToken.ID, fromIDToken.ClientID, fromIDToken.ClaimsSource = "example-id-token", idTokenClient, oidc.FromIDToken
	client, err := oidc.New(oidc.Options{Providers: []oidc.Config{config, fromIDToken}, Sealer: sealer})
	if err != nil {
		t.Fatal(err)
	}
	signIn := func(id, user string) *oidc.Account {
		t.Helper()
		ours, _ := client.Provider(id)
		authorization, begun, err := ours.Start(t.Context(), oidc.Request{
			Flow: "flow", FlowType: "registration", Client: oidc.Browser, RedirectURL: "http://127.0.0.1:1/self-service/methods/oidc/callback/" + id,
		})
		if err != nil {
			t.Fatal(err)
		}
		if asked, _ := url.Parse(authorization); asked.Query().Get("code_challenge_method") != "S256" {
			t.Errorf("authorization URL %s has no challenge, which the provider's discovery document offers", authorization)
		}
		callback, err := signInAt(authorization, user)
		if err != nil {
			t.Fatal(err)
		}
		back, err := url.Parse(callback)
		if err != nil {
			t.Fatal(err)
		}
		opened, err := ours.Open(back.Query().Get("state"))
		if err != nil || opened.ID != begun.ID {
			t.Fatalf("Open = %v, %v, want the attempt that was begun", opened, err)
		}
		account, err := ours.Finish(t.Context(), opened, oidc.Callback{Code: back.Query().Get("code"), Issuer: back.Query().Get("iss")})
		if err != nil {
			t.Fatalf("Finish: %v", err)
		}
		return account
	}

	for _, id := range []string{"example", "example-id-token"} {
		ada := newAddress()
		a := signIn(id, ada)
		want := fmt.Sprintf(`{"email":%q}`, ada)
		if a.Identifier() != id+":"+subject(ada) || compact(t, a.Identity.Traits) != want || len(a.Identity.VerifiedAddresses) != 1 {
			t.Errorf("%s: account = %s %s %v, want %s:%s with the address verified", id, a.Identifier(), a.Identity.Traits, a.Identity.VerifiedAddresses, id, subject(ada))
		}
		if b := signIn(id, "unverified."+ada); len(b.Identity.VerifiedAddresses) != 0 {
			t.Errorf("%s: the provider does not vouch for %v", id, b.Identity.VerifiedAddresses)
		}
	}
	p.kill()
	p.begin(t)
	signIn("example", newAddress())
}

func compact(t *testing.T, text json.RawMessage) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
