package console_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/override"
	"github.com/usher-auth/usher/services/stats"
)

// withOverview lets the admin API answer for the overview. The hour is what one
// process told of two slots.
func withOverview(t *testing.T, told string) *world {
	t.Helper()
	w := newWorld(t)
	w.answers("GET /admin/health/ready", 200, map[string]any{"status": "ok"})
	w.answers("GET /admin/plan", 200, map[string]any{"sign_in_after_registration": override.Standing{Stands: override.On}})
	w.answers("GET /admin/stats", 200, hour(t, told))
	return w
}

// hour is what a collector makes of a slot's members, told by a process with a name
// that is markup.
func hour(t *testing.T, members string) stats.Hour {
	t.Helper()
	now := at.Add(-20 * time.Second)
	c := stats.NewCollector(func() time.Time { return now })
	if members != "" {
		report := fmt.Sprintf(`{"instance":"a","host":"<b>one</b>","version":"1.2.3","parts":["api","console"],
			"started_at":"2026-11-26T11:00:00Z","slots":[{"n":%d,%s}]}`, now.Unix()/10, members)
		if err := c.Add([]byte(report)); err != nil {
			t.Fatal(err)
		}
	}
	now = at.Add(5 * time.Second)
	h := c.Hour()
	h.Complete = true
	return h
}

const counted = `"counts":{"registrations.ok":1200,"registrations.no_session":34,"registrations.invalid":5,"logins.ok":7,"logins.credentials":2,
	"requests":4000,"request_errors":3,"mails_sent":9},"times":{"hop":[0,0,0,0,100,0,0,0,0,0,0,0,0,0,0,0,0]},
	"gauges":{"outbox_depth":2,"outbox_oldest_seconds":0.5,"dead_letters":6,"retries":8}`

func TestOverview(t *testing.T) {
	t.Parallel()
	w := withOverview(t, counted)
	p := w.visit("bob", "/console/")
	p.wants(t, http.StatusOK,
		"This process has all it needs.", "Sign In After Registration", `href="/console/settings"`, "signed in by the same answer",
		"1\u202f234", "34 without a session", "5 not accepted", "of 4\u202f000", "2.5 ms",
		"Dead letters, now", `href="/console/dead-letters"`, "the oldest is 500 ms old",
		"&lt;b&gt;one&lt;/b&gt;", "api, console", "Collected since 11:59:40 UTC", "https://id.example/ui/registration",
		"/console/assets/uplot.min-", "/console/assets/overview-",
	)
	for _, unwanted := range []string{"<b>one", "usher demo", " style=", "bus is away"} {
		if strings.Contains(p.text, unwanted) {
			t.Errorf("page holds %q", unwanted)
		}
	}
	for _, asked := range w.asked {
		if asked != "GET /admin/stats" && asked != "GET /admin/plan" && asked != "GET /admin/health/ready" {
			t.Errorf("the page asked %s, which may cost a statement or tell an event", asked)
		}
	}
}

// TestOverviewRenewsWhatItShows: each text that the page can renew comes with the
// data, and is the same.
func TestOverviewRenewsWhatItShows(t *testing.T) {
	t.Parallel()
	w := withOverview(t, counted)
	page, answer := w.visit("bob", "/console/"), w.visit("bob", "/console/overview.json")
	answer.wants(t, http.StatusOK)
	var data struct {
		From   int64
		Step   int
		Busy   bool
		Charts map[string][][]*float64
		Texts  map[string]string
	}
	if err := json.Unmarshal([]byte(answer.text), &data); err != nil {
		t.Fatal(err)
	}
	if len(data.Charts) != 5 || len(data.Charts["registrations"][0]) != 2 || *data.Charts["registrations"][0][0] != 1234 || data.Charts["hop"][1][1] != nil {
		t.Errorf("charts = %v, want five of two slots, the first of registrations 1234", data.Charts)
	}
	if !data.Busy || data.Step != 10 || data.From != at.Add(-20*time.Second).Unix() {
		t.Errorf("from %d by %d, want the begin of the first slot", data.From, data.Step)
	}
	n := 0
	for _, piece := range strings.Split(page.text, `data-text="`)[1:] {
		id, rest, _ := strings.Cut(piece, `"`)
		_, rest, _ = strings.Cut(rest, ">")
		shown, _, _ := strings.Cut(rest, "<")
		if text, ok := data.Texts[id]; !ok || text != shown {
			t.Errorf("%s: the page shows %q, the data %q (%v)", id, shown, text, ok)
		}
		n++
	}
	if n < 30 {
		t.Errorf("the page has %d texts that renew themselves, want more", n)
	}
}

