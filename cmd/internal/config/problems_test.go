package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/cmd/internal/config"
)

func TestTypos(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, key, suggestion string }{
		{"dns: memory", "dns", "dsn"},
		{"datadir: x", "datadir", "data_dir"},
		{"serv: {public: {port: 1}}", "serv", "serve"},
		{"serve: {publik: {port: 1}}", "serve.publik", "serve.public"},
		{"serve: {public: {prot: 1}}", "serve.public.prot", "serve.public.port"},
		{"serve: {public: {baseurl: x}}", "serve.public.baseurl", "serve.public.base_url"},
		{"serve: {public: {cors: {allow_origins: []}}}", "serve.public.cors.allow_origins", "serve.public.cors.allowed_origins"},
		{"secrets: {cokie: [x]}", "secrets.cokie", "secrets.cookie"},
		{"session: {live_span: 1h}", "session.live_span", "session.lifespan"},
		{"session: {cookie: {samesite: Lax}}", "session.cookie.samesite", "session.cookie.same_site"},
		{"session: {issue: {on_fail: fail}}", "session.issue.on_fail", "session.issue.on_failure"},
		{"identity: {schema: []}", "identity.schema", "identity.schemas"},
		{"identity: {schemas: [{id: a, uri: x}]}", "identity.schemas[0].uri", "identity.schemas[0].url"},
		{"hasher: {}", "hasher", "hashers"},
		{"hashers: {bcrypt: {costs: 12}}", "hashers.bcrypt.costs", "hashers.bcrypt.cost"},
		{"selfservices: {}", "selfservices", "selfservice"},
		{"selfservice: {default_return_url: x}", "selfservice.default_return_url", "selfservice.default_browser_return_url"},
		{"selfservice: {flows: {registraton: {}}}", "selfservice.flows.registraton", "selfservice.flows.registration"},
		{"selfservice: {flows: {veriffication: {}}}", "selfservice.flows.veriffication", "selfservice.flows.verification"},
		{"selfservice: {flows: {registration: {after: {passwort: {}}}}}", "selfservice.flows.registration.after.passwort", "selfservice.flows.registration.after.password"},
		{"selfservice: {flows: {registration: {after: {password: {hook: []}}}}}", "selfservice.flows.registration.after.password.hook", "selfservice.flows.registration.after.password.hooks"},
		{"selfservice: {methods: {pasword: {}}}", "selfservice.methods.pasword", "selfservice.methods.password"},
		{"selfservice: {methods: {password: {min_password_length: 9}}}", "selfservice.methods.password.min_password_length", "selfservice.methods.password.config.min_password_length"},
		{"lifespan: 1h", "lifespan", "session.lifespan"},
		{"mitigate: false", "mitigate", "security.account_enumeration.mitigate"},
		{"courier: {smpt: {}}", "courier.smpt", "courier.smtp"},
		{"serve.public.port: 1", "serve.public.port", "nested keys"},
		{"something_else_entirely: 1", "something_else_entirely", ""},
		{
			"selfservice: {flows: {registration: {after: {password: {hooks: [{hook: web_hook, config: {url: 'http://x/', respons: {}}}]}}}}}",
			"selfservice.flows.registration.after.password.hooks[0].config.respons", "hooks[0].config.response",
		},
	} {
		problems := refused(t, config.Options{Dev: true, File: file(t, "\n"+tt.text+"\n")})
		if len(problems) != 1 {
			t.Errorf("%s: problems = %v, want one", tt.text, problems)
			continue
		}
		p := problems[0]
		suggests := strings.Contains(p.Text, "did you mean") || strings.Contains(p.Text, "nested")
		if p.Key != tt.key || p.Line != 2 || !strings.Contains(p.Text, tt.suggestion) || suggests != (tt.suggestion != "") {
			t.Errorf("%s: problem = %v (line %d), want key %s in line 2, suggestion %q", tt.text, p, p.Line, tt.key, tt.suggestion)
		}
	}
}

