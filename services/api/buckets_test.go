package api_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/api"
)

// numbered gives one of many networks.
func numbered(n int) string {
	var ip [16]byte
	ip[0], ip[1] = 0x20, 0x01
	binary.BigEndian.PutUint32(ip[4:], uint32(n))
	return netip.AddrFrom16(ip).String()
}

// Whoever owns more networks than are remembered wins nothing by going round:
// what passes is bounded as if nothing were ever forgotten.
func TestGoingRoundNetworksGainsNothing(t *testing.T) {
	t.Parallel()
	const remembered, owned, rounds = 500, 2000, 30
	limit := api.Limit{Burst: 5, PerHour: 3600}
	spend := api.NewTestLimiter(t, limit, remembered)
	at, passed := time.Now(), 0
	for range rounds {
		for n := range owned {
			if spend(numbered(n), at) {
				passed++
			}
		}
	}
	if most := (remembered + 1) * limit.Burst; passed > most {
		t.Errorf("%d networks, %d of them remembered, passed %d times at one moment, want %d at most", owned, remembered, passed, most)
	}
}

// A request that took long to arrive must not bring the time back that it took.
func TestLateRequestsBringNoTokens(t *testing.T) {
	t.Parallel()
	spend := api.NewTestLimiter(t, api.Limit{Burst: 10, PerHour: 300}, 100)
	at, passed := time.Now(), 0
	for n := range 100 {
		late := time.Duration(n%2) * 15 * time.Second
		if spend("192.0.2.1", at.Add(-late)) {
			passed++
		}
	}
	if passed > 10 {
		t.Errorf("requests of two moments by turns passed %d times, want the burst of 10", passed)
	}
}
