package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Methods are the enabled methods of registration and login.
func (c *Config) Methods() (methods []string) {
	if c.SelfService.Methods.Password.Enabled {
		methods = append(methods, "password")
	}
	if c.SelfService.Methods.OIDC.signsIn() {
		methods = append(methods, "oidc")
	}
	return methods
}

// styles are those of a registration, the default first.
var styles = []string{"profile_first", "unified"}

// style is the one that counts.
func (r *Registration) style() string {
	if r.EnableLegacyOneStep {
		return styles[1]
	}
	return r.Style
}

// RegistrationMethods are the enabled methods of the registration flow: in two steps
// the profile is one, where a password is what the second step asks for.
func (c *Config) RegistrationMethods() []string {
	methods := c.Methods()
	if c.SelfService.Flows.Registration.style() == styles[0] && c.SelfService.Methods.Password.Enabled && c.SelfService.Methods.Profile.Enabled {
		methods = append(methods, "profile")
	}
	return methods
}

// Mitigate tells whether protected mode is on.
func (c *Config) Mitigate() bool { return c.Security.AccountEnumeration.Mitigate }

// PublicURL is the base URL of the public listener.
func (c *Config) PublicURL() string {
	return listenerURL(c.Serve.Public.BaseURL, c.Serve.Public.Host, c.Serve.Public.Port, c.Serve.Public.TLS)
}

// AdminURL is the base URL of the admin listener.
func (c *Config) AdminURL() string {
	return listenerURL(c.Serve.Admin.BaseURL, c.Serve.Admin.Host, c.Serve.Admin.Port, c.Serve.Admin.TLS)
}

func listenerURL(base, host string, port int, t TLS) string {
	if base != "" {
		return base
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http://"
	if t.On() {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(host, strconv.Itoa(port)) + "/"
}

// DefaultReturnURL is where browsers go at the end when nothing else is said:
// the built-in page unless there is another.
func (c *Config) DefaultReturnURL() string {
	return c.page(c.SelfService.DefaultBrowserReturnURL, "welcome")
}

// RegistrationURL is the page that shows the registration flow.
func (c *Config) RegistrationURL() string {
	return c.page(c.SelfService.Flows.Registration.UIURL, "registration")
}

// LoginURL is the page that shows the login flow.
func (c *Config) LoginURL() string { return c.page(c.SelfService.Flows.Login.UIURL, "login") }

// VerificationURL is the page that shows the verification flow.
func (c *Config) VerificationURL() string {
	return c.page(c.SelfService.Flows.Verification.UIURL, "verification")
}

// RecoveryURL is the page that shows the recovery flow.
func (c *Config) RecoveryURL() string { return c.page(c.SelfService.Flows.Recovery.UIURL, "recovery") }

// SettingsURL is the page that shows the settings flow.
func (c *Config) SettingsURL() string {
	return c.page(c.SelfService.Flows.Settings.UIURL, "settings")
}

// SettingsMethods are the enabled methods of the settings flow.
func (c *Config) SettingsMethods() (methods []string) {
	if c.SelfService.Methods.Profile.Enabled {
		methods = append(methods, "profile")
	}
	if c.SelfService.Methods.Password.Enabled {
		methods = append(methods, "password")
	}
	if c.SelfService.Methods.OIDC.signsIn() {
		methods = append(methods, "oidc")
	}
	return methods
}

// SettingsMethodReturnURLs are where browsers go at the end of the settings flow, by
// method, where that is configured.
func (c *Config) SettingsMethodReturnURLs() map[string]string {
	urls := map[string]string{}
	for method, after := range c.settingsMethods() {
		if after.DefaultBrowserReturnURL != "" {
			urls[method] = after.DefaultBrowserReturnURL
		}
	}
	return urls
}

// ErrorURL is the page that shows an error.
func (c *Config) ErrorURL() string { return c.page(c.SelfService.Flows.Error.UIURL, "error") }

// page gives the URL that is configured, or a built-in page.
func (c *Config) page(configured, builtIn string) string {
	if configured != "" {
		return configured
	}
	return strings.TrimRight(c.PublicURL(), "/") + "/ui/" + builtIn
}

// MethodReturnURLs are where browsers go at the end of a registration, by
// method, where that is configured.
func (c *Config) MethodReturnURLs() map[string]string {
	after := &c.SelfService.Flows.Registration.After
	return byMethod(after.Password.DefaultBrowserReturnURL, after.OIDC.DefaultBrowserReturnURL)
}

// LoginMethodReturnURLs are where browsers go at the end of a login, by method,
// where that is configured.
func (c *Config) LoginMethodReturnURLs() map[string]string {
	after := &c.SelfService.Flows.Login.After
	return byMethod(after.Password.DefaultBrowserReturnURL, after.OIDC.DefaultBrowserReturnURL)
}

func byMethod(password, oidc string) map[string]string {
	urls := map[string]string{}
	for method, u := range map[string]string{"password": password, "oidc": oidc} {
		if u != "" {
			urls[method] = u
		}
	}
	return urls
}

// Listening gives the configuration with the ports that were opened, where it
// leaves them to the system (port 0).
func (c *Config) Listening(public, admin int) *Config {
	copied := *c
	if c.Serve.Public.Port == 0 {
		copied.Serve.Public.Port = public
	}
	if c.Serve.Admin.Port == 0 {
		copied.Serve.Admin.Port = admin
	}
	return &copied
}

func (c *Config) onPostgreSQL() bool {
	return slices.Contains([]string{"postgres", "postgresql"}, c.DSN.Scheme())
}

// CheckParts says what is missing for running the parts as processes: they
// meet in PostgreSQL and on an external bus.
func (c *Config) CheckParts() error {
	var problems []error
	if !c.onPostgreSQL() {
		problems = append(problems, errors.New("dsn: want postgres://…: SQLite is for one process with all parts"))
	}
	if c.Bus.URL == "" {
		problems = append(problems, errors.New("bus.url: want nats://…: the embedded bus is for one process with all parts"))
	}
	if len(problems) > 0 {
		return fmt.Errorf("parts as processes: %w", errors.Join(problems...))
	}
	return nil
}