func TestTyposInEnvironment(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ variable, suggestion string }{
		{"USHER_SERVE__PUBLIC__PROT=1", "USHER_SERVE__PUBLIC__PORT"},
		{"USHER_SERVE_PUBLIC_PORT=1", "USHER_SERVE__PUBLIC__PORT"},
		{"USHER_DNS=memory", "USHER_DSN"},
		{"USHER_SECRET__COOKIE=a", "USHER_SECRETS__COOKIE"},
		{"USHER_SERVE={}", "a variable for each key below it"},
		{"USHER_SERVE__PUBLIC__PORT=http", "whole number"},
		{"USHER_NOTHING_LIKE_ANY_KEY=1", "unknown key"},
	} {
		problems := refused(t, config.Options{Env: []string{tt.variable}})
		name, _, _ := strings.Cut(tt.variable, "=")
		if len(problems) != 1 || problems[0].Source != name || !strings.Contains(problems[0].Text, tt.suggestion) {
			t.Errorf("%s: problems = %v, want one of %s that says %q", tt.variable, problems, name, tt.suggestion)
		}
	}
}

func TestWrongValues(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, key, says string }{
		{"serve: {public: {port: http}}", "serve.public.port", "whole number"},
		{"serve: {public: {port: 70000}}", "serve.public.port", "65535"},
		{"serve: 4433", "serve", "keys below it"},
		{"serve: {trusted_proxies: [proxy.example.org]}", "serve.trusted_proxies[0]", "10.0.0.0/8"},
		{"serve: {trusted_proxies: 10.0.0.1}", "serve.trusted_proxies", "a list"},
		{"serve: {public: {base_url: 'id.example.org'}}", "serve.public.base_url", "absolute"},
		{"serve: {public: {base_url: 'https://id.example.org/?a=b'}}", "serve.public.base_url", "path only"},
		{"serve: {public: {cors: {enabled: true}}}", "serve.public.cors.allowed_origins", "at least one"},
		{"serve: {public: {cors: {enabled: true, allowed_origins: ['*']}}}", "serve.public.cors.allowed_origins", "allow_credentials"},
		{"session: {lifespan: 1 day}", "session.lifespan", "duration"},
		{"session: {lifespan: 3600}", "session.lifespan", "duration"},
		{"session: {lifespan: 0s}", "session.lifespan", "1s to 720h"},
		{"session: {lifespan: 721h}", "session.lifespan", "1s to 720h"},
		{"session: {issue: {on_failure: degrad}}", "session.issue.on_failure", "did you mean degrade"},
		{"session: {cookie: {name: 'a b'}}", "session.cookie.name", "cookie"},
		{"session: {cookie: {same_site: lax}}", "session.cookie.same_site", "did you mean Lax"},
		{"cookies: {same_site: None}\nsession: {cookie: {same_site: Lax}}", "cookies.same_site", "secure"},
		{"session: {cookie: {persistent: 'yes'}}", "session.cookie.persistent", "true or false"},
		{"log: {level: infos}", "log.level", "did you mean info"},
		{"log: {format: xml}", "log.format", "text, json"},
		{"dsn: mysql://u:s3cr3t@db/x", "dsn", "mysql is not supported"},
		{"dsn: cockroach://u:s3cr3t@db/x", "dsn", "cockroach is not supported"},
		{"dsn: host=db password=s3cr3t", "dsn", "postgres://"},
		{"dsn: postgres://u:s3cr3t@db:port/x", "dsn", "invalid port"},
		{"dsn: postgres://u:s3cr3t@db/x?max_con=9", "dsn", "did you mean max_conns?"},
		{"dsn: postgres://u:s3cr3t@db/x?sslmode=full", "dsn", "verify-full"},
		{"dsn: postgres://u:12/s3cr3t@db/x", "dsn", "%2F for /"},
		{"dsn: postgres", "dsn", "postgres://"},
		{"dsn: 'sqlite://'", "dsn", "needs a path"},
		{"dsn: sqlite://usher.db?_key=s3cr3t", "dsn", "no parameter"},
		{"dsn: 12", "dsn", "quotes"},
		{"data_dir: ''", "data_dir", "folder"},
		{"bus: {listen: 4222}", "bus.listen", "quotes"},
		{"bus: {listen: localhost}", "bus.listen", "host:port"},
		{"bus: {url: 'nats://bus:4222'}", "bus.credentials", "bus config"},
		{"bus: {url: 'nats://u:s3cr3t@bus:4222', credentials: x}", "bus.url", "bus.credentials"},
		{"bus: {replicas: 2, url: 'nats://a:1,nats://b:1', credentials: x}", "bus.replicas", "1, 3 or 5"},
		{"bus: {replicas: 3}", "bus.replicas", "bus.url"},
		{"dsn: 'postgres://db/ids?user=u&password=hunter2'", "dsn", "password is no parameter"},
		{"bus: {max_bytes: 1023KB}", "bus.max_bytes", "1MB or more"},
		{"bus: {max_bytes: 10}", "bus.max_bytes", "quotes"},
		{"bus: {placement: {tags: ['zone:a']}}", "bus.placement", "bus.url"},
		{"bus: {placement: {tags: ['zone: a']}, url: 'nats://a:1', credentials: x}", "bus.placement.tags", "region:eu"},
		{"bus: {tls: {ca: x}}", "bus.tls", "bus.url"},
		{"bus: {tls: {ca: no/such.pem}, url: 'tls://a:1', credentials: x}", "bus.tls.ca", "no such file"},
		{"bus: {tls: {key: problems_test.go}, url: 'tls://a:1', credentials: x}", "bus.tls", "go together"},
		{"ciphers: {algorithm: rot13}", "ciphers.algorithm", "aes"},
		{"hashers: {algorithm: md5}", "hashers.algorithm", "bcrypt"},
		{"hashers: {bcrypt: {cost: 3}}", "hashers.bcrypt.cost", "10 to 31"},
		{"hashers: {argon2: {memory: 19 apples}}", "hashers.argon2.memory", "19MB"},
		{"hashers: {argon2: {memory: 1KB}}", "hashers.argon2.memory", "8KB"},
		{"hashers: {argon2: {iterations: 0}}", "hashers.argon2.iterations", "1 to"},
		{"hashers: {argon2: {key_length: 8}}", "hashers.argon2.key_length", "16 to"},
		{"selfservice: {methods: {password: {config: {min_password_length: 5}}}}", "selfservice.methods.password.config.min_password_length", "6 to 256"},
		{"selfservice: {allowed_return_urls: [https://a.example.org, /relative]}", "selfservice.allowed_return_urls[1]", "absolute"},
		{"selfservice: {default_browser_return_url: nowhere}", "selfservice.default_browser_return_url", "absolute"},
		{"selfservice: {flows: {registration: {ui_url: 'app://x'}}}", "selfservice.flows.registration.ui_url", "http"},
		{"selfservice: {flows: {registration: {style: unifed}}}", "selfservice.flows.registration.style", "did you mean unified"},
		{"selfservice: {flows: {registration: {lifespan: 1ms}}}", "selfservice.flows.registration.lifespan", "1s or more"},
		{"identity: {default_schema_id: person}", "identity.default_schema_id", `"person"`},
		{"session: {earliest_possible_extend: -1s}", "session.earliest_possible_extend", "0 or more"},
		{"selfservice: {flows: {login: {style: identifier_first}}}", "selfservice.flows.login.style", "unified"},
		{"selfservice: {flows: {login: {lifespan: 0s}}}", "selfservice.flows.login.lifespan", "1s or more"},
		{"selfservice: {flows: {login: {ui_url: login}}}", "selfservice.flows.login.ui_url", "http"},
		{"selfservice: {flows: {login: {after: {password: {default_browser_return_url: here}}}}}", "selfservice.flows.login.after.password.default_browser_return_url", "absolute"},
		{"selfservice: {flows: {logout: {after: {default_browser_return_url: here}}}}", "selfservice.flows.logout.after.default_browser_return_url", "absolute"},
		{"selfservice: {flows: {login: {after: {hooks: [{hook: session}]}}}}", "selfservice.flows.login.after.hooks[0].hook", "registration.after.password.hooks"},
		{"selfservice: {flows: {login: {after: {hooks: [{hook: requires_verified_address}]}}}}", "selfservice.flows.login.after.hooks[0].hook", "did you mean require_verified_address"},
		{"selfservice: {flows: {login: {after: {hooks: [{hook: require_verified_address}]}}, verification: {enabled: false}}}", "selfservice.flows.login.after.hooks[0].hook", "verification.enabled"},
		{"selfservice: {flows: {verification: {use: sms}}}", "selfservice.flows.verification.use", "want code, link"},
		{"selfservice: {flows: {recovery: {after: {hooks: [{hook: web_hook, config: {id: a, url: 'http://a.example/', method: POST, can_interrupt: true}}]}}}}", "selfservice.flows.recovery.after.hooks[0].config", "recovered by then"},
		{"selfservice: {flows: {verification: {enabled: true, use: link}}}", "selfservice.methods.link.enabled", "want true"},
		{"selfservice: {methods: {link: {config: {lifespan: 25h}}}}", "selfservice.methods.link.config.lifespan", "24h"},
		{"selfservice: {methods: {link: {config: {base_url: example.org}}}}", "selfservice.methods.link.config.base_url", "absolute"},
		{"selfservice: {flows: {settings: {lifespan: 0s}}}", "selfservice.flows.settings.lifespan", "1s or more"},
		{"selfservice: {flows: {settings: {privileged_session_max_age: 0s}}}", "selfservice.flows.settings.privileged_session_max_age", "1s or more"},
		{"selfservice: {flows: {settings: {required_aal: aal2}}}", "selfservice.flows.settings.required_aal", "want aal1, highest_available"},
		{"selfservice: {flows: {settings: {ui_url: settings}}}", "selfservice.flows.settings.ui_url", "want"},
		{"selfservice: {flows: {settings: {after: {oidc: {default_browser_return_url: /x}}}}}", "selfservice.flows.settings.after.oidc.default_browser_return_url", "want"},
		{"selfservice: {flows: {verification: {lifespan: 0s}}}", "selfservice.flows.verification.lifespan", "1s or more"},
		{"selfservice: {flows: {verification: {after: {hooks: [{hook: session}]}}}}", "selfservice.flows.verification.after.hooks[0].hook", "registration"},
		{"selfservice: {flows: {verification: {after: {hooks: [{hook: web_hook, config: {url: 'http://x/', response: {parse: true}}}]}}}}", "selfservice.flows.verification.after.hooks[0].config", "nothing can be refused"},
		{"selfservice: {methods: {code: {enabled: false}}}", "selfservice.methods.code.enabled", "want true"},
		{"selfservice: {methods: {code: {config: {lifespan: 25h}}}}", "selfservice.methods.code.config.lifespan", "24h"},
		{"selfservice: {methods: {code: {config: {max_submissions: 0}}}}", "selfservice.methods.code.config.max_submissions", "1 to 100"},
		{"selfservice: {max_flows: 0}", "selfservice.max_flows", "1000 to 10000000"},
		{"selfservice: {max_flows: 10000001}", "selfservice.max_flows", "1000 to 10000000"},
		{"audit: {retention: 24h}", "audit.retention", "168h"},
		{"audit: {retention: -1h}", "audit.retention", "168h"},
		{"audit: {checkpoint: {sink: checkpoints.jsonl}}", "audit.checkpoint.sink", "absolute path"},
		{"audit: {checkpoint: {sink: 'ftp://host/x'}}", "audit.checkpoint.sink", "absolute path"},
		{"rate_limits: {registration: {burst: 0}}", "rate_limits.registration.burst", "1 or more"},
		{"rate_limits: {code_try: {per_hour: 0}}", "rate_limits.code_try.per_hour", "1 or more"},
		{"rate_limits: {flow_creation: {global_per_second: -1}}", "rate_limits.flow_creation.global_per_second", "0 or more"},
		{"courier: {delivery_strategy: pigeon}", "courier.delivery_strategy", "want smtp, http"},
		{"courier: {delivery_strategy: http}", "courier.http.request_config.url", "this is needed"},
		{"courier: {http: {request_config: {url: 'ftp://u:s3cr3t@mail/'}}}", "courier.http.request_config.url", "absolute http or https URL"},
		{"courier: {http: {request_config: {url: 'https://mail/', method: post}}}", "courier.http.request_config.method", "not an HTTP method"},
		{"courier: {http: {request_config: {url: 'https://mail/', headers: {X-Key: \"s3cr3t\\n\"}}}}", "courier.http.request_config.headers.X-Key", "one line"},
		{"courier: {http: {request_config: {url: 'https://mail/', auth: {type: api_key, config: {value: s3cr3t}}}}}", "courier.http.request_config.auth", "config.name"},
		{"courier: {http: {request_config: {url: 'https://mail/', body: 'https://mail/body'}}}", "courier.http.request_config.body", "nothing is downloaded"},
		{"courier: {http: {request_config: {body: 'base64://ZnVuY3Rpb24oY3R4KSBpbXBvcnQgJ3gn'}}}", "courier.http.request_config.body", "import is not available"},
		{"courier: {http: {request_config: {can_interrupt: true}}}", "courier.http.request_config.can_interrupt", "unknown"},
		{"courier: {message_retries: 0}", "courier.message_retries", "1 to 100"},
		{"courier: {smtp: {connection_uri: 'imap://u:s3cr3t@mail/', from_address: a@example.org}}", "courier.smtp.connection_uri", "smtps"},
		{"courier: {smtp: {connection_uri: 'smtp://u:s3cr3t@mail/?disable_starttls=maybe', from_address: a@example.org}}", "courier.smtp.connection_uri", "true or false"},
		{"courier: {smtp: {connection_uri: 'smtp://u:s3cr3t/@mail/', from_address: a@example.org}}", "courier.smtp.connection_uri", "percent-encoded"},
		{"courier: {smtp: {from_address: a@example.org, local_name: 'a b'}}", "courier.smtp.local_name", "name of a host"},
		{"courier: {smtp: {from_address: a@example.org, headers: {Subject: Hello}}}", "courier.smtp.headers.Subject", "given by the mail itself"},
		{"courier: {template_override_path: /nowhere}", "courier.template_override_path", "no such folder"},
		{"courier: {templates: {verification_code: {valid: {email: {subject: 'base64://e3sgLkNvZGUgfX0='}}}}}", "courier.templates.verification_code.valid.email.subject", "Code"},
		{"courier: {templates: {verification_code: {valid: {email: {body: {plaintext: 'base64://SGVsbG8='}}}}}}", "courier.templates.verification_code.valid.email.body.plaintext", "leaves out"},
		{"courier: {smtp: {from_address: 'Ann <ann@example.org>'}}", "courier.smtp.from_address", "accounts@example.com"},
		{"courier: {smtp: {from_name: \"a\\nb\"}}", "courier.smtp.from_name", "one line"},
		{"courier: {smtp: {headers: {X-A: \"a\\nb\"}}}", "courier.smtp.headers.X-A", "one line"},
		{"workers: [{name: Crm, events: [identity.created]}]", "workers[0]", "lower-case"},
		{"workers: [{name: crm}]", "workers[0]", "no event types"},
		{"workers: [{name: crm, events: [identity.create]}]", "workers[0].events[0]", "did you mean identity.created"},
		{"workers: [{name: crm, event: [identity.created]}]", "workers[0].event", "events"},
		{"workers: [{name: session, events: [identity.created]}]", "workers[0]", "part of Usher"},
		{"workers: [{name: provision, events: [identity.created]}]", "workers[0]", "part of Usher"},
		{"workers: [{name: webhook-crm, events: [identity.created]}]", "workers[0]", "part of Usher"},
		{"workers: [{name: crm, kind: webhook, events: [identity.created]}]", "workers[0]", "worker or answer"},
		{"workers: [{name: crm, kind: answer}, {name: crm, kind: answer}]", "workers[1]", "already"},
		{"workers: [{name: crm, events: [identity.created], traits: [name.first]}]", "workers[0].traits[0]", "top of the schema"},
		{"courier: {templates: {verification_code: {valid: {email: {subject: 'file://missing'}}}}}", "courier.templates.verification_code.valid.email.subject", "no such file"},
	} {
		problems := refused(t, config.Options{Dev: true, File: file(t, tt.text+"\n")})
		if len(problems) != 1 || problems[0].Key != tt.key || problems[0].Line != 1 || !strings.Contains(problems[0].Text, tt.says) {
			t.Errorf("%s: problems = %v, want one of %s in line 1 that says %q", tt.text, problems, tt.key, tt.says)
		}
		if strings.Contains(problems.Error(), "s3cr3t") {
			t.Errorf("%s: problems show a secret: %v", tt.text, problems)
		}
	}
}

