package config

import (
	"net/http"
	"net/netip"
	"time"
)

// Config is a configuration that was checked. Its fields are the keys of the
// file; what is derived from them has methods.
type Config struct {
	// Dev relaxes what only production needs: cookies without Secure, secrets
	// made by itself, cheap hashes, listeners on loopback.
	Dev bool `yaml:"dev"`
	// DataDir holds all that is stored outside an external database and bus.
	DataDir string `yaml:"data_dir"`
	// DSN is empty for SQLite in DataDir, "memory", sqlite://PATH or postgres://…
	DSN   Address `yaml:"dsn"`
	Bus   Bus     `yaml:"bus"`
	Serve struct {
		Public struct {
			// BaseURL begins every URL that is handed out, see [Config.PublicURL].
			BaseURL string `yaml:"base_url"`
			Host    string `yaml:"host"`
			Port    int    `yaml:"port"` // 0 takes a free one
			TLS     TLS    `yaml:"tls"`
			// RequestLog is what is written about requests.
			RequestLog RequestLog `yaml:"request_log"`
			CORS       CORS       `yaml:"cors"`
		} `yaml:"public"`
		Admin struct {
			BaseURL    string     `yaml:"base_url"`
			Host       string     `yaml:"host"`
			Port       int        `yaml:"port"`
			TLS        TLS        `yaml:"tls"`
			RequestLog RequestLog `yaml:"request_log"`
		} `yaml:"admin"`
		// DrainDelay is how long a process that is to end goes on taking requests while
		// /health/ready says 503, so that no balancer sends it more when it closes.
		DrainDelay time.Duration `yaml:"drain_delay"`
		// TrustedProxies are believed when they say whom they speak for.
		TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
	} `yaml:"serve"`
	// Secrets: the first of a list signs and seals, all of them verify and open.
	// Default stands in for a list that is empty; behind [Load] it has done so.
	Secrets struct {
		Cookie  []Secret `yaml:"cookie"`
		Cipher  []Secret `yaml:"cipher"`
		Default []Secret `yaml:"default"`
	} `yaml:"secrets"`
	Ciphers struct {
		// Algorithm is checked only: what is sealed is always XChaCha20-Poly1305.
		Algorithm string `yaml:"algorithm"`
	} `yaml:"ciphers"`
	Cookies struct {
		Domain   string   `yaml:"domain"`
		Path     string   `yaml:"path"`
		SameSite SameSite `yaml:"same_site"`
		Secure   bool     `yaml:"secure"`
	} `yaml:"cookies"`
	Session     Session     `yaml:"session"`
	Identity    Identity    `yaml:"identity"`
	Hashers     Hashers     `yaml:"hashers"`
	SelfService SelfService `yaml:"selfservice"`
	Courier     Courier     `yaml:"courier"`
	RateLimits  RateLimits  `yaml:"rate_limits"`
	Audit       Audit       `yaml:"audit"`
	Webhooks    []Webhook   `yaml:"webhooks"`
	// Workers are declared here, and only changed here.
	Workers []Worker `yaml:"workers"`
	Clients struct {
		HTTP struct {
			// DisallowPrivateIPRanges refuses hooks on addresses that are not on
			// the public internet, except for URLs that match one of the globs.
			DisallowPrivateIPRanges bool     `yaml:"disallow_private_ip_ranges"`
			PrivateIPExceptionURLs  []string `yaml:"private_ip_exception_urls"`
		} `yaml:"http"`
		WebHook struct {
			// HeaderAllowlist names the request headers that hooks may see.
			HeaderAllowlist []string `yaml:"header_allowlist"`
		} `yaml:"web_hook"`
	} `yaml:"clients"`
	Security struct {
		AccountEnumeration struct {
			// Mitigate is protected mode. It is not built yet, so this is false.
			Mitigate bool `yaml:"mitigate"`
		} `yaml:"account_enumeration"`
	} `yaml:"security"`
	FeatureFlags struct {
		// LegacyContinueWithVerificationUI adds show_verification_ui to every answer
		// of a registration that has opened a verification.
		LegacyContinueWithVerificationUI bool `yaml:"legacy_continue_with_verification_ui"`
		// LegacyRequireVerifiedLoginError answers a login that waits for a
		// verification with a message in the flow.
		LegacyRequireVerifiedLoginError bool `yaml:"legacy_require_verified_login_error"`
		// UseContinueWithTransitions answers a recovery with what comes next, which the
		// newest SDKs expect, in place of 422.
		UseContinueWithTransitions bool `yaml:"use_continue_with_transitions"`
		// FasterSessionExtend answers an administrator who extends a session with 204,
		// not with the session.
		FasterSessionExtend bool `yaml:"faster_session_extend"`
	} `yaml:"feature_flags"`
	Console struct {
		// SetUpLink prints the link that sets up the first operator at the start.
		SetUpLink bool `yaml:"setup_link"`
		// Locked names the settings that operators cannot save, see [Config.Settings].
		Locked []string `yaml:"locked"`
	} `yaml:"console"`
	Tracing Tracing `yaml:"tracing"`
	Log     struct {
		Level  string `yaml:"level"`  // trace, debug, info, warn, error, fatal or panic
		Format string `yaml:"format"` // text or json
	} `yaml:"log"`

	collectorByEnv bool // see [Config.Traces]

	lines map[string]int // in the file, of the entries of hook lists by their keys
	// reading is what it comes from. It holds secrets, which a function does not show.
	reading func() *loader
}

