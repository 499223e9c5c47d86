package e2e_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/delivery"
)

// TestSoak kills parts at random times while people register: 10 times in "make
// test", 100 times in "make soak". Afterwards every event has reached every
// hook, no effect is missing or there twice, the event log is whole, and what is
// a dead letter says why. USHER_TEST_SOAK_SEED repeats the order of a run's kills.
func TestSoak(t *testing.T) {
	t.Parallel()
	k := soak{kills: 10, pause: 400 * time.Millisecond, seed: rand.Uint64N(1_000_000)}
	if os.Getenv("USHER_TEST_SOAK") != "" {
		k.kills, k.pause = 100, 3*time.Second
	}
	if text := os.Getenv("USHER_TEST_SOAK_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("USHER_TEST_SOAK_SEED: %v", err)
		}
		k.seed = seed
	}
	k.t, k.began = t, time.Now()
	t.Logf("seed %d", k.seed)
	k.setUp()
	k.run()
	k.check()
}

// soak is one run.
type soak struct {
	t     *testing.T
	began time.Time
	kills int
	pause time.Duration // on the average between two kills
	seed  uint64

	*system
	sink       string // of checkpoints
	background *endpoint
	webhook    *endpoint
	ledgers    map[string]string // folders by worker

	killed map[string]int // by process

	mu       sync.Mutex
	answered map[string]bool // ids of identities: whether a session came too
	failed   int
}

// victims are the processes that are killed, by part.
var victims = [][]string{{"api-1", "api-2"}, {"hooks-1", "hooks-2"}, {"ledger", "shell"}, {"nats"}}

// setUp starts many processes, two custom workers, a web_hook and a webhook.
func (k *soak) setUp() {
	k.background, k.webhook = newEndpoint(k.t), newEndpoint(k.t)
	k.sink = filepath.Join(k.t.TempDir(), "checkpoints.jsonl")
	k.killed, k.answered, k.ledgers = map[string]int{}, map[string]bool{}, map[string]string{}
	k.system = newSystem(k.t, "parts", merge(signInAndTell(k.background),
		settings{"audit": settings{"checkpoint": settings{"sink": k.sink}}}))
	k.system.webhook("add", "customers", k.webhook.URL, "--events", "identity.created")
	k.worker("ledger", os.Args[0], "USHER_TEST_SOAK_LEDGER")
	script := write(k.t, filepath.Join(k.dir, "ledger.sh"), shellLedger)
	k.worker("shell", usherBin, "", "worker", "run", "shell", "--concurrency", "4", "--", "sh", script)
	k.settled()
}

// worker declares a custom worker and starts its process. Its folder is in the
// variable, or the last argument.
func (k *soak) worker(name, bin, variable string, args ...string) {
	k.t.Helper()
	made, dir := filepath.Join(k.dir, "worker-"+name), filepath.Join(k.dir, "ledger-"+name)
	k.usher(k.t, "worker", "new", name, "--lang", "shell", "--dir", made, "--events", "identity.created,session.issued", "--quiet")
	if err := os.Mkdir(dir, 0o700); err != nil {
		k.t.Fatal(err)
	}
	env := []string{"NATS_URL=" + k.busURL, "NATS_CREDS=" + filepath.Join(made, name+".creds")}
	if variable == "" {
		args = append(args, dir)
	} else {
		env = append(env, variable+"="+dir)
	}
	k.ledgers[name] = dir
	p := &process{name: name, bin: bin, args: args, env: env, log: filepath.Join(k.dir, name+".log")}
	k.processes[name] = p
	k.order = append(k.order, name)
	p.start(k.t)
}

