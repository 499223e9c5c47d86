package webhook_test

import (
	"net/netip"
	"testing"

	"github.com/usher-auth/usher/services/webhook"
)

func TestPublicAddresses(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"8.8.8.8": true, "193.0.6.139": true, "2a00:1450:4001:800::200e": true, "::ffff:8.8.8.8": true,
		"127.0.0.1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false,
		"0.0.0.0": false, "100.64.0.1": false, "192.0.0.8": false, "198.18.0.1": false, "224.0.0.1": false, "255.255.255.255": false,
		"240.0.0.1": false, "203.0.113.9": false, "::": false, "::1": false, "fe80::1": false, "fd00::1": false, "ff02::1": false,
		"::ffff:127.0.0.1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false, "2001::1": false, "2001:db8::1": false,
		"::127.0.0.1": false,
	} {
		if got := webhook.Public(netip.MustParseAddr(address)); got != want {
			t.Errorf("Public(%s) = %t, want %t", address, got, want)
		}
	}
}

func TestWrittenPrivate(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]bool{
		"http://127.0.0.1:8080/hook": true, "https://[::1]/": true, "http://localhost/": true, "http://10.1.2.3/": true,
		"https://crm.example.org/": false, "https://8.8.8.8/": false, "::": false,
	} {
		if got := webhook.WrittenPrivate(url); got != want {
			t.Errorf("WrittenPrivate(%q) = %t, want %t", url, got, want)
		}
	}
}
