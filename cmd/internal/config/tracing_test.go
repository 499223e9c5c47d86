package config_test

import (
	"strings"
	"testing"

	"github.com/usher-auth/usher/cmd/internal/config"
)

func TestTracing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text, env  string
		on         bool
		host, path string
		insecure   bool
		warns      string
	}{
		{text: "tracing: {}"},
		{text: "tracing: {provider: otel, providers: {otlp: {server_url: 'collector:4318', insecure: true, sampling: {sampling_ratio: 1}}}}", on: true, host: "collector:4318", insecure: true},
		{text: "tracing: {provider: otel, providers: {otlp: {server_url: 'https://c.example/otlp/v1/traces/', insecure: true}}}", on: true, host: "c.example", path: "/otlp/v1/traces"},
		{text: "tracing: {provider: otel, providers: {otlp: {server_url: 'http://[::1]:4318'}}}", on: true, host: "[::1]:4318", insecure: true},
		{text: "tracing: {provider: otel}", env: "OTEL_EXPORTER_OTLP_ENDPOINT=http://c.example:4318", on: true},
		{text: "tracing: {provider: otel}", warns: "no traces are sent"},
		{text: "tracing: {provider: zipkin, providers: {zipkin: {server_url: x}}}", warns: "zipkin is not supported"},
		{text: "tracing: {providers: {otlp: {server_url: 'collector:4318'}}}", host: "collector:4318"},
	} {
		c, warnings := load(t, config.Options{Dev: true, File: file(t, tt.text), Env: []string{tt.env}})
		host, path, insecure := c.Tracing.Providers.OTLP.Endpoint()
		if c.Traces() != tt.on || host != tt.host || path != tt.path || insecure != tt.insecure {
			t.Errorf("%s: traces %t to %q %q, insecure %t; want %t, %q, %q, %t", tt.text, c.Traces(), host, path, insecure, tt.on, tt.host, tt.path, tt.insecure)
		}
		said := ""
		for _, w := range warnings {
			if strings.HasPrefix(w.Key, "tracing") {
				said += w.String()
			}
		}
		if !strings.Contains(said, tt.warns) || tt.warns == "" && said != "" {
			t.Errorf("%s: warnings %q, want %q", tt.text, said, tt.warns)
		}
	}
	c, _ := load(t, config.Options{Dev: true, Env: []string{"USHER_TRACING__PROVIDERS__OTLP__SAMPLING__SAMPLING_RATIO=0.25"}})
	if got := c.Tracing.Providers.OTLP.Sampling.Ratio; got != 0.25 {
		t.Errorf("ratio of the variable = %v, want 0.25", got)
	}
}

func TestTracingThatCannotBe(t *testing.T) {
	t.Parallel()
	for text, key := range map[string]string{
		"tracing: {provider: otle}":                                                     "tracing.provider",
		"tracing: {providers: {otlp: {sampling: {sampling_ratio: 1.5}}}}":               "tracing.providers.otlp.sampling.sampling_ratio",
		"tracing: {providers: {otlp: {sampling: {sampling_ratio: -0.1}}}}":              "tracing.providers.otlp.sampling.sampling_ratio",
		"tracing: {providers: {otlp: {sampling: {sampling_ratio: .nan}}}}":              "tracing.providers.otlp.sampling.sampling_ratio",
		"tracing: {providers: {otlp: {sampling: {sampling_ratio: half}}}}":              "tracing.providers.otlp.sampling.sampling_ratio",
		"tracing: {providers: {otlp: {server_url: collector}}}":                         "tracing.providers.otlp.server_url",
		"tracing: {providers: {otlp: {server_url: 'grpc://collector:4317'}}}":           "tracing.providers.otlp.server_url",
		"tracing: {providers: {otlp: {server_url: 'https://u:s3cr3t@c.example/'}}}":     "tracing.providers.otlp.server_url",
		"tracing: {providers: {otlp: {server_url: 'https://c.example/?token=s3cr3t'}}}": "tracing.providers.otlp.server_url",
		"tracing: {providers: {otlp: {server_url: 'collector:4318/v1/traces'}}}":        "tracing.providers.otlp.server_url",
		"tracing: {providers: {oltp: {server_url: 'collector:4318'}}}":                  "tracing.providers.oltp",
	} {
		problems := refused(t, config.Options{Dev: true, File: file(t, text)})
		if len(problems) != 1 || problems[0].Key != key || problems[0].Line != 1 || strings.Contains(problems.Error(), "s3cr3t") {
			t.Errorf("%s: %v, want one problem with %s", text, problems, key)
		}
	}
}
