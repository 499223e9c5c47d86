package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/storetest"
)

// shapes are the ways to run the program; the scripts run in each.
var shapes = []string{"sqlite", "postgres", "parts"}

// settings are a configuration as nested maps; JSON is YAML too.
type settings = map[string]any

// More shapes: one process with PostgreSQL on a bus of three servers, and many
// processes on one.
const (
	cluster = "cluster"
	many    = "many"
)

// system is a running Usher: one process or many, each of which may be
// stopped, killed and frozen by name.
type system struct {
	t     *testing.T
	shape string
	dir   string
	dsn   string
	// apis and admins are the base URLs of the api processes, without a slash at the end.
	apis, admins []string
	config       string   // the configuration file of all processes
	base         settings // what it says
	busURL       string
	processes    map[string]*process
	order        []string // of starting
	health       map[string]string
	env          []string
}

// newSystem starts a system in the given shape. What is in extra lies over the
// configuration of the tests.
func newSystem(t *testing.T, shape string, extra settings) *system {
	t.Helper()
	s := declareSystem(t, shape, extra)
	s.launch()
	return s
}

// declareSystem is newSystem before anything runs: a test may still change what
// single processes are given.
func declareSystem(t *testing.T, shape string, extra settings) *system {
	t.Helper()
	s := &system{
		t: t, shape: shape, dir: t.TempDir(),
		processes: map[string]*process{}, health: map[string]string{},
	}
	if own, ok := extra["dsn"].(string); ok {
		s.dsn = own
	} else if shape != "sqlite" {
		s.dsn = storetest.PostgreSQL(t)
	}
	if err := os.Mkdir(filepath.Join(s.dir, "log"), 0o700); err != nil {
		t.Fatal(err)
	}
	publicPort := freePort(t)
	base := settings{
		"data_dir": filepath.Join(s.dir, "data"),
		"serve": settings{
			"public": settings{"host": "127.0.0.1", "base_url": fmt.Sprintf("http://127.0.0.1:%d/", publicPort)},
			"admin":  settings{"host": "127.0.0.1"},
		},
		"hashers": settings{"algorithm": "bcrypt", "bcrypt": settings{"cost": 4}},
		// Where it is not about what people see while something is broken, tests want a
		// session, also from a machine that runs all of them.
		"session": settings{"issue": settings{"timeout": "4s"}},
		// As long as a test wants no mails.
		"selfservice": settings{"flows": settings{"verification": settings{"enabled": false}}},
	}
	if s.dsn != "" {
		base["dsn"] = s.dsn
	}
	switch shape {
	case "parts":
		s.declareBus(base)
	case cluster, many:
		s.declareCluster(base)
	default:
		base["bus"] = settings{"listen": fmt.Sprintf("127.0.0.1:%d", freePort(t))}
	}
	if shape == many || os.Getenv("USHER_TEST_SOAK")+os.Getenv("USHER_BENCH") != "" {
		delete(base, "session")
	}
	s.base = base
	s.config = s.write(merge(base, extra))

	if s.apart() {
		for i := range 2 {
			s.add(fmt.Sprintf("api-%d", i+1), "api", publicPort)
			s.add(fmt.Sprintf("session-%d", i+1), "session", 0)
			s.add(fmt.Sprintf("hooks-%d", i+1), "hooks", 0)
			publicPort = freePort(t)
		}
	} else {
		s.add("serve", "", publicPort)
	}
	t.Cleanup(s.stop)
	return s
}

// apart tells whether the parts are processes of their own.
func (s *system) apart() bool { return s.shape == "parts" || s.shape == many }

// launch starts what is declared and waits until all is ready.
func (s *system) launch() {
	s.t.Helper()
	if s.apart() {
		if _, stderr, code := usher(s.t, s.env, "migrate", "--dev", "-c", s.config); code != 0 {
			s.t.Fatalf("usher migrate: exit %d: %s", code, stderr)
		}
	}
	for _, name := range s.order {
		if s.processes[name].cmd == nil {
			s.processes[name].start(s.t)
		}
	}
	for _, name := range s.order {
		s.waitReady(name)
	}
}

// declareBus declares a nats-server of its own, with the configuration and
// credentials that the program writes for one.
func (s *system) declareBus(config settings) {
	listen := fmt.Sprintf("127.0.0.1:%d", freePort(s.t))
	file, creds := s.busConfig("--listen", listen, "--store", filepath.Join(s.dir, "nats"))
	s.busURL = "nats://" + listen
	config["bus"] = settings{"url": s.busURL, "credentials": creds}
	s.declareNATS("nats", "-c", file)
}

// declareCluster declares three servers with the configurations that the program
// writes. Nobody waits until they have found each other.
func (s *system) declareCluster(config settings) {
	var urls, files []string
	listen, routes := s.addresses(3), s.addresses(3)
	for i, address := range listen {
		name := fmt.Sprintf("nats-%d", i+1)
		file, creds := s.busConfig("--name", name, "--listen", address, "--store", filepath.Join(s.dir, name),
			"--cluster", routes[i], "--routes", strings.Join(routes, ","))
		urls, files = append(urls, "nats://"+address), append(files, file)
		config["bus"] = settings{"credentials": creds}
	}
	for i, file := range files {
		if s.shape == many { // no way past a link that a test has laid
			text, err := os.ReadFile(file)
			if err != nil {
				s.t.Fatal(err)
			}
			write(s.t, file, strings.Replace(string(text), "cluster {\n", "cluster {\n  no_advertise: true\n", 1))
		}
		s.declareNATS(fmt.Sprintf("nats-%d", i+1), "-c", file)
	}
	s.busURL = strings.Join(urls, ",")
	config["bus"] = merge(config["bus"].(settings), settings{"url": s.busURL, "replicas": 3})
}

