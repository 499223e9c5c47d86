package layout_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

const (
	module = "github.com/usher-auth/usher"
	root   = "../../.."
)

// levels say who may import whom: only downwards. A folder that is not listed
// has the level of the nearest folder above it that is.
var levels = map[string]int{
	"schemas": 0, "services/tracing": 0, "services/strictjson": 0, "events": 0, "events/natsserver": 3, "events/eventstest": 0,
	"services/identity": 1,
	"services/session":  1, "services/flow": 1, "services/hook": 1, "services/password": 1,
	"services/webhook": 1, "services/audit": 1, "services/courier": 1, "services/jsonnet": 1,
	"services/registration": 2, "services/relay": 2, "services/login": 2, "services/verification": 2, "services/recovery": 2, "services/admin": 2, "services/settings": 2,
	"services/delivery": 2, "services/oidc": 2, "services/operator": 2, "services/override": 2, "services/timeline": 2, "services/importer": 2,
	"services/stats": 1, "services/breached": 1,
	"services/api": 3, "services/pages": 3, "services/console": 3, "services/store": 3, "services/storetest": 3,
	"workers": 3, "workers/session": 3, "workers/webhook": 3, "workers/courier": 3,
	"workers/delivery": 3, "workers/identity": 3, "workers/workertest": 3, "workers/examples": 4,
	"cmd": 4,
}

// sideways are the imports between packages of one level that are meant.
var sideways = map[string][]string{
	"services/identity":  nil, // below the other things
	"services/store":     {"services/storetest"},
	"services/webhook":   {"services/flow", "services/hook", "services/jsonnet"}, // what hooks see of a flow, and their bodies
	"services/courier":   {"services/flow", "services/jsonnet"},                  // which mail a flow waits for, and the bodies of an API
	"services/storetest": {"services/store"},
	"events":             {"schemas", "events/eventstest"},
	"services/tracing":   {"events"},
	"events/eventstest":  {"schemas", "events"},
	"services/importer":  {"services/admin"},                             // an identity is made as an administrator's is
	"services/timeline":  {"services/registration", "services/delivery"}, // it puts together what they have left
	"workers/session":    {"workers"},
	"workers/webhook":    {"workers"},
	"workers/courier":    {"workers"},
	"workers/delivery":   {"workers"},
	"workers/identity":   {"workers"},
	"workers/workertest": {"workers"},
}

// homes are the packages from outside that belong to one part of the tree.
var homes = map[string][]string{
	"github.com/nats-io/nats.go":         {"events", "workers", "cmd"},
	"github.com/nats-io/nats-server/v2":  {"events/natsserver"},
	"github.com/nats-io/jwt/v2":          {"events", "cmd"},
	"github.com/nats-io/nkeys":           {"events", "cmd"},
	"github.com/jmoiron/sqlx":            {"services/store"},
	"github.com/lib/pq":                  {"services/store"},
	"modernc.org/sqlite":                 {"services/store"},
	"github.com/cenkalti/backoff/v4":     {"workers", "services/webhook", "services/delivery", "cmd"},
	"github.com/wneessen/go-mail":        {"services/courier"},
	"github.com/coreos/go-oidc/v3":       {"services/oidc"},
	"golang.org/x/oauth2":                {"services/oidc"},
	"github.com/google/go-jsonnet":       {"services/jsonnet"},
	"go.opentelemetry.io/otel/sdk":       {"cmd"},
	"go.opentelemetry.io/otel/exporters": {"cmd"},
	"github.com/XSAM/otelsql":            {"cmd"},
}

// prescribed must be required by go.mod directly and used where it is at home.
var prescribed = []string{
	"github.com/nats-io/nats.go", "github.com/nats-io/nats-server/v2",
	"github.com/jmoiron/sqlx", "github.com/lib/pq", "github.com/cenkalti/backoff/v4",
}

// topLevel is what the repository's root may hold.
var topLevel = []string{
	"services", "events", "workers", "schemas", "deploy", "cmd",
	"go.mod", "go.sum", "Makefile", "README.md", "LICENSE", ".ci", ".git", ".gitignore",
}

type file struct {
	folder  string
	path    string
	test    bool
	doc     bool
	name    string
	imports []string
}

