package config_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/usher-auth/usher/cmd/internal/config"
)

// namesIn gives the full names of all keys of a YAML text that have no keys below them.
func namesIn(t *testing.T, text []byte) []string {
	t.Helper()
	var tree map[string]any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	var walk func(string, map[string]any)
	walk = func(parent string, values map[string]any) {
		for name, v := range values {
			if below, ok := v.(map[string]any); ok {
				walk(parent+name+".", below)
				continue
			}
			names[parent+name] = true
		}
	}
	walk("", tree)
	return slices.Sorted(maps.Keys(names))
}

// The example configuration is what operators copy from: it must not lie.
func TestExampleNamesEveryKeyWithItsDefault(t *testing.T) {
	t.Parallel()
	const example = "../../../deploy/config.yaml"
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	defaults, _ := load(t, config.Options{File: file(t, ""), Env: withSecret})
	got, warnings := load(t, config.Options{File: example, Env: withSecret})
	if changed, _ := config.Diff(defaults, got); len(changed) > 0 {
		t.Errorf("%s differs from the defaults in %v", example, changed)
	}
	if len(warnings) != 1 || warnings[0].Key != "serve.public.base_url" {
		t.Errorf("warnings = %v, want one about base_url", warnings)
	}
	printed, err := defaults.Print()
	if err != nil {
		t.Fatal(err)
	}
	if named, all := namesIn(t, text), namesIn(t, printed); !slices.Equal(named, all) {
		t.Errorf("%s names %v, want %v", example, named, all)
	}
}

func TestPrintCanBeReadAgain(t *testing.T) {
	t.Parallel()
	for _, o := range []config.Options{
		{},
		{File: file(t, "log: {level: debug}\nserve: {public: {base_url: 'https://id.example.org/'}, trusted_proxies: [10.0.0.1]}\n"), Env: withSecret},
	} {
		c, _ := load(t, o)
		text, err := c.Print()
		if err != nil {
			t.Fatal(err)
		}
		// Secrets are not there to be read: they come from elsewhere.
		readable := strings.ReplaceAll(string(text), "[secret]", goodSecret)
		again, _ := load(t, config.Options{File: file(t, readable)})
		second, err := again.Print()
		if err != nil {
			t.Fatal(err)
		}
		if string(second) != string(text) {
			t.Errorf("Print of what was printed:\n%s\nwant:\n%s", second, text)
		}
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	base := "log: {level: info}\n"
	before, _ := load(t, config.Options{Dev: true, File: file(t, base)})
	for _, tt := range []struct {
		over             map[string]any
		changed, restart []string
	}{
		{nil, nil, nil},
		{map[string]any{"log.level": "debug", "session.lifespan": "1h"}, []string{"log.level", "session.lifespan"}, nil},
		{map[string]any{"serve.public.port": 1, "serve.public.base_url": "https://a.example.org/"}, []string{"serve.public.base_url", "serve.public.port"}, []string{"serve.public.port"}},
		{map[string]any{"dsn": "memory", "data_dir": "x", "bus.listen": "127.0.0.1:1"}, []string{"bus.listen", "data_dir", "dsn"}, []string{"bus.listen", "data_dir", "dsn"}},
		{map[string]any{"bus.max_bytes": "20GB"}, []string{"bus.max_bytes"}, nil},
		{map[string]any{"bus.max_bytes": "0B"}, []string{"bus.max_bytes"}, nil}, // which takes a limit away
		{map[string]any{"secrets.cookie": []any{goodSecret}, "secrets.cipher": []any{goodSecret}}, []string{"secrets.cipher", "secrets.cookie"}, nil},
		{map[string]any{"serve.admin.tls.cert.base64": "eA==", "serve.admin.tls.key.base64": "eA==", "serve.drain_delay": "5s"}, []string{"serve.admin.tls.cert.base64", "serve.admin.tls.key.base64", "serve.drain_delay"}, []string{"serve.admin.tls.cert.base64", "serve.admin.tls.key.base64"}},
		{map[string]any{"selfservice.allowed_return_urls": []any{}}, nil, nil},
		{map[string]any{"selfservice.max_flows": 5000}, []string{"selfservice.max_flows"}, []string{"selfservice.max_flows"}},
		{map[string]any{"selfservice.flows.registration.after.password.hooks": []any{}}, []string{"selfservice.flows.registration.after.password.hooks"}, nil},
	} {
		after, _ := load(t, config.Options{Dev: true, File: file(t, base), Overrides: tt.over})
		changed, restart := config.Diff(before, after)
		if !slices.Equal(changed, tt.changed) || !slices.Equal(restart, tt.restart) {
			t.Errorf("Diff with %v = %v, %v; want %v, %v", tt.over, changed, restart, tt.changed, tt.restart)
		}
	}
}

func TestDiffOfTheDSN(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		before, after string
		restart       bool
	}{
		{"postgres://usher:one@a:5432,b:5432/usher", "postgres://other:two@a:5432,b:5432/usher", false},
		{"postgres://usher@a", "postgres://usher:p%40@a", false},
		{"postgres://usher:one@a/usher", "postgres://usher:one@b/usher", true},
		{"postgres://usher:one@a/usher", "postgres://usher:two@a/usher?max_conns=9", true},
		{"sqlite:///a@b", "sqlite:///c@b", true},
	} {
		before := &config.Config{DSN: config.NewAddress(tt.before)}
		changed, restart := config.Diff(before, &config.Config{DSN: config.NewAddress(tt.after)})
		if len(changed) != 1 || len(restart) > 0 != tt.restart {
			t.Errorf("Diff from %q to %q = %v, %v; want a restart: %t", tt.before, tt.after, changed, restart, tt.restart)
		}
	}
}

func TestDiffSeesWhatFilesHold(t *testing.T) {
	t.Parallel()
	path := file(t, "identity: {schemas: [{id: default, url: 'base64://e30='}]}\nselfservice: {default_browser_return_url: 'https://a.example.org/'}\n")
	before, _ := load(t, config.Options{Dev: true, File: path})
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	after, _ := load(t, config.Options{Dev: true, File: file(t, strings.Replace(string(text), "e30=", "e30g", 1))})
	if changed, _ := config.Diff(before, after); !slices.Equal(changed, []string{"identity.schemas"}) {
		t.Errorf("Diff = %v, want identity.schemas", changed)
	}
}

// FuzzLoad looks for files that do anything but load or say what is wrong.
func FuzzLoad(f *testing.F) {
	for _, path := range []string{"testdata/reference.yaml", "../../../deploy/config.yaml"} {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("log: &a {level: *a}")
	f.Add("serve: {<<: {public: ~}}")
	f.Fuzz(func(t *testing.T, text string) {
		c, _, err := config.Load(config.Options{File: file(t, text), Env: noEnv, Dev: true, Overrides: map[string]any{"data_dir": t.TempDir()}})
		if err == nil {
			_, err = c.Print()
		}
		if err != nil && err.Error() == "" {
			t.Errorf("Load: error without a text")
		}
	})
}