func TestSchemas(t *testing.T) {
	t.Parallel()
	const rest = "\nselfservice: {default_browser_return_url: 'https://app.example.org/'}\n"
	for _, tt := range []struct{ text, key, says string }{
		{"identity: {schemas: [{id: default, url: 'https://example.org/x.json'}]}" + rest, "identity.schemas[0].url", "nothing is downloaded"},
		{"identity: {schemas: [{id: default, url: 'file://missing.json'}]}" + rest, "identity.schemas[0].url", "no such file"},
		{"identity: {schemas: [{id: default, url: 'base64://%'}]}" + rest, "identity.schemas[0].url", "base64"},
		{"identity: {schemas: [{id: default, url: 'builtin://other'}]}" + rest, "identity.schemas[0].url", "builtin://default"},
		{"identity: {schemas: [{id: default}]}" + rest, "identity.schemas[0].url", "file://PATH"},
		{"identity: {schemas: [{id: default, url: 'base64://e30='}, {id: default, url: 'base64://e30='}]}" + rest, "identity.schemas[1].id", "another"},
		{"identity: {schemas: [{id: person, url: 'base64://e30='}]}" + rest, "identity.default_schema_id", `"default"`},
		{"identity: {schemas: [{id: default, url: 'base64://e30='}]}\n", "selfservice.default_browser_return_url", "needed"},
	} {
		problems := refused(t, config.Options{Dev: true, File: file(t, tt.text)})
		if len(problems) != 1 || problems[0].Key != tt.key || !strings.Contains(problems[0].Text, tt.says) {
			t.Errorf("%s: problems = %v, want one of %s that says %q", tt.text, problems, tt.key, tt.says)
		}
	}
}

