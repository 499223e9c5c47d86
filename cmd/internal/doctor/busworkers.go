package doctor

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/cmd/internal/app"
	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
	workersession "github.com/usher-auth/usher/workers/session"
)

var workersLook = look{[]Check{
	{checkSessions, "who signs people in answers"},
	{checkHookWorkers, "somebody takes each hook's events"},
	{checkLag, "how far hooks are behind"},
}, (*Doctor).lookWorkers, false}

// presenceWait is how long running workers are listened for.
const presenceWait = 400 * time.Millisecond

func (d *Doctor) lookWorkers(ctx context.Context) (f findings) {
	b, ok := d.reached(ctx, &f, checkSessions, checkHookWorkers, checkLag)
	if !ok {
		return f
	}
	d.lookSessions(ctx, b, &f)
	if b.minority(&f, checkHookWorkers, checkLag) {
		return f
	}
	nc, ok := b.as(events.UserDelivery, events.UserProvision)
	if !ok {
		f.skip("no credential here may look, see "+checkCredentials, checkHookWorkers, checkLag)
		return f
	}
	states, err := events.Durables(ctx, nc)
	if err != nil {
		f.skip("the stream does not answer, see "+checkStream, checkHookWorkers, checkLag)
		return f
	}
	table, _ := d.table(ctx) // without it those of the file are looked at
	hooks, _ := app.Declared(d.Config, table)
	d.lookHookWorkers(ctx, b, hooks, states, &f)
	judgeLag(&f, hooks, states, d.Flags)
	return f
}

func (d *Doctor) lookSessions(ctx context.Context, b *bus, f *findings) {
	nc, ok := b.as(events.UserAdminAuth)
	if !ok {
		f.skip("the credential "+events.UserAdminAuth+" is not here or not taken, see "+checkCredentials, checkSessions)
		return
	}
	found, err := events.Instances(ctx, nc, []string{workersession.Name}, presenceWait)
	n := len(found[workersession.Name])
	fails := d.Config.Session.Issue.OnFailure == config.OnFailureFail
	switch {
	case err != nil:
		f.add(Red, checkSessions, "who is there cannot be asked: "+cause(err), "look at the log of the bus, and run 'usher doctor' again")
	case n == 0 && fails:
		f.add(Red, checkSessions, "no session worker answers: nobody can register (session.issue.on_failure: fail)", d.serve(ctx, "session"))
	case n == 0:
		f.add(Red, checkSessions, "no session worker answers: people register and are not signed in", d.serve(ctx, "session"))
	case n == 1 && fails && !d.embedded():
		f.add(Yellow, checkSessions, "one session worker, and session.issue.on_failure is fail: when it is away nobody can register", "start a second one, best on another machine: "+d.serve(ctx, "session")+"; or on_failure: degrade")
	default:
		f.green(checkSessions, "%d session workers answer", n)
	}
}

// lookHookWorkers tells who takes events: what waits for more of them shows at
// its durable consumer, what is busy shows itself.
func (d *Doctor) lookHookWorkers(ctx context.Context, b *bus, hooks map[string]delivery.Hook, states []events.DurableState, f *findings) {
	var idle, asked []string
	for _, s := range states {
		h, declared := hooks[s.Name]
		if declared && s.Waiting == 0 && s.PausedUntil.IsZero() && h.Disabled == "" {
			idle = append(idle, s.Name)
		}
	}
	for name, h := range hooks {
		if h.Kind == delivery.Answer {
			asked = append(asked, name)
		}
	}
	idle = d.unseen(ctx, b, events.UserAdminEvents, idle)
	asked = d.unseen(ctx, b, events.UserAdminAuth, asked)
	for _, name := range idle {
		mend := "start the program of worker " + name + "; 'usher worker show " + name + d.Flags + "' says what is known of it"
		if builtIn(hooks[name]) {
			mend = d.serve(ctx, "hooks")
		}
		f.add(Yellow, checkHookWorkers, fmt.Sprintf("nobody takes the events of %s: they wait", name), mend)
	}
	for _, name := range asked {
		f.add(Red, checkHookWorkers, fmt.Sprintf("the answering worker %s does not answer", name), "start its program: registrations that ask it are refused, or go on without it, as on_missing says")
	}
	if len(idle)+len(asked) == 0 {
		f.green(checkHookWorkers, "somebody takes the events of each hook")
	}
}

// builtIn tells whether Usher's own hooks service takes a hook's events.
func builtIn(h delivery.Hook) bool {
	return h.Kind == delivery.Webhook || h.CreatedAt.IsZero() && !h.InFile
}

// serve is the command that serves a part, beside others on one machine.
func (d *Doctor) serve(ctx context.Context, part string) string {
	if d.embedded() {
		return "usher serve" + d.Flags
	}
	return fmt.Sprintf("USHER_SERVE__ADMIN__PORT=%d usher serve %s%s", freePort(ctx), part, d.Flags)
}

// freePort is a port on which nobody listens now; 0 where none is found, which
// has one chosen.
func freePort(ctx context.Context) int {
	var lc net.ListenConfig
	for port := 4435; port < 4500; port++ {
		if l, err := lc.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = l.Close() // it was only tried
			return port
		}
	}
	return 0
}

// unseen gives those of the names that discovery does not find.
func (d *Doctor) unseen(ctx context.Context, b *bus, user string, names []string) (missing []string) {
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	nc, ok := b.as(user)
	if !ok {
		return names
	}
	found, err := events.Instances(ctx, nc, names, presenceWait)
	if err != nil {
		return names
	}
	return slices.DeleteFunc(names, func(name string) bool { return len(found[name]) > 0 })
}

// farBehind is a number of events that a hook does not catch up with soon.
const farBehind = 10_000

func judgeLag(f *findings, hooks map[string]delivery.Hook, states []events.DurableState, flags string) {
	var behind []string
	waiting := uint64(0)
	for _, s := range states {
		waiting += s.Pending
		switch {
		case !s.Undeclared.IsZero():
			behind = append(behind, s.Name)
			f.add(Yellow, checkLag, fmt.Sprintf("%s is declared no more since %s: it goes after a day, and its credential with it", s.Name, s.Undeclared.UTC().Format(time.DateTime)), "declare it again, or leave it")
		case !s.PausedUntil.IsZero():
			behind = append(behind, s.Name)
			f.add(Yellow, checkLag, fmt.Sprintf("%s is paused until %s, %d events wait", s.Name, s.PausedUntil.UTC().Format(time.DateTime), s.Pending), "usher worker resume "+s.Name+flags)
		case s.Pending > farBehind:
			behind = append(behind, s.Name)
			f.add(Yellow, checkLag, fmt.Sprintf("%s is %d events behind", s.Name, s.Pending), "start more processes of it, or see why it is slow: 'usher worker show "+s.Name+flags+"'; what is older than 7 days leaves the stream")
		}
	}
	for name, h := range hooks {
		if h.Disabled != "" {
			behind = append(behind, name)
			f.add(Yellow, checkLag, fmt.Sprintf("%s gets nothing: %s", name, strings.TrimSpace(h.Disabled)), "mend its endpoint, then 'usher webhook enable "+name+flags+"'")
		}
	}
	if len(behind) == 0 {
		f.green(checkLag, "%d events wait for their first delivery, over %d durable consumers", waiting, len(states))
	}
}
