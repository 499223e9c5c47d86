package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/usher-auth/usher/services/hook"
	"github.com/usher-auth/usher/services/webhook"
)

// Hook is one entry of a hook list.
type Hook struct {
	Kind   string  `yaml:"hook"`
	Config WebHook `yaml:"config,omitempty"` // of a web_hook or a worker
}

// WebHook is what is configured for a web_hook, or with its first three fields
// alone for a worker.
type WebHook struct {
	// Name, Timeout and OnMissing are a worker's: what answers, how long it has, and
	// what follows when it does not.
	Name      string        `yaml:"name,omitempty"`
	Timeout   time.Duration `yaml:"timeout,omitempty"`
	OnMissing hook.Outcome  `yaml:"on_missing,omitempty"`

	ID      string            `yaml:"id,omitempty"`
	URL     Address           `yaml:"url,omitempty"`
	Method  string            `yaml:"method,omitempty"`
	Headers map[string]Secret `yaml:"headers,omitempty"`
	// Body is where the Jsonnet template stands, Template the template itself.
	Body     string `yaml:"body,omitempty"`
	Template string `yaml:"-"`
	Response struct {
		Ignore bool `yaml:"ignore"`
		Parse  bool `yaml:"parse"`
	} `yaml:"response,omitempty"`
	CanInterrupt bool `yaml:"can_interrupt,omitempty"`
	// EmitAnalyticsEvent has no effect: nothing is reported to anybody.
	EmitAnalyticsEvent bool         `yaml:"emit_analytics_event,omitempty"`
	Auth               EndpointAuth `yaml:"auth,omitempty"`

	// label names the endpoint where ID is empty and URL is not enough.
	label string
}

// EndpointAuth is how an endpoint knows who calls it.
type EndpointAuth struct {
	Type   string `yaml:"type"` // empty, api_key or basic_auth
	Config struct {
		Name     string `yaml:"name,omitempty"`
		Value    Secret `yaml:"value,omitempty"`
		In       string `yaml:"in,omitempty"`
		User     string `yaml:"user,omitempty"`
		Password Secret `yaml:"password,omitempty"`
	} `yaml:"config,omitempty"`
}

func (a *EndpointAuth) webhook() webhook.Auth {
	return webhook.Auth{
		Type:     a.Type,
		Name:     a.Config.Name,
		Value:    webhook.NewSecret(a.Config.Value.Reveal()),
		In:       a.Config.In,
		User:     a.Config.User,
		Password: webhook.NewSecret(a.Config.Password.Reveal()),
	}
}

// Lists gives the hooks of registration with a method.
func (c *Config) Lists(method string) hook.Lists {
	after := &c.SelfService.Flows.Registration.After
	l := hook.Lists{
		Global:           c.configured(globalHooks, after.Hooks),
		Before:           c.configured(beforeHooks, c.SelfService.Flows.Registration.Before.Hooks),
		ShowVerification: c.FeatureFlags.LegacyContinueWithVerificationUI,
		Gated:            hook.CompileLogin(method, c.LoginLists(method)).RequireVerified,
	}
	switch method {
	case "password":
		l.Method = c.configured(passwordHooks, after.Password.Hooks)
	case "oidc":
		l.Method = c.configured(oidcHooks, after.OIDC.Hooks)
		l.AutoSession = after.OIDC.AutoSession
	}
	return l
}

// LoginLists gives the hooks of login with a method.
func (c *Config) LoginLists(method string) hook.LoginLists {
	after := &c.SelfService.Flows.Login.After
	l := hook.LoginLists{Global: c.configured(loginHooks, after.Hooks)}
	switch method {
	case "password":
		l.Method = c.configured(loginPassword, after.Password.Hooks)
	case "oidc":
		l.Method = c.configured(loginOIDC, after.OIDC.Hooks)
	}
	return l
}

// VerificationHooks gives the hooks behind a verification.
func (c *Config) VerificationHooks() []hook.Configured {
	return c.configured(verifiedHooks, c.SelfService.Flows.Verification.After.Hooks)
}

