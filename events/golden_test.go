package events_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
)

const (
	anIdentity = "7f3f8f0e-5f0b-4f7e-9a53-2a2f0c7f7f10"
	aFlow      = "0c9a6f0a-6d5a-4c39-8a86-3e4a40b4a0d1"
	aSession   = "c0ffee00-1111-4222-8333-444455556666"
	aGrant     = "9d2b7c1e-0a0b-4c0d-8e0f-101112131415"
	anAddress  = "5b1e6a2c-3d4f-4a5b-8c6d-7e8f90a1b2c3"
	anEvent    = "0193600d-7d8b-7000-8000-00000000000e"
	aMessage   = "3e0d9c8b-7a6f-4e5d-9c4b-3a2f1e0d9c8b"
)

// payloads has every type of event with every member set.
var payloads = []events.Payload{
	events.IdentityCreated{
		IdentityID: anIdentity, SchemaID: "default", State: "active", Method: "password", Provider: "example",
		FlowID: aFlow, FlowType: "api", SessionPlanned: true, Network: "192.0.2.0/24",
	},
	events.SessionIssued{
		SessionID: aSession, IdentityID: anIdentity, Method: "password", AAL: "aal1", FlowID: aFlow, GrantID: aGrant,
		VerificationBypassed: true, Network: "2001:db8:1::/48",
	},
	events.SessionRevoked{SessionID: aSession, IdentityID: anIdentity, Reason: "replaced"},
	events.SessionRefused{IdentityID: anIdentity, FlowID: aFlow, Reason: "unavailable"},
	events.IdentityActivated{IdentityID: anIdentity},
	events.IdentityUpdated{IdentityID: anIdentity, Changed: []string{"traits", "state"}},
	events.IdentityDeleted{IdentityID: anIdentity},
	events.AddressVerified{IdentityID: anIdentity, AddressID: anAddress, Via: "email", FlowID: aFlow},
	events.VerificationRequested{FlowID: aFlow, Via: "email", IdentityID: anIdentity, AddressID: anAddress},
	events.RecoveryRequested{FlowID: aFlow, Via: "email", IdentityID: anIdentity, AddressID: anAddress},
	events.IdentitiesImported{Count: 1, Batch: 3, IDs: []string{anIdentity}},
	events.RecoveryCompleted{IdentityID: anIdentity, FlowID: aFlow, Method: "code", SessionsRevoked: 2, Network: "192.0.2.0/24"},
	events.LoginSucceeded{
		IdentityID: anIdentity, SessionID: aSession, Method: "oidc", Provider: "example", FlowID: aFlow, Refreshed: true, Network: "192.0.2.0/24",
	},
	events.LoginFailed{IdentityID: anIdentity, Method: "password", Reason: "credentials", FlowID: aFlow, Network: "192.0.2.0/24"},
	events.MailSent{MessageID: aMessage, Template: "verification_code_valid", Attempts: 2},
	events.MailAbandoned{MessageID: aMessage, Template: "verification_code_valid", Attempts: 5, Reason: "refused"},
	events.HookDead{Hook: "crm-sync", EventID: anEvent, Attempts: 9, Reason: "attempts"},
	events.HookRedelivered{Hook: "crm-sync", EventID: anEvent},
	events.HookDiscarded{Hook: "crm-sync", EventID: anEvent, Reason: "the account there was closed"},
	events.HookPaused{Hook: "crm-sync", Failures: 20},
	events.HookDisabled{Hook: "crm-sync", Reason: "gone"},
	events.AuditCheckpoint{
		Seq: 1000, Head: strings.Repeat("0a", 32), At: "2026-11-24T17:05:03Z", KeyID: "k1",
		Signature: base64.StdEncoding.EncodeToString(make([]byte, 64)),
	},
	events.SettingsChanged{Action: "saved", Revision: 4, Changed: []string{"session.lifespan", "sign_in_after_registration"}},
	events.AdminActed{Action: "hook.create", Target: "crm-sync"},
}

// event is the event of a payload with nothing left to chance.
func event(p events.Payload) events.Event {
	e := events.New(p, time.Date(2026, time.November, 24, 18, 5, 3, 123456789, time.FixedZone("", 3600)), events.About{
		Source: "/usher/registration", Subject: anIdentity, Actor: "person:" + anIdentity, RequestID: "req-1",
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	})
	e.ID = "0193600d-7d8b-7000-8000-000000000001"
	e.Sequence = "1"
	return e
}

// golden are the events of testdata/golden. Each file is kept as it is for
// ever, of each version of each type:
//
//	<type>.<version>.json        as it was when the version was made
//	<type>.<version>.least.json  with what it had to have then, and no more
//	<type>.<version>.<n>.json    as it was when members were added for the n-th time, from 2
//
// Another meaning or type of a member is another version.
func golden(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/golden/*.json")
	if err != nil || len(files) < 2*len(payloads) {
		t.Fatalf("testdata/golden has %d events (%v), want at least two of each of %d types", len(files), err, len(payloads))
	}
	all := map[string][]byte{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(file)] = bytes.TrimSpace(text)
	}
	return all
}

// What is published today is what was published when the newest golden file of
// its type was made.
func TestEventsStayAsTheyWere(t *testing.T) {
	t.Parallel()
	all := golden(t)
	for _, p := range payloads {
		e := event(p)
		got, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		file := newest(all, e)
		if want := all[file]; !bytes.Equal(got, want) {
			t.Errorf("Encode of %s\ngot  %s\nwant %s, as in testdata/golden/%s", e.Type, got, want, file)
		}
		least := strings.TrimSuffix(first(e), ".json") + ".least.json"
		if all[least] == nil {
			t.Errorf("testdata/golden has no %s", least)
		}
	}
}

// first is the name of the golden file that was made with an event's version.
func first(e events.Event) string {
	return e.Type + "." + e.DataSchema[strings.LastIndex(e.DataSchema, ":")+1:] + ".json"
}

// newest is the name of an event's newest golden file.
func newest(all map[string][]byte, e events.Event) string {
	name := first(e)
	for n := 2; ; n++ {
		next := fmt.Sprintf("%s.%d.json", strings.TrimSuffix(first(e), ".json"), n)
		if all[next] == nil {
			return name
		}
		name = next
	}
}

// Everything that was ever published is still valid, and is read without loss.
func TestEveryGoldenEventIsReadAndValid(t *testing.T) {
	t.Parallel()
	types := map[string]reflect.Type{}
	for _, p := range payloads {
		types[event(p).DataSchema] = reflect.TypeOf(p)
	}
	for file, text := range golden(t) {
		eventstest.Validate(t, text)
		e, err := events.Decode(text)
		if err != nil {
			t.Errorf("Decode(%s) = %v", file, err)
			continue
		}
		again, err := e.Encode()
		if err != nil || !bytes.Equal(again, text) {
			t.Errorf("Encode of decoded %s\ngot  %s, %v\nwant %s", file, again, err, text)
		}
		if !strings.HasPrefix(file, e.Type+".") || types[e.DataSchema] == nil {
			t.Errorf("%s holds an event of type %s and schema %s, which no payload has", file, e.Type, e.DataSchema)
			continue
		}
		data := reflect.New(types[e.DataSchema]).Interface()
		strict := json.NewDecoder(bytes.NewReader(e.Data))
		strict.DisallowUnknownFields()
		if err := strict.Decode(data); err != nil {
			t.Errorf("%s: data: %v", file, err)
		}
	}
}
