package config

import (
	"fmt"
	"maps"
	"os"
	"strings"

	flatten "github.com/knadh/koanf/maps"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// Options say where the configuration comes from.
type Options struct {
	// File is the YAML file; without one Dev is implied.
	File string
	// Env are variables as NAME=value; nil means those of the process.
	Env []string
	// Dev is the key dev from outside.
	Dev bool
	// NoSecrets accepts a configuration without the secrets that it needs to serve.
	NoSecrets bool
	// Examine gives a configuration together with its problems, where it can be read
	// at all: for who looks at it and serves nothing.
	Examine bool
	// Overrides lie over all others, by full name of the key.
	Overrides map[string]any
}

// Load reads and checks a configuration. It changes nothing: secrets that only
// a development configuration may leave out are read where they have been made
// before, and made by [Config.MakeSecrets]. The error is [Problems] unless the
// file cannot be read at all.
func Load(o Options) (*Config, []Warning, error) {
	l := newLoader(o)
	if err := l.read(); err != nil {
		return nil, nil, err
	}
	if len(l.problems) > l.unbuilt {
		return nil, nil, l.problems.sorted()
	}
	c, err := l.decode()
	if err != nil {
		return nil, nil, fmt.Errorf("configuration: %w", err)
	}
	l.complete(c)
	l.check(c)
	l.completeSecrets(c)
	if len(l.problems) > 0 && !o.Examine {
		return nil, nil, l.problems.sorted()
	}
	l.warnAll(c)
	c.reading = func() *loader { return l }
	if len(l.problems) > 0 {
		return c, l.warnings, l.problems.sorted()
	}
	return c, l.warnings, nil
}

// loader is one reading of the configuration.
type loader struct {
	options Options
	keys    *key
	layers  []layer // each lies over those before it
	given   *koanf.Koanf
	files   []string // that it depends on
	// secretFiles are those that variables name.
	secretFiles []SecretFile
	// idle are the keys that were given and have no effect.
	idle     struct{ ignored, pending []string }
	problems Problems
	warnings []Warning
	// unbuilt counts the problems that are features which are not there yet. With others,
	// of names and forms, what else is wrong could only be guessed.
	unbuilt int
}

func newLoader(o Options) *loader {
	if o.Env == nil {
		o.Env = os.Environ()
	}
	return &loader{options: o, keys: knownKeys()}
}

// read fills the layers with what is given.
func (l *loader) read() error {
	if l.options.File != "" {
		l.reads(l.options.File)
		file, err := readFile(l.options.File)
		if err != nil {
			return err
		}
		l.add(file)
	}
	l.add(l.readEnv(l.options.Env))
	overrides, err := confmap.Provider(l.options.Overrides, ".").Read()
	if err != nil {
		return err
	}
	l.add(layer{values: overrides, places: map[string]place{}})
	return nil
}

// add lays one layer over the others.
func (l *loader) add(in layer) {
	l.checkKeys(in)
	flat, _ := flatten.Flatten(in.values, nil, ".")
	for name := range flat {
		if _, known := in.places[name]; !known {
			in.places[name] = place{}
		}
		// A list takes the place of the one below it, entries and all.
		for _, below := range l.layers {
			maps.DeleteFunc(below.places, func(other string, _ place) bool { return strings.HasPrefix(other, name+"[") })
		}
	}
	l.layers = append(l.layers, in)
}

// at tells where the key was written, or else what it belongs to.
func (l *loader) at(name string) place {
	for ; name != ""; name = name[:max(0, strings.LastIndexAny(name, ".["))] {
		for i := len(l.layers) - 1; i >= 0; i-- {
			if p, ok := l.layers[i].places[name]; ok {
				return p
			}
		}
	}
	return place{source: l.options.File}
}

// decode merges defaults and layers.
func (l *loader) decode() (*Config, error) {
	l.given = koanf.New(".")
	for _, in := range l.layers {
		if err := l.given.Load(confmap.Provider(in.values, ""), nil); err != nil {
			return nil, err
		}
	}
	all := koanf.New(".")
	below := defaults()
	if list, _ := l.given.Get(schemaList).([]any); len(list) == 0 {
		l.given.Delete(schemaList)
		maps.Copy(below, builtIn(l.dev() || l.given.String(connectionURI) != "" || l.given.String("courier.delivery_strategy") == byHTTP))
	}
	if err := all.Load(confmap.Provider(below, "."), nil); err != nil {
		return nil, err
	}
	if err := all.Merge(l.given); err != nil {
		return nil, err
	}
	if err := l.derive(all); err != nil {
		return nil, err
	}
	c := &Config{}
	return c, all.UnmarshalWithConf("", c, koanf.UnmarshalConf{Tag: "yaml"})
}

// dev tells whether this is a development configuration.
func (l *loader) dev() bool {
	return l.options.Dev || l.given.Bool("dev") || l.options.File == "" && !l.given.Exists("dev")
}

// derive sets what follows from other keys where it was not given.
func (l *loader) derive(all *koanf.Koanf) error {
	dev := l.dev()
	derived := map[string]any{"dev": dev}
	unless := func(name string, value any) {
		if value != nil && !l.given.Exists(name) {
			derived[name] = value
		}
	}
	if dev && all.String("serve.public.host") == "" {
		derived["serve.public.host"] = "127.0.0.1"
	}
	secure := !dev || l.given.String("serve.public.tls.cert.path")+l.given.String("serve.public.tls.cert.base64") != ""
	if l.given.Exists("cookies.secure") {
		secure = l.given.Bool("cookies.secure")
	}
	unless("cookies.secure", secure)
	unless("session.cookie.secure", secure)
	for _, attribute := range []string{"domain", "path", "same_site"} {
		unless("session.cookie."+attribute, all.Get("cookies."+attribute))
	}
	return all.Load(confmap.Provider(derived, "."), nil)
}

// complete reads what the configuration leads to: schemas, bodies of hooks,
// mappers of claims and secrets in files.
func (l *loader) complete(c *Config) {
	for i := range c.Identity.Schemas {
		s := &c.Identity.Schemas[i]
		s.Document = l.text(entry(schemaList, i)+".url", s.URL)
	}
	l.readsBus(&c.Bus)
	c.collectorByEnv = l.collectorInEnv()
	l.completeLikePeer(c)
	l.completeTemplates(c)
	l.completeMailAPI(&c.Courier.HTTP.RequestConfig)
	l.completeProviders(c)
	l.completeBreached(c)
	l.readWebhookSecrets(c)
	c.lines = map[string]int{}
	for _, list := range c.hookLists() {
		for i := range list.hooks {
			key := entry(list.key, i)
			c.lines[key] = l.at(key + ".hook").line
			if w := &list.hooks[i].Config; w.Body != "" {
				w.Template = string(l.text(key+".config.body", w.Body))
			}
		}
	}
}
