package app

import (
	"testing"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/events"
)

// An Usher that says nothing of the limit of the stream took away the one that an
// operator had set by hand.
func TestTheLimitOfTheStreamStaysUnlessItIsWritten(t *testing.T) {
	t.Parallel()
	for written, want := range map[any]int64{nil: 0, "0B": events.NoLimit, "20MB": 20 << 20} {
		cfg, _, err := config.Load(config.Options{Dev: true, Env: []string{}, Overrides: map[string]any{"bus.max_bytes": written}})
		if err != nil {
			t.Fatal(err)
		}
		if got := StreamOptionsOf(cfg).MaxBytes; got != want {
			t.Errorf("MaxBytes with bus.max_bytes %v = %d, want %d", written, got, want)
		}
	}
}
