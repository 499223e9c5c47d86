package flow

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// Keeper gives and saves flows.
type Keeper interface {
	// Flow gives a flow, or [ErrNotFound].
	Flow(ctx context.Context, id uuid.UUID) (*Flow, error)
	// SaveFlow gives [ErrChanged] where f is not what is stored any more.
	SaveFlow(ctx context.Context, f *Flow) error
}

// maxChanges bounds how often a change is made anew: each time another request
// has got ahead of this one.
const maxChanges = 10

// Change makes a change to f and saves it. Nothing is overwritten that others
// have saved since f was read: the change is then made to the flow as it is now.
// It can be refused by an error, which Change gives, with nothing saved; f is
// what was read last.
func Change(ctx context.Context, k Keeper, f *Flow, change func(f *Flow) error) error {
	for range maxChanges {
		next := *f
		if err := change(&next); err != nil {
			return err
		}
		err := k.SaveFlow(ctx, &next)
		if err == nil {
			*f = next
			return nil
		}
		if !errors.Is(err, ErrChanged) {
			return fmt.Errorf("save flow: %w", err)
		}
		now, err := k.Flow(ctx, f.ID)
		if err != nil {
			return fmt.Errorf("read changed flow: %w", err)
		}
		*f = *now
	}
	return fmt.Errorf("save flow %s: %w", f.ID, ErrChanged)
}
