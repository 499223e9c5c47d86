package e2e_test

import (
	"syscall"
	"time"
)

// rollingRestart restarts everything, one process after another, as a new
// version is rolled out: nobody may notice.
func rollingRestart() fault {
	return fault{
		name: "rolling restart of everything",
		inflict: func(f *field) {
			for _, part := range []string{"session-", "api-", "hooks-", "ledger"} {
				for _, p := range f.named(part) {
					p.stop(f.t)
					f.restart(p.name)
				}
			}
			for _, p := range f.named("nats-") {
				f.lameDuck(p)
			}
		},
	}
}

// lameDuck has a server of the bus send its clients away before it ends, and
// starts it again.
func (f *field) lameDuck(p *process) {
	f.t.Helper()
	p.signal(syscall.SIGUSR2)
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		f.t.Fatalf("%s has not ended a minute after it was told to", p.name)
	}
	p.start(f.t)
	f.streamInSync()
}
