package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/cmd/internal/config"
)

// adminClient asks a running server's admin listener.
type adminClient struct {
	base string
	from string // what says that it is there; empty if nothing need be said
	http http.Client
}

// client finds the admin listener: --admin, else the configuration's, else the
// usual one. Of the configuration it needs no other key. Beyond loopback the
// listener wants a token, taken from USHER_ADMIN_TOKEN.
func (g *global) client() (*adminClient, error) {
	if g.admin != "" {
		return g.clientOf(g.admin, "--admin", nil)
	}
	found, err := g.findAdmin()
	if err != nil {
		return nil, err
	}
	return g.clientOf(found.URL, found.From, found.Certificate)
}

func (g *global) findAdmin() (config.Admin, error) {
	found, err := config.FindAdmin(g.options())
	if err != nil {
		return found, fmt.Errorf("%w\nwhere is the server's admin listener? --admin URL says so without a configuration", err)
	}
	return found, nil
}

// clientOf asks an admin listener by its URL. A certificate that is known to be the
// listener's is trusted, and those that --ca or this machine trusts.
func (g *global) clientOf(base, from string, own *x509.Certificate) (*adminClient, error) {
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	if u, err := url.Parse(base); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("--admin %q: want a URL such as http://127.0.0.1:4434", g.admin)
	}
	roots, err := authorities(g.ca)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = config.Pinned(own, roots)
	return &adminClient{base: strings.TrimSuffix(base, "/"), from: from, http: http.Client{Timeout: 30 * time.Second, Transport: transport}}, nil
}

// authorities reads those of a file; nil, which are this machine's, without one.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--ca %s: there is no certificate in it (PEM)", file)
	}
	return roots, nil
}

// get decodes the answer to a GET into v.
func (c *adminClient) get(ctx context.Context, path string, query url.Values, v any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.do(ctx, http.MethodGet, path, nil, v)
}

// post sends a body as JSON and decodes the answer into v.
func (c *adminClient) post(ctx context.Context, path string, body, v any) error {
	return c.do(ctx, http.MethodPost, path, body, v)
}

// delete removes what is at a path.
func (c *adminClient) delete(ctx context.Context, path string) error {
	return c.do(ctx, http.MethodDelete, path, nil, nil)
}

// do sends a body, unless it is nil, and decodes the answer into v, unless that is nil.
func (c *adminClient) do(ctx context.Context, method, path string, body, v any) error {
	req, err := c.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unanswered(ctx, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return &refusal{resp.StatusCode, fmt.Sprintf("%s%s: %s%s", c.base, path, resp.Status, hint(resp.StatusCode, answer))}
	}
	if v == nil {
		return nil
	}
	if err := json.Unmarshal(answer, v); err != nil {
		return fmt.Errorf("%s%s: the answer is not that of an admin listener: %w", c.base, path, err)
	}
	return nil
}

func (c *adminClient) request(ctx context.Context, method, path string, body any) (*http.Request, error) {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		sent = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, sent)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token := os.Getenv("USHER_ADMIN_TOKEN"); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return req, nil
}

// refusal is an answer that says no.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

// unanswered says what to do about a server that cannot be reached.
func (c *adminClient) unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err() // nobody waits for it
	}
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err // the rest of it repeats the URL
	}
	from := ""
	if c.from != "" {
		from = " (" + c.from + ")"
	}
	var untrusted *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var named x509.HostnameError
	if errors.As(err, &untrusted) || errors.As(err, &unknown) || errors.As(err, &named) {
		return fmt.Errorf("the server at %s%s is not trusted: %w\n--ca FILE names the certificates that are, -c FILE the server's configuration with its own", c.base, from, err)
	}
	return fmt.Errorf("no server answers at %s%s: %w\nis one running? 'usher serve' starts one; --admin URL, or -c FILE with its configuration, says where another is", c.base, from, err)
}

// hint is what the server says of a refusal, and what may be done about it.
func hint(status int, body []byte) string {
	var envelope struct {
		Error struct {
			Reason string `json:"reason"`
		} `json:"error"`
		Errors map[string]string `json:"errors"` // of a process that is not ready
	}
	said := ""
	if json.Unmarshal(body, &envelope) == nil && envelope.Error.Reason != "" {
		said = ": " + envelope.Error.Reason
	}
	for _, name := range slices.Sorted(maps.Keys(envelope.Errors)) {
		said += "\n" + name + ": " + envelope.Errors[name]
	}
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		said += "\nset USHER_ADMIN_TOKEN to a token; 'usher admin token new NAME' makes one"
	case http.StatusNotFound:
		if said != "" && !strings.Contains(said, "nothing at this path") {
			return said // it is the listener, and lacks only what was asked for
		}
		said += "\nis that the admin listener, and of this version? Its port is usually 4434"
	}
	return said
}
