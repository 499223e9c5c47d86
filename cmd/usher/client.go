package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// adminClient asks a running server's admin listener.
type adminClient struct {
	base string
	http http.Client
}

// client finds the admin listener: --admin, else the configuration's. Beyond
// loopback it wants a token, taken from USHER_ADMIN_TOKEN.
func (g *global) client() (*adminClient, error) {
	base := g.admin
	if base == "" {
		cfg, err := g.load()
		if err != nil {
			return nil, err
		}
		base = cfg.AdminURL()
	}
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	return &adminClient{base: strings.TrimSuffix(base, "/"), http: http.Client{Timeout: 30 * time.Second}}, nil
}

// get decodes the answer to a GET into v.
func (c *adminClient) get(ctx context.Context, path string, query url.Values, v any) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return err
	}
	if token := os.Getenv("USHER_ADMIN_TOKEN"); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("no server answers at %s: is one running? (usher serve; --admin URL says where): %w", c.base, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		hint := ""
		if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
			hint = " (set USHER_ADMIN_TOKEN, see 'usher admin token new')"
		}
		return fmt.Errorf("%s%s: %s%s", c.base, path, resp.Status, hint)
	}
	return json.NewDecoder(bytes.NewReader(body)).Decode(v)
}
