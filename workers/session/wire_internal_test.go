package session

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/eventstest"
	"github.com/usher-auth/usher/services/session"
)

func TestLifespanDoesNotWrapRound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		ms := rapid.Int64().Draw(rt, "ms")
		data, err := json.Marshal(events.SessionIssue{Digest: session.Digest{}.String(), LifespanMS: ms})
		if err != nil {
			rt.Fatal(err)
		}
		r, err := decodeRequest(events.Request{Data: data})
		if err != nil {
			rt.Fatal(err)
		}
		allowed := ms > 0 && ms <= session.MaxLifespan.Milliseconds()
		if got := r.Lifespan > 0 && r.Lifespan <= session.MaxLifespan; got != allowed {
			rt.Errorf("lifespan of %d ms became %v", ms, r.Lifespan)
		}
		if allowed && r.Lifespan != time.Duration(ms)*time.Millisecond {
			rt.Errorf("lifespan of %d ms became %v", ms, r.Lifespan)
		}
	})
}

// What the other side says besides, in a later version, does no harm.
func TestUnknownMembersAreIgnored(t *testing.T) {
	t.Parallel()
	more := func(data []byte) []byte {
		return append([]byte(`{"of_the_next_version":{"n":1},`), data[1:]...)
	}
	asked := session.Request{IdentityID: uuid.New(), FlowID: uuid.New(), Method: "password", AAL: "aal1", Lifespan: time.Hour, RequestedAt: time.Unix(1, 0).UTC()}
	data, err := encodeRequest(asked)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeRequest(events.Request{Data: more(data)})
	if err != nil || !reflect.DeepEqual(got, asked) {
		t.Errorf("decodeRequest = %+v, %v, want %+v", got, err, asked)
	}
	made := &session.Session{ID: uuid.New(), IdentityID: asked.IdentityID, AAL: "aal1", IssuedAt: time.Unix(1, 0).UTC(), ExpiresAt: time.Unix(3601, 0).UTC()}
	if data, err = encodeSession(made); err != nil {
		t.Fatal(err)
	}
	answer, err := decodeSession(more(data), asked)
	if err != nil || answer.ID != made.ID {
		t.Errorf("decodeSession = %+v, %v, want that of %s", answer, err, made.ID)
	}
}

// FuzzDecodeRequest holds that what can be read is read the same when it is
// written again.
func FuzzDecodeRequest(f *testing.F) {
	f.Add([]byte(`{"flow_id":"","identity_id":"","method":"","aal":"","digest":"","epoch":0,"lifespan_ms":0}`))
	whole, err := encodeRequest(session.Request{Method: "password", AAL: "aal1", Lifespan: time.Hour, RequestedAt: time.Unix(1, 0)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRequest(events.Request{Data: data})
		if err != nil {
			if !errors.Is(err, session.ErrInvalid) {
				t.Fatalf("decodeRequest(%q) = %v, want ErrInvalid", data, err)
			}
			return
		}
		again, err := encodeRequest(r)
		if err != nil {
			t.Fatalf("encodeRequest(%+v): %v", r, err)
		}
		second, err := decodeRequest(events.Request{Data: again})
		if err != nil || !second.RequestedAt.Equal(r.RequestedAt) {
			t.Fatalf("decodeRequest(%s) = %+v, %v, want %+v", again, second, err, r)
		}
		second.RequestedAt = r.RequestedAt
		if !reflect.DeepEqual(r, second) {
			t.Fatalf("decodeRequest(%s) = %+v, want %+v", again, second, r)
		}
	})
}

