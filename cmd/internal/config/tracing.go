package config

import (
	"net"
	"net/url"
	"slices"
	"strings"
)

// ProviderOTel sends traces by OTLP over HTTP.
const ProviderOTel = "otel"

// otherProviders are those of the reference server: a file that names one starts, and
// its traces go nowhere.
var otherProviders = []string{"jaeger", "zipkin"}

const otlp = "tracing.providers.otlp"

// Tracing is what is configured for traces.
type Tracing struct {
	// ServiceName is what traces call this program; empty is OTEL_SERVICE_NAME, or usher.
	ServiceName string `yaml:"service_name"`
	// Provider is empty for no traces, or [ProviderOTel].
	Provider  string `yaml:"provider"`
	Providers struct {
		OTLP OTLP `yaml:"otlp"`
	} `yaml:"providers"`
}

// OTLP says where traces are sent.
type OTLP struct {
	// ServerURL is host:port or an http(s) URL of a collector; empty is what the
	// variables of OpenTelemetry say.
	ServerURL string `yaml:"server_url"`
	// Insecure is plain HTTP, for a host:port.
	Insecure bool `yaml:"insecure"`
	Sampling struct {
		// Ratio is how many of the requests that begin a trace are recorded, 0 to 1.
		Ratio float64 `yaml:"sampling_ratio"`
	} `yaml:"sampling"`
}

// Endpoint is where spans are posted to: the host, the path, empty for the usual one,
// and whether that is by plain HTTP.
func (o OTLP) Endpoint() (host, path string, insecure bool) {
	if u, err := url.Parse(o.ServerURL); err == nil && u.Host != "" {
		return u.Host, strings.TrimSuffix(u.Path, "/"), u.Scheme == "http"
	}
	return o.ServerURL, "", o.Insecure
}

// Traces tells whether traces are sent: otel is the provider, and there is somewhere to
// send them to.
func (c *Config) Traces() bool {
	return c.Tracing.Provider == ProviderOTel && (c.Tracing.Providers.OTLP.ServerURL != "" || c.collectorByEnv)
}

// collectorInEnv tells whether the variables of OpenTelemetry name a collector.
func (l *loader) collectorInEnv() bool {
	return slices.ContainsFunc(l.options.Env, func(variable string) bool {
		name, value, _ := strings.Cut(variable, "=")
		return value != "" && (name == "OTEL_EXPORTER_OTLP_ENDPOINT" || name == "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
	})
}

func (l *loader) checkTracing(c *Config) {
	l.oneOf("tracing.provider", c.Tracing.Provider, append([]string{"", ProviderOTel}, otherProviders...)...)
	o := c.Tracing.Providers.OTLP
	if r := o.Sampling.Ratio; !(r >= 0 && r <= 1) { // NaN too
		l.refuseKey(otlp+".sampling.sampling_ratio", "want 0 to 1, not %v", r)
	}
	if o.ServerURL == "" {
		return
	}
	u, err := url.Parse(o.ServerURL)
	switch _, _, split := net.SplitHostPort(o.ServerURL); {
	case split == nil && !strings.Contains(o.ServerURL, "/"):
	case err != nil, u.Host == "", u.Scheme != "http" && u.Scheme != "https", u.User != nil, u.RawQuery != "", u.Fragment != "":
		l.refuseKey(otlp+".server_url", "want host:port, as in collector.internal:4318, or an http(s) URL; what a collector wants in headers stands in OTEL_EXPORTER_OTLP_HEADERS") // it may hold a password
	}
}

func (l *loader) warnTracing(c *Config) {
	switch {
	case slices.Contains(otherProviders, c.Tracing.Provider):
		l.warn("tracing.provider", c.Tracing.Provider+" is not supported and no traces are sent: want "+ProviderOTel)
	case c.Tracing.Provider == ProviderOTel && !c.Traces():
		l.warn(otlp+".server_url", "not set, and no OTEL_EXPORTER_OTLP_ENDPOINT: no traces are sent")
	}
}
