package storetest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/override"
	"github.com/usher-auth/usher/services/store"
)

// saved is a revision with one value, and the event that tells of it.
func (s *suite) saved(number int64, lifespan string) (override.Revision, events.Event) {
	r := override.Revision{Number: number, Values: override.Values{"session.lifespan": lifespan}, Actor: "admin:ann", At: s.clock()}
	told := events.SettingsChanged{Action: "saved", Revision: number, Changed: []string{"session.lifespan"}}
	return r, events.New(told, r.At, events.About{Source: "/usher/test", Actor: r.Actor})
}

func testSavedSettings(t *testing.T, s *suite) {
	st := s.store(nil)
	s.wantSaved(st, 0)
	var all []override.Revision
	for n, lifespan := range []string{"1h0m0s", "2h0m0s", "3h0m0s"} {
		s.advance(time.Minute)
		r, e := s.saved(int64(n+1), lifespan)
		s.must(st.SaveSettings(s.ctx(), r, e))
		s.wantSaved(st, int64(n+1))
		all = append([]override.Revision{r}, all...)
	}
	for _, number := range []int64{1, 3, 5, 99, -1} {
		r, e := s.saved(number, "9h0m0s")
		var stale *override.Stale
		if err := st.SaveSettings(s.ctx(), r, e); !errors.As(err, &stale) || !cmp.Equal(stale.Newest, all[0]) {
			t.Errorf("SaveSettings of revision %d behind 3 = %v, want that 3 is the newest", number, err)
		}
	}
	for before, want := range map[int64][]override.Revision{0: all[:2], 3: all[1:], 2: all[2:], 1: {}} {
		got, err := st.SettingsBefore(s.ctx(), before, 2)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("SettingsBefore(%d, 2): %v\n%s", before, err, diff)
		}
	}
	if got := len(s.types(st)); got != 3 {
		t.Errorf("%d events, want one of each revision that was saved", got)
	}
}

func (s *suite) wantSaved(st *store.Store, want int64) {
	s.t.Helper()
	newest, err := st.NewestSettings(s.ctx())
	s.must(err)
	if newest.Number != want || newest.Values == nil || newest.Damaged {
		s.t.Errorf("newest revision = %+v, want %d", newest, want)
	}
}

// Two who save at once must not lose what the other has saved.
func testSaveSettingsAtOnce(t *testing.T, s *suite) {
	st := s.store(nil)
	for round := range int64(5) {
		errs := atOnce(4, func(n int) error {
			r, e := s.saved(round+1, time.Duration(n+1).String())
			return st.SaveSettings(s.ctx(), r, e)
		})
		saved := 0
		for _, err := range errs {
			var stale *override.Stale
			switch {
			case err == nil:
				saved++
			case !errors.As(err, &stale) || stale.Newest.Number != round+1:
				t.Errorf("SaveSettings = %v, want that another has saved %d", err, round+1)
			}
		}
		if saved != 1 {
			t.Errorf("%d of four saved revision %d, want one", saved, round+1)
		}
		s.wantSaved(st, round+1)
	}
	if got := len(s.types(st)); got != 5 {
		t.Errorf("%d events, want one of each revision", got)
	}
}

// What somebody has done to a row by hand breaks neither the start nor the history.
func testSavedSettingsDamaged(t *testing.T, s *suite) {
	st := s.store(nil)
	for n, text := range []string{`[1]`, `7`, `null`, `{"a":"` + strings.Repeat("x", override.MaxSize) + `"}`, `{"a":`} {
		if n == 4 && s.Driver == "postgres" {
			continue // it keeps only JSON
		}
		s.exec(`DELETE FROM settings`)
		s.exec(`INSERT INTO settings (revision, saved, actor, saved_at) VALUES (7, '` + text + `', 'nobody', 1)`)
		newest, err := st.NewestSettings(s.ctx())
		if err != nil || !newest.Damaged || newest.Number != 7 || len(newest.Values) != 0 {
			t.Errorf("newest of %.20s = %+v, %v, want that 7 is damaged", text, newest, err)
		}
		if all, err := st.SettingsBefore(s.ctx(), 0, 10); err != nil || len(all) != 1 || !all[0].Damaged {
			t.Errorf("history with %.20s = %+v, %v", text, all, err)
		}
	}
	for _, at := range []string{"-9000000000000000000", "9000000000000000000"} { // no time that JSON can say
		s.exec(`DELETE FROM settings`)
		s.exec(`INSERT INTO settings (revision, saved, actor, saved_at) VALUES (7, '{"a":true}', 'nobody', ` + at + `)`)
		if newest, err := st.NewestSettings(s.ctx()); err != nil || !newest.Damaged || len(newest.Values) != 0 || !newest.At.IsZero() {
			t.Errorf("newest of the time %s = %+v, %v, want that it is damaged", at, newest, err)
		}
	}
	r, e := s.saved(8, "1h0m0s")
	s.must(st.SaveSettings(s.ctx(), r, e))
	s.wantSaved(st, 8)
}
