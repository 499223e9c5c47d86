package console_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/console"
	"github.com/usher-auth/usher/services/operator"
)

// world is a console whose admin API is made of handlers of the test.
type world struct {
	t       *testing.T
	options console.Options
	admin   *http.ServeMux
	now     time.Time

	mu     sync.Mutex
	asked  []string // method and path of each request to the admin API
	actors []string
}

// at is when all tests happen.
var at = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func newWorld(t *testing.T, change ...func(*world)) *world {
	t.Helper()
	w := &world{t: t, admin: http.NewServeMux(), now: at}
	w.options = console.Options{
		Admin: func(who operator.Session) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				w.mu.Lock()
				w.asked, w.actors = append(w.asked, r.Method+" "+r.URL.Path), append(w.actors, who.Actor())
				w.mu.Unlock()
				w.admin.ServeHTTP(rw, r)
			})
		},
		Operators: fakeOperators{known: known{"ann": operator.RoleOwner, "bob": operator.RoleOperator}},
		Client:    func(r *http.Request) string { return r.RemoteAddr },
		PublicURL: func() string { return "https://id.example/" },
		AdminURL:  func() string { return "https://admin.example/" },
		Log:       slog.New(slog.NewTextHandler(t.Output(), nil)),
		Now:       func() time.Time { return w.now },
	}
	for _, c := range change {
		c(w)
	}
	return w
}

// answers lets the admin API answer a pattern of [http.ServeMux].
func (w *world) answers(pattern string, status int, body any) {
	w.admin.HandleFunc(pattern, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(status)
		_ = json.NewEncoder(rw).Encode(body)
	})
}

// fakeOperators recognizes the known; what else is asked panics unless a test gives it.
type fakeOperators struct {
	known known
	console.Operators
}

func (f fakeOperators) Recognize(ctx context.Context, token string) (operator.Session, error) {
	return f.known.Recognize(ctx, token)
}

// known are operators by name; the token of each is its name.
type known map[string]operator.Role

func (k known) Recognize(_ context.Context, token string) (operator.Session, error) {
	role, ok := k[token]
	if !ok {
		return operator.Session{}, operator.ErrSignedOut
	}
	return operator.Session{Name: token, Role: role, IssuedAt: at.Add(-time.Minute), ExpiresAt: at.Add(time.Hour)}, nil
}

// page is an answer of the console.
type page struct {
	*http.Response
	text string
}

// visit asks for a page as an operator, "" for nobody.
func (w *world) visit(as, path string) page {
	return w.send(as, httptest.NewRequest(http.MethodGet, "https://admin.example"+path, nil))
}

// submit posts a form as an operator, from a page of the console itself.
func (w *world) submit(as, path string, form url.Values) page {
	r := httptest.NewRequest(http.MethodPost, "https://admin.example"+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return w.send(as, r)
}

func (w *world) send(as string, r *http.Request) page {
	w.t.Helper()
	if as != "" {
		r.AddCookie(&http.Cookie{Name: "usher_console", Value: as})
	}
	rec := httptest.NewRecorder()
	console.New(w.options).ServeHTTP(rec, r)
	body, err := io.ReadAll(rec.Result().Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return page{rec.Result(), string(body)}
}

// wants tells what a page lacks.
func (p page) wants(t *testing.T, status int, texts ...string) {
	t.Helper()
	if p.StatusCode != status {
		t.Errorf("status = %d, want %d: %.600s", p.StatusCode, status, p.text)
	}
	for _, text := range texts {
		if !strings.Contains(p.text, text) {
			t.Errorf("page lacks %q: %.600s", text, p.text)
		}
	}
}