func files(t *testing.T) []file {
	t.Helper()
	var all []file
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules") {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil && path != root {
				return filepath.SkipDir // a module of its own
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f := file{
			folder: filepath.ToSlash(filepath.Dir(rel)),
			path:   filepath.ToSlash(rel),
			test:   strings.HasSuffix(path, "_test.go"),
			doc:    parsed.Doc != nil,
			name:   parsed.Name.Name,
		}
		for _, i := range parsed.Imports {
			f.imports = append(f.imports, strings.Trim(i.Path.Value, `"`))
		}
		all = append(all, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("found %d Go files below %s, want the whole tree", len(all), root)
	}
	return all
}

// level finds the level of a folder, or -1.
func level(folder string) int {
	for f := folder; f != "."; f = filepath.ToSlash(filepath.Dir(f)) {
		if l, ok := levels[f]; ok {
			return l
		}
	}
	return -1
}

func within(folder string, parts []string) bool {
	return slices.ContainsFunc(parts, func(p string) bool { return folder == p || strings.HasPrefix(folder, p+"/") })
}

func TestImportsGoDown(t *testing.T) {
	for _, f := range files(t) {
		own := level(f.folder)
		if own < 0 {
			t.Errorf("%s: folder %s has no level; give it one in this test", f.path, f.folder)
			continue
		}
		if f.test {
			continue // tests may look up: they use the real store, the real bus
		}
		for _, i := range f.imports {
			other, ours := strings.CutPrefix(i, module+"/")
			if !ours || other == f.folder {
				continue
			}
			switch l := level(other); {
			case l > own:
				t.Errorf("%s (level %d) imports %s (level %d): imports go down", f.path, own, other, l)
			case l == own && own < 4 && other != "services/identity" && !slices.Contains(sideways[f.folder], other):
				t.Errorf("%s imports %s: packages of one level do not know each other", f.path, other)
			}
		}
		if f.folder == "workers" {
			for _, i := range f.imports {
				if other, ours := strings.CutPrefix(i, module+"/"); ours && other != "events" {
					t.Errorf("%s imports %s: the worker kit imports nothing of ours but events", f.path, other)
				}
			}
		}
	}
}

func TestPackagesFromOutsideStayAtHome(t *testing.T) {
	for _, f := range files(t) {
		if f.test {
			continue
		}
		for _, i := range f.imports {
			for outside, home := range homes {
				if (i == outside || strings.HasPrefix(i, outside+"/")) && !within(f.folder, home) {
					t.Errorf("%s imports %s, which is at home in %v", f.path, i, home)
				}
			}
		}
	}
}

func TestPrescribedLibrariesAreUsed(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	mod, err := modfile.Parse("go.mod", data, nil)
	if err != nil {
		t.Fatal(err)
	}
	direct := map[string]bool{}
	for _, r := range mod.Require {
		direct[r.Mod.Path] = !r.Indirect
	}
	used := map[string]bool{}
	for _, f := range files(t) {
		for _, i := range f.imports {
			for _, p := range prescribed {
				if !f.test && (i == p || strings.HasPrefix(i, p+"/")) && within(f.folder, homes[p]) {
					used[p] = true
				}
			}
		}
	}
	for _, p := range prescribed {
		if !direct[p] {
			t.Errorf("go.mod does not require %s directly", p)
		}
		if !used[p] {
			t.Errorf("%s is not imported by non-test code in %v", p, homes[p])
		}
	}
}

func TestTopLevelIsPrescribed(t *testing.T) {
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil {
		t.Fatal(err)
	}
	ignore := strings.Fields(strings.ReplaceAll(string(ignored), "/", " "))
	for _, e := range entries {
		if !slices.Contains(topLevel, e.Name()) && !slices.Contains(ignore, e.Name()) {
			t.Errorf("the top level holds %s; it is prescribed as %v", e.Name(), topLevel)
		}
	}
	for _, want := range []string{"services", "events", "workers", "schemas", "deploy", "cmd", "go.mod", "Makefile"} {
		if _, err := os.Stat(filepath.Join(root, want)); err != nil {
			t.Errorf("the top level lacks %s", want)
		}
	}
}

func TestEveryPackageHasOneComment(t *testing.T) {
	comments := map[string][]string{}
	packages := map[string]bool{}
	for _, f := range files(t) {
		if f.test || strings.HasSuffix(f.name, "_test") {
			continue
		}
		packages[f.folder] = true
		if f.doc {
			comments[f.folder] = append(comments[f.folder], f.path)
		}
	}
	for p := range packages {
		if n := len(comments[p]); n != 1 {
			t.Errorf("package %s has %d package comments %v, want 1", p, n, comments[p])
		}
	}
}
