package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const (
	eventFile   = "schemas/events/thing.made.schema.json"
	requestFile = "schemas/requests/thing.make.request.schema.json"
	goldenFile  = "events/testdata/golden/thing.made.1.json"
)

// published is a tree with one event and one request.
func published() fstest.MapFS {
	return fstest.MapFS{
		eventFile: {Data: []byte(`{"$id":"urn:usher:event:thing.made:1","type":"object","required":["id","state"],"properties":{
			"id":{"type":"string","format":"uuid"},
			"state":{"type":"string","enum":["new","old"]},
			"size":{"type":"integer"},
			"parts":{"type":"array","items":{"type":"object","required":["name"],"properties":{"name":{"type":"string"}}}}}}`)},
		requestFile: {Data: []byte(`{"$id":"urn:usher:request:thing.make:1","type":"object","required":["id"],"properties":{"id":{"type":"string"}}}`)},
		goldenFile:  {Data: []byte(`{}`)},
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, file, old, new, want string }{
		{"a member is removed", eventFile, `"size":{"type":"integer"},`, ``, "urn:usher:event:thing.made:1 size is gone"},
		{"a member changes its type", eventFile, `"integer"`, `"string"`, "urn:usher:event:thing.made:1 size was integer and is string"},
		{"a member changes its format", eventFile, `,"format":"uuid"`, ``, "urn:usher:event:thing.made:1 id was string uuid and is string"},
		{"a member becomes required", eventFile, `["id","state"]`, `["id","state","size"]`, "urn:usher:event:thing.made:1 size has become required"},
		{"a member becomes optional", eventFile, `["id","state"]`, `["id"]`, "urn:usher:event:thing.made:1 state is no longer required"},
		{"a value is removed", eventFile, `["new","old"]`, `["new"]`, "urn:usher:event:thing.made:1 state can no longer be old"},
		{"a member of an item is removed", eventFile, `"required":["name"],"properties":{"name":{"type":"string"}}`, `"properties":{}`, "urn:usher:event:thing.made:1 parts[] name is gone\nurn:usher:event:thing.made:1 parts[] name is no longer required"},
		{"a version is removed", eventFile, `thing.made:1`, `thing.made:2`, "urn:usher:event:thing.made:1 is gone"},
		{"a request asks for more", requestFile, `["id"],"properties":{`, `["id","size"],"properties":{"size":{"type":"integer"},`, "urn:usher:request:thing.make:1 size has become required"},
		{"a golden event is changed", goldenFile, `{}`, `{"a":1}`, "the golden event thing.made.1.json was changed; a member more is a file more"},
		{"a golden event is removed", goldenFile, `{}`, "", "the golden event thing.made.1.json is gone"},

		{"nothing", eventFile, `"id"`, `"id"`, ""},
		{"an optional member more", eventFile, `"size":{`, `"weight":{"type":"number"},"size":{`, ""},
		{"a value more", eventFile, `["new","old"]`, `["new","old","older"]`, ""},
		{"another description", eventFile, `"type":"integer"`, `"type":"integer","description":"In metres."`, ""},
		{"a request asks for less", requestFile, `"required":["id"],`, ``, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			present := published()
			before := string(present[test.file].Data)
			if !strings.Contains(before, test.old) {
				t.Fatalf("%s does not hold %s", test.file, test.old)
			}
			present[test.file].Data = []byte(strings.Replace(before, test.old, test.new, 1))
			if test.new == "" && test.file == goldenFile {
				delete(present, goldenFile)
			}
			broken, err := compare(published(), present)
			if got := strings.Join(broken, "\n"); got != test.want || err != nil {
				t.Errorf("compare = %q, %v, want %q", got, err, test.want)
			}
		})
	}
}

// A tree without schemas is a mistake of who asks, not a promise that was kept.
func TestCompareWantsSchemas(t *testing.T) {
	t.Parallel()
	if _, err := compare(fstest.MapFS{}, published()); err == nil {
		t.Error("compare with an empty tree = nil, want an error")
	}
}

// The repository's own promises are read: each is missed in another tree.
func TestCompareReadsTheRepository(t *testing.T) {
	t.Parallel()
	broken, err := compare(os.DirFS("../../.."), published())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"urn:usher:event:identity.created:1 is gone", "urn:usher:event:envelope:1 is gone",
		"urn:usher:request:hook.failed:1 is gone", "the golden event identity.created.1.json is gone",
	} {
		if !slices.Contains(broken, want) {
			t.Errorf("compare with the repository does not say %q", want)
		}
	}
}
