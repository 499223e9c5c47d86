package e2e_test

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/storetest"
)

// fault is one thing that breaks under load, and how it is mended.
type fault struct {
	name string
	// goal is how long people may see errors, or no session, at the most.
	goal time.Duration
	// inflict breaks it, and mend, unless nil, mends it after hold.
	inflict func(f *field)
	hold    time.Duration
	mend    func(f *field)
	// without is how long longer answers may have no session: what issues them is
	// gone by design, and registrations go on.
	without time.Duration
	// breaks says that connections may break: what was under way at a process
	// that was killed has no answer.
	breaks bool
	// prepare changes the system before it is launched.
	prepare func(f *field)
}

// TestFaults breaks one part after another while people register: the most
// telling ones in "make test"; in "make soak" all, three times each, every time
// in a system of its own. USHER_TEST_FAULTS_OUT is where the table goes that is
// deploy/FAULTS.md, USHER_TEST_FAULTS_RATE the registrations a second.
func TestFaults(t *testing.T) {
	if os.Getenv("USHER_TEST_SOAK") == "" {
		t.Parallel()
		shortFaults(t)
		return
	}
	out := &faultTable{rate: faultRate(t, 100)}
	for _, one := range faults() {
		for n := range 3 {
			t.Run(fmt.Sprintf("%s/%d", one.name, n+1), func(t *testing.T) {
				f := newField(t, out.rate, one)
				r := f.suffer(one, 3*time.Second, 5*time.Second)
				f.account()
				t.Log(r)
				out.add(one, r)
			})
		}
	}
	if path := os.Getenv("USHER_TEST_FAULTS_OUT"); path != "" {
		if err := os.WriteFile(path, []byte(out.markdown()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// shortFaults are three faults in one system. Machines that run all tests at
// once are slow: what is measured is held against three times the goal.
func shortFaults(t *testing.T) {
	f := newField(t, faultRate(t, 20), fault{})
	for _, name := range []string{"api killed", "session worker frozen", "NATS leader killed"} {
		i := slices.IndexFunc(faults(), func(one fault) bool { return one.name == name })
		one := faults()[i]
		one.hold = min(one.hold, time.Second)
		one.goal *= 3
		t.Log(f.suffer(one, 500*time.Millisecond, 1500*time.Millisecond))
	}
	f.loseNodes()
	f.account()
}

// field is a whole installation with people in front of it: two of each part, a
// bus of three servers, a database of its own, a custom worker, a web_hook and a
// webhook, and a balancer.
type field struct {
	*soak
	pair     *storetest.Pair
	balancer *balancer
	rate     int
	// links are cables between api-1 and others, where a fault asked for them.
	links []*link
	// leader is the server that led the stream when the fault began.
	leader string
	comers []comer // of all faults so far
}

func newField(t *testing.T, rate int, one fault) *field {
	t.Helper()
	k := &soak{t: t, began: time.Now(), killed: map[string]int{}, answered: map[string]bool{}, ledgers: map[string]string{}}
	f := &field{soak: k, rate: rate, pair: newPair(t)}
	k.background, k.webhook = newEndpoint(t), newEndpoint(t)
	k.sink = filepath.Join(t.TempDir(), "checkpoints.jsonl")
	over := merge(signInAndTell(k.background), settings{
		"dsn":   f.pair.DSN(),
		"serve": settings{"drain_delay": "1s"},
		"audit": settings{"checkpoint": settings{"sink": k.sink}},
	})
	k.system = declareSystem(t, many, over)
	if one.prepare != nil {
		one.prepare(f)
	}
	k.launch()
	f.streamInSync()
	k.system.webhook("add", "customers", k.webhook.URL, "--events", "identity.created")
	f.worker("ledger", os.Args[0], "USHER_TEST_STEADY_LEDGER")
	f.settled()
	f.balancer = newBalancer(t, f.apis, f.admins)
	// Everything has been used once before anything is measured.
	for range 4 {
		eventually(t, 30*time.Second, func() error {
			if status, with := registerOnce(t, f.apis[0]); status != http.StatusOK || !with {
				return fmt.Errorf("registration = %d, session %t", status, with)
			}
			return nil
		})
	}
	return f
}

// suffer inflicts a fault under load and mends it, and holds what people saw
// against the goal.
func (f *field) suffer(one fault, before, after time.Duration) result {
	f.t.Helper()
	f.leader = f.streamInSync()
	l := startLoop(f.balancer, f.rate)
	time.Sleep(before)
	at := time.Now()
	one.inflict(f)
	time.Sleep(one.hold)
	if one.mend != nil {
		one.mend(f)
	}
	mended := time.Now()
	time.Sleep(after)
	comers := l.end()
	f.comers = append(f.comers, comers...)
	r := measure(comers, at, mended)
	judge(f.t, one, r)
	return r
}

// judge fails the test when people saw what they may not see.
func judge(t *testing.T, one fault, r result) {
	t.Helper()
	if r.unclear > 0 {
		t.Errorf("%s: %d refusals are no 5xx with Retry-After, the first: %s", one.name, r.unclear, r.firstUnclear)
	}
	if r.lost > 0 && !one.breaks {
		t.Errorf("%s: %d connections broke, and no api was killed; the first: %s", one.name, r.lost, r.firstLost)
	}
	if r.errors > one.goal || r.degradedFor > one.goal+one.without {
		t.Errorf("%s: errors for %v, want at most %v; answers without session for %v, want at most %v",
			one.name, r.errors, one.goal, r.degradedFor, one.goal+one.without)
	}
	if r.normal < 0 {
		t.Errorf("%s: it was not over when the load ended", one.name)
	}
}

// result is what people saw of one fault.
type result struct {
	people, failed       int
	byStatus             map[int]int
	unclear, lost, late  int
	firstUnclear         string
	firstLost            string
	errors               time.Duration // from the first failure to the last
	degraded             int           // answers without session
	degradedFor          time.Duration
	normal               time.Duration // until the last failure or answer without session; -1: it never ended
	slowest, p50, p99    time.Duration
	faultFor             time.Duration // until it was mended
	registered, sessions int
}

func measure(comers []comer, at, mended time.Time) (r result) {
	slices.SortFunc(comers, func(a, b comer) int { return a.sent.Compare(b.sent) })
	r.people, r.byStatus, r.faultFor = len(comers), map[int]int{}, mended.Sub(at)
	var failures, degraded []time.Time
	var took []time.Duration
	for _, v := range comers {
		took = append(took, v.took)
		if v.registered() {
			r.registered++
			if v.token == "" {
				degraded = append(degraded, v.sent)
			} else {
				r.sessions++
			}
			continue
		}
		r.byStatus[v.status]++
		failures = append(failures, v.sent)
		switch {
		case v.unclear():
			r.unclear++
			r.firstUnclear = cmp.Or(r.firstUnclear, fmt.Sprintf("%d %s", v.status, v.said))
		case v.lost:
			r.lost++
			r.firstLost = cmp.Or(r.firstLost, v.said)
		case v.late:
			r.late++
		}
	}
	r.failed, r.degraded = len(failures), len(degraded)
	r.errors, r.degradedFor = span(failures), span(degraded)
	for _, bad := range [][]time.Time{failures, degraded} {
		if len(bad) > 0 {
			r.normal = max(r.normal, bad[len(bad)-1].Sub(at))
		}
	}
	if len(comers) > 0 && r.normal > 0 && comers[len(comers)-1].sent.Sub(at)-r.normal < 500*time.Millisecond {
		r.normal = -1
	}
	slices.Sort(took)
	if n := len(took); n > 0 {
		r.p50, r.p99, r.slowest = took[n/2], took[n*99/100], took[n-1]
	}
	return r
}

// span is the time from the first to the last.
func span(at []time.Time) time.Duration {
	if len(at) == 0 {
		return 0
	}
	return max(at[len(at)-1].Sub(at[0]), time.Millisecond)
}

func (r result) String() string {
	return fmt.Sprintf("%d people, %d registered, %d with a session; %d failed %v in %v (%d broken connections, %d without answer), "+
		"%d without session in %v; normal after %v; p50 %v, p99 %v, slowest %v",
		r.people, r.registered, r.sessions, r.failed, r.byStatus, round(r.errors), r.lost, r.late,
		r.degraded, round(r.degradedFor), round(r.normal), round(r.p50), round(r.p99), round(r.slowest))
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// account waits until all is quiet, and holds what was acknowledged against what
// is stored, published and delivered: nothing is lost, and nothing is there
// that nobody asked for.
func (f *field) account() {
	f.t.Helper()
	for _, name := range f.order {
		f.waitReady(name)
	}
	f.whole(f.background)
	stored, acknowledged := allStored(f.t, f.system, f.comers)
	logged := f.logged("identity.created", "session.issued")
	eventually(f.t, 60*time.Second, func() error { return f.reached(logged) })
	if dead := f.letters("dead"); len(dead) > 0 {
		f.t.Errorf("%d dead letters, want none: %v", len(dead), dead)
	}
	sessionsAreValid(f.t, f.system, f.comers)
	f.verifies()
	f.t.Logf("%d acknowledged of %d people; %d identities, %d events, all delivered to 3 hooks; %d were stored without an answer",
		acknowledged, len(f.comers), stored, len(logged), stored-4-acknowledged)
}

// allStored looks for each identity that was acknowledged, and gives how many are
// stored and how many were.
func allStored(t *testing.T, s *system, comers []comer) (stored, acknowledged int) {
	t.Helper()
	here := map[string]bool{}
	for _, id := range s.identities() {
		here[id] = true
	}
	for _, v := range comers {
		if !v.registered() {
			continue
		}
		acknowledged++
		if !here[v.id] {
			t.Errorf("identity %s was acknowledged, and is not stored", v.id)
		}
	}
	return len(here), acknowledged
}

// sessionsAreValid asks with each token that was handed out.
func sessionsAreValid(t *testing.T, s *system, comers []comer) {
	t.Helper()
	tokens := map[string]string{} // to whom they belong
	for _, v := range comers {
		if v.token != "" {
			tokens[v.token] = v.id
		}
	}
	apps, invalid := []*client{newApp(t, s.api(0)), newApp(t, s.api(1))}, 0
	n := 0
	for token, id := range tokens {
		n++
		if status, it := apps[n%2].whoami(token); status != http.StatusOK || it.Identity.ID != id {
			invalid++
		}
	}
	if invalid > 0 {
		t.Errorf("%d of %d sessions that were handed out are not valid", invalid, len(tokens))
	}
}

// faultTable collects results and writes deploy/FAULTS.md.
type faultTable struct {
	rate int
	rows []faultRow
}

type faultRow struct {
	fault
	runs []result
}

func (o *faultTable) add(one fault, r result) {
	for i := range o.rows {
		if o.rows[i].name == one.name {
			o.rows[i].runs = append(o.rows[i].runs, r)
			return
		}
	}
	o.rows = append(o.rows, faultRow{one, []result{r}})
}

const faultHead = `# What happens when a part breaks

Two api, two session and two hooks processes, three NATS servers, PostgreSQL, a custom worker, a web_hook and a webhook, all on one machine
(%d cores), and %d registrations a second through a balancer that asks each api for its health every %v. Each fault was inflicted three times,
each time on a system of its own: the figures are "median (worst)". After each run all acknowledged registrations are in the database, each
with its event, each event has reached each hook, the event log is intact and every session that was handed out is valid: otherwise, or
beyond its goal, the run fails.

- **failed**: registrations that were not acknowledged; each is a 5xx with Retry-After, but for "broken": connections that broke.
- **errors for**: from the first failure to the last. **no session for**: from the first success without a session to the last.
- **normal after**: from the fault until the last of both. **slowest**: of all answers; a person waits %v at the most.

Made by the command below, of which this file is the output; it takes an hour.

    USHER_TEST_FAULTS_OUT=$PWD/deploy/FAULTS.md make soak

| fault | goal | people | failed | broken | errors for | without session | no session for | normal after | slowest |
|---|---|---|---|---|---|---|---|---|---|
`

func (o *faultTable) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, faultHead, runtime.NumCPU(), o.rate, pollEvery, patience)
	for _, row := range o.rows {
		fmt.Fprintf(&b, "| %s | %v | %s | %s | %s | %s | %s | %s | %s | %s |\n", row.name, row.goal,
			figures(row.runs, func(r result) int { return r.people }),
			figures(row.runs, func(r result) int { return r.failed }),
			figures(row.runs, func(r result) int { return r.lost + r.late }),
			times(row.runs, func(r result) time.Duration { return r.errors }),
			figures(row.runs, func(r result) int { return r.degraded }),
			times(row.runs, func(r result) time.Duration { return r.degradedFor }),
			times(row.runs, func(r result) time.Duration { return r.normal }),
			times(row.runs, func(r result) time.Duration { return r.slowest }))
	}
	return b.String()
}

// figures are median and worst of all runs.
func figures[T cmp.Ordered](runs []result, of func(result) T) string {
	all := sorted(runs, of)
	return fmt.Sprintf("%v (%v)", all[len(all)/2], all[len(all)-1])
}

func times(runs []result, of func(result) time.Duration) string {
	all := sorted(runs, of)
	return fmt.Sprintf("%.1f s (%.1f s)", all[len(all)/2].Seconds(), all[len(all)-1].Seconds())
}

func sorted[T cmp.Ordered](runs []result, of func(result) T) (all []T) {
	for _, r := range runs {
		all = append(all, of(r))
	}
	slices.Sort(all)
	return all
}
