package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
	"github.com/usher-auth/usher/workers/workertest"
)

func TestOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	created := events.IdentityCreated{IdentityID: workertest.IdentityID}
	story := workertest.Story(created, created, created)
	for range 2 { // the second time as after a restart
		l, err := open(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range workertest.Reorder(1, story) {
			for _, r := range workertest.Redeliver(t.Context(), l.worker(), e, 3) {
				if r.Outcome != workers.Done {
					t.Errorf("%+v, want it done", r)
				}
			}
		}
		if _, err := l.file.WriteString("once:0193"); err != nil { // it dies of a power cut
			t.Fatal(err)
		}
		if err := l.file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	lines, err := os.ReadFile(path)
	if n := bytes.Count(lines, []byte("\n")); err != nil || n != len(story) {
		t.Errorf("%d lines, %v, want %d:\n%s", n, err, len(story), lines)
	}
}
