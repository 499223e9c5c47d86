package app

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/cmd/internal/config"
	"github.com/usher-auth/usher/services/audit"
	"github.com/usher-auth/usher/services/override"
)

// overlaid is a process with a store and saved settings, and nothing else started.
// Its file is what the last call of load gave.
func overlaid(t *testing.T, keys map[string]any) (p *process, said *lockedLog) {
	t.Helper()
	said = &lockedLog{}
	p = &process{
		live: &live{}, metrics: newMetrics("1.0.0"), log: slog.New(slog.NewTextHandler(said, nil)),
		reloads: make(chan struct{}, 1), reconfigured: make(chan struct{}, 1), kicks: make(chan struct{}, 1),
	}
	p.cfg = fileWith(t, keys)
	var err error
	if p.store, err = openMigrated(t.Context(), p.cfg, p.log, nil); err != nil {
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
	if number, _ := p.store.SettingsRevision(t.Context()); !errors.As(err, &refused) || number != 0 || p.live.now() != former {
		t.Errorf("Save = %v, revision %d; want it refused and nothing changed", err, number)
	}
}

// Another process has saved: this one sees it although the bus tells nothing.
func TestSettingsAreFollowedWithoutTheBus(t *testing.T) {
	t.Parallel()
	p, said := overlaid(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.followSettings(ctx, 10*time.Millisecond) }()
	other := &process{live: &live{}, metrics: newMetrics("1.0.0"), log: p.log, store: p.store, cfg: p.cfg, reloads: make(chan struct{}, 1)}
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
	// A file that does not go with what was saved changes nothing.
	p.save(t, 1, override.Values{override.Gate: true})
	file = fileWith(t, map[string]any{"selfservice.flows.verification.enabled": false, "session.lifespan": "4h", "data_dir": p.cfg.DataDir})
	p.reload(t.Context())
	if now := p.live.now(); now.cfg.Session.Lifespan != 3*time.Hour || !now.loginPlans["password"].RequireVerified {
		t.Errorf("lifespan %s, want the former configuration\n%s", now.cfg.Session.Lifespan, said)
	}
	p.save(t, 2, override.Values{"session.lifespan": "5h"})
	if got := p.live.now().cfg.Session.Lifespan; got != 5*time.Hour {
		t.Errorf("lifespan %s, want what was saved since", got)
	}
}

// What was done to the row by hand: the start goes by the file alone, says so, and
// deletes nothing; the next save mends it.
func TestDamagedSettingsAtTheStart(t *testing.T) {
	t.Parallel()
	for name, damaged := range map[string]string{
		"no JSON": `{"sign_in`, "no object": `[1]`, "unknown": `{"sign_in_after_registration":false,"colour":"red"}`,
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