func TestWhatIsNotBuilt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, key string }{
		{"security: {account_enumeration: {mitigate: true}}", "security.account_enumeration.mitigate"},
		{"events: {registration_failed: true}", "events.registration_failed"},
		{"feature_flags: {cacheable_sessions: true}", "feature_flags.cacheable_sessions"},
		{"session: {whoami: {tokenizer: {templates: {a: {ttl: 1m}}}}}", "session.whoami.tokenizer.templates"},
		{"selfservice: {flows: {recovery: {before: {hooks: [{hook: web_hook}]}}}}", "selfservice.flows.recovery.before.hooks"},
		{"selfservice: {flows: {registration: {login_hints: true}}}", "selfservice.flows.registration.login_hints"},
		{"selfservice: {flows: {login: {before: {hooks: [{hook: web_hook}]}}}}", "selfservice.flows.login.before.hooks"},
		{"selfservice: {flows: {settings: {before: {hooks: [{hook: web_hook}]}}}}", "selfservice.flows.settings.before.hooks"},
		{"selfservice: {flows: {settings: {after: {totp: {hooks: [{hook: web_hook}]}}}}}", "selfservice.flows.settings.after.totp.hooks"},
		{"selfservice: {methods: {oidc: {config: {providers: [{organization_id: o}]}}}}", "selfservice.methods.oidc.config.providers[0].organization_id"},
		{"selfservice: {methods: {code: {passwordless_enabled: true}}}", "selfservice.methods.code.passwordless_enabled"},
		{"selfservice: {methods: {totp: {enabled: true}}}", "selfservice.methods.totp.enabled"},
		{"selfservice: {methods: {lookup_secret: {enabled: true}}}", "selfservice.methods.lookup_secret.enabled"},
		{"selfservice: {methods: {webauthn: {enabled: true}}}", "selfservice.methods.webauthn.enabled"},
		{"selfservice: {methods: {passkey: {enabled: true}}}", "selfservice.methods.passkey.enabled"},
		{"selfservice: {methods: {saml: {enabled: true}}}", "selfservice.methods.saml.enabled"},
	} {
		problems := refused(t, config.Options{Dev: true, File: file(t, "\n\n"+tt.text+"\n")})
		if len(problems) != 1 || problems[0].Key != tt.key || problems[0].Line != 3 || !strings.Contains(problems[0].Text, "not built yet") {
			t.Errorf("%s: problems = %v, want one of %s in line 3 that says it is not built", tt.text, problems, tt.key)
		}
		off := strings.NewReplacer("true", "false", "[{", "[] #", "{retention", "{} #", "{a:", "{} #").Replace(tt.text)
		if off = closeBraces(off); off == tt.text {
			t.Errorf("%s: the test has no way to turn it off", tt.text)
			continue
		}
		load(t, config.Options{Dev: true, File: file(t, off)})
	}
}

