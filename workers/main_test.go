package workers_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/workers"
)

func TestMainServesHealthAndExits(t *testing.T) {
	b := newBus(t)
	b.durable("crm", time.Minute)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("USHER_WORKER_LISTEN", l.Addr().String())
	t.Setenv("NATS_URL", b.url)
	t.Setenv("NATS_CREDS", b.credentials("crm"))
	w := workers.New("crm", workers.Logger(discard))
	workers.On(w, func(context.Context, created) error { return nil })

	var said bytes.Buffer
	if code := workers.Exit(t.Context(), w, &said); code != 1 || !strings.HasPrefix(said.String(), "USHER_WORKER_LISTEN: listen tcp") {
		t.Errorf("exit code %d with %q, want 1 and a word about the address that is taken", code, said.String())
	}
	_ = l.Close()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	code := make(chan int, 1)
	go func() { code <- workers.Exit(ctx, w, io.Discard) }()
	waitFor(t, "the worker to be ready", func() bool {
		r, err := http.Get("http://" + l.Addr().String() + "/health/ready")
		if err != nil {
			return false
		}
		_ = r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
	end()
	if got := receive(t, code, "exit"); got != 0 {
		t.Errorf("exit code = %d, want 0", got)
	}

	t.Setenv("NATS_CREDS", b.credentials("other"))
	said.Reset()
	if code := workers.Exit(t.Context(), w, &said); code != 1 || strings.Count(said.String(), "\n") != 1 {
		t.Errorf("exit code %d with %q, want 1 and one line", code, said.String())
	}
}
