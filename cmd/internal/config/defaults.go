package config

import "github.com/usher-auth/usher/services/store"

// defaults are the contract's, and ours where it has none or ours is safer
// (hashing, the address of the admin listener).
func defaults() map[string]any {
	all := map[string]any{
		"data_dir":                                              "./usher-data",
		"dsn":                                                   "",
		"bus.listen":                                            "127.0.0.1:4222",
		"bus.max_bytes":                                         "0B",
		"serve.public.port":                                     4433,
		"serve.public.cors.allowed_methods":                     []any{"POST", "GET", "PUT", "PATCH", "DELETE"},
		"serve.public.cors.allowed_headers":                     []any{"Authorization", "Content-Type", "Max-Age", "X-Session-Token", "X-XSRF-TOKEN", "X-CSRF-TOKEN"},
		"serve.public.cors.exposed_headers":                     []any{"Content-Type"},
		"serve.public.cors.allow_credentials":                   true,
		"serve.admin.host":                                      "127.0.0.1",
		"serve.admin.port":                                      4434,
		"serve.public.tls.key.base64":                           "",
		"serve.admin.tls.key.base64":                            "",
		"serve.drain_delay":                                     "0s",
		"ciphers.algorithm":                                     "noop",
		"cookies.path":                                          "/",
		"cookies.same_site":                                     "Lax",
		"session.lifespan":                                      "24h",
		"session.cookie.name":                                   "ory_kratos_session",
		"session.cookie.persistent":                             true,
		"session.whoami.required_aal":                           "highest_available",
		"session.issue.on_failure":                              OnFailureDegrade,
		"session.issue.timeout":                                 "500ms",
		"identity.default_schema_id":                            "default",
		"hashers.algorithm":                                     Argon2,
		"hashers.bcrypt.cost":                                   12,
		"hashers.argon2.memory":                                 "19MB",
		"hashers.argon2.iterations":                             2,
		"hashers.argon2.parallelism":                            1,
		"hashers.argon2.salt_length":                            16,
		"hashers.argon2.key_length":                             32,
		"selfservice.max_flows":                                 store.DefaultMaxFlows,
		"selfservice.methods.password.enabled":                  true,
		passwordConfig + ".min_password_length":                 8,
		passwordConfig + ".identifier_similarity_check_enabled": true,
		registration + ".enabled":                               true,
		registration + ".lifespan":                              "1h",
		registration + ".style":                                 styles[0],
		registration + ".after.oidc.auto_session":               true,
		login + ".lifespan":                                     "1h",
		login + ".style":                                        "unified",
		verification + ".use":                                   "code",
		verification + ".lifespan":                              "1h",
		recovery + ".use":                                       "code",
		recovery + ".lifespan":                                  "1h",
		settings + ".lifespan":                                  "1h",
		settings + ".privileged_session_max_age":                "1h",
		settings + ".required_aal":                              "highest_available",
		"selfservice.methods.profile.enabled":                   true,
		"selfservice.methods.code.enabled":                      true,
		"selfservice.methods.code.config.lifespan":              "1h",
		"selfservice.methods.code.config.max_submissions":       5,
		"selfservice.methods.link.enabled":                      false,
		"selfservice.methods.link.config.lifespan":              "1h",
		connectionURI:                                           "",
		"courier.delivery_strategy":                             bySMTP,
		mailAPI + ".url":                                        "",
		mailAPI + ".method":                                     "POST",
		"courier.message_retries":                               5,
		"clients.web_hook.header_allowlist": []any{
			"Accept", "Accept-Encoding", "Accept-Language", "Content-Length", "Content-Type", "Origin", "Priority", "Referer",
			"Sec-Ch-Ua", "Sec-Ch-Ua-Mobile", "Sec-Ch-Ua-Platform", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-User",
			"True-Client-Ip", "User-Agent", "X-Forwarded-For",
		},
		"audit.retention":                 "0s",
		"audit.checkpoint.sink":           "",
		"console.setup_link":              true,
		otlp + ".sampling.sampling_ratio": 1.0,
		"log.level":                       "info",
		"log.format":                      "text",
	}
	for name, usual := range usualLimits {
		all[join(rateLimits, name)+".burst"], all[join(rateLimits, name)+".per_hour"] = usual[0], usual[1]
	}
	return all
}

// builtIn lies over the defaults where the configuration has no identity
// schemas of its own, and under what it has. Addresses are verified where
// there is a way to write to them.
func builtIn(mails bool) map[string]any {
	session, show := map[string]any{"hook": "session"}, map[string]any{"hook": "show_verification_ui"}
	hooks := []any{session}
	if mails {
		hooks = []any{show, session}
	}
	return map[string]any{
		schemaList:                []any{map[string]any{"id": "default", "url": builtInSchema}},
		verification + ".enabled": mails,
		recovery + ".enabled":     mails,
		passwordHooks:             hooks,
	}
}

// settingsHooks is the list of a method of settings.
func settingsHooks(method string) string { return settings + ".after." + method + ".hooks" }

// Keys that are named more than once.
const (
	registration   = "selfservice.flows.registration"
	passwordHooks  = registration + ".after.password.hooks"
	oidcHooks      = registration + ".after.oidc.hooks"
	globalHooks    = registration + ".after.hooks"
	beforeHooks    = registration + ".before.hooks"
	login          = "selfservice.flows.login"
	loginHooks     = login + ".after.hooks"
	loginPassword  = login + ".after.password.hooks"
	loginOIDC      = login + ".after.oidc.hooks"
	verification   = "selfservice.flows.verification"
	verifiedHooks  = verification + ".after.hooks"
	recovery       = "selfservice.flows.recovery"
	recoveredHooks = recovery + ".after.hooks"
	settings       = "selfservice.flows.settings"
	changedHooks   = settings + ".after.hooks"
	connectionURI  = "courier.smtp.connection_uri"
	passwordConfig = "selfservice.methods.password.config"
	oidcConfig     = "selfservice.methods.oidc.config"
	oidcProviders  = oidcConfig + ".providers"
	schemaList     = "identity.schemas"
	mitigate       = "security.account_enumeration.mitigate"
)