// RequestLog says which requests to a listener are logged.
type RequestLog struct {
	// DisableForHealth leaves out those that ask for its health.
	DisableForHealth bool `yaml:"disable_for_health"`
}

// CORS says which pages of other origins may use the public listener.
type CORS struct {
	Enabled          bool     `yaml:"enabled"`
	AllowedOrigins   []string `yaml:"allowed_origins"`
	AllowedMethods   []string `yaml:"allowed_methods"`
	AllowedHeaders   []string `yaml:"allowed_headers"`
	ExposedHeaders   []string `yaml:"exposed_headers"`
	AllowCredentials bool     `yaml:"allow_credentials"`
}

// What a registration does when no session can be issued.
const (
	OnFailureDegrade = "degrade" // it succeeds without one
	OnFailureFail    = "fail"    // it answers 503
)

// Session is what is configured for sessions.
type Session struct {
	Lifespan time.Duration `yaml:"lifespan"`
	// EarliestPossibleExtend is how long before its end a session can be extended
	// at the earliest; 0 means at any time.
	EarliestPossibleExtend time.Duration `yaml:"earliest_possible_extend"`
	// Cookie: what is not given is that of Config.Cookies.
	Cookie struct {
		Name       string   `yaml:"name"`
		Persistent bool     `yaml:"persistent"`
		Domain     string   `yaml:"domain"`
		Path       string   `yaml:"path"`
		SameSite   SameSite `yaml:"same_site"`
		Secure     bool     `yaml:"secure"`
	} `yaml:"cookie"`
	Whoami struct {
		// RequiredAAL is met by every session: there is no second factor yet.
		RequiredAAL string `yaml:"required_aal"`
	} `yaml:"whoami"`
	Issue struct {
		OnFailure string `yaml:"on_failure"`
		// Timeout bounds the wait for the session worker, the hedge included.
		Timeout time.Duration `yaml:"timeout"`
	} `yaml:"issue"`
}

// Identity is what is configured for identities.
type Identity struct {
	DefaultSchemaID string   `yaml:"default_schema_id"`
	Schemas         []Schema `yaml:"schemas"`
}

// Schema is an identity schema.
type Schema struct {
	ID string `yaml:"id"`
	// URL is file://PATH (relative to the configuration file), base64://DATA,
	// or builtin://default.
	URL string `yaml:"url"`
	// Selectable schemas may be named when a flow begins.
	Selectable bool `yaml:"selfservice_selectable"`
	// Document is what URL leads to.
	Document []byte `yaml:"-"`
}

// Algorithms of new hashes.
const (
	Argon2 = "argon2" // Argon2id
	Bcrypt = "bcrypt"
)

// Hashers says how passwords are hashed.
type Hashers struct {
	Algorithm string `yaml:"algorithm"`
	Bcrypt    struct {
		Cost int `yaml:"cost"`
	} `yaml:"bcrypt"`
	Argon2 struct {
		Memory      Size `yaml:"memory"`
		Iterations  int  `yaml:"iterations"`
		Parallelism int  `yaml:"parallelism"`
		SaltLength  int  `yaml:"salt_length"`
		KeyLength   int  `yaml:"key_length"`
	} `yaml:"argon2"`
}

