package courier

import (
	"context"
	"sync"
	"time"
)

// lease is how long a message stays claimed by whoever has died with it: no
// longer than it takes its event to come again. Who lives begins it anew.
const lease = 20 * time.Second

// claim makes m this process's to send until release, which waits for what
// claim has started. A lease that cannot be begun anew stops nothing: the mail
// is on its way.
func (s *Service) claim(ctx context.Context, m *Message) (release func(), err error) {
	held, err := s.Store.Claim(ctx, m.ID, time.Time{}, lease)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var renewal sync.WaitGroup
	renewal.Go(func() {
		tick := time.NewTicker(lease / 4)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if at, err := s.Store.Claim(ctx, m.ID, held, lease); err == nil {
				held = at
			}
		}
	})
	return func() {
		cancel()
		renewal.Wait()
	}, nil
}
