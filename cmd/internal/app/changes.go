package app

import (
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/flow"
	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/identity"
	"github.com/usher-auth/usher/services/settings"
	"github.com/usher-auth/usher/services/verification"
)

// changes puts together what changes people's settings.
func (c *current) changes(f foundation) *settings.Service {
	plans := map[string]hook.SettingsPlan{}
	for _, method := range c.cfg.SettingsMethods() {
		plans[method] = hook.CompileSettings(method, c.cfg.SettingsLists(method))
	}
	s := &settings.Service{
		Store:     f.changes,
		Schemas:   c.schemas,
		Policy:    c.policy(f.trouble),
		Passwords: c.passwords,
		Hooks:     c.hooks,
		Plan:      func(method string) hook.SettingsPlan { return plans[method] },
		Now:       time.Now,
		Observe:   f.observeChange,
	}
	if v := c.cfg.SelfService.Flows.Verification; v.Enabled {
		s.Verification = opening{lifespan: v.Lifespan, method: v.Use}
	}
	return s
}

// opening makes the verification flows that changes of addresses lead to.
type opening struct {
	lifespan time.Duration
	method   string
}

// Opening is [settings.Opener.Opening].
func (o opening) Opening(id uuid.UUID, i *identity.Identity, a identity.Address, in settings.Submit) (*flow.Flow, events.Event) {
	now := time.Now()
	asked := verification.Opening{
		Identity:   i,
		Address:    a,
		Type:       in.Flow.Type,
		RequestURL: in.Flow.RequestURL,
		Languages:  in.Flow.Languages,
		ReturnTo:   in.Flow.ReturnTo,
		CSRF:       in.Flow.CSRF,
		Client:     in.Client,
	}
	f := asked.Flow(now, o.lifespan, o.method)
	f.ID = id
	return f, asked.Event(f, now)
}
