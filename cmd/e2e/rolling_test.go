package e2e_test

import (
	"os"
	"syscall"
	"time"
)

// rollingRestart restarts everything, one process after another, as a new
// version is rolled out: nobody may notice.
func rollingRestart() fault {
	return fault{
		name: "rolling restart of everything",
		prepare: func(f *field) {
			for _, p := range f.named("nats-") { // the shortest that a server takes
				file, err := os.OpenFile(p.args[1], os.O_APPEND|os.O_WRONLY, 0)
				f.must(err)
				_, err = file.WriteString("\nlame_duck_duration: 30s\nlame_duck_grace_period: 2s\n")
				f.must(err)
				f.must(file.Close())
			}
		},
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
