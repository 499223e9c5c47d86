package e2e_test

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	benchEndpoints = 20
	benchRate      = 10 // registrations a second, each delivered to all endpoints
	benchPeople    = 100
	benchPairs     = 5
)

// webhooks measures twenty webhooks with all of them well against the same with
// one that takes connections and never answers, in turns, and what a delivery
// costs the database and the server's connections.
func (b *bench) webhooks() {
	s := newSystem(b.t, "postgres", hooks(sessionHook))
	defer s.stop()
	s.registrations(200, 4)
	alone, fewer := b.registrationCost(s)
	endpoints := make([]*endpoint, benchEndpoints)
	for n := range endpoints {
		endpoints[n] = newEndpoint(b.t)
		s.webhook("add", fmt.Sprintf("hook-%d", n), endpoints[n].URL, "--events", "identity.created")
	}
	s.settled()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts by the kernel, answers never
	if err != nil {
		b.t.Fatal(err)
	}
	defer silent.Close()

	b.webhookRound(s, endpoints, 20) // warm
	with, more := b.registrationCost(s)
	var well, beside []webhookRound
	for range benchPairs {
		well = append(well, b.webhookRound(s, endpoints, benchPeople))
		s.webhook("add", "dead", "http://"+silent.Addr().String(), "--events", "identity.created")
		s.settled()
		beside = append(beside, b.webhookRound(s, endpoints[1:], benchPeople)) // 19 well, one dead
		s.webhook("remove", "dead", "--yes")
		s.settled()
	}
	var ratios []float64 // of neighbours in time, since the machine's moods are larger
	for n := range well {
		ratios = append(ratios, beside[n].p99.Seconds()/well[n].p99.Seconds())
	}
	slices.Sort(ratios)
	is, was := medianRound(beside), medianRound(well)
	b.row(fmt.Sprintf("event's time → webhook called, %d endpoints, %d/s: p99 beside a dead one", benchEndpoints, benchRate*benchEndpoints),
		ms(is.p99), fmt.Sprintf("all well %s", ms(was.p99)), fmt.Sprintf("%.2f × (%.2f to %.2f), p50 %s and %s", ratios[benchPairs/2], ratios[0], ratios[benchPairs-1], ms(is.p50), ms(was.p50)), "≤ 1.15 ×")
	b.row("  transactions for a registration with 20 deliveries", fmt.Sprintf("%.2f", with), fmt.Sprintf("without a webhook %.2f", alone),
		fmt.Sprintf("%+.2f for 20; connections to the database %d, without %d", with-alone, more, fewer), "none more")
}

// registrationCost is how many transactions of the database a registration and
// all that comes of it take, and how many connections there are.
func (b *bench) registrationCost(s *system) (transactions float64, connections int) {
	const counted = 12 * time.Second // until idle connections have told what they did
	time.Sleep(counted)
	at := b.statements(s.dsn)
	time.Sleep(2 * counted)
	idle := float64(b.statements(s.dsn)-at) / (2 * counted).Seconds()
	began, at := time.Now(), b.statements(s.dsn)
	b.registerAtRate(s, benchPeople)
	time.Sleep(counted)
	used := float64(b.statements(s.dsn)-at) - idle*time.Since(began).Seconds()
	if err := s.query(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()`, &connections); err != nil {
		b.t.Fatal(err)
	}
	return used / benchPeople, connections
}

func (b *bench) registerAtRate(s *system, people int) {
	var wg sync.WaitGroup
	tick := time.NewTicker(time.Second / benchRate)
	defer tick.Stop()
	for range people {
		<-tick.C
		wg.Go(func() { newApp(b.t, s.apis[0]).register(newAddress()) })
	}
	wg.Wait()
}

// webhookRound is what a round of registrations measured.
type webhookRound struct{ p50, p99 time.Duration }

func medianRound(rounds []webhookRound) webhookRound {
	slices.SortFunc(rounds, func(a, b webhookRound) int { return int(a.p99 - b.p99) })
	return rounds[len(rounds)/2]
}

// webhookRound registers people at the rate and waits until each endpoint has
// been told of each of them.
func (b *bench) webhookRound(s *system, endpoints []*endpoint, people int) (r webhookRound) {
	for _, e := range endpoints {
		e.forget()
	}
	b.registerAtRate(s, people)
	eventually(b.t, 60*time.Second, func() error {
		for n, e := range endpoints {
			if got := e.called(); got < people {
				return fmt.Errorf("endpoint %d was called %d times, want %d", n, got, people)
			}
		}
		return nil
	})
	var after []time.Duration
	for _, e := range endpoints {
		after = append(after, e.delays(b)...)
	}
	slices.Sort(after)
	return webhookRound{p50: after[len(after)/2], p99: after[len(after)*99/100]}
}

func (e *endpoint) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = nil
}

// delays are how long after their events' time the calls came.
func (e *endpoint) delays(b *bench) (after []time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.calls {
		var event struct{ Time time.Time }
		if err := json.Unmarshal([]byte(c.body), &event); err != nil {
			b.t.Fatal(err)
		}
		after = append(after, c.at.Sub(event.Time))
	}
	return after
}
