package config_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/usher-auth/usher/cmd/internal/config"
)

func TestSecretsOfDevelopmentAreMadeOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	o := config.Options{Overrides: map[string]any{"data_dir": dir}}
	c, _ := load(t, o)
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Fatalf("Load made %s: %v", dir, err)
	}
	var all sync.WaitGroup
	made := make([]*config.Config, 8)
	for i := range made {
		made[i], _ = load(t, o)
		all.Go(func() {
			if err := made[i].MakeSecrets(); err != nil {
				t.Errorf("MakeSecrets: %v", err)
			}
		})
	}
	all.Wait()
	if err := c.MakeSecrets(); err != nil {
		t.Fatalf("MakeSecrets: %v", err)
	}
	again, _ := load(t, o)
	for i, other := range append(made, again) {
		if changed, _ := config.Diff(c, other); len(changed) > 0 {
			t.Errorf("configuration %d has other secrets: %v", i, changed)
		}
	}
	if len(c.CookieSecrets()) != 1 || len(c.CipherSecrets()) != 1 || string(c.CookieSecrets()[0]) == c.CipherSecrets()[0] {
		t.Error("MakeSecrets made no two different secrets")
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("ReadDir = %v, %v; want one file", files, err)
	}
	if info, err := files[0].Info(); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode = %v, %v; want 0600", info.Mode(), err)
	}
}

func TestSecretsFileThatIsDamaged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dev-secrets.json"), []byte(`{"cookie": "s3cr3t"`), 0o600); err != nil {
		t.Fatal(err)
	}
	problems := refused(t, config.Options{Overrides: map[string]any{"data_dir": dir}})
	if !strings.Contains(problems.Error(), "damaged") || strings.Contains(problems.Error(), "s3cr3t") {
		t.Errorf("problems = %v, want the file named as damaged and not shown", problems)
	}
}

func TestDefaultStandsInForSecrets(t *testing.T) {
	t.Parallel()
	const other = "9fKq2Lw7Zx4Tn1Vb8Hm5Rj3Dc6Gp0Sy7A"
	c, _ := load(t, config.Options{File: file(t, "secrets: {cookie: [], cipher: ["+other+"], default: ["+goodSecret+"]}")})
	if got := c.CookieSecrets(); len(got) != 1 || string(got[0]) != goodSecret {
		t.Errorf("CookieSecrets are %d, want that of default", len(got))
	}
	if got := c.CipherSecrets(); len(got) != 1 || got[0] != other {
		t.Errorf("CipherSecrets are %d, want their own", len(got))
	}
	if err := c.MakeSecrets(); err != nil {
		t.Errorf("MakeSecrets = %v, want nothing to be done", err)
	}
}

func TestSecretsDoNotShow(t *testing.T) {
	t.Parallel()
	c, _ := load(t, config.Options{File: "testdata/reference.yaml"})
	shown := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		shown[verb] = fmt.Sprintf(verb, *c)
	}
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	shown["json"] = string(encoded)
	printed, err := c.Print()
	if err != nil {
		t.Fatal(err)
	}
	shown["yaml"] = string(printed)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "config", c, "dsn", c.DSN, "secret", c.Secrets.Cookie[0])
	shown["slog"] = log.String()
	for how, text := range shown {
		for _, secret := range []string{"s3cr3t", "Vj2mWq8Zt5Rk1Xn7Bc4Hf9Lp3Ds6Ga0Ye", "8f3KqL5vZt2WmXr9Yc4Nb7Hj1Dg6Ps0A"} {
			if strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%x", secret)) {
				t.Errorf("%s shows %s", how, secret)
			}
		}
	}
	for _, want := range []string{"[secret]", "postgres://db.internal:5432/[secret]"} {
		if !strings.Contains(shown["yaml"], want) || !strings.Contains(shown["json"], want) {
			t.Errorf("Print and JSON do not show %q", want)
		}
	}
}

func TestAddressShows(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, want string }{
		{"", ""},
		{"memory", "memory"},
		{"sqlite:///var/lib/usher.db?key=s", "sqlite:///var/lib/usher.db"},
		{"postgres://u:p@db:5432/x?password=p", "postgres://db:5432/[secret]"},
		{"https://hooks.example.org/token", "https://hooks.example.org/[secret]"},
		{"host=db password=p", "[secret]"},
		{"postgres://u:p@ss@[::1/x", "[secret]"},
	} {
		if got := fmt.Sprint(config.NewAddress(tt.text)); got != tt.want {
			t.Errorf("NewAddress(%q) shows %q, want %q", tt.text, got, tt.want)
		}
		if got := config.NewAddress(tt.text).Reveal(); got != tt.text {
			t.Errorf("NewAddress(%q).Reveal() = %q", tt.text, got)
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text, printed string
		want          config.Size
	}{
		{"19MB", "19MB", 19 << 20},
		{"1024 kb", "1MB", 1 << 20},
		{"65536KB", "64MB", 64 << 20},
		{"3gb", "3GB", 3 << 30},
		{"7B", "7B", 7},
		{"0B", "0B", 0},
	} {
		var s config.Size
		if err := s.UnmarshalText([]byte(tt.text)); err != nil || s != tt.want || s.String() != tt.printed {
			t.Errorf("UnmarshalText(%q) = %d (%s), %v; want %d (%s)", tt.text, s, s, err, tt.want, tt.printed)
		}
	}
	for _, text := range []string{"", "19", "MB", "-1MB", "1.5MB", "19 TB", "99999999999GB"} {
		var s config.Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("UnmarshalText(%q) = %d, want an error", text, s)
		}
	}
}
