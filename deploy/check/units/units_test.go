package units_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/usher-auth/usher/deploy/check/checkout"
	"github.com/usher-auth/usher/deploy/check/commands"
	"github.com/usher-auth/usher/deploy/check/units"
)

const folder = "deploy/systemd"

func checker(t *testing.T) *units.Checker {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Fatal("systemd-analyze is needed: 'apt-get install systemd' has it")
	}
	usher := checkout.Usher(t)
	known, err := commands.Of(usher)
	if err != nil {
		t.Fatal(err)
	}
	return &units.Checker{Usher: usher, Commands: known, Others: map[string]string{"/usr/bin/nats-server": "/bin/true"}, Dir: t.TempDir()}
}

func TestUnits(t *testing.T) {
	t.Parallel()
	c := checker(t)
	files, err := filepath.Glob(filepath.Join(checkout.Path(t, folder), "*.service"))
	if err != nil || len(files) < 4 {
		t.Fatalf("%d units in %s, %v; want those of Usher and its bus", len(files), folder, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Check(filepath.Base(file), string(text), checkout.Read(t, folder+"/"+units.Hardening)); err != nil {
			t.Error(err)
		}
	}
}

// TestReadmeInstalls: what README.md says puts the hardening beside each unit.
func TestReadmeInstalls(t *testing.T) {
	t.Parallel()
	lines := regexp.MustCompile(`(?s)install -m 644 \*\.service.*?\ndone\n`).FindString(checkout.Read(t, folder+"/README.md"))
	to := t.TempDir()
	install := exec.Command("sh", "-ec", strings.ReplaceAll(lines, "/etc/systemd/system", to))
	install.Dir = checkout.Path(t, folder)
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%s\n%v\n%s", lines, err, out)
	}
	installed, err := filepath.Glob(filepath.Join(to, "*.service"))
	if err != nil || len(installed) < 4 {
		t.Fatalf("%d units are installed, %v; want those of Usher and its bus", len(installed), err)
	}
	for _, path := range installed {
		if text, err := os.ReadFile(filepath.Join(path+".d", units.Hardening)); err != nil || string(text) != checkout.Read(t, folder+"/"+units.Hardening) {
			t.Errorf("%s is installed without its hardening: %v", filepath.Base(path), err)
		}
	}
}