// closeBraces cuts a comment off and closes what it left open.
func closeBraces(text string) string {
	text, _, _ = strings.Cut(text, "#")
	return text + strings.Repeat("}", strings.Count(text, "{")-strings.Count(text, "}"))
}

func TestProductionWantsCare(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, text, key, says string
		env                   []string
	}{
		{"no secrets", "{}", "secrets.cipher", "needed", noEnv},
		{"short secret", "secrets: {cookie: [0123456789abcdef]}", "secrets.cookie[0]", "too short", withSecret},
		{"placeholder", "secrets: {cookie: [PLEASE-CHANGE-ME-I-AM-VERY-INSECURE]}", "secrets.cookie[0]", "placeholder", withSecret},
		{"placeholder of the contract", "secrets: {cipher: [32-LONG-SECRET-NOT-SECURE-AT-ALL]}", "secrets.cipher[0]", "placeholder", withSecret},
		{"monotonous", "secrets: {cookie: [aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]}", "secrets.cookie[0]", "guessed", withSecret},
		{"repeated", "secrets: {cookie: [" + goodSecret + ", " + goodSecret + "]}", "secrets.cookie[1]", "twice", withSecret},
		{"cheap bcrypt", "hashers: {algorithm: bcrypt, bcrypt: {cost: 8}}", "hashers.bcrypt.cost", "--dev", withSecret},
		{"cheap argon2", "hashers: {argon2: {memory: 4MB}}", "hashers.argon2.memory", "19MB or more", withSecret},
		{"one iteration", "hashers: {argon2: {iterations: 1}}", "hashers.argon2.memory", "46MB or more", withSecret},
	} {
		problems := refused(t, config.Options{File: file(t, tt.text), Env: tt.env})
		if i := slices.IndexFunc(problems, func(p config.Problem) bool { return p.Key == tt.key }); i < 0 || !strings.Contains(problems[i].Text, tt.says) {
			t.Errorf("%s: problems = %v, want one of %s that says %q", tt.name, problems, tt.key, tt.says)
		}
		if tt.name != "short secret" && tt.name != "repeated" {
			load(t, config.Options{File: file(t, tt.text), Env: tt.env, Dev: true})
		}
	}
	for _, strong := range []string{"memory: 128MB, iterations: 1", "memory: 12MB, iterations: 3", "memory: 9MB, iterations: 4", "memory: 7MB, iterations: 5"} {
		load(t, config.Options{File: file(t, "hashers: {argon2: {"+strong+"}}"), Env: withSecret})
	}
}

