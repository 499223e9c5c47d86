package e2e_test

import (
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// overloadTime is the short form's; USHER_TEST_LONG makes it the full minute.
func overloadTime() time.Duration {
	if os.Getenv("USHER_TEST_LONG") != "" {
		return time.Minute
	}
	return 8 * time.Second
}

// TestOverload is T11: ten times more registrations than can be hashed. Who is
// signed in does not notice, memory stays, hashing routes answer 429 or 503
// beside their successes, and all is normal within a second after. The short
// form shows the times and judges only the rest: other tests may share the machine.
func TestOverload(t *testing.T) {
	over := hooks(sessionHook)
	over["hashers"] = settings{"algorithm": "bcrypt", "bcrypt": settings{"cost": 12}} // about five a second and core
	s := newSystem(t, "sqlite", over)
	app := newApp(t, s.apis[0])
	token := app.register(newAddress()).SessionToken

	end := make(chan struct{})
	var statuses sync.Map
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			app := newApp(t, s.apis[0])
			for {
				select {
				case <-end:
					return
				default:
				}
				f, err := app.initAPI()
				if err != nil {
					continue
				}
				a, err := app.submit(f.ID, submission("", newAddress(), goodPassword))
				status := 0
				if err == nil {
					status = a.status
					if status == http.StatusServiceUnavailable && a.header.Get("Retry-After") == "" {
						t.Error("503 without Retry-After")
					}
				}
				n, _ := statuses.LoadOrStore(status, new(atomic.Int64))
				n.(*atomic.Int64).Add(1)
				if status != http.StatusOK {
					time.Sleep(50 * time.Millisecond) // a client that was refused waits a little
				}
			}
		})
	}
	var took []time.Duration
	var peak int
	for began := time.Now(); time.Since(began) < overloadTime(); {
		at := time.Now()
		if status, _ := app.whoami(token); status != http.StatusOK {
			t.Fatalf("whoami under overload = %d, want 200", status)
		}
		took = append(took, time.Since(at))
		peak = max(peak, s.processes["serve"].memory(t))
		time.Sleep(2 * time.Millisecond)
	}
	close(end)
	wg.Wait()
	at := time.Now()
	app.register(newAddress())
	after := time.Since(at)

	slices.Sort(took)
	p99 := took[len(took)*99/100]
	counts := map[int]int64{}
	statuses.Range(func(k, v any) bool { counts[k.(int)] = v.(*atomic.Int64).Load(); return true })
	t.Logf("%d whoami: p50 %v, p99 %v; submits by status %v; memory %d MiB; a registration right after: %v",
		len(took), took[len(took)/2], p99, counts, peak>>20, after)
	for status := range counts {
		if status != http.StatusOK && status != http.StatusServiceUnavailable && status != http.StatusTooManyRequests {
			t.Errorf("a hashing route answered %d, want 200, 429 or 503", status)
		}
	}
	if counts[http.StatusServiceUnavailable] == 0 {
		t.Error("nobody was refused: this was no overload")
	}
	long := os.Getenv("USHER_TEST_LONG") != ""
	if long && p99 > 50*time.Millisecond {
		t.Errorf("whoami p99 = %v under overload, want at most 50ms", p99)
	}
	if peak > 200<<20 {
		t.Errorf("memory = %d MiB, want at most 200", peak>>20)
	}
	if long && after > time.Second {
		t.Errorf("a registration right after took %v, want at most 1s", after)
	}
}

// memory is the resident memory of the process, in bytes.
func (p *process) memory(t testing.TB) int {
	t.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}
