package events_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
)

func TestCheckFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	good, err := event(payloads[0]).Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := eventstest.Check(good); err != nil {
		t.Fatalf("Check(%s) = %v, want nil", good, err)
	}
	for _, test := range []struct{ name, old, new string }{
		{"a member is missing", `,"method":"password"`, ``},
		{"a wrong type", `"session_planned":true`, `"session_planned":"yes"`},
		{"no UUID", `"identity_id":"7f3f8f0e`, `"identity_id":"x`},
		{"not a UUIDv7", `"0193600d-7d8b-7000`, `"0193600d-7d8b-4000`},
		{"another version of the envelope", `"specversion":"1.0"`, `"specversion":"0.3"`},
		{"a schema that is not there", `identity.created:1"`, `identity.created:2"`},
		{"a schema of another type", `event:identity.created:1"`, `event:session.issued:1"`},
		{"a whole address", `"192.0.2.0/24"`, `"192.0.2.7"`},
		{"local time", `03.123456Z`, `03.123456+01:00`},
		{"not canonical", `{"actor"`, `{ "actor"`},
	} {
		bad := strings.Replace(string(good), test.old, test.new, 1)
		if bad == string(good) {
			t.Fatalf("%s: %s does not hold %s", test.name, good, test.old)
		}
		if err := eventstest.Check([]byte(bad)); err == nil {
			t.Errorf("Check of an event with %s = nil, want an error", test.name)
		}
	}
	more := strings.Replace(string(good), `{"actor"`, `{"a_new_member":1,"actor"`, 1)
	if err := eventstest.Check([]byte(more)); err != nil {
		t.Errorf("Check of an event with an unknown member = %v, want nil", err)
	}
}

func TestDecodeIgnoresWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	e, err := events.Decode([]byte(`{"id":"1","data":{"identity_id":"x","novelty":[1]},"novelty":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	var data events.IdentityCreated
	if err := json.Unmarshal(e.Data, &data); err != nil || data.IdentityID != "x" {
		t.Errorf("data = %+v, %v, want identity x", data, err)
	}
}

func TestNewIDsAreInOrderAndTimesAreUTC(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 6789, time.FixedZone("", -7200))
	last := ""
	for range 100 {
		e := events.New(payloads[2], now, events.About{Source: "/usher/session", Actor: "system:session"})
		id, err := uuid.Parse(e.ID)
		if err != nil || id.Version() != 7 {
			t.Fatalf("New().ID = %s, want a UUIDv7", e.ID)
		}
		if e.ID <= last {
			t.Errorf("New().ID = %s after %s, want it greater", e.ID, last)
		}
		last = e.ID
		if want := "2026-01-02T05:04:05.000006Z"; e.Time.Format(time.RFC3339Nano) != want {
			t.Errorf("New().Time = %s, want %s", e.Time.Format(time.RFC3339Nano), want)
		}
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"192.0.2.7":                  "192.0.2.0/24",
		"192.0.2.7:1234":             "192.0.2.0/24",
		"[2001:db8:1:2::3]:80":       "2001:db8:1::/48",
		"::ffff:192.0.2.7":           "192.0.2.0/24",
		"fe80::1%eth0":               "fe80::/48",
		"":                           "",
		"example.org":                "",
		"[2001:db8::1]":              "",
		"192.0.2.7, 198.51.100.1:80": "",
	} {
		if got := events.Network(addr); got != want {
			t.Errorf("Network(%q) = %q, want %q", addr, got, want)
		}
	}
}

func TestSubject(t *testing.T) {
	t.Parallel()
	if got := events.Subject("identity.created"); got != "usher.evt.v1.identity.created" {
		t.Errorf("Subject(identity.created) = %q", got)
	}
}

func FuzzDecode(f *testing.F) {
	for _, p := range payloads {
		payload, err := event(p).Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(payload)
	}
	f.Add([]byte(`{"data":null,"time":"2026-01-01T00:00:00+01:00"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := events.Decode(data)
		if err != nil {
			return
		}
		once, err := e.Encode()
		if err != nil {
			return // a number or a text that canonical JSON does not have
		}
		if e, err = events.Decode(once); err != nil {
			t.Fatalf("Decode(%s) = %v", once, err)
		}
		if twice, err := e.Encode(); !bytes.Equal(once, twice) {
			t.Errorf("Encode again = %s, %v, want %s", twice, err, once)
		}
	})
}

func ExampleEvent_Encode() {
	e := events.New(events.SessionRevoked{SessionID: aSession, IdentityID: anIdentity, Reason: "replaced"},
		time.Date(2026, time.November, 24, 17, 5, 3, 0, time.UTC),
		events.About{Source: "/usher/session", Subject: anIdentity, Actor: "person:" + anIdentity})
	e.ID = "0193600d-7d8b-7000-8000-000000000001"
	payload, err := e.Encode()
	fmt.Println(string(payload), err)
	// Output:
	// {"actor":"person:7f3f8f0e-5f0b-4f7e-9a53-2a2f0c7f7f10","data":{"identity_id":"7f3f8f0e-5f0b-4f7e-9a53-2a2f0c7f7f10","reason":"replaced","session_id":"c0ffee00-1111-4222-8333-444455556666"},"datacontenttype":"application/json","dataschema":"urn:usher:event:session.revoked:1","id":"0193600d-7d8b-7000-8000-000000000001","source":"/usher/session","specversion":"1.0","subject":"7f3f8f0e-5f0b-4f7e-9a53-2a2f0c7f7f10","time":"2026-11-24T17:05:03Z","type":"session.revoked"} <nil>
}
