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

// A web_hook's durable has a name of its own: its id is free for a worker.
func TestAWorkerBesideAWebHookOfItsName(t *testing.T) {
	t.Parallel()
	c, _ := load(t, config.Options{Dev: true, File: file(t, `
selfservice: {flows: {registration: {after: {hooks: [{hook: web_hook, config: {id: crm, url: 'http://127.0.0.1/', response: {ignore: true}}}]}}}}
workers: [{name: crm, events: [identity.created]}]
`)})
	if ids := c.Endpoints(); len(ids) != 1 || ids[0].ID != "crm" || len(c.DeclaredWorkers()) != 1 {
		t.Errorf("endpoints %v, workers %v, want one of each", ids, c.DeclaredWorkers())
	}
}
