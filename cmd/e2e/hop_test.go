package e2e_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/micro"

	"github.com/usher-auth/usher/events"
)

// TestTheHopIsReal answers session.issue with a session worker of the test's
// own: the API's answer carries exactly that session.
func TestTheHopIsReal(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "parts", hooks(sessionHook))
	for _, p := range s.named("session") {
		p.stop(t)
	}
	creds, err := os.ReadFile(filepath.Join(s.dir, "bus", "creds", "session.creds"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	nc, err := events.Connect(ctx, events.ConnectOptions{URL: s.busURL, Credentials: creds, User: "session", Name: "test", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()

	known := uuid.NewString()
	asked := make(chan events.SessionIssue, 8)
	served := make(chan error, 1)
	go func() {
		served <- events.Serve(ctx, nc, events.Service{
			Name: "session", Version: "0.0.1", Subject: events.SubjectSessionIssue, Concurrency: 1, Pending: 16, Log: log,
			Handle: func(_ context.Context, r events.Request) ([]byte, error) {
				var in events.SessionIssue
				if err := json.Unmarshal(r.Data, &in); err != nil {
					return nil, err
				}
				asked <- in
				return json.Marshal(knownSession(known, in))
			},
		})
	}()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()

	app := newApp(t, s.apis[0])
	var r registered
	eventually(t, 10*time.Second, func() error {
		r = app.register(newAddress())
		if r.Session == nil {
			return os.ErrNotExist
		}
		return nil
	})
	if r.Session.ID != known {
		t.Errorf("the answer's session = %s, want %s, which the worker gave", r.Session.ID, known)
	}
	in := <-asked
	if in.IdentityID != r.Identity.ID || len(in.Digest) != 64 {
		t.Errorf("the worker was asked %+v, want the identity %s and a digest", in, r.Identity.ID)
	}
	if status, _ := app.whoami(r.SessionToken); status != http.StatusUnauthorized {
		t.Errorf("whoami = %d, want 401: that worker stored nothing", status)
	}
}

// TestTheBusShowsTheSessionService asks the bus's own discovery, as an operator
// does with any tool for NATS micro services.
func TestTheBusShowsTheSessionService(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "parts", hooks(sessionHook))
	creds, err := os.ReadFile(filepath.Join(s.dir, "bus", "creds", events.UserAdminAuth+".creds"))
	if err != nil {
		t.Fatal(err)
	}
	nc, err := events.Connect(t.Context(), events.ConnectOptions{
		URL: s.busURL, Credentials: creds, User: events.UserAdminAuth, Name: "test", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	replies := nc.NewInbox()
	sub, err := nc.SubscribeSync(replies)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.PublishRequest("$SRV.INFO.session", replies, nil); err != nil {
		t.Fatal(err)
	}
	instances := map[string]bool{}
	for len(instances) < 2 {
		m, err := sub.NextMsg(5 * time.Second)
		if err != nil {
			t.Fatalf("%d session workers answered the discovery, want 2: %v", len(instances), err)
		}
		var info micro.Info
		if err := json.Unmarshal(m.Data, &info); err != nil {
			t.Fatal(err)
		}
		if info.Name != "session" || len(info.Endpoints) != 1 || info.Endpoints[0].Subject != events.SubjectSessionIssue {
			t.Errorf("discovery shows %s", m.Data)
		}
		instances[info.ID] = true
		t.Logf("%s", m.Data)
	}
}

// knownSession is an answer to in with a session that the test knows.
func knownSession(id string, in events.SessionIssue) events.IssuedSession {
	now := time.Now().UTC()
	return events.IssuedSession{
		ID: id, IdentityID: in.IdentityID, AAL: in.AAL,
		Methods:         []events.SessionMethod{{Method: in.Method, AAL: in.AAL, CompletedAt: now}},
		Devices:         []events.SessionDevice{{ID: uuid.NewString(), Address: in.ClientAddr, UserAgent: in.UserAgent}},
		AuthenticatedAt: now, IssuedAt: now, ExpiresAt: now.Add(time.Hour),
	}
}
