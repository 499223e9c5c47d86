package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/usher-auth/usher/cmd/internal/config"
)

// Limits of a look: of one check, and of all.
const (
	eachLimit = 5 * time.Second
	allLimit  = 30 * time.Second
)

// Doctor looks at a system. Config, Warnings, Problems and Admin are needed as
// far as there are any.
type Doctor struct {
	// Config is nil where the configuration cannot be read; then Problems say why,
	// and nothing else is looked at.
	Config   *config.Config
	Warnings []config.Warning
	Problems error
	// File is the configuration file, empty if there is none.
	File string
	// Sources says where the configuration comes from, Flags what a command needs
	// to read the same: "-c usher.yaml", with a blank before it.
	Sources, Flags string
	Version        string
	Admin          Admin
	// Network allows questions to others than the parts of the system: identity
	// providers, and the public URL.
	Network bool
	// Only are names or groups to look at; nil means all.
	Only []string
	// Progress is told after each check how many are done; nil is fine.
	Progress func(done, all int)
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	database once[*database]
	bus      once[*bus]
}

// Check is one of the things that are looked at.
type Check struct {
	// Name is group.thing; About is what it is, in one line.
	Name, About string
}

// look is what gives findings, of some names.
type look struct {
	names []Check
	run   func(*Doctor, context.Context) findings
	// anyway also runs where there is no configuration.
	anyway bool
}

// looks are all of them, in the order of the report.
func looks() []look {
	return slices.Concat(configurationLooks, databaseLooks, busLooks, clockLooks, mailLooks, passwordLooks,
		secretLooks, certificateLooks, diskLooks, processLooks, providerLooks)
}

// Checks are all names that a finding may have, in the order of the report.
func Checks() (all []Check) {
	for _, l := range looks() {
		all = append(all, l.names...)
	}
	return all
}

// CheckOnly says which of the names is no check and no group.
func CheckOnly(only []string) error {
	for _, name := range only {
		known := slices.ContainsFunc(Checks(), func(c Check) bool { return c.Name == name || strings.HasPrefix(c.Name, name+".") })
		if !known {
			return fmt.Errorf("--only %s: no such check; --list shows all", name)
		}
	}
	return nil
}

func (d *Doctor) wants(check string) bool {
	return len(d.Only) == 0 || slices.ContainsFunc(d.Only, func(o string) bool { return o == check || strings.HasPrefix(check, o+".") })
}

// Run looks at everything side by side. It returns within half a minute,
// whatever does not answer.
func (d *Doctor) Run(ctx context.Context) Report {
	if d.Now == nil {
		d.Now = time.Now
	}
	r := Report{Status: Green, Configuration: d.Sources, Version: d.Version, At: d.Now().UTC().Truncate(time.Millisecond)}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, allLimit)
	defer cancel()
	var wanted []look
	for _, l := range looks() {
		if slices.ContainsFunc(l.names, func(c Check) bool { return d.wants(c.Name) }) && (d.Config != nil || l.anyway) {
			wanted = append(wanted, l)
		}
	}
	results := make([]findings, len(wanted))
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		done int
	)
	for n, l := range wanted {
		all.Go(func() {
			results[n] = d.within(ctx, l)
			mu.Lock()
			defer mu.Unlock()
			done++
			if d.Progress != nil {
				d.Progress(done, len(wanted))
			}
		})
	}
	all.Wait()
	d.close()
	r.Findings = []Finding{}
	for _, f := range slices.Concat(results...) {
		if !d.wants(f.Check) {
			continue
		}
		r.Findings = append(r.Findings, f)
		if f.Status.Worse(r.Status) {
			r.Status = f.Status
		}
	}
	r.Seconds = time.Since(began).Round(time.Millisecond).Seconds()
	return r
}

// within runs a look as long as one may take. One that goes on is left alone: it
// waits for something that does not answer, and the program ends before it.
func (d *Doctor) within(ctx context.Context, l look) findings {
	ctx, cancel := context.WithTimeout(ctx, eachLimit)
	defer cancel()
	seen := make(chan findings, 1)
	go func() { seen <- d.safely(ctx, l) }()
	select {
	case f := <-seen:
		return f
	case <-time.After(eachLimit + time.Second): // those that keep to the context say more
	}
	var f findings
	f.add(Red, l.names[0].Name, fmt.Sprintf("no answer within %s", eachLimit), "something that this stands on is frozen, or the network drops what is sent: look at the findings before this one, and at the logs")
	return f
}

// safely runs a look. What others answer may be more than a library expects; that
// ends neither the others nor the program.
func (d *Doctor) safely(ctx context.Context, l look) (f findings) {
	defer func() {
		if p := recover(); p != nil {
			f = nil
			f.add(Red, l.names[0].Name, fmt.Sprintf("the look broke off: %v", p), "see whether what answers there is what it should be; if it is, this is a fault of Usher: report it with this text")
		}
	}()
	return l.run(d, ctx)
}

// close closes what was opened, as far as it was.
func (d *Doctor) close() {
	if db, ok := d.database.got(); ok {
		_ = db.Close() // it was only read
	}
	if b, ok := d.bus.got(); ok {
		b.close()
	}
}

// once opens something that several looks need, by the first of them.
type once[T any] struct {
	begin sync.Once
	done  chan struct{}
	value T
	err   error
}

// get gives what open gives to the first who asks, or why there is none. The one
// who waits gives up with its context.
func (o *once[T]) get(ctx context.Context, open func(context.Context) (T, error)) (T, error) {
	o.begin.Do(func() {
		o.done = make(chan struct{})
		go func() {
			defer close(o.done)
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), eachLimit-time.Second/2)
			defer cancel()
			o.value, o.err = open(ctx)
		}()
	})
	select {
	case <-o.done:
		return o.value, o.err
	case <-ctx.Done():
		var none T
		return none, errors.New("it does not answer")
	}
}

// got gives what was opened; false if nothing was, or not yet.
func (o *once[T]) got() (value T, ok bool) {
	o.begin.Do(func() {})
	if o.done == nil {
		return value, false
	}
	select {
	case <-o.done:
		return o.value, o.err == nil
	default:
		return value, false
	}
}

// short is a duration for people.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond && d > -10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second && d > -time.Second:
		return d.Round(time.Millisecond).String()
	default:
		return d.Round(100 * time.Millisecond).String()
	}
}

// size is a number of bytes for people.
func size(bytes int64) string {
	const unit = 1000
	value, n := float64(bytes), 0
	for value >= unit && n < 4 {
		value /= unit
		n++
	}
	if n == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %cB", value, "kMGT"[n-1])
}

// oneLine is an error for a finding.
func oneLine(err error) string {
	text := err.Error()
	return strings.Join(strings.Fields(text[:min(len(text), 2*longest)]), " ") // it is shortened there
}