// run kills under load, and lets the load go on for a moment.
func (k *soak) run() {
	end := make(chan struct{})
	var load sync.WaitGroup
	for n := range 4 {
		load.Go(func() {
			tick := time.NewTicker(200 * time.Millisecond) // twenty people a second
			defer tick.Stop()
			for i := n; ; i++ {
				select {
				case <-end:
					return
				case <-tick.C:
					k.person(k.api(i))
				}
			}
		})
	}
	random := rand.New(rand.NewPCG(k.seed, 0)) //nolint:gosec // to be repeated, not to be secret
	var parts []int
	for n := range k.kills {
		if len(parts) == 0 { // each part once, before any comes again
			parts = random.Perm(len(victims))
		}
		part := victims[parts[0]]
		parts = parts[1:]
		time.Sleep(time.Duration((0.2 + 1.6*random.Float64()) * float64(k.pause)))
		k.kill(n, part[random.IntN(len(part))], time.Duration(random.ExpFloat64()*float64(k.pause)/10))
	}
	for _, name := range k.order {
		k.waitReady(name)
	}
	time.Sleep(k.pause)
	close(end)
	load.Wait()
}

// kill kills one process, and starts it again soon.
func (k *soak) kill(n int, name string, down time.Duration) {
	p := k.processes[name]
	k.allRun()
	p.kill()
	time.Sleep(down)
	p.start(k.t)
	k.killed[name]++
	k.t.Logf("kill %d of %d: %-7s at %5.1fs, down for %v", n+1, k.kills, p.name, time.Since(k.began).Seconds(), down.Round(time.Millisecond))
}

// allRun starts what has ended by itself, which nothing may.
func (k *soak) allRun() {
	for _, name := range k.order {
		if p := k.processes[name]; !p.running() {
			k.t.Errorf("%s ended by itself: %v: %s", name, p.err, p.tail())
			p.start(k.t)
		}
	}
}

// person registers, once.
func (k *soak) person(base string) {
	app := newApp(k.t, base)
	var r registered
	f, err := app.initAPI()
	if err == nil {
		var a *answer
		if a, err = app.submit(f.ID, submission("", newAddress(), goodPassword)); err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%d", a.status)
		}
		if err == nil {
			err = json.Unmarshal(a.body, &r)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.failed++
		return
	}
	k.answered[r.Identity.ID] = r.SessionToken != ""
}

// check waits until all is quiet, and looks at what must hold then.
func (k *soak) check() {
	k.allRun()
	k.whole(k.background)
	logged := k.logged("identity.created", "session.issued")
	subjects := map[string]map[string]bool{}
	for _, r := range logged {
		if subjects[r.Type] == nil {
			subjects[r.Type] = map[string]bool{}
		}
		subjects[r.Type][r.Subject] = true
	}
	for id, session := range k.answered {
		if !subjects["identity.created"][id] || session && !subjects["session.issued"][id] {
			k.t.Errorf("identity %s was answered (with a session: %t), and its event is not in the event log", id, session)
		}
	}
	eventually(k.t, 60*time.Second, func() error { return k.reached(logged) })
	dead := k.deadLetters(logged)
	k.verifies()
	k.report(logged, dead)
}

