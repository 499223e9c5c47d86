package app

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/override"
)

// overlaid is a process with a store and saved settings, and nothing else started.
// Its file is what the last call of load gave.
func overlaid(t *testing.T, keys map[string]any) (p *process, said *lockedLog) {
	t.Helper()
	said = &lockedLog{}
	p = &process{inForce: inForce{live: &live{}}, metrics: newMetrics("1.0.0"), log: slog.New(slog.NewTextHandler(said, nil))}
	p.cfg = fileWith(t, keys)
	var err error
	if p.store, err = openMigrated(t.Context(), p.cfg, p.storeOptions()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.store.Close() })
	p.hooks = p.newCatalogue()
	if err := p.startOverrides(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p, said
}

func fileWith(t *testing.T, keys map[string]any) *config.Config {
	t.Helper()
	all := map[string]any{"data_dir": t.TempDir(), "secrets.cookie": []any{"Vj2mWq8Zt5Rk1Xn7Bc4Hf9Lp3Ds6Ga0Ye"}}
	for key, value := range keys {
		all[key] = value
	}
	cfg, _, err := config.Load(config.Options{Dev: true, Env: []string{}, Overrides: all})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// saving is how operators save, without a bus.
func (p *process) saving() *override.Service {
	s := p.settings()
	s.Saved = nil
	return s
}

var ann = audit.Author{Actor: "admin:ann"}

func (p *process) save(t *testing.T, seen int64, set override.Values) override.Snapshot {
	t.Helper()
	now, err := p.saving().Save(t.Context(), seen, override.Change{Set: set}, ann)
	if err != nil {
		t.Fatal(err)
	}
	return now
}

// signsIn tells whether a registration signs people in by the plan in force.
func (p *process) signsIn() bool { return p.live.now().plans["password"].Session.On }

func TestSavedSettingsAreInForceAtOnce(t *testing.T) {
	t.Parallel()
	p, _ := overlaid(t, nil)
	before := p.live.now()
	now := p.save(t, 0, override.Values{override.SignIn: false, "session.lifespan": "2h"})
	if p.signsIn() || p.live.now().cfg.Session.Lifespan != 2*time.Hour || len(now.Refused) > 0 {
		t.Errorf("after saving: session %v, lifespan %s, refused %v", p.signsIn(), p.live.now().cfg.Session.Lifespan, now.Refused)
	}
	if !before.plans["password"].Session.On {
		t.Error("what was in force before has changed: requests that are under way go by it")
	}
	for _, r := range now.Effect.Rows {
		if r.Method == "password" && strings.HasPrefix(r.Step, "session") && r.Flow == "registration" {
			t.Errorf("the effect has %+v", r)
		}
	}
	_, err := p.saving().Save(t.Context(), 0, override.Change{Set: override.Values{override.SignIn: true}}, ann)
	var stale *override.Stale
	if !errors.As(err, &stale) || stale.Newest.Number != 1 || stale.Newest.Actor != "admin:ann" {
		t.Errorf("Save of a revision that is not the newest = %v, want who saved which", err)
	}
	if now, err = p.saving().Revert(t.Context(), 1, 0, ann); err != nil || !p.signsIn() || now.Revision.Number != 2 {
		t.Errorf("Revert to nothing = %+v, %v; session %v", now.Revision, err, p.signsIn())
	}
}

func TestSettingsThatCannotHoldAreNotSaved(t *testing.T) {
	t.Parallel()
	p, _ := overlaid(t, nil)
	former := p.live.now()
	change := override.Change{Set: override.Values{override.Gate: true, "selfservice.flows.verification.enabled": false}}
	seen, err := p.saving().Preview(t.Context(), change)
	if err != nil || len(seen.Refused) == 0 || !strings.Contains(seen.Refused[0], "nobody could sign in again") || len(seen.After.Rows) > 0 || len(seen.Today.Rows) == 0 {
		t.Errorf("Preview = refused %q, after %v, %v", seen.Refused, seen.After.Rows, err)
	}
	_, err = p.saving().Save(t.Context(), 0, change, ann)
	var refused *override.Refused
	if newest, _ := p.store.NewestSettings(t.Context()); !errors.As(err, &refused) || newest.Number != 0 || p.live.now() != former {
		t.Errorf("Save = %v, revision %d; want it refused and nothing changed", err, newest.Number)
	}
}

// Another process has saved: this one sees it although the bus tells nothing.
func TestSettingsAreFollowedWithoutTheBus(t *testing.T) {
	t.Parallel()
	p, said := overlaid(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.followSettings(ctx, 10*time.Millisecond) }()
	other := &process{inForce: inForce{live: &live{}}, metrics: newMetrics("1.0.0"), log: p.log, store: p.store, cfg: p.cfg}
	other.hooks = other.newCatalogue()
	if err := other.startOverrides(t.Context()); err != nil {
		t.Fatal(err)
	}
	other.save(t, 0, override.Values{override.SignIn: false})
	soonThat(t, "it is followed", func() bool { return !p.signsIn() })
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("followSettings = %v, want nil\n%s", err, said)
	}
}

