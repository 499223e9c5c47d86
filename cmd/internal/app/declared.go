package app

import (
	"maps"
	"math"
	"slices"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/delivery"
	"github.com/usher-auth/usher/services/hook"
)

// Declared gives the hooks that a configuration and the table of the database
// declare, by name, and the durable consumers that the bus is to have for them.
func Declared(cfg *config.Config, table []delivery.Hook) (map[string]delivery.Hook, []events.Durable) {
	all := map[string]delivery.Hook{}
	for _, h := range table {
		all[h.Name] = h
	}
	maps.Copy(all, fixedHooksOf(cfg, backgroundTypes(cfg)))
	return all, durablesOf(all, func(events.Origin) bool { return true })
}

// StreamOptionsOf are those of the stream of a configuration. A limit that somebody has
// set by hand stays unless the configuration says one, or that there is none.
func StreamOptionsOf(cfg *config.Config) events.StreamOptions {
	b := cfg.Bus
	limit := int64(min(b.MaxBytes, math.MaxInt64))
	if limit == 0 && cfg.Written(config.BusMaxBytes) {
		limit = events.NoLimit
	}
	return events.StreamOptions{
		MaxBytes: limit,
		Replicas: b.Replicas, Placement: events.Placement{Cluster: b.Placement.Cluster, Tags: b.Placement.Tags},
	}
}

// backgroundTypes gives the event types of each background endpoint of a
// configuration.
func backgroundTypes(cfg *config.Config) map[string][]string {
	types := map[string][]string{}
	add := func(steps []hook.Step, p events.Payload) {
		for _, step := range steps {
			if !slices.Contains(types[step.Endpoint], p.EventType()) {
				types[step.Endpoint] = append(types[step.Endpoint], p.EventType())
			}
		}
	}
	for _, method := range cfg.Methods() {
		add(hook.Compile(method, cfg.Lists(method)).Background, events.IdentityCreated{})
		add(hook.CompileLogin(method, cfg.LoginLists(method)).Background, events.LoginSucceeded{})
	}
	add(hook.CompileAfter(cfg.VerificationHooks()).Background, events.AddressVerified{})
	add(hook.CompileAfter(cfg.RecoveryHooks()).Background, events.RecoveryCompleted{})
	for _, method := range cfg.SettingsMethods() {
		add(hook.CompileSettings(method, cfg.SettingsLists(method)).Background, events.IdentityUpdated{})
	}
	return types
}