func TestOverviewOfAnEmptyInstallation(t *testing.T) {
	t.Parallel()
	w := withOverview(t, "")
	w.visit("bob", "/console/").wants(t, http.StatusOK, "Nobody has registered", "usher demo", "No process has told anything yet", "None within this time.")
	w.visit("bob", "/console/overview.json").wants(t, http.StatusOK, `"texts":{`)
}

func TestOverviewSaysHowRegistrationSignsIn(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		standing override.Standing
		want     []string
	}{
		{override.Standing{Stands: override.On}, []string{">on<", "signed in by the same answer"}},
		{override.Standing{Stands: override.Off}, []string{">off<", "has to sign in afterwards"}},
		{override.Standing{Stands: override.Partly, Methods: []string{"oidc"}}, []string{">partly<", "registers by oidc is signed in"}},
	} {
		w := newWorld(t)
		w.answers("GET /admin/plan", 200, map[string]any{"sign_in_after_registration": test.standing})
		w.visit("bob", "/console/").wants(t, http.StatusOK, test.want...)
	}
}

// TestOverviewShowsTheRest of what can be had when a part is away.
func TestOverviewShowsTheRest(t *testing.T) {
	t.Parallel()
	refused := map[string]any{"error": map[string]any{"code": 503, "reason": "the store is away"}}
	t.Run("everything is away", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		for _, path := range []string{"/admin/plan", "/admin/stats", "/admin/health/ready"} {
			w.answers("GET "+path, 500, refused)
		}
		w.visit("bob", "/console/").wants(t, http.StatusOK, "What was counted cannot be shown", "Sign In After Registration cannot be shown", "Whether everything answers cannot be shown")
		w.visit("bob", "/console/overview.json").wants(t, 500)
	})
	t.Run("parts do not answer", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		h := hour(t, counted)
		h.Complete = false
		w.answers("GET /admin/stats", 200, h)
		w.answers("GET /admin/plan", 503, refused)
		w.answers("GET /admin/health/ready", 503, map[string]any{
			"errors": map[string]string{"database": "unavailable"}, "warnings": map[string]string{"session worker": "unavailable"},
		})
		w.visit("bob", "/console/").wants(t, http.StatusOK,
			"The database does not answer.", "The session worker does not answer.", "sign in by themselves", "The bus is away.", "The store is away.", "1\u202f234")
	})
}

func TestOverviewSaysWhichProcessesRun(t *testing.T) {
	t.Parallel()
	h := hour(t, counted)
	one := h.Instances[0]
	h.Instances = nil
	for _, silent := range []time.Duration{5 * time.Second, 40 * time.Second, 10 * time.Minute} {
		one.SeenAt = at.Add(-silent)
		h.Instances = append(h.Instances, one)
	}
	one.ClockOff = true
	h.Instances = append(h.Instances, one)
	w := newWorld(t)
	w.answers("GET /admin/stats", 200, h)
	w.visit("bob", "/console/").wants(t, http.StatusOK, ">runs<", ">not heard<", ">ended or not heard<", ">clock is off<", "10 min ago")
}

// TestOverviewIsForOperators: nobody else gets its data.
func TestOverviewIsForOperators(t *testing.T) {
	t.Parallel()
	w := withOverview(t, counted)
	for _, path := range []string{"/console/", "/console/overview.json"} {
		w.visit("", path).wants(t, http.StatusSeeOther)
	}
	if len(w.asked) > 0 {
		t.Errorf("the admin API was asked: %q", w.asked)
	}
}

// TestOverviewSaysThatNobodyRunsTheHooks: what a process has told that is not heard any
// more does not count, and the page renews that without loading the rest.
func TestOverviewSaysThatNobodyRunsTheHooks(t *testing.T) {
	t.Parallel()
	h := hour(t, counted)
	h.From = h.From.Add(-time.Minute)
	one := h.Instances[0]
	one.Parts = []string{"hooks"}
	h.Instances = append(h.Instances, one)
	for silent, gone := range map[time.Duration]bool{5 * time.Second: false, 40 * time.Second: true} {
		h.Instances[1].SeenAt = at.Add(-silent)
		w := newWorld(t)
		w.answers("GET /admin/stats", 200, h)
		for _, path := range []string{"/console/", "/console/?part=now"} {
			p := w.visit("bob", path)
			if got := strings.Contains(p.text, "Nobody runs the background hooks"); got != gone {
				t.Errorf("%s, %s silent: the page says so: %t, want %t", path, silent, got, gone)
			}
			if part := !strings.Contains(p.text, "<html"); part != strings.Contains(path, "part") {
				t.Errorf("%s is a part: %t", path, part)
			}
		}
	}
}
