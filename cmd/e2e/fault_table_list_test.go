package e2e_test

import (
	"regexp"
	"syscall"
	"time"
)

// Goals, by what breaks.
const (
	goalProcess  = time.Second
	goalNATS     = 3 * time.Second
	goalDatabase = 10 * time.Second
)

// notice is how long whoever watches the database takes to see that it is gone.
const notice = 2 * time.Second

// faults are all that are inflicted, in the order of the table.
func faults() []fault {
	all := []fault{
		killed("api", "api-1", goalProcess),
		frozen("api", "api-1", goalProcess),
		killed("session worker", "session-1", goalProcess),
		frozen("session worker", "session-1", goalProcess),
		{
			name: "both session workers killed", goal: goalProcess, hold: 3 * time.Second, without: 3 * time.Second,
			inflict: func(f *field) { f.each("session", (*process).kill) },
			mend:    func(f *field) { f.again("session") },
		},
		killed("hooks", "hooks-1", goalProcess),
		frozen("hooks", "hooks-1", goalProcess),
		killed("NATS leader", "leader", goalNATS),
		frozen("NATS leader", "leader", goalNATS),
		killed("NATS follower", "follower", goalNATS),
		frozen("NATS follower", "follower", goalNATS),
		{
			name: "all NATS servers killed", goal: goalNATS, hold: 3 * time.Second, without: 3 * time.Second,
			inflict: func(f *field) { f.each("nats-", (*process).kill) },
			mend:    func(f *field) { f.again("nats-") },
		},
		{
			name: "PostgreSQL primary killed", goal: goalDatabase, hold: 3 * time.Second,
			inflict: func(f *field) {
				f.must(f.pair.Primary.Kill())
				time.Sleep(notice)
				f.must(f.pair.Promote())
			},
			mend: func(f *field) { f.must(f.pair.Rejoin()) },
		},
		{ // It is fenced only when the other leads already.
			name: "PostgreSQL primary frozen", goal: goalDatabase, hold: 12 * time.Second,
			inflict: func(f *field) {
				f.must(f.pair.Primary.Freeze())
				time.Sleep(notice)
				f.must(f.pair.Promote())
			},
			mend: func(f *field) { f.must(f.pair.Rejoin()) },
		},
		{
			name: "PostgreSQL standby killed", goal: goalDatabase, hold: 3 * time.Second,
			inflict: func(f *field) {
				f.must(f.pair.Standby.Kill())
				time.Sleep(notice)
				f.must(f.pair.Alone())
			},
			mend: func(f *field) { f.must(f.pair.Rejoin()) },
		},
		linked("api to PostgreSQL: cut", goalProcess, toDatabase, cut, 0),
		linked("api to PostgreSQL: silent", goalProcess, toDatabase, swallowing, 0),
		linked("api to PostgreSQL: 200 ms longer each way", goalProcess, toDatabase, sound, 200*time.Millisecond),
		withoutSession(linked("api to NATS: cut", goalNATS, toBus, cut, 0)),
		withoutSession(linked("api to NATS: silent", goalNATS, toBus, swallowing, 0)),
		linked("api to NATS: 50 ms longer each way", goalNATS, toBus, sound, 50*time.Millisecond),
	}
	all = append(all, vanished())
	all = append(all, fullDisks()...)
	all = append(all, wrongClocks()...)
	return append(all, rollingRestart())
}

func (f *field) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// each does something to all processes of a part, again starts them again.
func (f *field) each(part string, do func(*process)) {
	for _, p := range f.named(part) {
		do(p)
	}
}

func (f *field) again(part string) {
	f.each(part, func(p *process) { p.start(f.t) })
	f.each(part, func(p *process) { f.waitReady(p.name) })
}

// linked is something that happens to the cables between api-1 and the servers
// that lead prepares, for four seconds.
func linked(name string, goal time.Duration, lead func(f *field), state linkState, delay time.Duration) fault {
	return fault{
		name: name, goal: goal, hold: 4 * time.Second, prepare: lead,
		inflict: func(f *field) { f.setLinks(state, delay) },
		mend:    func(f *field) { f.setLinks(sound, 0) },
	}
}

// withoutSession allows answers of this api without session as long as it lasts.
func withoutSession(one fault) fault {
	one.without = one.hold
	return one
}

func (f *field) setLinks(state linkState, delay time.Duration) {
	for _, k := range f.links {
		k.set(state, delay)
	}
}

func toDatabase(f *field) { f.link("USHER_DSN", f.pair.DSN()) }
func toBus(f *field)      { f.link("USHER_BUS__URL", f.busURL) }

var loopbackAddress = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// link puts a cable before each address in the text that api-1 is given.
func (f *field) link(variable, text string) {
	text = loopbackAddress.ReplaceAllStringFunc(text, func(address string) string {
		k := newLink(f.t, address)
		f.links = append(f.links, k)
		return k.address()
	})
	p := f.processes["api-1"]
	p.env = append(p.env, variable+"="+text)
}

// killed is a process that dies and comes again after three seconds.
func killed(what, name string, goal time.Duration) fault {
	return fault{
		name: what + " killed", goal: goal, hold: 3 * time.Second, breaks: name == "api-1",
		inflict: func(f *field) { f.victim(name).kill() },
		mend:    func(f *field) { f.restart(f.victim(name).name) },
	}
}

// frozen is a process that does nothing for a while, its connections open.
func frozen(what, name string, goal time.Duration) fault {
	return fault{
		name: what + " frozen", goal: goal, hold: 6 * time.Second, breaks: name == "api-1",
		inflict: func(f *field) { f.victim(name).signal(syscall.SIGSTOP) },
		mend:    func(f *field) { f.victim(name).signal(syscall.SIGCONT) },
	}
}

// victim is the process of a name; "leader" and "follower" are servers of the bus.
func (f *field) victim(name string) *process {
	switch name {
	case "leader":
		name = f.leader
	case "follower":
		for _, p := range f.named("nats-") {
			if p.name != f.leader {
				return p
			}
		}
	}
	return f.processes[name]
}
