// Package compose checks deploy/compose.yaml: with Compose's own loader, and for
// what that lets pass, from volumes that nobody declares to services that could
// take the whole machine.
package compose

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/usher-auth/usher/deploy/check/commands"
)

// Load reads a compose file as "docker compose --profile P... config" does.
func Load(path string, text []byte, profiles ...string) (*types.Project, error) {
	if name := unset.FindString(string(text)); name != "" {
		return nil, fmt.Errorf("%s has neither default nor :? and would be empty", name)
	}
	return loader.LoadWithContext(context.Background(), types.ConfigDetails{
		WorkingDir:  dir(path),
		ConfigFiles: []types.ConfigFile{{Filename: path, Content: text}},
		Environment: types.Mapping{},
	}, func(o *loader.Options) {
		o.SetProjectName("usher", true)
		o.Profiles = profiles
	})
}

// unset finds ${V} and $V; ${V:-x} and ${V:?x} say what then.
var unset = regexp.MustCompile(`\$\{\w+\}|(?:^|[^$])\$[A-Za-z_]\w*`)

func dir(path string) string { return path[:strings.LastIndexByte(path, '/')] }

// Profiles are those of the file; every service has one of them.
var Profiles = []string{"full", "small"}

// Check gives all that is wrong with a compose file, or nil. Its NATS servers are to be
// of the version nats.
func Check(path string, text []byte, usher *commands.Command, nats string) error {
	var problems []error
	for _, profile := range Profiles {
		p, err := Load(path, text, profile)
		if err != nil {
			return fmt.Errorf("profile %s: %w", profile, err)
		}
		if len(p.Services) == 0 {
			problems = append(problems, fmt.Errorf("profile %s has no service", profile))
		}
		for _, name := range p.ServiceNames() {
			s := service{ServiceConfig: p.Services[name], project: p, usher: usher, nats: nats}
			for _, err := range s.check() {
				problems = append(problems, fmt.Errorf("%s: %w", name, err))
			}
		}
		problems = append(problems, secrets(p)...)
	}
	return errors.Join(problems...)
}

// service is one of them with what it stands among.
type service struct {
	types.ServiceConfig
	project *types.Project
	usher   *commands.Command
	nats    string
}

func (s service) check() (problems []error) {
	for _, part := range []func() []error{s.pinned, s.confined, s.watched, s.dependencies, s.mounts, s.ports, s.inline, s.commands, s.outside, s.memory} {
		problems = append(problems, part()...)
	}
	return problems
}

// exact is an image with a version of at least two numbers.
var exact = regexp.MustCompile(`^[\w./-]+:v?\d+\.\d+(\.\d+)?(-[\w.]+)?(@sha256:[0-9a-f]{64})?$`)

func (s service) pinned() (problems []error) {
	if !exact.MatchString(s.Image) {
		problems = append(problems, fmt.Errorf("image %q: name an exact version", s.Image))
	}
	if version, ok := strings.CutPrefix(s.Image, "nats:"); ok && !strings.HasPrefix(version, s.nats+"-") {
		problems = append(problems, fmt.Errorf("image %q: the tests run %s", s.Image, s.nats))
	}
	if len(s.Profiles) == 0 {
		problems = append(problems, errors.New("no profile: it would start with every one"))
	}
	return problems
}

// confined wants limits, no rights and no writing but where it is said.
func (s service) confined() (problems []error) {
	for _, want := range []struct {
		has  bool
		what string
	}{
		{s.MemLimit > 0, "mem_limit"},
		{s.CPUS > 0, "cpus"},
		{s.PidsLimit > 0, "pids_limit"},
		{s.ReadOnly, "read_only: true"},
		{slices.Contains(s.CapDrop, "ALL") && len(s.CapAdd) == 0, "cap_drop: [ALL], and no cap_add"},
		{slices.Contains(s.SecurityOpt, "no-new-privileges:true"), "security_opt: [no-new-privileges:true]"},
		{!s.Privileged && s.Pid == "" && s.Ipc == "" && s.NetworkMode != "host", "a namespace of its own"},
		{s.Build != nil || regexp.MustCompile(`^[1-9]\d+:\d+$`).MatchString(s.User), "user: numbers, not root's"},
	} {
		if !want.has {
			problems = append(problems, errors.New("it lacks "+want.what))
		}
	}
	return problems
}

// outside wants a way out for the parts that ask others by HTTP or send mail, and none
// for the rest of them.
func (s service) outside() []error {
	if !Ours(s.ServiceConfig) || len(s.Command) < 2 || s.Command[0] != "serve" || s.once() {
		return nil
	}
	goes := s.Command[1] != "session"
	var has bool
	for name := range s.Networks {
		has = has || !s.project.Networks[name].Internal
	}
	switch {
	case goes && !has:
		return []error{errors.New("it has no way out: web_hooks, webhooks, identity providers and mail are there")}
	case has && !goes:
		return []error{errors.New("nothing of it goes out, and it could")}
	}
	return nil
}

// memory wants Go's runtime to know of the limit, and to leave some of it to the rest.
func (s service) memory() []error {
	if !Ours(s.ServiceConfig) && !strings.HasPrefix(s.Image, "nats:") {
		return nil
	}
	var mib int64
	_, err := fmt.Sscanf(value2(s.Environment["GOMEMLIMIT"]), "%dMiB", &mib)
	if share := float64(mib<<20) / float64(s.MemLimit); err != nil || share < 0.8 || share > 0.9 {
		return []error{fmt.Errorf("GOMEMLIMIT is %q, want about 85 %% of mem_limit", value2(s.Environment["GOMEMLIMIT"]))}
	}
	return nil
}

