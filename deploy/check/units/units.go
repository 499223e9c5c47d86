// Package units checks the systemd units: that systemd knows every key of them, that
// they shut their process in, and that those of Usher say what Usher tells and wants.
package units

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/unit"

	"github.com/usher-auth/usher/deploy/check/commands"
)

// MostExposed is the exposure level, in tenths, above which a unit is refused.
const MostExposed = 30

// Checker checks units. Its programs stand in for those that a machine has once Usher
// is installed there.
type Checker struct {
	// Usher is a program, and Commands what it can be told.
	Usher    string
	Commands *commands.Command
	// Others are programs by the paths that units name.
	Others map[string]string
	// Dir is an empty folder.
	Dir string
}

const usher = "/usr/bin/usher"

// Hardening is the drop-in that shuts in each unit.
const Hardening = "10-hardening.conf"

// Check gives all that is wrong with a unit and its hardening, or nil.
func (c *Checker) Check(name, text, hardening string) error {
	options, err := unit.DeserializeOptions(strings.NewReader(text))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	problems := c.commands(options)
	if runs(options, usher+" serve") {
		problems = append(problems, notifies(options)...)
	}
	problems = append(problems, shows(options)...)
	problems = append(problems, asserts(name, options))
	path, err := c.write(name, text, hardening)
	if err != nil {
		return err
	}
	problems = append(problems, verify(path), harden(path))
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// write writes a unit as systemd would read it, an instance of a template, with its
// hardening as a drop-in.
func (c *Checker) write(name, text, hardening string) (string, error) {
	text = strings.ReplaceAll(text, usher, c.Usher)
	for path, program := range c.Others {
		text = strings.ReplaceAll(text, path, program)
	}
	dropIn := filepath.Join(c.Dir, name+".d", Hardening)
	if err := os.MkdirAll(filepath.Dir(dropIn), 0o700); err != nil {
		return "", err
	}
	if err := os.WriteFile(dropIn, []byte(hardening), 0o600); err != nil {
		return "", err
	}
	path := filepath.Join(c.Dir, strings.Replace(name, "@.", "@api.", 1))
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// verify has systemd read a unit. It answers 0 to a key that it does not know, and says
// so.
func verify(path string) error {
	said, err := exec.Command("systemd-analyze", "verify", "--man=no", path).CombinedOutput()
	if err != nil || len(said) > 0 {
		return fmt.Errorf("systemd-analyze verify: %w", errors.Join(err, errors.New(string(bytes.TrimSpace(said)))))
	}
	return nil
}

func harden(path string) error {
	said, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", fmt.Sprintf("--threshold=%d", MostExposed), path).CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(said)), "\n")
		return fmt.Errorf("systemd-analyze security: %w: %s", err, lines[len(lines)-1])
	}
	return nil
}

// asserts wants a unit not to start without what shuts it in, wherever it is installed.
func asserts(name string, options []*unit.UnitOption) error {
	var want []string
	for _, folder := range []string{"/etc/systemd/system", "/usr/lib/systemd/system"} {
		want = append(want, "|"+filepath.Join(folder, name+".d", Hardening))
	}
	if got := values(options, "AssertPathExists"); !slices.Equal(got, want) {
		return fmt.Errorf("AssertPathExists is %q, want %q: without its hardening it is not to start", got, want)
	}
	return nil
}

// values are those of a key of a unit; no key here is of two sections.
func values(options []*unit.UnitOption, key string) (all []string) {
	for _, o := range options {
		if o.Name == key {
			all = append(all, o.Value)
		}
	}
	return all
}

func runs(options []*unit.UnitOption, command string) bool {
	return slices.ContainsFunc(values(options, "ExecStart"), func(line string) bool { return strings.HasPrefix(line, command) })
}

// commands holds what Usher is told against what it knows, %i being each of the parts.
func (c *Checker) commands(options []*unit.UnitOption) (problems []error) {
	for _, key := range []string{"ExecStartPre", "ExecStart", "ExecReload", "ExecStop"} {
		for _, line := range values(options, key) {
			args, ours := strings.CutPrefix(line, usher+" ")
			if !ours {
				continue
			}
			for _, part := range []string{"api", "session", "hooks", "console"} {
				if err := c.Commands.Check(strings.Fields(strings.ReplaceAll(args, "%i", part))); err != nil {
					problems = append(problems, fmt.Errorf("%s: %w", key, err))
					break
				}
			}
		}
	}
	return problems
}

// notifies asks for what goes with what Usher tells systemd.
func notifies(options []*unit.UnitOption) (problems []error) {
	for key, want := range map[string]string{"Type": "notify", "ExecReload": "/bin/kill -HUP $MAINPID", "Restart": "always"} {
		if got := values(options, key); !slices.Equal(got, []string{want}) {
			problems = append(problems, fmt.Errorf("%s is %q, want %q", key, got, want))
		}
	}
	if len(values(options, "ExecStartPre")) > 0 {
		problems = append(problems, errors.New("ExecStartPre counts to the start limit of TimeoutStartSec=: usher-migrate.service is for what takes its time"))
	}
	if len(values(options, "WatchdogSec")) == 0 {
		problems = append(problems, errors.New("WatchdogSec is missing: a process that hangs would stay"))
	}
	return problems
}

// shows refuses secrets in a unit, which everybody may read, and credentials that are
// loaded and not used, or used and not loaded.
func shows(options []*unit.UnitOption) (problems []error) {
	loaded := map[string]bool{}
	for _, v := range values(options, "LoadCredential") {
		id, _, _ := strings.Cut(v, ":")
		loaded[id] = false
	}
	for _, v := range values(options, "Environment") {
		name, value, _ := strings.Cut(v, "=")
		id, credential := strings.CutPrefix(value, "%d/")
		_, known := loaded[id]
		switch {
		case credential && !known:
			problems = append(problems, fmt.Errorf("%s: no credential %q is loaded", name, id))
		case credential:
			loaded[id] = true
		case strings.HasPrefix(name, "USHER_SECRETS") || name == "USHER_DSN":
			problems = append(problems, fmt.Errorf("%s stands in the unit: LoadCredential= and %s_FILE=%%d/… keep it to the process", name, name))
		}
	}
	for id, used := range loaded {
		if !used {
			problems = append(problems, fmt.Errorf("nothing names the credential %q", id))
		}
	}
	return problems
}
