package e2e_test

import (
	"syscall"
	"time"
)

// Goals, by what breaks.
const (
	goalProcess  = time.Second
	goalNATS     = 3 * time.Second
	goalDatabase = 10 * time.Second
)

// faults are all that are inflicted, in the order of the table.
func faults() []fault {
	return []fault{
		killed("api", "api-1", goalProcess),
		frozen("api", "api-1", goalProcess),
		killed("session worker", "session-1", goalProcess),
		frozen("session worker", "session-1", goalProcess),
		killed("hooks", "hooks-1", goalProcess),
		frozen("hooks", "hooks-1", goalProcess),
		killed("NATS leader", "leader", goalNATS),
		frozen("NATS leader", "leader", goalNATS),
		killed("NATS follower", "follower", goalNATS),
		frozen("NATS follower", "follower", goalNATS),
	}
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
