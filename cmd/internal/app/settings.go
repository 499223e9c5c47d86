package app

import (
	"fmt"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/api"
	"github.com/usher-auth/usher/services/breached"
	"github.com/usher-auth/usher/services/password"
	"github.com/usher-auth/usher/services/webhook"
)

// apiSettings gives the API its values from the configuration.
func apiSettings(cfg *config.Config) (*api.Compiled, error) {
	sealer, err := api.NewSealer(cfg.CookieSecrets()...)
	if err != nil {
		return nil, err
	}
	flows := &cfg.SelfService.Flows
	cookie, cors := cfg.Session.Cookie, cfg.Serve.Public.CORS
	return api.Settings{
		PublicURL:         cfg.PublicURL(),
		AdminURL:          cfg.AdminURL(),
		TellAdminURL:      cfg.Serve.Admin.BaseURL != "",
		DefaultReturnURL:  cfg.DefaultReturnURL(),
		AllowedReturnURLs: cfg.SelfService.AllowedReturnURLs,
		ErrorURL:          cfg.ErrorURL(),
		Registration: api.FlowSettings{
			Enabled:          flows.Registration.Enabled,
			Lifespan:         flows.Registration.Lifespan,
			URL:              cfg.RegistrationURL(),
			Methods:          cfg.RegistrationMethods(),
			ReturnURL:        flows.Registration.After.DefaultBrowserReturnURL,
			MethodReturnURLs: cfg.MethodReturnURLs(),
		},
		Login: api.FlowSettings{
			Enabled:          true,
			Lifespan:         flows.Login.Lifespan,
			URL:              cfg.LoginURL(),
			Methods:          cfg.Methods(),
			ReturnURL:        flows.Login.After.DefaultBrowserReturnURL,
			MethodReturnURLs: cfg.LoginMethodReturnURLs(),
		},
		Verification: api.FlowSettings{
			Enabled:   flows.Verification.Enabled,
			Lifespan:  flows.Verification.Lifespan,
			URL:       cfg.VerificationURL(),
			Methods:   []string{flows.Verification.Use},
			ReturnURL: flows.Verification.After.DefaultBrowserReturnURL,
		},
		Recovery: api.FlowSettings{
			Enabled:  flows.Recovery.Enabled,
			Lifespan: flows.Recovery.Lifespan,
			URL:      cfg.RecoveryURL(),
			Methods:  []string{flows.Recovery.Use},
		},
		ContinueWithTransitions: cfg.FeatureFlags.UseContinueWithTransitions,
		ExtendWithoutSession:    cfg.FeatureFlags.FasterSessionExtend,
		SettingsFlow: api.FlowSettings{
			Enabled:          true,
			Lifespan:         flows.Settings.Lifespan,
			URL:              cfg.SettingsURL(),
			Methods:          cfg.SettingsMethods(),
			ReturnURL:        flows.Settings.After.DefaultBrowserReturnURL,
			MethodReturnURLs: cfg.SettingsMethodReturnURLs(),
		},
		PrivilegedSessionMaxAge: flows.Settings.PrivilegedSessionMaxAge,
		Logout: api.Logout{
			ReturnURL:        flows.Logout.After.DefaultBrowserReturnURL,
			ClearBrowserData: flows.Logout.ClearBrowserData,
		},
		DefaultSchema: cfg.Identity.DefaultSchemaID,
		SessionCookie: api.Cookie{
			Name: cookie.Name, Domain: cookie.Domain, Path: cookie.Path,
			SameSite: cookie.SameSite.HTTP(), Secure: cookie.Secure, Persistent: cookie.Persistent,
		},
		CSRFCookie: api.Cookie{
			Domain: cfg.Cookies.Domain, Path: cfg.Cookies.Path,
			SameSite: cfg.Cookies.SameSite.HTTP(), Secure: cfg.Cookies.Secure, Persistent: true,
		},
		Cookies: sealer,
		CORS: api.CORS{
			Enabled: cors.Enabled, Origins: cors.AllowedOrigins, Methods: cors.AllowedMethods,
			Headers: cors.AllowedHeaders, Exposed: cors.ExposedHeaders, Credentials: cors.AllowCredentials,
		},
		TrustedProxies:   cfg.Serve.TrustedProxies,
		HeaderAllowlist:  cfg.Clients.WebHook.HeaderAllowlist,
		Limits:           limits(cfg),
		OIDCRedirectBase: cfg.OIDCRedirectBase(),
	}.Compile()
}

