package api_test

import (
	"net/netip"
	"testing"

	"github.com/usher-auth/usher/services/api"
)

// TestClientAddr is S66: nobody gets another address by writing a header.
func TestClientAddr(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, tt := range []struct {
		peer      string
		forwarded []string
		trusted   []netip.Prefix
		want      string
	}{
		{"203.0.113.9:5000", nil, nil, "203.0.113.9:5000"},
		{"203.0.113.9:5000", []string{"198.51.100.1"}, nil, "203.0.113.9:5000"},
		{"203.0.113.9:5000", []string{"198.51.100.1"}, proxies, "203.0.113.9:5000"},
		{"10.0.0.1:80", nil, proxies, "10.0.0.1:80"},
		{"10.0.0.1:80", []string{"198.51.100.1"}, proxies, "198.51.100.1"},
		{"10.0.0.1:80", []string{"1.1.1.1, 198.51.100.1"}, proxies, "198.51.100.1"},
		{"10.0.0.1:80", []string{"1.1.1.1, 198.51.100.1, 10.0.0.7"}, proxies, "198.51.100.1"},
		{"10.0.0.1:80", []string{"1.1.1.1", "198.51.100.1, 10.0.0.7"}, proxies, "198.51.100.1"},
		{"10.0.0.1:80", []string{"10.0.0.8, 10.0.0.7"}, proxies, "10.0.0.8"},
		{"10.0.0.1:80", []string{"198.51.100.1, nonsense"}, proxies, "10.0.0.1:80"},
		{"10.0.0.1:80", []string{"nonsense, 10.0.0.7"}, proxies, "10.0.0.7"},
		{"10.0.0.1:80", []string{"198.51.100.1:4711"}, proxies, "198.51.100.1"},
		{"10.0.0.1:80", []string{"[2001:db8::1]:4711"}, proxies, "2001:db8::1"},
		{"10.0.0.1:80", []string{"[2001:db8::1]"}, proxies, "2001:db8::1"},
		{"[fd00::1]:80", []string{"2001:db8::1"}, proxies, "2001:db8::1"},
		{"[::ffff:10.0.0.1]:80", []string{"198.51.100.1"}, proxies, "198.51.100.1"},
		{"10.0.0.1:80", []string{"", ","}, proxies, "10.0.0.1:80"},
		{"@", []string{"198.51.100.1"}, proxies, "@"},
	} {
		if got := api.ClientAddr(tt.peer, tt.forwarded, tt.trusted); got != tt.want {
			t.Errorf("clientAddr(%q, %q, %v) = %q, want %q", tt.peer, tt.forwarded, tt.trusted, got, tt.want)
		}
	}
}
