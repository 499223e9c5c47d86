package doctor

import (
	"context"
	"fmt"

	"github.com/usher-auth/usher/cmd/internal/app"
)

const checkProviders = "providers.reachable"

var providerLooks = []look{{[]Check{{checkProviders, "identity providers answer as configured; only with --network"}}, (*Doctor).lookProviders, false}}

func (d *Doctor) lookProviders(ctx context.Context) (f findings) {
	var ids []string
	for _, p := range d.Config.OIDCProviders() {
		ids = append(ids, p.ID)
	}
	switch {
	case len(ids) == 0:
		f.green(checkProviders, "none is configured")
		return f
	case !d.Network:
		f.skip("others are asked only with --network", checkProviders)
		return f
	}
	checks, err := app.NewProviderChecks(d.Config)
	if err != nil {
		f.skip("see "+checkValid, checkProviders)
		return f
	}
	reports, err := checks.Run(ctx, ids, nil)
	if err != nil {
		f.add(Red, checkProviders, oneLine(err), "usher oidc check"+d.Flags)
		return f
	}
	for n, r := range reports {
		for _, p := range r.Problems {
			f.add(Red, checkProviders, fmt.Sprintf("%s: %s", ids[n], p.Problem), p.Hint+"; 'usher oidc check "+ids[n]+d.Flags+"' says more")
		}
		if len(r.Problems) == 0 {
			f.green(checkProviders, "%s is as configured", ids[n])
		}
	}
	return f
}
