package api_test

import (
	"encoding/binary"
	"net/netip"
	"runtime"
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
// what passes is bounded as if no more networks were there and nothing was ever
// forgotten.
func TestGoingRoundNetworksGainsNothing(t *testing.T) {
	t.Parallel()
	const remembered, owned, rounds = 500, 2000, 30
	limit := api.Limit{Burst: 5, PerHour: 3600}
	for _, pace := range []time.Duration{0, time.Second, time.Minute} {
		c := api.NewTestLimiter(t, limit, remembered)
		at, passed := time.Now(), 0
		for round := range rounds {
			for n := range owned {
				if c.Spend(numbered(n), at.Add(time.Duration(round)*pace)) {
					passed++
				}
			}
		}
		back := int((rounds - 1) * pace / time.Second) // tokens, one a second
		if most := (remembered + 1) * (limit.Burst + back); passed > most {
			t.Errorf("%d networks, %d of them remembered, passed %d times in rounds of %s, want %d at most", owned, remembered, passed, pace, most)
		}
	}
}

// A full store fails towards "limited" for who is new, not for who is known, and
// is there for new ones again once debts are paid.
func TestFullStore(t *testing.T) {
	t.Parallel()
	c := api.NewTestLimiter(t, api.Limit{Burst: 3, PerHour: 3600}, 10)
	at := time.Now()
	for n := range 10 {
		c.Spend(numbered(n), at)
	}
	passed := 0
	for n := 10; n < 20; n++ {
		if c.Spend(numbered(n), at) {
			passed++
		}
	}
	if passed != 3 {
		t.Errorf("10 networks without a place passed %d times, want 3: they share one bucket", passed)
	}
	if !c.Spend(numbered(0), at) {
		t.Error("a network that is known is refused because others are many")
	}
	at = at.Add(time.Second) // all but the first owe nothing any more
	for n := range 3 {
		if !c.Spend(numbered(30), at) {
			t.Errorf("request %d of a new network is refused, want a burst of 3: there is a place again", n+1)
		}
	}
}

// S75: going through many networks takes no more memory than a full store.
func TestLimitsAreBounded(t *testing.T) {
	const remembered, networks = 10_000, 100_000
	c := api.NewTestLimiter(t, api.Limit{Burst: 50, PerHour: 200}, remembered)
	at := time.Now()
	var used [4]uint64
	for round := range used {
		for n := range networks {
			at = at.Add(time.Millisecond) // a token is back after 18 000 of them
			c.Spend(numbered(round*networks+n), at)
			if got := c.Remembered(); got > remembered {
				t.Fatalf("%d networks are remembered, want %d at most", got, remembered)
			}
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		used[round] = m.HeapAlloc
	}
	if grown := int64(used[3]) - int64(used[0]); grown > 1<<20 {
		t.Errorf("heap after each %d networks: %v bytes, want it flat", networks, used)
	}
	runtime.KeepAlive(c)
	at = at.Add(time.Hour)
	for n := range remembered {
		c.Wait(numbered(n), at)
	}
	if got := c.Remembered(); got != 0 {
		t.Errorf("%d networks are remembered that owe nothing, want none", got)
	}
}

// A request that took long to arrive must not bring the time back that it took.
func TestLateRequestsBringNoTokens(t *testing.T) {
	t.Parallel()
	c := api.NewTestLimiter(t, api.Limit{Burst: 10, PerHour: 300}, 100)
	at, passed := time.Now(), 0
	for n := range 100 {
		late := time.Duration(n%2) * 15 * time.Second
		if c.Spend("192.0.2.1", at.Add(-late)) {
			passed++
		}
	}
	if passed != 10 {
		t.Errorf("requests of two moments by turns passed %d times, want the burst of 10", passed)
	}
}

// Logins that fail at the same time all passed the look before; each of them is
// paid for all the same.
func TestWhatIsOwedIsPaid(t *testing.T) {
	t.Parallel()
	c := api.NewTestLimiter(t, api.Limit{Burst: 5, PerHour: 3600}, 100)
	at := time.Now()
	for range 20 {
		c.Owe("192.0.2.1", at)
	}
	if got := c.Wait("192.0.2.1", at); got != 16*time.Second {
		t.Errorf("after 20 of a burst of 5 the wait is %s, want 16s: 15 tokens are owed, one is wanted", got)
	}
	if c.Spend("192.0.2.1", at.Add(16*time.Second-time.Millisecond)) || !c.Spend("192.0.2.1", at.Add(16*time.Second)) {
		t.Error("the wait that was told is not what it takes")
	}
}

// Who is refused again and again owes for an hour, not for as long as it goes on.
func TestDebtHasAnEnd(t *testing.T) {
	t.Parallel()
	c := api.NewTestLimiter(t, api.Limit{Burst: 5, PerHour: 60}, 100)
	at := time.Now()
	for range 1000 {
		c.Owe("192.0.2.1", at)
	}
	if got, most := c.Wait("192.0.2.1", at), time.Hour+time.Minute; got > most {
		t.Errorf("after 1000 of a burst of 5 the wait is %s, want %s at most", got, most)
	}
}

func TestCeiling(t *testing.T) {
	t.Parallel()
	c := api.NewTestLimiter(t, api.Limit{Burst: 2, PerHour: 1, GlobalPerSecond: 1}, 100)
	at := time.Now()
	if !c.Spend("192.0.2.1", at) || c.Spend("192.0.2.2", at) {
		t.Error("want one request a second over all networks")
	}
	if got := c.Wait("192.0.2.2", at); got != time.Second {
		t.Errorf("wait at the ceiling = %s, want 1s", got)
	}
	for n := range 2 { // what the ceiling refused was not paid for
		at = at.Add(time.Second)
		if !c.Spend("192.0.2.2", at) {
			t.Errorf("request %d after the ceiling's refusal does not pass, want a burst of 2", n+1)
		}
	}
	if at = at.Add(time.Second); c.Spend("192.0.2.2", at) {
		t.Error("the network's own limit is gone")
	}
	if !c.Spend("192.0.2.3", at) {
		t.Error("what a network was refused was taken from the ceiling")
	}
}

// A debt of more years than a duration holds is still a debt.
func TestDebtOfManyYears(t *testing.T) {
	t.Parallel()
	const burst = 2_600_000 // hours
	c := api.NewTestLimiter(t, api.Limit{Burst: burst, PerHour: 1}, 100)
	at := time.Now()
	for range burst {
		c.Owe("192.0.2.1", at)
	}
	if c.Spend("192.0.2.1", at) || c.Remembered() != 1 {
		t.Error("whoever owes a token for each of 2 600 000 hours passes, want it refused and remembered")
	}
}