// TestReadmeConfigures: the configuration of README.md can be used and prints no link
// into the journal, and its drop-in for mails is one for the units that it is for.
func TestReadmeConfigures(t *testing.T) {
	t.Parallel()
	readme := checkout.Read(t, folder+"/README.md")
	written := regexp.MustCompile(`(?s)> /etc/usher/usher.yaml <<'EOF'\n(.*?)EOF\n`).FindStringSubmatch(readme)
	mails := regexp.MustCompile(`(?s)for unit in usher@ usher-migrate; do\n.*?\ndone\n`).FindString(readme)
	if written == nil || mails == "" {
		t.Fatal("README.md writes no usher.yaml, or no drop-in for mails, any more")
	}
	to := t.TempDir()
	file := filepath.Join(to, "usher.yaml")
	if err := os.WriteFile(file, []byte(written[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	usher := func(args ...string) string {
		t.Helper()
		c := exec.Command(checkout.Usher(t), append(args, "-c", file)...)
		c.Env = []string{"USHER_DATA_DIR=" + to, "USHER_SECRETS__DEFAULT=5f0c6d1a94b3e7820d4c1b6a9e8f7032415263748596a7b8c9d0e1f2a3b4c5d6"}
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("usher %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	usher("config", "check")
	printed := usher("config", "print")
	for _, want := range []string{"setup_link: false", "base_url: https://"} {
		if !strings.Contains(printed, want) {
			t.Errorf("the configuration of README.md has no %q in force:\n%s", want, printed)
		}
	}
	if out, err := exec.Command("sh", "-ec", strings.ReplaceAll(mails, "/etc/systemd/system", to)).CombinedOutput(); err != nil {
		t.Fatalf("%s\n%v\n%s", mails, err, out)
	}
	c := checker(t)
	for _, unit := range []string{"usher@.service", "usher-migrate.service"} {
		mail, err := os.ReadFile(filepath.Join(to, unit+".d", "20-mail.conf"))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Check(unit, checkout.Read(t, folder+"/"+unit)+string(mail), checkout.Read(t, folder+"/"+units.Hardening)); err != nil {
			t.Errorf("%s with %q: %v", unit, mail, err)
		}
	}
}

// TestRunbookNamesUnits: what the documents say to journalctl and systemctl is there.
func TestRunbookNamesUnits(t *testing.T) {
	t.Parallel()
	said := regexp.MustCompile(`(?:journalctl (?:-\w+ )*-u|systemctl (?:enable --now|start|restart|reload|status)) ([^` + "`" + `#\n]+)`)
	seen := 0
	for _, document := range []string{"deploy/RUNBOOK.md", "deploy/systemd/README.md", "deploy/upgrade.md", "deploy/backup.md", "README.md"} {
		for _, found := range said.FindAllStringSubmatch(checkout.Read(t, document), -1) {
			for _, name := range strings.Fields(found[1]) {
				seen++
				base, _, instance := strings.Cut(strings.TrimSuffix(name, ".service"), "@")
				if instance {
					base += "@"
				}
				if _, err := os.Stat(filepath.Join(checkout.Path(t, folder), base+".service")); err != nil && base != "nginx" && base != "postgresql" {
					t.Errorf("%s: %s: no unit %s.service in %s", document, found[0], base, folder)
				}
			}
		}
	}
	if seen < 5 {
		t.Errorf("%d units are named, want those of the runbook and of README.md", seen)
	}
}

// TestBrokenUnits: a check that lets these through sees nothing.
func TestBrokenUnits(t *testing.T) {
	t.Parallel()
	c := checker(t)
	hardening := checkout.Read(t, folder+"/"+units.Hardening)
	for name, tt := range map[string]struct {
		unit    string
		replace []string
		says    string
	}{
		"unknown key":           {"usher.service", []string{"RestartSec=", "RestartSecs="}, "Unknown key"},
		"wrong value":           {"usher.service", []string{"ProtectSystem=strict", "ProtectSystem=very"}, "systemd-analyze verify"},
		"starts without":        {"usher.service", []string{"AssertPathExists=|/etc", "ConditionPathExists=|/etc"}, "AssertPathExists is"},
		"no such program":       {"usher.service", []string{"/bin/kill", "/bin/missing"}, "missing"},
		"no hardening":          {"usher@.service", []string{hardening, "[Service]\nNoNewPrivileges=yes\n"}, "systemd-analyze security"},
		"not notify":            {"usher@.service", []string{"Type=notify", "Type=exec"}, "Type is"},
		"no type":               {"usher.service", []string{"Type=notify\n", ""}, "Type is"},
		"no watchdog":           {"usher.service", []string{"WatchdogSec=30s\n", ""}, "WatchdogSec"},
		"no reload":             {"usher.service", []string{"-HUP", "-USR1"}, "ExecReload is"},
		"unknown part":          {"usher@.service", []string{"serve %i", "serve relay-%i"}, "relay-api"},
		"unknown flag":          {"usher-migrate.service", []string{"migrate -c", "migrate --file"}, "--file"},
		"secret in the unit":    {"usher.service", []string{"USHER_SECRETS__DEFAULT_FILE=%d/secrets", "USHER_SECRETS__DEFAULT=s3cr3t"}, "stands in the unit"},
		"credential unloaded":   {"usher@.service", []string{"LoadCredential=dsn:/etc/usher/secrets/dsn\n", ""}, `no credential "dsn"`},
		"credential unused":     {"usher@.service", []string{"Environment=USHER_DSN_FILE=%d/dsn\n", ""}, `nothing names the credential "dsn"`},
		"migrates in its start": {"usher.service", []string{"ExecStart=", "ExecStartPre=/usr/bin/usher migrate\nExecStart="}, "start limit"},
		"no bus":                {"nats-server.service", []string{"/usr/bin/nats-server", "/usr/bin/nats"}, "/usr/bin/nats"},
	} {
		good := checkout.Read(t, folder+"/"+tt.unit)
		replacer := strings.NewReplacer(tt.replace...)
		broken, open := replacer.Replace(good), replacer.Replace(hardening)
		if broken == good && open == hardening {
			t.Errorf("%s: the test breaks nothing", name)
			continue
		}
		if err := c.Check(tt.unit, broken, open); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: Check = %v, want a refusal that says %q", name, err, tt.says)
		}
	}
}
