package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const preflightLife = 10 * time.Minute

// corsHeaders are the headers of CORS answers, made once. Nil values are left out.
type corsHeaders struct {
	origins  map[string]bool
	anybody  bool
	methods  []string
	headers  []string
	exposed  []string
	maxAge   []string
	withAuth []string
}

func (c CORS) compile() (corsHeaders, error) {
	if !c.Enabled {
		return corsHeaders{}, nil
	}
	h := corsHeaders{
		origins: map[string]bool{},
		methods: joined(c.Methods),
		headers: joined(c.Headers),
		exposed: joined(c.Exposed),
		maxAge:  []string{strconv.Itoa(int(preflightLife.Seconds()))},
	}
	if c.Credentials {
		h.withAuth = []string{"true"}
	}
	for _, o := range c.Origins {
		if o == "*" {
			if c.Credentials {
				return corsHeaders{}, errors.New(`CORS origin "*" cannot be had together with credentials`)
			}
			h.anybody = true
			continue
		}
		u, err := url.Parse(o)
		if err != nil || u.Host == "" || origin(u) != o || strings.Contains(o, "*") {
			return corsHeaders{}, fmt.Errorf("CORS origin %q is not an exact origin, such as https://app.example.com", o)
		}
		h.origins[o] = true
	}
	return h, nil
}

// joined is a header value that lists names, nil when there are none.
func joined(names []string) []string {
	if len(names) == 0 {
		return nil
	}
	return []string{strings.Join(names, ", ")}
}

// cross adds what a page of another origin needs to read the answer. It
// reports true for a preflight, which is answered by that alone.
func (x *exchange) cross() (preflight bool) {
	c := x.settings.cors
	from := x.r.Header.Get("Origin")
	if from == "" || !c.anybody && len(c.origins) == 0 {
		return false
	}
	h := x.w.Header()
	h.Add("Vary", "Origin")
	if !c.anybody && !c.origins[from] {
		return false
	}
	allowed := []string{from}
	if c.anybody {
		allowed = []string{"*"}
	}
	set(h, "Access-Control-Allow-Origin", allowed)
	set(h, "Access-Control-Allow-Credentials", c.withAuth)
	if x.r.Method != http.MethodOptions || x.r.Header.Get("Access-Control-Request-Method") == "" {
		set(h, "Access-Control-Expose-Headers", c.exposed)
		return false
	}
	set(h, "Access-Control-Allow-Methods", c.methods)
	set(h, "Access-Control-Allow-Headers", c.headers)
	set(h, "Access-Control-Max-Age", c.maxAge)
	return true
}

func set(h http.Header, name string, value []string) {
	if value != nil {
		h[name] = value
	}
}