// A file that is being edited, or is broken, keeps no saved settings out; and what
// it says in the end has them over it.
func TestSettingsOverAFileThatChanges(t *testing.T) {
	t.Parallel()
	p, said := overlaid(t, nil)
	var file *config.Config
	broken := errors.New("half a file")
	p.Load = func() (*config.Config, []config.Warning, error) { return file, nil, broken }
	p.reload(t.Context())
	p.save(t, 0, override.Values{override.SignIn: false})
	if p.signsIn() || !strings.Contains(said.String(), "half a file") {
		t.Errorf("session %v with a broken file, want what was saved\n%s", p.signsIn(), said)
	}
	file, broken = fileWith(t, map[string]any{"session.lifespan": "3h", "data_dir": p.cfg.DataDir}), nil
	p.reload(t.Context())
	if now := p.live.now(); p.signsIn() || now.cfg.Session.Lifespan != 3*time.Hour {
		t.Errorf("session %v, lifespan %s; want the saved and the file's", p.signsIn(), now.cfg.Session.Lifespan)
	}
}

// What is in force follows from the file and the newest revision, whichever changed
// last: a process that ran then and one that starts go by the same. Where the two do
// not go together the file counts, alone; the next save is made from that.
func TestSavedSettingsThatTheFileRefuses(t *testing.T) {
	t.Parallel()
	p, said := overlaid(t, nil)
	p.save(t, 0, override.Values{override.SignIn: false})
	p.save(t, 1, override.Values{override.Gate: true, "session.lifespan": "3h"})
	former := p.cfg
	file := fileWith(t, map[string]any{"selfservice.flows.verification.enabled": false, "session.lifespan": "4h", "data_dir": p.cfg.DataDir})
	p.Load = func() (*config.Config, []config.Warning, error) { return file, nil, nil }
	p.reload(t.Context())

	started := &process{inForce: inForce{live: &live{}}, metrics: newMetrics("1.0.0"), log: p.log, store: p.store, cfg: file}
	started.hooks = started.newCatalogue()
	if err := started.startOverrides(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, each := range map[string]*process{"running": p, "started": started} {
		now, err := each.overrides.Follow(t.Context())
		if err != nil || now.Number != 0 || now.Newest.Number != 2 || len(now.Refused) == 0 {
			t.Errorf("%s: in force is %+v, %v; want the file alone, and why", name, now, err)
		}
		if in := each.live.now(); !each.signsIn() || in.cfg.Session.Lifespan != 4*time.Hour || in.loginPlans["password"].RequireVerified {
			t.Errorf("%s: session %v, lifespan %s; want the file's alone", name, each.signsIn(), in.cfg.Session.Lifespan)
		}
	}
	if !strings.Contains(said.String(), "the saved settings cannot be used") {
		t.Errorf("the log does not say it:\n%s", said)
	}
	now := p.save(t, 2, override.Values{"session.lifespan": "5h"})
	if now.InForce != 3 || len(now.Refused) > 0 || len(now.Revision.Values) != 1 || !p.signsIn() || p.live.now().cfg.Session.Lifespan != 5*time.Hour {
		t.Errorf("saved upon what is in force: %+v, refused %q", now.Revision, now.Refused)
	}
	// The other order: the file as it was, and the same revisions.
	file = former
	p.reload(t.Context())
	if now, err := p.overrides.Follow(t.Context()); err != nil || now.Number != 3 || !p.signsIn() {
		t.Errorf("with the former file: %+v, %v", now, err)
	}
}

// The row of the revision in force is damaged by hand while the process runs: it does
// not go on from memory, and nothing that the row held is lost by the next save.
func TestSettingsDamagedWhileRunning(t *testing.T) {
	t.Parallel()
	p, _ := overlaid(t, nil)
	p.save(t, 0, override.Values{override.SignIn: false})
	db, err := sql.Open("sqlite", filepath.Join(p.cfg.DataDir, "usher.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), `UPDATE settings SET saved = '{"sign_in'`); err != nil {
		t.Fatal(err)
	}
	change := override.Change{Set: override.Values{"session.lifespan": "2h"}}
	seen, err := p.saving().Preview(t.Context(), change)
	if err != nil || len(seen.Refused) == 0 {
		t.Errorf("Preview = %q, %v; want it refused", seen.Refused, err)
	}
	_, err = p.saving().Save(t.Context(), 1, change, ann)
	var refused *override.Refused
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "first take an earlier revision back") {
		t.Errorf("Save = %v, want what to do first", err)
	}
	if !p.signsIn() {
		t.Error("what was damaged is in force from memory; a start would go by the file")
	}
	if _, err := p.saving().Revert(t.Context(), 1, 0, ann); err != nil {
		t.Error(err)
	}
	if now := p.save(t, 2, override.Values{"session.lifespan": "2h"}); now.InForce != 3 {
		t.Errorf("Save after that = %+v", now)
	}
}

// Who gives up waiting ends nothing for the others.
func TestFollowWaitsWithTheCallersDeadline(t *testing.T) {
	t.Parallel()
	p, _ := overlaid(t, nil)
	p.overrides.turn.Lock() // somebody puts something in force, slowly
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.overrides.Follow(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("Follow = %v, want that the caller has gone", err)
	}
	got := make(chan error, 1)
	go func() { _, err := p.overrides.Follow(t.Context()); got <- err }()
	p.overrides.turn.Unlock()
	if err := <-got; err != nil {
		t.Errorf("Follow of another = %v", err)
	}
}

// What was done to the row by hand: the start goes by the file alone, says so, and
// deletes nothing; the next save mends it.
func TestDamagedSettingsAtTheStart(t *testing.T) {
	t.Parallel()
	for name, damaged := range map[string]string{
		"no JSON": `{"sign_in`, "no object": `[1]`,
		"wrong": `{"session.lifespan":"soon"}`, "refused": `{"require_verified_address":true,"selfservice.flows.verification.enabled":false}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := serveIn(t, dir)
			s.settings("PATCH", "", `{"revision":0,"set":{"sign_in_after_registration":false}}`, 200)
			s.end()
			db, err := sql.Open("sqlite", filepath.Join(dir, "usher.db"))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.ExecContext(t.Context(), `UPDATE settings SET saved = ?`, damaged); err != nil {
				t.Fatal(err)
			}
			s = serveIn(t, dir)
			shown := s.settings("GET", "", "", 200)
			if len(shown.Refused) == 0 || shown.Settings[0].Value != true || shown.Revision.Number != 1 {
				t.Errorf("settings = %+v, refused %q; want the file's and why", shown.Settings[0], shown.Refused)
			}
			if s.metric("usher_settings_refused") != 1 || !strings.Contains(s.log.String(), "the saved settings cannot be used") {
				t.Errorf("neither the metric nor the log says it:\n%s", s.log)
			}
			var still string
			if err := db.QueryRowContext(t.Context(), `SELECT saved FROM settings`).Scan(&still); err != nil || still != damaged {
				t.Errorf("the row is %q, %v; want it as it was", still, err)
			}
			s.settings("POST", "/revert", `{"revision":1,"to":0}`, 200)
			if shown := s.settings("GET", "", "", 200); len(shown.Refused) > 0 || s.metric("usher_settings_refused") != 0 || s.metric("usher_settings_revision") != 2 {
				t.Errorf("after it was mended: refused %q", shown.Refused)
			}
		})
	}
}

// A name that only a newer version has, or nobody: the rest is in force, it is said,
// and the next save goes through without it.
func TestUnknownSavedNamesAreLeftOut(t *testing.T) {
	t.Parallel()
	p, said := overlaid(t, nil)
	row := override.Revision{Number: 1, Values: override.Values{override.SignIn: false, "colour": "red"}, Actor: "admin:bob", At: time.Now()}
	told := events.New(events.SettingsChanged{Action: "saved", Revision: 1, Changed: []string{}}, row.At, ann.About("/usher/settings"))
	if err := p.store.SaveSettings(t.Context(), row, told); err != nil {
		t.Fatal(err)
	}
	now, err := p.saving().Current(t.Context())
	if err != nil || p.signsIn() || len(now.Refused) > 0 || !slices.Equal(now.Unknown, []string{"colour"}) {
		t.Errorf("Current = refused %q, unknown %q, %v; want the rest in force", now.Refused, now.Unknown, err)
	}
	if !strings.Contains(said.String(), "the next save drops them") {
		t.Errorf("the log does not say it:\n%s", said)
	}
	if now = p.save(t, 1, override.Values{"session.lifespan": "2h"}); len(now.Unknown) > 0 || len(now.Revision.Values) != 2 {
		t.Errorf("Save = %+v, unknown %q", now.Revision, now.Unknown)
	}
}

// settings asks the admin listener about saved settings.
func (s *served) settings(method, path, body string, want int) (now override.Snapshot) {
	s.t.Helper()
	var sent any
	if body != "" {
		sent = json.RawMessage(body)
	}
	status, text := s.send(method, s.at.Admin+"/admin/settings"+path, sent)
	if err := json.Unmarshal([]byte(text), &now); err != nil || status != want {
		s.t.Fatalf("%s settings%s = %d %s, want %d", method, path, status, text, want)
	}
	return now
}
