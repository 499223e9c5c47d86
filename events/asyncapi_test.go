package events_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/schemas"
)

// asyncAPI is what the tests look at of schemas/asyncapi.yaml.
type asyncAPI struct {
	Channels map[string]struct {
		Address  string         `yaml:"address"`
		Messages map[string]ref `yaml:"messages"`
	} `yaml:"channels"`
	Operations map[string]struct {
		Channel ref `yaml:"channel"`
		Reply   struct {
			Channel ref `yaml:"channel"`
		} `yaml:"reply"`
	} `yaml:"operations"`
	Components struct {
		Messages map[string]struct {
			Headers struct {
				Properties map[string]struct {
					Enum []string `yaml:"enum"`
				} `yaml:"properties"`
			} `yaml:"headers"`
		} `yaml:"messages"`
	} `yaml:"components"`
	JetStream struct {
		Stream  map[string]any `yaml:"stream"`
		Durable map[string]any `yaml:"durable"`
	} `yaml:"x-jetstream"`
}

type ref struct {
	Ref string `yaml:"$ref"`
}

func readAsyncAPI(t *testing.T) asyncAPI {
	t.Helper()
	var d asyncAPI
	if err := yaml.Unmarshal(schemas.AsyncAPI, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestAsyncAPIIsValid(t *testing.T) {
	t.Parallel()
	specification, err := os.ReadFile("testdata/asyncapi-3.0.0.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := jsonschema.UnmarshalJSON(bytes.NewReader(specification))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("asyncapi", rules); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("asyncapi")
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(asyncAPIAsJSON(t)); err != nil {
		t.Errorf("schemas/asyncapi.yaml is not AsyncAPI 3.0: %v", err)
	}
}

// asyncAPIAsJSON is the document as its JSON would be read.
func asyncAPIAsJSON(t *testing.T) any {
	t.Helper()
	var document any
	if err := yaml.Unmarshal(schemas.AsyncAPI, &document); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// Every reference leads somewhere, and no part of the document is left over.
func TestAsyncAPIRefersToWhatIsThere(t *testing.T) {
	t.Parallel()
	document := asyncAPIAsJSON(t)
	used := map[string]bool{}
	follow(document, func(reference string) {
		used[reference] = true
		if path, ok := strings.CutPrefix(reference, "#/"); ok {
			at := document
			for _, part := range strings.Split(path, "/") {
				members, _ := at.(map[string]any)
				at = members[part]
			}
			if at == nil {
				t.Errorf("schemas/asyncapi.yaml refers to %s, which is not there", reference)
			}
			return
		}
		if _, err := fs.Stat(schemaFiles{}, reference); err != nil {
			t.Errorf("schemas/asyncapi.yaml refers to a file: %v", err)
		}
	})
	d := readAsyncAPI(t)
	for name := range d.Channels {
		if !used["#/channels/"+name] {
			t.Errorf("no operation uses the channel %s", name)
		}
	}
	for name := range d.Components.Messages {
		if !used["#/components/messages/"+name] {
			t.Errorf("no channel uses the message %s", name)
		}
	}
	for folder, files := range map[string]fs.FS{"events": schemas.Events, "requests": schemas.Requests} {
		names, err := fs.Glob(files, folder+"/*.schema.json")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if !used[name] {
				t.Errorf("schemas/asyncapi.yaml does not refer to %s", name)
			}
		}
	}
}

func follow(document any, found func(reference string)) {
	switch d := document.(type) {
	case map[string]any:
		if reference, ok := d["$ref"].(string); ok {
			found(reference)
		}
		for _, member := range d {
			follow(member, found)
		}
	case []any:
		for _, item := range d {
			follow(item, found)
		}
	}
}

// schemaFiles are the files that the document refers to.
type schemaFiles struct{}

func (schemaFiles) Open(name string) (fs.File, error) {
	if strings.HasPrefix(name, "requests/") {
		return schemas.Requests.Open(name)
	}
	return schemas.Events.Open(name)
}

// Load reads what a schema refers to, see [jsonschema.URLLoader].
func (f schemaFiles) Load(url string) (any, error) {
	file, err := f.Open(strings.TrimPrefix(url, "schemas:///"))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return jsonschema.UnmarshalJSON(file)
}

// Every event that was ever published is what the document says of its channel.
func TestAsyncAPIDescribesTheEvents(t *testing.T) {
	t.Parallel()
	d := readAsyncAPI(t)
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(schemaFiles{})
	if err := compiler.AddResource("schemas:///asyncapi.yaml", asyncAPIAsJSON(t)); err != nil {
		t.Fatal(err)
	}
	byAddress := map[string]string{}
	for name, c := range d.Channels {
		byAddress[c.Address] = name
	}
	for file, text := range golden(t) {
		e, err := events.Decode(text)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		channel, ok := byAddress[events.Subject(e.Type)]
		if !ok {
			t.Errorf("schemas/asyncapi.yaml has no channel %s", events.Subject(e.Type))
			continue
		}
		for _, message := range d.Channels[channel].Messages {
			schema, err := compiler.Compile("schemas:///asyncapi.yaml" + message.Ref + "/payload")
			if err != nil {
				t.Fatal(err)
			}
			value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(value); err != nil {
				t.Errorf("%s is not the message of channel %s: %v", file, channel, err)
			}
		}
	}
}

// parameter is a part of a subject that differs, whatever it is called.
var parameter = regexp.MustCompile(`\{[^}]*\}|\*`)

// A subject that the code knows is in the document, and the other way round.
func TestAsyncAPIHasTheSubjectsOfTheCode(t *testing.T) {
	t.Parallel()
	have := map[string]bool{}
	for _, c := range readAsyncAPI(t).Channels {
		if c.Address != "" { // the inbox of who asks
			have[parameter.ReplaceAllString(c.Address, "{}")] = true
		}
	}
	want := codeSubjects(t)
	for _, s := range slices.Sorted(maps.Keys(want)) {
		if !have[s] {
			t.Errorf("schemas/asyncapi.yaml has no channel %s, which the code uses", s)
		}
	}
	for _, s := range slices.Sorted(maps.Keys(have)) {
		if !want[s] {
			t.Errorf("schemas/asyncapi.yaml has a channel %s, which the code does not use", s)
		}
	}
}

// The tests of events know every type that there is.
func TestNoPayloadIsForgotten(t *testing.T) {
	t.Parallel()
	types := codeEventTypes(t)
	for _, p := range payloads {
		if !slices.Contains(types, p.EventType()) {
			t.Errorf("no source has the type %s", p.EventType())
		}
	}
	if len(types) != len(payloads) {
		t.Errorf("payloads has %d types of events, the package has %d: %q", len(payloads), len(types), types)
	}
}

// The codes of refusals are those that the code knows.
func TestAsyncAPIHasTheCodesOfTheCode(t *testing.T) {
	t.Parallel()
	var want []string
	for _, f := range source(t, ".") {
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if ok && strings.HasPrefix(spec.Names[0].Name, "Code") {
				want = append(want, written(spec.Values[0]))
			}
			return !ok
		})
	}
	have := readAsyncAPI(t).Components.Messages["refused"].Headers.Properties["Nats-Service-Error-Code"].Enum
	slices.Sort(want)
	slices.Sort(have)
	if !slices.Equal(have, want) {
		t.Errorf("schemas/asyncapi.yaml: the codes of refusals are %q, want %q", have, want)
	}
}

// What the document says of stream and durables is what a server says of them.
func TestAsyncAPIHasTheFactsOfJetStream(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	js := b.provision(events.StreamOptions{}, events.Durable{Name: "crm-sync", Types: []string{"identity.created"}})
	stream, err := js.Stream(t.Context(), events.Stream)
	if err != nil {
		t.Fatal(err)
	}
	durable, err := js.Consumer(t.Context(), events.Stream, "crm-sync")
	if err != nil {
		t.Fatal(err)
	}
	d := readAsyncAPI(t).JetStream
	delete(d.Durable, "description")
	d.Durable["filter_subjects"] = jsonOf(t, d.Durable["filter_subjects"], "<type>", "identity.created", "<hook>", "crm-sync")
	for _, test := range []struct {
		what     string
		document map[string]any
		server   any
	}{
		{"stream", d.Stream, stream.CachedInfo().Config},
		{"durable", d.Durable, durable.CachedInfo().Config},
	} {
		is, _ := jsonOf(t, test.server).(map[string]any)
		for name, want := range test.document {
			if text, ok := want.(string); ok {
				if duration, err := time.ParseDuration(text); err == nil && name != "sample_freq" {
					want = int64(duration)
				}
			}
			if fmt.Sprint(jsonOf(t, is[name])) != fmt.Sprint(jsonOf(t, want)) {
				t.Errorf("schemas/asyncapi.yaml: %s: %s is %v, the server says %v", test.what, name, want, is[name])
			}
		}
	}
}

// jsonOf is value as JSON has it, with words replaced.
func jsonOf(t *testing.T, value any, words ...string) any {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(words); n += 2 {
		escaped, _ := json.Marshal(words[n])
		text = bytes.ReplaceAll(text, bytes.Trim(escaped, `"`), []byte(words[n+1]))
	}
	var plain any
	if err := json.Unmarshal(text, &plain); err != nil {
		t.Fatal(err)
	}
	return plain
}
