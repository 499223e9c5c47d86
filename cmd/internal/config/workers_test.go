package config_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/delivery"
)

func TestWorkersInTheFile(t *testing.T) {
	t.Parallel()
	c, _ := load(t, config.Options{Dev: true, File: file(t, `
workers:
  - {name: crm, events: [identity.created], traits: [email]}
  - {name: gate, kind: answer}
`)})
	all := c.DeclaredWorkers()
	if crm := all["crm"]; crm.Kind != delivery.Worker || !crm.InFile || fmt.Sprint(crm.Types, crm.Traits) != "[identity.created] [email]" {
		t.Errorf("crm = %+v", crm)
	}
	if gate := all["gate"]; gate.Kind != delivery.Answer || len(all) != 2 {
		t.Errorf("gate = %+v of %d", gate, len(all))
	}
	if types := delivery.EventTypes(); !slices.Contains(types, "identity.created") || slices.Contains(types, "envelope") {
		t.Errorf("EventTypes() = %q", types)
	}
}