// RecoveryHooks gives the hooks behind a recovery. That it ends all sessions is no
// hook: it always does.
func (c *Config) RecoveryHooks() []hook.Configured {
	all := c.configured(recoveredHooks, c.SelfService.Flows.Recovery.After.Hooks)
	return slices.DeleteFunc(all, func(h hook.Configured) bool { return h.Kind == hook.KindRevoke })
}

// SettingsLists gives the hooks of settings with a method.
func (c *Config) SettingsLists(method string) hook.SettingsLists {
	return hook.SettingsLists{
		Global: c.configured(changedHooks, c.SelfService.Flows.Settings.After.Hooks),
		Method: c.configured(settingsHooks(method), c.settingsMethods()[method].Hooks),
	}
}

func (c *Config) configured(key string, hooks []Hook) []hook.Configured {
	list := make([]hook.Configured, len(hooks))
	for i := range hooks {
		h := &hooks[i]
		list[i] = hook.Configured{Kind: h.Kind, Line: c.lines[entry(key, i)]}
		switch h.Kind {
		case hook.KindWebHook:
			list[i].Endpoint = h.Config.endpoint().Name()
			list[i].Timing = h.Config.timing()
		case hook.KindWorker:
			list[i].Endpoint = h.Config.Name
			list[i].Timing = hook.Refusing
			list[i].Asked = h.Config.asked()
		}
	}
	return list
}

// entry is the key of an entry of a list.
func entry(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

// Endpoints gives the web_hooks of all lists. One that is written twice is there twice.
func (c *Config) Endpoints() []webhook.Endpoint {
	var endpoints []webhook.Endpoint
	for _, w := range c.webHooks() {
		endpoints = append(endpoints, w.endpoint())
	}
	return endpoints
}

// hookList is a list and its key.
type hookList struct {
	key   string
	hooks []Hook
}

// hookLists are the hook lists of all flows.
func (c *Config) hookLists() (all []hookList) {
	for _, l := range c.lists() {
		all = append(all, hookList{l.key, *l.hooks})
	}
	return all
}

// keyedHook is a web_hook of a list, and the key of its configuration.
type keyedHook struct {
	key string
	*WebHook
}

// webHooks are those of all lists.
func (c *Config) webHooks() []keyedHook {
	var found []keyedHook
	for _, list := range c.hookLists() {
		for i := range list.hooks {
			if h := &list.hooks[i]; h.Kind == hook.KindWebHook {
				found = append(found, keyedHook{entry(list.key, i) + ".config", &h.Config})
			}
		}
	}
	return found
}

// answerTimeout is how long an answering worker has where nothing is said.
const answerTimeout = 2 * time.Second

// asked says how a worker is asked.
func (w *WebHook) asked() hook.Asked {
	return hook.Asked{Timeout: cmp.Or(w.Timeout, answerTimeout), OnMissing: cmp.Or(w.OnMissing, hook.Refuse)}
}

// timing says when the hook runs.
func (w *WebHook) timing() hook.Timing {
	switch {
	case w.Response.Ignore:
		return hook.Background
	case w.Response.Parse || w.CanInterrupt:
		return hook.Refusing
	default:
		return hook.Waiting
	}
}

// endpoint gives the hook as it is called.
func (w *WebHook) endpoint() webhook.Endpoint {
	e := webhook.Endpoint{
		ID:           w.ID,
		URL:          w.URL.Reveal(),
		Method:       w.Method,
		Header:       headerOf(w.Headers),
		Body:         w.Template,
		Ignore:       w.Response.Ignore,
		Parse:        w.Response.Parse,
		CanInterrupt: w.CanInterrupt,
		Auth:         w.Auth.webhook(),
	}
	if w.label != "" {
		e.ID = w.label
	}
	return e
}

// digest tells hooks apart that call one URL in different ways. Credentials are
// not part of it: it is a name that everybody may see.
func (w *WebHook) digest() string {
	e := w.endpoint()
	text, _ := json.Marshal([]any{e.URL, e.Method, e.Body, e.Ignore, e.Parse, e.CanInterrupt}) // texts and booleans always can be
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}
