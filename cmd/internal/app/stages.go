package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
)

// stages are what runs in this process, in the order of starting. They end in
// the opposite order, each drained before the one it stands on.
type stages struct {
	log    *slog.Logger
	list   []*stage
	failed chan error // the first that ended by itself
}

type stage struct {
	name   string
	cancel context.CancelFunc
	done   chan error
}

func newStages(log *slog.Logger) *stages {
	return &stages{log: log, failed: make(chan error, 1)}
}

// start runs a stage until stop; run gives nil when its context has ended and
// its work is drained.
func (s *stages) start(ctx context.Context, name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	st := &stage{name: name, cancel: cancel, done: make(chan error, 1)}
	s.list = append(s.list, st)
	go func() {
		err := run(ctx)
		if err == nil && ctx.Err() == nil {
			err = errors.New("ended by itself")
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
			select {
			case s.failed <- err:
			default:
			}
		}
		st.done <- err
	}()
}

// stop ends all stages, the last started first, and gives what went wrong.
func (s *stages) stop() error {
	var errs []error
	for _, st := range slices.Backward(s.list) {
		st.cancel()
		if err := <-st.done; err != nil {
			errs = append(errs, err)
		}
		s.log.Debug("drained", "stage", st.name)
	}
	s.list = nil
	return errors.Join(errs...)
}