func (s *system) addresses(n int) (all []string) {
	for range n {
		all = append(all, fmt.Sprintf("127.0.0.1:%d", freePort(s.t)))
	}
	return all
}

// busConfig has the program write what a bus needs.
func (s *system) busConfig(args ...string) (file, creds string) {
	out := filepath.Join(s.dir, "bus")
	stdout, stderr, code := usher(s.t, nil, append([]string{"bus", "config", "--json", "--out", out}, args...)...)
	if code != 0 {
		s.t.Fatalf("usher bus config: exit %d: %s", code, stderr)
	}
	var wrote struct{ Config, Credentials string }
	if err := json.Unmarshal([]byte(stdout), &wrote); err != nil {
		s.t.Fatal(err)
	}
	return wrote.Config, wrote.Credentials
}

func (s *system) declareNATS(name string, args ...string) {
	p := &process{name: name, bin: natsBin, args: args, log: s.log(name)}
	s.processes[name] = p
	s.order = append(s.order, name)
}

// add declares a process of the program; port is its public one, 0 if it has none.
func (s *system) add(name, part string, port int) {
	admin := freePort(s.t)
	args := []string{"serve"}
	if part != "" {
		args = append(args, part)
	}
	env := append([]string{fmt.Sprintf("USHER_SERVE__ADMIN__PORT=%d", admin)}, s.env...)
	adminURL := fmt.Sprintf("http://127.0.0.1:%d", admin)
	if port != 0 {
		env = append(env, fmt.Sprintf("USHER_SERVE__PUBLIC__PORT=%d", port))
		s.apis = append(s.apis, fmt.Sprintf("http://127.0.0.1:%d", port))
		s.admins = append(s.admins, adminURL)
	}
	s.processes[name] = &process{
		name: name, bin: usherBin, env: env,
		args: append(args, "--dev", "-c", s.config),
		log:  s.log(name),
	}
	s.health[name] = adminURL + "/health/ready"
	s.order = append(s.order, name)
}

// log is where a process prints to: not into the folder of the configuration, which all
// of them watch, or each line would wake every one of them.
func (s *system) log(name string) string { return filepath.Join(s.dir, "log", name+".log") }

func (s *system) waitReady(name string) {
	s.t.Helper()
	if url, ok := s.health[name]; ok {
		s.processes[name].waitReady(s.t, url)
	}
}

// restart starts a process that has ended and waits until it is ready.
func (s *system) restart(name string) {
	s.t.Helper()
	s.processes[name].start(s.t)
	s.waitReady(name)
}

// named are the processes whose name begins with a part's.
func (s *system) named(part string) (found []*process) {
	for _, name := range s.order {
		if strings.HasPrefix(name, part) {
			found = append(found, s.processes[name])
		}
	}
	return found
}

// stop ends everything, last started first, and fails the test when the
// program panicked, a race was found, or an event is none by its schema.
func (s *system) stop() {
	for i := len(s.order) - 1; i >= 0; i-- {
		p := s.processes[s.order[i]]
		if p.cmd != nil && p.running() {
			p.stop(s.t)
		}
		if out := p.output(); strings.Contains(out, "panic:") || strings.Contains(out, "goroutine 1 [") {
			s.t.Errorf("%s panicked: %s", p.name, p.tail())
		}
	}
	s.eventsAreValid()
	if s.t.Failed() {
		for _, name := range s.order {
			s.t.Logf("log of %s:\n%s", name, s.processes[name].tail())
		}
	}
}

func (s *system) write(config settings) string {
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		s.t.Fatal(err)
	}
	return write(s.t, filepath.Join(s.dir, "usher.yaml"), string(text))
}

// logs is all that the processes printed.
func (s *system) logs() string {
	var all strings.Builder
	for _, name := range s.order {
		all.WriteString(s.processes[name].output())
	}
	return all.String()
}

// merge lays over onto base, map by map.
func merge(base, over settings) settings {
	merged := maps.Clone(base)
	for k, v := range over {
		below, isMap := merged[k].(settings)
		above, alsoMap := v.(settings)
		if isMap && alsoMap {
			v = merge(below, above)
		}
		merged[k] = v
	}
	return merged
}

// hooks is a configuration whose password registration has the given hooks.
func hooks(list ...any) settings {
	return settings{"selfservice": settings{"flows": settings{"registration": settings{"after": settings{"password": settings{"hooks": list}}}}}}
}

// inEveryShape runs a script against each shape. Each has an endpoint of its
// own for background hooks, which configure may use.
func inEveryShape(t *testing.T, configure func(background *endpoint) settings, script func(t *testing.T, s *system, background *endpoint)) {
	for _, shape := range shapes {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			background := newEndpoint(t)
			script(t, newSystem(t, shape, configure(background)), background)
		})
	}
}

// signIn has the session step, signInAndTell also a background hook.
func signIn(*endpoint) settings { return hooks(sessionHook) }

func signInAndTell(background *endpoint) settings {
	return hooks(sessionHook, background.webHook("crm", settings{"ignore": true}))
}
