package session

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/usher-auth/usher/events"
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
