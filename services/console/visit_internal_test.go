package console

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usher-auth/usher/services/operator"
)

// oneHour recognizes everybody for an hour.
type oneHour struct{ Operators }

func (oneHour) Recognize(context.Context, string) (operator.Session, error) {
	return operator.Session{Name: "ann", Role: operator.RoleOwner, ExpiresAt: time.Now().Add(time.Hour)}, nil
}

// TestNothingOutlivesTheSession: what is open, such as a live list, ends with it.
func TestNothingOutlivesTheSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &console{Options: Options{Operators: oneHour{}, Now: time.Now}}
		began := time.Now()
		r := httptest.NewRequest(http.MethodGet, "/console/live", nil)
		r.AddCookie(&http.Cookie{Name: sessionCookie, Value: "x"})
		c.handler(route{role: operator.RoleOperator, serve: func(v *visit) error {
			select {
			case <-v.r.Context().Done():
			case <-time.After(2 * time.Hour):
			}
			return nil
		}}).ServeHTTP(httptest.NewRecorder(), r)
		if took := time.Since(began); took != time.Hour {
			t.Errorf("what was open ended after %s, want the hour that the session has left", took)
		}
	})
}
