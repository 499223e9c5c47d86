package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tailed runs "usher events tail" until the server is asked to wait, and gives
// the cursors that it was asked with.
func tailed(t *testing.T, args ...string) (asked []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Query().Get("after"))
		if r.URL.Query().Get("wait") != "" { // nothing comes until it is interrupted
			cancel()
			<-r.Context().Done()
			return
		}
		_, _ = w.Write([]byte(`{"events":[],"next":"end"}`))
	}))
	defer s.Close()
	var out, errOut bytes.Buffer
	if code := execute(ctx, append([]string{"events", "tail", "--admin", s.URL}, args...), &out, &errOut); code != 0 {
		t.Errorf("usher events tail = %d %s", code, &errOut)
	}
	return asked
}

// A first run that was interrupted before an event came kept no cursor: the next
// one began at the end of the log, and left out what had come meanwhile.
func TestTailKeepsItsPlaceBeforeTheFirstEvent(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "cursor")
	if asked := tailed(t, "--cursor", file); strings.Join(asked, " ") != "latest end" {
		t.Errorf("the server was asked for what is behind %q", asked)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "end\n" {
		t.Errorf("the cursor kept is %q, %v", text, err)
	}
	for _, args := range [][]string{nil, {"--from-start"}} {
		if asked := tailed(t, append(args, "--cursor", file)...); len(asked) != 1 || asked[0] != "end" {
			t.Errorf("%q: the next run goes on behind %q, want the cursor that was kept", args, asked)
		}
	}
}

func TestTailFromTheStart(t *testing.T) {
	t.Parallel()
	if asked := tailed(t, "--from-start"); len(asked) != 1 || asked[0] != "" {
		t.Errorf("the server was asked for what is behind %q, want all", asked)
	}
}

func TestListNewestFirst(t *testing.T) {
	t.Parallel()
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		asked = append(asked, q.Get("order")+" "+q.Get("after")+" "+q.Get("limit"))
		switch q.Get("after") {
		case "":
			_, _ = w.Write([]byte(`{"events":[{"n":4},{"n":3}],"next":"three"}`))
		default:
			_, _ = w.Write([]byte(`{"events":[{"n":2}],"next":"two"}`))
		}
	}))
	defer s.Close()
	var out, errOut bytes.Buffer
	code := execute(t.Context(), []string{"events", "list", "--newest", "--json", "--limit", "3", "--admin", s.URL}, &out, &errOut)
	if code != 0 || out.String() != "{\"n\":4}\n{\"n\":3}\n{\"n\":2}\n" || !strings.Contains(errOut.String(), "these are the newest 3; there are more") {
		t.Errorf("usher events list --newest = %d\n%s%s", code, &out, &errOut)
	}
	if want := "newest  3, newest three 1, newest two 1"; strings.Join(asked, ", ") != want {
		t.Errorf("the server was asked %q, want %q", asked, want)
	}
	var oldest bytes.Buffer
	if execute(t.Context(), []string{"events", "list", "--limit", "1", "--admin", s.URL}, &bytes.Buffer{}, &oldest); !strings.Contains(oldest.String(), "oldest 1; there are more, see --newest") {
		t.Errorf("without --newest it says %q, want that there is --newest", &oldest)
	}
}

// TestListAnActor: a page of the newest may be empty where there are older ones.
func TestListAnActor(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch q := r.URL.Query(); {
		case q.Get("actor") != "admin:ann" || q.Get("until") != "2026-11-26T12:00:00Z":
			w.WriteHeader(http.StatusBadRequest)
		case q.Get("after") == "":
			_, _ = w.Write([]byte(`{"events":[],"next":"further"}`))
		default:
			_, _ = w.Write([]byte(`{"events":[{"n":1}],"next":""}`))
		}
	}))
	defer s.Close()
	for _, c := range []struct {
		newest string
		code   int
		out    string
	}{{"--newest", 0, "{\"n\":1}\n"}, {"--newest=false", 1, ""}} {
		var out, errOut bytes.Buffer
		code := execute(t.Context(), []string{"events", "list", c.newest, "--actor", "admin:ann", "--until", "2026-11-26T12:00:00Z", "--json", "--admin", s.URL}, &out, &errOut)
		if code != c.code || out.String() != c.out {
			t.Errorf("usher events list %s = %d\n%s%s", c.newest, code, &out, &errOut)
		}
	}
}
