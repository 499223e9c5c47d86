package delivery

import (
	"context"
	"fmt"
	"time"

	"github.com/usher-auth/usher/events"
)

// NameUsed says that nothing can be declared under a name now: a hook had it, and
// a credential of that is good until then. It would be one of the new hook.
type NameUsed struct {
	Name  string
	Until time.Time
}

// Error says what to do.
func (n *NameUsed) Error() string {
	return fmt.Sprintf("a worker had the name %q, and its credentials are good until %s for whoever has the name: take another one, please",
		n.Name, n.Until.UTC().Format(time.RFC3339))
}

// Names remembers the names that credentials were minted for, as long as these
// are good. [Hooks] keeps it up to date, with [Hook.CredentialUntil].
type Names interface {
	// NameMinted remembers a credential of a hook that is not in the table. The
	// event says so in the same commit.
	NameMinted(ctx context.Context, name string, until time.Time, e events.Event) error
	// RemovedNames gives the names of hooks that were removed while a credential of
	// them is still good, and until when.
	RemovedNames(ctx context.Context) (map[string]time.Time, error)
}

// minted is h with a credential that was minted just now.
func (d *Declarations) minted(h Hook) Hook {
	h.CredentialUntil = d.Now().Add(credentialLife)
	return h
}
