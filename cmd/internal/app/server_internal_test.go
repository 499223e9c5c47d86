package app

import (
	"slices"
	"testing"

	workersession "github.com/usher-auth/usher/workers/session"
)

// What the doctor knows by name is what processes have.
func TestHealthChecksAreAllThatThereAre(t *testing.T) {
	t.Parallel()
	p := configured(t, nil)
	p.reach, p.issuer = &reach{}, &workersession.Client{}
	var names []string
	for _, check := range p.checks() {
		names = append(names, check.Name)
	}
	if !slices.Equal(names, HealthChecks[:]) {
		t.Errorf("checks are %q, want %q", names, HealthChecks)
	}
}
