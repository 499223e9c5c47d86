package config_test

import (
	"testing"

	"github.com/usher-auth/usher/cmd/internal/config"
)

func TestFindAdmin(t *testing.T) {
	t.Parallel()
	text := file(t, "\nserve:\n  admin:\n    host: 0.0.0.0\n    port: 5000\nnonsense: 1\n")
	for name, c := range map[string]struct {
		options   config.Options
		url, from string
	}{
		"nothing is said": {config.Options{Env: []string{}}, "http://127.0.0.1:4434/", "the default"},
		"others' keys":    {config.Options{Env: []string{"USHER_NONSENSE=1"}}, "http://127.0.0.1:4434/", "the default"},
		"file":            {config.Options{File: text, Env: []string{}}, "http://127.0.0.1:5000/", text + ":5"},
		"variable":        {config.Options{File: text, Env: []string{"USHER_SERVE__ADMIN__PORT=5001"}}, "http://127.0.0.1:5001/", "USHER_SERVE__ADMIN__PORT"},
		"URL":             {config.Options{Env: []string{"USHER_SERVE__ADMIN__BASE_URL=https://admin.example.org/"}}, "https://admin.example.org/", "USHER_SERVE__ADMIN__BASE_URL"},
	} {
		a, err := config.FindAdmin(c.options)
		if err != nil || a.URL != c.url || a.From != c.from {
			t.Errorf("%s: FindAdmin = %+v, %v, want %q, %q", name, a, err, c.url, c.from)
		}
	}
}

func TestSourcesNameVariables(t *testing.T) {
	t.Parallel()
	o := config.Options{File: file(t, "dev: true\n"), Env: []string{"USHER_LOG__LEVEL=warn", "USHER_DSN=memory", "USHER_ADMIN_TOKEN=s3cr3t", "HOME=/"}}
	c, _, err := config.Load(o)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := o.Sources(c), o.File+", dev: true, USHER_DSN, USHER_LOG__LEVEL"; got != want {
		t.Errorf("Sources = %q, want %q", got, want)
	}
}