func (s service) once() bool { return s.Restart == "no" }

// watched wants to be known whether a service is well, and time to end.
func (s service) watched() (problems []error) {
	if s.once() {
		return nil
	}
	if s.HealthCheck == nil || s.HealthCheck.Disable || len(s.HealthCheck.Test) == 0 {
		problems = append(problems, errors.New("it lacks a healthcheck"))
	}
	if s.Restart != "unless-stopped" && s.Restart != "always" {
		problems = append(problems, errors.New("it lacks restart: unless-stopped"))
	}
	return problems
}

func (s service) dependencies() (problems []error) {
	for name, how := range s.DependsOn {
		other := service{ServiceConfig: s.project.Services[name]}
		switch {
		case other.Name == "":
			problems = append(problems, fmt.Errorf("depends_on %s, which is in no profile of it", name))
		case how.Condition == types.ServiceConditionCompletedSuccessfully && !other.once():
			problems = append(problems, fmt.Errorf("waits for the end of %s, which does not end", name))
		case how.Condition != types.ServiceConditionCompletedSuccessfully && other.once():
			problems = append(problems, fmt.Errorf("does not wait for the end of %s", name))
		case how.Condition == types.ServiceConditionStarted && !other.once():
			problems = append(problems, fmt.Errorf("waits for the start of %s and not for its health", name))
		}
	}
	return problems
}

func (s service) mounts() (problems []error) {
	for _, v := range s.Volumes {
		switch v.Type {
		case types.VolumeTypeVolume:
			if _, declared := s.project.Volumes[v.Source]; v.Source != "" && !declared {
				problems = append(problems, fmt.Errorf("volume %s is not declared", v.Source))
			}
			// The keys of the bus make any credential.
			if v.Source == "bus" && s.Name != "setup" {
				problems = append(problems, errors.New("volume bus is for setup alone"))
			}
			// The volume of a part has the credentials that the program says are its.
			if v.Target == "/run/usher" && len(s.Command) > 1 && s.Command[0] == "serve" && v.Source != s.Command[1] {
				problems = append(problems, fmt.Errorf("it gets the credentials of %s, not its own", v.Source))
			}
		case types.VolumeTypeBind:
			switch at, err := os.Stat(v.Source); {
			case err != nil:
				problems = append(problems, fmt.Errorf("mounts what is not there: %w", err))
			case !at.IsDir():
				problems = append(problems, fmt.Errorf("mounts the file %s: one that takes its place is not seen, mount its folder", v.Source))
			}
			if !v.ReadOnly {
				problems = append(problems, fmt.Errorf("%s can be written to", v.Source))
			}
		}
	}
	return problems
}

// ports wants what is published to be on loopback.
func (s service) ports() (problems []error) {
	for _, p := range s.Ports {
		if p.HostIP != "127.0.0.1" {
			problems = append(problems, fmt.Errorf("port %s is open to other machines: write 127.0.0.1:%[1]s", p.Published))
		}
	}
	return problems
}

var secretName = regexp.MustCompile(`(?i)(PASSWORD|SECRET|TOKEN|DSN|PRIVATE|API_?KEY|CONNECTION_URI)`)

// inline wants secrets to be in files.
func (s service) inline() (problems []error) {
	for name, value := range s.Environment {
		if value != nil && *value != "" && secretName.MatchString(name) && !strings.HasSuffix(name, "_FILE") {
			problems = append(problems, fmt.Errorf("%s has a secret in it: give a file, %[1]s_FILE", name))
		}
		file, isFile := strings.CutPrefix(value2(value), "/run/secrets/")
		if isFile && !slices.ContainsFunc(s.Secrets, func(x types.ServiceSecretConfig) bool { return x.Source == file }) {
			problems = append(problems, fmt.Errorf("%s: secret %s is not given to it", name, file))
		}
	}
	return problems
}

func value2(v *string) string {
	if v == nil {
		return ""
	}
	return *v
}

// Ours tells whether a service runs the program itself.
func Ours(s types.ServiceConfig) bool { return s.Build != nil && s.Build.Target == "" }

// commands wants Usher to have the commands that are run.
func (s service) commands() (problems []error) {
	if !Ours(s.ServiceConfig) {
		return nil
	}
	lines := [][]string{s.Command}
	if s.HealthCheck != nil && len(s.HealthCheck.Test) > 1 {
		if test := s.HealthCheck.Test; test[0] != "CMD" || test[1] != "/usr/bin/usher" {
			problems = append(problems, fmt.Errorf("healthcheck %q: the image has the program alone", test))
		} else {
			lines = append(lines, test[2:])
		}
	}
	for _, args := range lines {
		if err := s.usher.Check(args); err != nil {
			problems = append(problems, err)
		}
	}
	return problems
}

// secrets wants them to be files.
func secrets(p *types.Project) (problems []error) {
	for name, s := range p.Secrets {
		if s.File == "" {
			problems = append(problems, fmt.Errorf("secret %s: want file", name))
		}
	}
	return problems
}