// limits gives the API its rate limits.
func limits(cfg *config.Config) api.Limits {
	l := cfg.RateLimits
	return api.Limits{
		Enabled:      l.Enabled,
		Registration: api.Limit(l.Registration),
		FailedLogin:  api.Limit(l.LoginFailed),
		CodeTry:      api.Limit(l.CodeTry),
		MailStart:    api.Limit(l.MailStart),
		FlowCreation: api.Limit(l.FlowCreation),
	}
}

func webhookOptions(cfg *config.Config, settings *api.Compiled, f foundation) webhook.Options {
	return webhook.Options{
		Endpoints:               cfg.Endpoints(),
		DisallowPrivateIPRanges: cfg.Clients.HTTP.DisallowPrivateIPRanges,
		PrivateIPExceptionURLs:  cfg.Clients.HTTP.PrivateIPExceptionURLs,
		OpenSigned:              cfg.Dev && !cfg.Clients.HTTP.DisallowPrivateIPRanges,
		SchemaURL:               settings.SchemaURL,
		Workers:                 f.workers.Asker,
		Asked:                   f.workers.asked,
	}
}

// algorithm is how new passwords are hashed.
func algorithm(cfg *config.Config) password.Algorithm {
	h := cfg.Hashers
	if h.Algorithm == config.Bcrypt {
		return password.Bcrypt{Cost: h.Bcrypt.Cost}
	}
	return password.Argon2id{
		Memory:      uint32(h.Argon2.Memory / config.KB),
		Iterations:  uint32(h.Argon2.Iterations),
		Parallelism: uint8(h.Argon2.Parallelism),
		SaltLength:  uint32(h.Argon2.SaltLength),
		KeyLength:   uint32(h.Argon2.KeyLength),
	}
}

// passwords keeps the former pool while its algorithm is the same: two pools
// at once would hash more than there are cores.
func passwords(cfg *config.Config, former *current) (*password.Pool, error) {
	if former != nil && algorithm(former.cfg) == algorithm(cfg) {
		return former.passwords, nil
	}
	return password.NewPool(password.PoolOptions{}, algorithm(cfg))
}

// breachedPasswords opens the file of a configuration, unless the former has it open.
func breachedPasswords(cfg *config.Config, former *current) (*breached.Set, error) {
	file := cfg.SelfService.Methods.Password.Config.Breached
	switch {
	case file.Path == "":
		return nil, nil
	case former != nil && former.breached != nil && former.breached.Is(file.Path):
		return former.breached, nil
	}
	set, err := breached.Open(file.Path)
	if err != nil {
		return nil, fmt.Errorf("selfservice.methods.password.config.breached_file: %w", err)
	}
	return set, nil
}

// policy says which passwords people may choose. A file of breached ones that cannot be
// read any more refuses none; trouble hears of it.
func (c *current) policy(trouble func(error)) password.Policy {
	own := c.cfg.SelfService.Methods.Password.Config
	p := password.Policy{
		MinLength:    own.MinPasswordLength,
		MaxLength:    algorithm(c.cfg).MaxLength(),
		Similarity:   own.IdentifierSimilarityCheckEnabled,
		ServiceWords: []string{"usher", "usherusher", "usher-auth"},
	}
	if set := c.breached; set != nil {
		p.Breached = func(plain password.Plain) bool {
			found, err := set.Holds(plain.Reveal())
			if err != nil {
				trouble(fmt.Errorf("breached passwords: %w", err))
			}
			return found
		}
	}
	return p
}
