package app

import (
	"context"
	"time"

	"github.com/usher-auth/usher/services/delivery"
)

// warnOfReused says, once of each, which hooks of the configuration file have the
// name of one that was removed by the API and has credentials that are still good.
// The file has the last word; [delivery.NameUsed] refuses the same elsewhere.
func (p *process) warnOfReused(ctx context.Context, fixed map[string]delivery.Hook) {
	removed, err := p.store.RemovedNames(ctx)
	if err != nil {
		p.log.Warn("whether a hook of the configuration file has a name of a removed one is not known", "error", err)
		return
	}
	for name, until := range removed {
		if !fixed[name].InFile || p.reused[name] {
			continue
		}
		if p.reused == nil {
			p.reused = map[string]bool{}
		}
		p.reused[name] = true
		p.log.Warn("a hook of the configuration file has the name of a worker that was removed: whoever kept a credential of that has one of this; another name mends it",
			"hook", name, "credentials_good_until", until.UTC().Format(time.RFC3339))
	}
}