// TestRequestsSurviveTheWire holds for every field of a request that the bus
// carries: one that is forgotten comes back as nothing.
func TestRequestsSurviveTheWire(t *testing.T) {
	t.Parallel()
	want := session.Request{
		GrantID: uuid.New(), FlowID: uuid.New(), IdentityID: uuid.New(), Method: "oidc", Provider: "acme", Linked: "corp", AAL: "aal1",
		Digest: session.NewToken(session.NativePrefix).Digest(), Epoch: 7, Lifespan: time.Hour, ClientAddr: "192.0.2.1:1", UserAgent: "test/1",
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", HTTPRequest: "http-1", RequestedAt: time.Unix(1, 0).UTC(), Sequence: 7, Verified: true, Bypass: true, Login: uuid.New(), Refresh: uuid.New(), Again: true,
	}
	data, err := encodeRequest(want)
	if err != nil {
		t.Fatal(err)
	}
	eventstest.ValidateBody(t, "urn:usher:request:session.issue:1", data)
	want.ID, want.Deadline = "request-1", time.Unix(2, 0) // of the message itself
	for v, n := reflect.ValueOf(want), 0; n < v.NumField(); n++ {
		if v.Field(n).IsZero() {
			t.Errorf("the test leaves out %s", v.Type().Field(n).Name)
		}
	}
	got, err := decodeRequest(events.Request{ID: want.ID, Deadline: want.Deadline, Data: data})
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("decodeRequest(encodeRequest(r)) = %+v, %v, want %+v", got, err, want)
	}
	for _, broken := range []string{`"login":"x"`, `"refresh":"x"`} {
		text := []byte(`{"digest":"` + session.Digest{}.String() + `",` + broken + `}`)
		if r, err := decodeRequest(events.Request{Data: text}); !errors.Is(err, session.ErrInvalid) {
			t.Errorf("decodeRequest(%s) = %+v, %v, want ErrInvalid", text, r, err)
		}
	}
}

// An answer is what the contract says of it.
func TestAnswersAreOfTheSchema(t *testing.T) {
	t.Parallel()
	now := time.Unix(1, 0).UTC()
	data, err := encodeSession(&session.Session{
		ID: uuid.New(), IdentityID: uuid.New(), AAL: "aal1", AuthenticatedAt: now, IssuedAt: now, ExpiresAt: now.Add(time.Hour),
		Methods: []session.Method{{Method: "oidc", AAL: "aal1", Provider: "acme", CompletedAt: now}},
		Devices: []session.Device{{ID: uuid.New(), Address: "192.0.2.1", UserAgent: "test/1", Location: "Berne"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	eventstest.ValidateBody(t, "urn:usher:reply:session.issue:1", data)
}

// FuzzDecodeSession holds that no answer but a fitting one is taken.
func FuzzDecodeSession(f *testing.F) {
	r := session.Request{AAL: "aal1", Lifespan: time.Hour}
	r.IdentityID[0] = 1
	whole, err := encodeSession(&session.Session{ID: r.IdentityID, IdentityID: r.IdentityID, AAL: "aal1", ExpiresAt: time.Time{}.Add(time.Minute)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeSession(data, r)
		if err == nil && (s.IdentityID != r.IdentityID || s.AAL != "aal1" || s.ExpiresAt.Sub(s.IssuedAt) > time.Hour) {
			t.Fatalf("decodeSession(%s) = %+v, want it refused", data, s)
		}
		if err != nil && s != nil {
			t.Fatalf("decodeSession(%s) gives %+v beside its error %v", data, s, err)
		}
	})
}

func TestAnswerToARefreshIsThatSession(t *testing.T) {
	t.Parallel()
	r := session.Request{IdentityID: uuid.New(), AAL: "aal1", Lifespan: time.Hour, Refresh: uuid.New()}
	for name, id := range map[string]uuid.UUID{"the session": r.Refresh, "another": uuid.New()} {
		data, err := encodeSession(&session.Session{ID: id, IdentityID: r.IdentityID, AAL: "aal1", ExpiresAt: time.Time{}.Add(100 * time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		if s, err := decodeSession(data, r); (err == nil) != (id == r.Refresh) {
			t.Errorf("%s: decodeSession = %+v, %v, want only the session that was refreshed", name, s, err)
		}
	}
}
