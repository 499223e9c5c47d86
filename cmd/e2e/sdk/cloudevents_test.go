package sdk_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

// Every event that was ever published is one for the SDK of CloudEvents, with
// nothing lost, and so is what a running server has made.
func TestCloudEvents(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../../events/testdata/golden/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden events: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		readCloudEvent(t, text)
	}

	_, made := newVerified(t)
	// Events reach the log behind their commit.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		all := serverEvents(t, made.Id)
		for _, text := range all {
			readCloudEvent(t, text)
		}
		if len(all) > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server has no events about %s", made.Id)
		}
	}
}

func serverEvents(t *testing.T, subject string) []json.RawMessage {
	t.Helper()
	response, err := http.Get(adminURL + "/admin/events?subject=" + subject)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var page struct {
		Events []json.RawMessage `json:"events"`
	}
	if err := json.NewDecoder(response.Body).Decode(&page); err != nil {
		t.Fatal(err)
	}
	return page.Events
}

// readCloudEvent reads an event in structured mode, as a receiver does by its
// content type, and compares all that it says.
func readCloudEvent(t *testing.T, text []byte) {
	t.Helper()
	header := http.Header{"Content-Type": {"application/cloudevents+json"}}
	message := cehttp.NewMessage(header, noClose{bytes.NewReader(text)})
	if got := message.ReadEncoding(); got != binding.EncodingStructured {
		t.Errorf("encoding = %s, want structured", got)
	}
	e, err := binding.ToEvent(t.Context(), message)
	if err == nil {
		err = e.Validate()
	}
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var want map[string]any
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	for name, is := range want {
		if name == "data" {
			continue
		}
		if got := attribute(e, name); got != is {
			t.Errorf("%s: %s = %v, want %v", e.Type(), name, got, is)
		}
	}
	var data any
	if err := e.DataAs(&data); err != nil {
		t.Errorf("%s: data: %v", e.Type(), err)
	}
	got, _ := json.Marshal(data)
	if is, _ := json.Marshal(want["data"]); !bytes.Equal(got, is) {
		t.Errorf("%s: data = %s, want %s", e.Type(), got, is)
	}
	if !strings.HasPrefix(e.DataSchema(), "urn:usher:event:"+e.Type()+":") {
		t.Errorf("%s: dataschema = %s", e.Type(), e.DataSchema())
	}
}

// attribute is a member of an event by its name in CloudEvents.
func attribute(e *event.Event, name string) any {
	switch name {
	case "id":
		return e.ID()
	case "specversion":
		return e.SpecVersion()
	case "source":
		return e.Source()
	case "type":
		return e.Type()
	case "subject":
		return e.Subject()
	case "time":
		return e.Time().Format(time.RFC3339Nano)
	case "datacontenttype":
		return e.DataContentType()
	case "dataschema":
		return e.DataSchema()
	}
	return e.Extensions()[name]
}

type noClose struct{ *bytes.Reader }

func (noClose) Close() error { return nil }