// SelfService is what is configured for self-service.
type SelfService struct {
	// DefaultBrowserReturnURL is where browsers go at the end of a flow, see
	// [Config.DefaultReturnURL].
	DefaultBrowserReturnURL string `yaml:"default_browser_return_url"`
	// AllowedReturnURLs are where a return_to may lead.
	AllowedReturnURLs []string `yaml:"allowed_return_urls"`
	// MaxFlows is how many flows are kept at once, by all processes together.
	MaxFlows int `yaml:"max_flows"`
	Flows    struct {
		Error struct {
			UIURL string `yaml:"ui_url"`
		} `yaml:"error"`
		Registration Registration `yaml:"registration"`
		Login        Login        `yaml:"login"`
		Logout       struct {
			// ClearBrowserData asks browsers to forget all of the site, over https.
			ClearBrowserData bool `yaml:"clear_browser_data"`
			After            struct {
				DefaultBrowserReturnURL string `yaml:"default_browser_return_url"`
			} `yaml:"after"`
		} `yaml:"logout"`
		Verification Verification `yaml:"verification"`
		Recovery     Recovery     `yaml:"recovery"`
		Settings     Settings     `yaml:"settings"`
	} `yaml:"flows"`
	Methods struct {
		Password struct {
			Enabled bool `yaml:"enabled"`
			Config  struct {
				MinPasswordLength                int  `yaml:"min_password_length"`
				IdentifierSimilarityCheckEnabled bool `yaml:"identifier_similarity_check_enabled"`
				// BreachedFile is one of 'usher passwords build', beside the configuration file.
				BreachedFile string `yaml:"breached_file"`
				// Breached is what BreachedFile leads to.
				Breached File `yaml:"-"`
			} `yaml:"config"`
		} `yaml:"password"`
		Profile struct {
			// Enabled: people change their traits in settings.
			Enabled bool `yaml:"enabled"`
		} `yaml:"profile"`
		Code struct {
			// Enabled: codes verify addresses.
			Enabled bool `yaml:"enabled"`
			Config  struct {
				Lifespan       time.Duration `yaml:"lifespan"`
				MaxSubmissions int           `yaml:"max_submissions"`
			} `yaml:"config"`
		} `yaml:"code"`
		Link struct {
			// Enabled: links may verify addresses, see use of the flow.
			Enabled bool `yaml:"enabled"`
			Config  struct {
				Lifespan time.Duration `yaml:"lifespan"`
				// BaseURL begins the links; empty is that of the public listener.
				BaseURL string `yaml:"base_url"`
			} `yaml:"config"`
		} `yaml:"link"`
		OIDC OIDC `yaml:"oidc"`
	} `yaml:"methods"`
}

// Registration is what is configured for the registration flow.
type Registration struct {
	Enabled  bool          `yaml:"enabled"`
	UIURL    string        `yaml:"ui_url"`
	Lifespan time.Duration `yaml:"lifespan"`
	// Style is unified, which asks for everything at once, or profile_first, which
	// asks for the password in a second step.
	Style string `yaml:"style"`
	// EnableLegacyOneStep is the older name of unified, and counts over Style.
	EnableLegacyOneStep bool `yaml:"enable_legacy_one_step"`
	Before              struct {
		Hooks []Hook `yaml:"hooks"`
	} `yaml:"before"`
	After struct {
		DefaultBrowserReturnURL string `yaml:"default_browser_return_url"`
		Hooks                   []Hook `yaml:"hooks"`
		Password                struct {
			DefaultBrowserReturnURL string `yaml:"default_browser_return_url"`
			Hooks                   []Hook `yaml:"hooks"`
		} `yaml:"password"`
		OIDC struct {
			DefaultBrowserReturnURL string `yaml:"default_browser_return_url"`
			Hooks                   []Hook `yaml:"hooks"`
			// AutoSession: social sign-in gets the session step also when nobody configured it.
			AutoSession bool `yaml:"auto_session"`
		} `yaml:"oidc"`
	} `yaml:"after"`
}

// SameSite is the contract's word for a cookie attribute: Lax, Strict or None.
type SameSite string

// HTTP gives the attribute as net/http knows it.
func (s SameSite) HTTP() http.SameSite {
	switch s {
	case "Strict":
		return http.SameSiteStrictMode
	case "None":
		return http.SameSiteNoneMode
	default:
		return http.SameSiteLaxMode
	}
}