func TestAllProblemsAtOnceInOrder(t *testing.T) {
	t.Parallel()
	path := file(t, `log:
  level: info
serve:
  public:
    port: "1"
  amdin: {}
hashers:
  bcrypt:
    cost: many
`)
	want := []string{
		path + `:5: serve.public.port: want a whole number`,
		path + `:6: serve.amdin: unknown key; did you mean serve.admin?`,
		path + `:9: hashers.bcrypt.cost: want a whole number`,
	}
	if got := refused(t, config.Options{File: path}).Error(); got != strings.Join(want, "\n") {
		t.Errorf("problems:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

func TestUnreadableFiles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, says string }{
		{"broken", "a: [", "did not find expected"},
		{"no keys", "- a\n", "usher.yaml:1: want keys and values"},
		{"twice", "log: {level: info}\nlog: {level: warn}\n", "usher.yaml:2: log is written twice"},
		{"two documents", "dsn: memory\n---\ndsn: memory\n", "one YAML document"},
		{"circle", "log: &a\n  level: *a\n", "nested too deep"},
		{"key of a list", "[a]: 1\n", "usher.yaml:1: want a name before the colon"},
		{"merge of a text", "log: {<<: text}\n", "usher.yaml:1: want keys and values behind <<"},
	} {
		_, _, err := config.Load(config.Options{File: file(t, tt.text), Env: noEnv, Dev: true})
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: Load = %v, want %q", tt.name, err, tt.says)
		}
	}
	_, _, err := config.Load(config.Options{File: filepath.Join(t.TempDir(), "missing.yaml"), Env: noEnv})
	if !os.IsNotExist(err) {
		t.Errorf("Load of a missing file = %v, want not exist", err)
	}
	load(t, config.Options{File: file(t, "# nothing but a comment\n"), Dev: true})
	load(t, config.Options{File: file(t, "log:\nhashers: ~\n"), Dev: true})
}

func TestMergeKeysAndAliases(t *testing.T) {
	t.Parallel()
	c, _ := load(t, config.Options{Dev: true, File: file(t, `
log: &log {level: warn, format: json}
session:
  cookie: &cookie {path: /a, domain: example.org}
cookies:
  <<: [{path: /b}, *cookie]
  domain: example.net
`)})
	if c.Log.Level != "warn" || c.Cookies.Path != "/b" || c.Cookies.Domain != "example.net" {
		t.Errorf("log %+v, cookies %+v; want own keys over merged ones, the first merged over the second", c.Log, c.Cookies)
	}
}
