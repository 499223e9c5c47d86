package app

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/store"
)

// auditLog is the event log with the keys that prove it.
type auditLog struct{ *store.Store }

// AuditKeys gives the public keys of checkpoints, the current one first.
func (l auditLog) AuditKeys(ctx context.Context) ([]audit.PublicKey, error) {
	keys, err := l.signingKeys(ctx)
	public := make([]audit.PublicKey, len(keys))
	for n, k := range keys {
		public[n] = k.Public()
	}
	return public, err
}

func (l auditLog) signingKeys(ctx context.Context) ([]audit.Key, error) {
	seeds, err := l.FreshKeys(ctx, store.KeyCheckpoint)
	if err != nil {
		return nil, err
	}
	keys := make([]audit.Key, len(seeds))
	for n, seed := range seeds {
		if keys[n], err = audit.NewKey(seed); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// AuditLog is the event log of a store with its public keys, for [audit.Walk].
func AuditLog(s *store.Store) audit.Provable { return auditLog{s} }

// auditor signs heads of the event log and sends what was signed to the sink,
// where this process leads. Neither ever holds up anything else.
type auditor struct {
	log    auditLog
	signer audit.Signer
	live   *live
	say    *slog.Logger
	counts *prometheus.CounterVec

	fresh  atomic.Int64  // records since the last time
	many   chan struct{} // there are enough to sign at once
	signed chan struct{} // there is one to send
	sink   audit.Sink
	pruned audit.Pruned
}

func newAuditor(p *process) *auditor {
	log := auditLog{p.store}
	return &auditor{
		log:    log,
		signer: audit.Signer{Log: crashHeads(p.store), Keys: log.signingKeys, Now: time.Now},
		live:   p.live,
		say:    p.log,
		counts: p.metrics.checkpoints,
		many:   make(chan struct{}, 1),
		signed: make(chan struct{}, 1),
		sink:   audit.Sink{Log: log},
		pruned: p.store,
	}
}

// sayCheckpoints tells at the start what an operator should know of them.
func (p *process) sayCheckpoints(ctx context.Context) {
	if p.cfg.Audit.Checkpoint.Sink.Reveal() != "" {
		return
	}
	level := slog.LevelWarn
	if p.cfg.Dev {
		level = slog.LevelInfo
	}
	p.log.Log(ctx, level, "audit.checkpoint.sink is not set: that the end of the event log was cut off cannot be seen")
}

// logged is told how many records the relay has added.
func (a *auditor) logged(n int) {
	if a.fresh.Add(int64(n)) >= audit.SignRecords {
		nudge(a.many)
	}
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// sign signs when it is due, until ctx ends.
func (a *auditor) sign(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	trouble := trouble{say: a.say, what: "signing the event log"}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-a.many:
		}
		a.fresh.Store(0)
		made, err := a.signer.Sign(ctx)
		if errors.Is(err, audit.ErrNoRecord) {
			err = nil // a power cut has undone it; it comes again
		}
		if ctx.Err() != nil {
			return
		}
		if trouble.is(err); err != nil {
			a.counts.WithLabelValues("sign", "error").Inc()
		}
		if made {
			a.counts.WithLabelValues("sign", "ok").Inc()
			nudge(a.signed)
		}
	}
}

// send keeps the sink up to date until ctx ends.
func (a *auditor) send(ctx context.Context) {
	defer a.sink.Close()
	pauses := backoff.NewExponentialBackOff(backoff.WithInitialInterval(time.Second), backoff.WithMaxInterval(time.Minute), backoff.WithMaxElapsedTime(0))
	trouble := trouble{say: a.say, what: "sending checkpoints to audit.checkpoint.sink"}
	for {
		var pause time.Duration
		err := a.sendOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if trouble.is(err); err == nil {
			pauses.Reset()
			pause = 5 * time.Second // should somebody else have signed
		} else {
			a.counts.WithLabelValues("send", "error").Inc()
			pause = pauses.NextBackOff()
		}
		wake := a.signed
		if err != nil {
			wake = nil // a sink that fails is not asked more often
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		case <-wake:
		}
	}
}

func (a *auditor) sendOnce(ctx context.Context) error {
	n, err := a.sink.Send(ctx, a.live.now().cfg.Audit.Checkpoint.Sink.Reveal())
	a.counts.WithLabelValues("send", "ok").Add(float64(n))
	return err
}

// prune deletes records that are older than audit.retention, see [audit.Prune].
func (a *auditor) prune(ctx context.Context, now time.Time) (int, error) {
	retention := a.live.now().cfg.Audit.Retention
	if retention == 0 {
		return 0, nil
	}
	return audit.Prune(ctx, a.pruned, now.Add(-retention), now, sweepBatch)
}

// trouble says that something fails, once, and that it works again.
type trouble struct {
	say  *slog.Logger
	what string
	now  bool
}

func (t *trouble) is(err error) {
	switch {
	case err != nil && !t.now:
		t.say.Error(t.what+" fails; it is tried again", "error", err)
	case err == nil && t.now:
		t.say.Info(t.what + " works again")
	}
	t.now = err != nil
}
