package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// signInAfter is the setting that is toggled, registrationOn the one that lets people register.
const (
	signInAfter    = "sign_in_after_registration"
	registrationOn = "selfservice.flows.registration.enabled"
)

// shapeOf is what an answer to a registration consists of, without what it says:
// status, fields of the body, what to continue with, cookies.
func shapeOf(a *answer) string {
	var body map[string]json.RawMessage
	_ = json.Unmarshal(a.body, &body) // what is no object has no fields
	var next []struct{ Action string }
	_ = json.Unmarshal(body["continue_with"], &next)
	var actions, cookies []string
	for _, n := range next {
		actions = append(actions, n.Action)
	}
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		cookies = append(cookies, c.Name)
	}
	slices.Sort(cookies)
	return fmt.Sprint(a.status, slices.Sorted(maps.Keys(body)), actions, slices.Compact(cookies))
}

// tried is one registration of a load.
type tried struct {
	process      int
	client       string // "app" or "script"
	begun, ended time.Time
	shape        string
	err          error
}

// arrive lets people register at all processes in turn, apps and scripts, so many a
// second whatever the answers take, until done is closed.
func (s *system) arrive(perSecond int, done <-chan struct{}) []tried {
	transport := &http.Transport{MaxIdleConnsPerHost: 256}
	defer transport.CloseIdleConnections()
	var mu sync.Mutex
	var all []tried
	var wg sync.WaitGroup
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-done:
			wg.Wait()
			return all
		case <-tick.C:
		}
		wg.Go(func() {
			a := tried{process: n % len(s.apis), client: []string{"app", "script"}[n/len(s.apis)%2]}
			a.register(s, transport)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, a)
		})
	}
}

// register does it; the answer counts from the moment the form is sent.
func (a *tried) register(s *system, transport *http.Transport) {
	c := newBrowser(s.t, s.apis[a.process])
	way := "browser"
	if a.client == "app" {
		c, way = newApp(s.t, s.apis[a.process]), "api"
	}
	c.http.Transport, c.verify = transport, false
	var f flowView
	begun, err := c.do("GET", "/self-service/registration/"+way, asJSON, nil)
	if err == nil {
		err = json.Unmarshal(begun.body, &f)
	}
	if a.err = err; err != nil {
		return
	}
	a.begun = time.Now()
	got, err := c.submit(f.ID, submission(f.csrf(), newAddress(), goodPassword))
	a.ended = time.Now()
	if a.err = err; err == nil {
		a.shape = shapeOf(got)
	}
}

// answers are the shapes of those to apps and scripts by whether they are signed in, of the
// settings as they are.
func (s *system) answers() map[string]string {
	s.t.Helper()
	return map[string]string{
		"app":    shapeOf(registerApp(s.t, s.api(0), newAddress())),
		"script": shapeOf(registerScript(s.t, s.api(0), newAddress())),
	}
}

// TestTogglingUnderLoad switches Sign In After Registration off and on again while
// people register at two processes: each answer is wholly of one of the two plans,
// every process follows within a second, and no hook is missed. Without the bus they
// follow all the same.
func TestTogglingUnderLoad(t *testing.T) {
	t.Parallel()
	background := newEndpoint(t)
	s := newSystem(t, "parts", signInAndTell(background))
	on := s.answers()
	save(t, s.admins[0], settings{signInAfter: false})
	off := s.answers()
	for client, shape := range on {
		if shape == off[client] {
			t.Fatalf("the %s gets %s with the toggle on, and with it off", client, shape)
		}
	}
	save(t, s.admins[0], settings{signInAfter: true})

	const apart = 2 * time.Second
	rate, times := inTheLongRun(100, 50), inTheLongRun(4, 2)
	done, saved := make(chan struct{}), []time.Time{}
	go func() {
		defer close(done)
		time.Sleep(apart)
		for n := range times {
			saved = append(saved, save(t, s.admins[n%2], settings{signInAfter: n%2 == 1}))
			time.Sleep(apart)
		}
	}()
	began := time.Now()
	all := s.arrive(rate, done)
	t.Logf("%d registrations in %s: %.0f/s of %d/s", len(all), time.Since(began).Round(time.Millisecond), float64(len(all))/time.Since(began).Seconds(), rate)

	for _, a := range all {
		if a.err != nil {
			t.Errorf("registration at process %d: %v", a.process+1, a.err)
		} else if a.shape != on[a.client] && a.shape != off[a.client] {
			t.Errorf("the %s got %s, want %s or %s", a.client, a.shape, on[a.client], off[a.client])
		}
	}
	for n, at := range saved {
		want := off
		if n%2 == 1 {
			want = on
		}
		until := at.Add(apart)
		for process := range s.apis {
			first, last := followedAfter(all, process, at, until, want)
			t.Logf("save %d at process %d: process %d answers by it %s after, and by the former one %s after for the last time",
				n+1, n%2+1, process+1, first.Round(time.Millisecond), last.Round(time.Millisecond))
			if first > time.Second || last > time.Second {
				t.Errorf("process %d did not follow save %d within a second", process+1, n+1)
			}
		}
	}
	s.followsWithoutTheBus()
	s.whole(background)
}

// followedAfter tells how long after a save a process gave its first answer of the new
// kind, and when the last request came that it answered in the former way.
func followedAfter(all []tried, process int, saved, until time.Time, want map[string]string) (first, last time.Duration) {
	first = until.Sub(saved)
	for _, a := range all {
		if a.process != process || a.err != nil || a.begun.Before(saved) || a.begun.After(until) {
			continue
		}
		if a.shape == want[a.client] {
			first = min(first, a.ended.Sub(saved))
		} else {
			last = max(last, a.begun.Sub(saved))
		}
	}
	return first, last
}

// followsWithoutTheBus closes registration at one process while the bus is down, and
// waits for the other.
func (s *system) followsWithoutTheBus() {
	s.t.Helper()
	s.processes["nats"].kill()
	saved := save(s.t, s.admins[0], settings{registrationOn: false})
	closed := func(process int) error {
		a, err := newApp(s.t, s.apis[process]).do("GET", "/self-service/registration/api", nil, nil)
		if err != nil {
			return err
		}
		if a.status == http.StatusOK || a.status >= http.StatusInternalServerError {
			return fmt.Errorf("process %d answers %d %s", process+1, a.status, strings.TrimSpace(string(a.body)))
		}
		return nil
	}
	for process := range s.apis {
		eventually(s.t, 15*time.Second, func() error { return closed(process) })
		took := time.Since(saved)
		s.t.Logf("without the bus, process %d follows %s after the answer to the save", process+1, took.Round(time.Millisecond))
		if took > 10*time.Second {
			s.t.Errorf("without the bus process %d followed after %s, want 10 s at most", process+1, took)
		}
	}
	save(s.t, s.admins[0], settings{registrationOn: true})
	s.restart("nats")
}
