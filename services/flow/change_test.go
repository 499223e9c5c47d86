package flow_test

import (
	std "context" // a test of this package has a function of that name
	"errors"
	"testing"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
)

// keeper is one stored flow that others save before us, so many times.
type keeper struct {
	stored flow.Flow
	others int
	broken error
}

func (k *keeper) Flow(std.Context, uuid.UUID) (*flow.Flow, error) {
	f := k.stored
	return &f, k.broken
}

func (k *keeper) SaveFlow(_ std.Context, f *flow.Flow) error {
	if k.others > 0 {
		k.others--
		k.stored.Version++
		k.stored.State = flow.SentEmail
	}
	if f.Version != k.stored.Version {
		return flow.ErrChanged
	}
	f.Version++
	k.stored = *f
	return nil
}

func TestChangeKeepsWhatOthersSaved(t *testing.T) {
	t.Parallel()
	for _, others := range []int{0, 1, 3} {
		k := &keeper{stored: flow.Flow{ID: uuid.New(), State: flow.ChooseMethod}, others: others}
		f := k.stored
		if err := flow.Change(t.Context(), k, &f, func(f *flow.Flow) error { f.Active = "code"; return nil }); err != nil {
			t.Fatalf("Change behind %d others = %v, want nil", others, err)
		}
		want := flow.ChooseMethod
		if others > 0 {
			want = flow.SentEmail
		}
		if k.stored.State != want || k.stored.Active != "code" || f.Version != k.stored.Version || f.State != want {
			t.Errorf("behind %d others %+v is stored and %+v given, want both in state %s and changed", others, k.stored, f, want)
		}
	}
}

func TestChangeThatIsRefused(t *testing.T) {
	t.Parallel()
	refused, broken := errors.New("refused"), errors.New("broken")
	sent := func(f *flow.Flow) error {
		if f.State == flow.SentEmail {
			return refused
		}
		return nil
	}
	for name, c := range map[string]struct {
		keeper keeper
		want   error
	}{
		"by what another has saved": {keeper{others: 1}, refused},
		"by the store":              {keeper{others: 1, broken: broken}, broken},
	} {
		f := c.keeper.stored
		if err := flow.Change(t.Context(), &c.keeper, &f, sent); !errors.Is(err, c.want) {
			t.Errorf("%s: Change = %v, want %v", name, err, c.want)
		}
	}
	k := &keeper{others: 1000}
	f := k.stored
	if err := flow.Change(t.Context(), k, &f, func(*flow.Flow) error { return nil }); !errors.Is(err, flow.ErrChanged) {
		t.Errorf("Change that never gets its turn = %v, want %v", err, flow.ErrChanged)
	}
}