// logged are the records of the event log of these types.
func (k *soak) logged(types ...string) (all []audit.Record) {
	k.t.Helper()
	db, err := k.database(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	defer db.Close()
	for q := (audit.Query{Types: types, Limit: 1000}); ; q.After = all[len(all)-1].Seq {
		page, err := db.Events(k.t.Context(), q)
		if err != nil {
			k.t.Fatal(err)
		}
		all = append(all, page...)
		if len(page) < q.Limit {
			return all
		}
	}
}

// letters are the failures in a state, by hook and event id.
func (k *soak) letters(state delivery.State) map[[2]string]delivery.Failure {
	k.t.Helper()
	db, err := k.database(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	defer db.Close()
	found, err := db.Failures(k.t.Context(), delivery.FailureQuery{State: state, Limit: 100_000})
	if err != nil {
		k.t.Fatal(err)
	}
	all := map[[2]string]delivery.Failure{}
	for _, f := range found {
		all[[2]string{f.Hook, f.EventID}] = f
	}
	return all
}

// reached tells what is missing until each event has come to each hook, and has
// its one effect at each worker or is a dead letter there.
func (k *soak) reached(logged []audit.Record) error {
	if waiting := k.letters(delivery.Waiting); len(waiting) > 0 {
		return fmt.Errorf("%d events wait for another attempt", len(waiting))
	}
	dead, called := k.letters(delivery.Dead), k.webhook.ids()
	for name, dir := range k.ledgers {
		effects, err := effectsIn(dir)
		if err != nil {
			return err
		}
		for _, r := range logged {
			_, isDead := dead[[2]string{name, r.EventID}]
			if n := effects[r.EventID]; n > 1 {
				k.t.Fatalf("worker %s: %d effects of event %s", name, n, r.EventID)
			} else if n == 0 && !isDead {
				return fmt.Errorf("worker %s: no effect of event %s", name, r.EventID)
			}
		}
	}
	for _, r := range logged {
		if r.Type == "identity.created" && called[r.EventID] == 0 {
			return fmt.Errorf("the webhook did not get event %s", r.EventID)
		}
	}
	return nil
}

// deadLetters wants those that the worker makes, each with its reason and its
// event, and of others only what a kill explains.
func (k *soak) deadLetters(logged []audit.Record) (killed int) {
	k.t.Helper()
	dead := k.letters(delivery.Dead)
	said := map[[2]string]int{}
	eventually(k.t, 20*time.Second, func() error {
		clear(said)
		records := k.logged("hook.dead")
		for _, r := range records {
			var e events.Event
			var data events.HookDead
			if err := json.Unmarshal(r.Payload, &e); err != nil {
				return err
			}
			if err := json.Unmarshal(e.Data, &data); err != nil {
				return err
			}
			said[[2]string{data.Hook, data.EventID}]++
		}
		if len(records) < len(dead) {
			return fmt.Errorf("%d hook.dead for %d dead letters", len(records), len(dead))
		}
		return nil
	})
	for key, f := range dead {
		if said[key] != 1 {
			k.t.Errorf("dead letter %v: %d events say so, want one", key, said[key])
		}
		switch {
		case f.Hook == "ledger" && f.Reason == "permanent: "+errPoison.Error() && strings.HasSuffix(f.EventID, poison):
		case strings.HasPrefix(f.Reason, "crash: "): // it was in hand at each of five kills
			killed++
		default:
			k.t.Errorf("dead letter %v has the reason %q, which nothing explains", key, f.Reason)
		}
	}
	for _, r := range logged {
		if _, isDead := dead[[2]string{"ledger", r.EventID}]; strings.HasSuffix(r.EventID, poison) && !isDead {
			k.t.Errorf("event %s never works, and is no dead letter", r.EventID)
		}
	}
	return killed
}

// verifies runs the command that an auditor runs, with the checkpoints.
func (k *soak) verifies() {
	k.t.Helper()
	k.signed(k.sink, 0)
	if said, code := k.verify("--checkpoint", k.sink); code != 0 || !strings.Contains(said, "intact") {
		k.t.Errorf("usher audit verify = %d: %s, want it intact", code, said)
	} else {
		k.t.Logf("usher audit verify: %s", strings.TrimSpace(said))
	}
}

// report prints the counts.
func (k *soak) report(logged []audit.Record, crashed int) {
	sessions := 0
	for _, session := range k.answered {
		if session {
			sessions++
		}
	}
	k.t.Logf("seed %d, %v; kills: %v", k.seed, time.Since(k.began).Round(time.Second), k.killed)
	k.t.Logf("registrations: %d answered, %d of them with a session, %d failed; %d events", len(k.answered), sessions, k.failed, len(logged))
	tell := func(hook string, times map[string]int) {
		all := 0
		for _, n := range times {
			all += n
		}
		k.t.Logf("%-9s %d deliveries, %d duplicates", hook+":", all, all-len(times))
	}
	for name, dir := range k.ledgers {
		times, err := countLines(filepath.Join(dir, "deliveries"))
		if err != nil {
			k.t.Fatal(err)
		}
		tell(name, times)
	}
	tell("web_hook", k.background.bodies())
	tell("webhook", k.webhook.ids())
	dead := len(k.letters(delivery.Dead))
	k.t.Logf("dead letters: %d, of which %d never work by design, %d died with the worker", dead, dead-crashed, crashed)
}
