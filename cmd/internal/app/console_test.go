package app

import (
	"log/slog"
	"strings"
	"testing"
)

// TestTheSetUpLinkIsKept where the configuration wants it kept: the log says how to get
// in instead, at each start until somebody can.
func TestTheSetUpLinkIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for n := range 2 {
		s := serveWith(t, dir, map[string]any{"console.setup_link": false})
		if s.at.SetUp != "" {
			t.Error("there is a set-up link that nobody asked for")
		}
		said := s.log.String()
		if !strings.Contains(said, "usher console user list") || !strings.Contains(said, "usher console user reset NAME") {
			t.Errorf("the log of start %d does not say how to get into the console: %s", n+1, said)
		}
		if strings.Contains(said, "usher_setup_") {
			t.Error("the set-up link is in the log")
		}
		s.end()
	}
	st, err := OpenStore(t.Context(), fileWith(t, map[string]any{"data_dir": dir}), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	operators, err := NewOperators(st)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := operators.List(t.Context()); err != nil || len(all) != 1 || all[0].SetUp {
		t.Errorf("operators = %+v, %v, want the first one, without a password", all, err)
	}
	s := serveIn(t, dir)
	if !strings.Contains(s.at.SetUp, "usher_setup_") {
		t.Errorf("set-up link = %q, want one as before by default", s.at.SetUp)
	}
}
