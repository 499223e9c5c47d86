package config

import "reflect"

// effect says what becomes of a key of the contract that has no place in
// [Config], or of one that must not be turned on yet.
type effect uint

const (
	// ignored keys of the reference server have no effect here.
	ignored effect = 1 << iota
	// pending keys belong to a feature that is not built yet and is turned on elsewhere.
	pending
	// refused keys turn such a feature on: they must be left out, false or empty.
	refused
)

// contract lists those keys by what they begin with. "**" stands for whatever
// is written there, "[]" behind a name for each entry of that list.
var contract = []struct {
	under  string
	keys   []string
	effect effect
}{
	{"", []string{
		"version", "profiling", "sqa-opt-out", "oauth2_provider.**", "organizations.**", "preview.**",
		"expose-metrics-port", "watch-courier", "log.leak_sensitive_values",
	}, ignored},
	{"tracing", []string{"deployment_environment", "providers.jaeger.**", "providers.zipkin.**", "providers.otlp.authorization_header"}, ignored},
	{"serve.public", []string{"socket.**"}, ignored},
	{"serve.admin", []string{"socket.**"}, ignored},

	{"session", []string{"whoami.tokenizer.templates.**"}, refused},
	{"", []string{mitigate, "events.registration_failed"}, refused},
	{"feature_flags", []string{"cacheable_sessions"}, refused},

	{registration, []string{"login_hints"}, refused},
	{registration + ".after", []string{"code.**", "webauthn.**", "passkey.**"}, pending},
	{"selfservice.flows.login", []string{"before.hooks"}, refused},
	{"selfservice.flows.login.after", []string{"code.hooks", "webauthn.hooks", "passkey.hooks", "totp.hooks", "lookup_secret.hooks"}, refused},
	{"selfservice.flows.login.after", methodURLs("code", "webauthn", "passkey", "totp", "lookup_secret"), pending},
	{"selfservice.flows.verification", []string{"before.hooks"}, refused},
	{recovery, []string{"before.hooks"}, refused},
	{recovery, []string{"after.default_browser_return_url"}, ignored}, // a recovery leads to the settings
	{settings, []string{"before.hooks"}, refused},
	{settings + ".after", []string{"webauthn.hooks", "passkey.hooks", "totp.hooks", "lookup_secret.hooks"}, refused},
	{settings + ".after", methodURLs("webauthn", "passkey", "totp", "lookup_secret"), pending},

	{passwordConfig, []string{"haveibeenpwned_enabled", "haveibeenpwned_host", "max_breaches", "ignore_network_errors"}, ignored},
	{"selfservice.methods.code", []string{"passwordless_enabled", "mfa_enabled"}, refused},
	{oidcProviders + "[]", []string{"organization_id"}, refused},
	{oidcProviders + "[]", []string{"additional_id_token_audiences", "apple_team_id", "apple_private_key_id", "apple_private_key"}, pending},
	{oidcProviders + "[]", []string{"fedcm_config_url", "net_id_token_origin_header"}, ignored},
	{"selfservice.methods", []string{"totp.enabled", "lookup_secret.enabled", "webauthn.enabled", "passkey.enabled", "saml.enabled"}, ignored | refused},
	{"selfservice.methods", []string{"totp.config.**", "lookup_secret.config.**", "webauthn.config.**", "passkey.config.**", "saml.config.**"}, ignored},

	{"courier", []string{"worker.pull_count", "worker.pull_wait"}, ignored},
	{"courier", []string{
		"templates.login_code.**", "templates.registration_code.**",
	}, pending},
}

// methodURLs are the return URLs of a flow by method.
func methodURLs(methods ...string) (keys []string) {
	for _, m := range methods {
		keys = append(keys, m+".default_browser_return_url")
	}
	return keys
}

// on tells whether a value turns something on: it is not false, zero or empty.
func on(value any) bool {
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.Map, reflect.Slice:
		return v.Len() > 0
	case reflect.Invalid:
		return false
	default:
		return !v.IsZero()
	}
}
