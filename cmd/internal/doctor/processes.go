package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/usher-auth/usher/cmd/internal/app"
)

const (
	checkHealth   = "processes.health"
	checkRelay    = "processes.relay"
	checkSettings = "processes.settings"
	checkRelease  = "processes.version"
	checkUsesBus  = "processes.bus"
)

var processLooks = []look{
	{[]Check{{checkHealth, "the process behind the admin listener is ready"}}, (*Doctor).lookHealth, false},
	{[]Check{{checkRelay, "a process publishes what was committed"}}, (*Doctor).lookRelay, false},
	{[]Check{{checkSettings, "saved settings are in force"}, {checkRelease, "it is of this version"}, {checkUsesBus, "it uses the bus of the configuration"}}, (*Doctor).lookProcess, false},
}

// Admin asks the admin listener of a running process.
type Admin struct {
	// URL begins its routes, without a slash at the end; empty for none.
	URL string
	// Given tells that somebody has named it, so that it should be there.
	Given bool
	// Token is sent as a bearer token, unless it is empty.
	Token  string
	Client *http.Client
}

// answer is what a listener has answered.
type answer struct {
	status int
	body   []byte
}

func (a Admin) get(ctx context.Context, path string) (answer, error) {
	if a.URL == "" {
		return answer{}, errors.New("where it is is not known: --admin URL")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL+path, nil)
	if err != nil {
		return answer{}, err
	}
	if a.Token != "" {
		req.Header.Set("Authorization", "Bearer "+a.Token)
	}
	resp, err := a.Client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	return answer{resp.StatusCode, body}, err
}

// alive tells whether a process answers.
func (a Admin) alive(ctx context.Context) error {
	got, err := a.get(ctx, "/health/alive")
	if err == nil && got.status != http.StatusOK {
		err = fmt.Errorf("status %d", got.status)
	}
	return err
}

func (d *Doctor) lookHealth(ctx context.Context) (f findings) {
	got, err := d.Admin.get(ctx, "/health/ready")
	switch {
	case err != nil && d.Admin.Given:
		f.add(Red, checkHealth, fmt.Sprintf("no process answers at %s: %s", d.Admin.URL, lastOf(err)), "start it, or see its log")
		return f
	case err != nil && d.embedded():
		f.add(Yellow, checkHealth, fmt.Sprintf("no server runs: nothing answers at %s", d.Admin.URL), "usher serve"+d.Flags)
		return f
	case err != nil:
		f.add(Yellow, checkHealth, fmt.Sprintf("no process answers at %s", d.Admin.URL), "name one with --admin URL, or start one: usher serve api"+d.Flags)
		return f
	}
	var health struct{ Errors, Warnings map[string]string }
	if err := json.Unmarshal(got.body, &health); err != nil {
		f.add(Red, checkHealth, fmt.Sprintf("%s is no admin listener of Usher", d.Admin.URL), "--admin URL, or mend serve.admin")
		return f
	}
	if _, alone := health.Errors[app.CheckReach]; alone {
		delete(health.Errors, app.CheckDatabase) // that is said better
	}
	for _, failing := range []struct {
		names map[string]string
		worst Status
	}{{health.Errors, Red}, {health.Warnings, Yellow}} {
		for _, name := range sorted(failing.names) {
			if !d.seesToo(ctx, &f, name) {
				one := unready(d.Admin.URL, name)
				if one.Status.Worse(failing.worst) {
					one.Status = failing.worst
				}
				f = append(f, one)
			}
		}
	}
	switch {
	case len(f) > 0:
	case got.status != http.StatusOK:
		f.add(Red, checkHealth, fmt.Sprintf("the process at %s is not ready: status %d", d.Admin.URL, got.status), "see its log; one that drains is as it should be")
	default:
		f.green(checkHealth, "the process at %s is ready", d.Admin.URL)
	}
	return f
}

// unready says what it means that a check of the process at a URL fails, which another
// check here does not say.
func unready(at, check string) Finding {
	var f findings
	switch check {
	case app.CheckProcess:
		f.add(Yellow, checkHealth, fmt.Sprintf("the process at %s drains: it takes no new work and is to end", at), "well, if that is meant; else start it again")
	case app.CheckReach:
		f.add(Red, checkHealth, fmt.Sprintf("the process at %s does not reach the database, and others do: balancers send it nobody", at), "see its log, and the network between it and the database")
	case app.CheckDatabase, app.CheckBus, app.CheckSessions:
		f.add(Red, checkHealth, fmt.Sprintf("the process at %s does not reach its %s, which is seen from here", at, check), "see its log, and the network between them")
	default:
		f.add(Red, checkHealth, fmt.Sprintf("the process at %s is not ready: %s", at, check), "see its log")
	}
	return f[0]
}

// seesToo skips what a process cannot reach and this one cannot either: that is
// the finding of another check.
func (d *Doctor) seesToo(ctx context.Context, f *findings, name string) bool {
	switch name {
	case app.CheckDatabase:
		if _, err := d.db(ctx); err != nil {
			f.skip(noDatabase, checkHealth)
			return true
		}
	case app.CheckBus:
		if _, ok := d.reached(ctx, f, checkHealth); !ok {
			return true
		}
	case app.CheckSessions:
		var own findings
		if b, ok := d.reached(ctx, f, checkHealth); !ok {
			return true
		} else if d.lookSessions(ctx, b, &own); own[0].Status == Red {
			f.skip("see "+checkSessions, checkHealth)
			return true
		}
	}
	return false
}

// lookRelay asks PostgreSQL who leads; on SQLite the one process does.
func (d *Doctor) lookRelay(ctx context.Context) (f findings) {
	db, err := d.db(ctx)
	if err != nil {
		f.skip(noDatabase, checkRelay)
		return f
	}
	if db.Postgres == nil {
		if d.Admin.alive(ctx) != nil {
			f.skip("no server runs, see "+checkHealth, checkRelay)
		} else {
			f.green(checkRelay, "the one process does")
		}
		return f
	}
	leads, err := db.Leads(ctx)
	switch {
	case err != nil:
		f.skip("the database does not tell: "+oneLine(err), checkRelay)
	case !leads:
		f.add(Yellow, checkRelay, "no process leads: events wait in the database", "usher serve api"+d.Flags)
	default:
		f.green(checkRelay, "one process leads")
	}
	return f
}

func (d *Doctor) lookProcess(ctx context.Context) (f findings) {
	metrics, err := d.Admin.get(ctx, "/metrics")
	version, err2 := d.Admin.get(ctx, "/version")
	switch {
	case err != nil || err2 != nil:
		f.skip("no process answers, see "+checkHealth, checkSettings, checkRelease, checkUsesBus)
		return f
	case metrics.status == http.StatusUnauthorized || metrics.status == http.StatusForbidden:
		f.skip("the admin listener wants a token in USHER_ADMIN_TOKEN: 'usher admin token new NAME'", checkSettings, checkRelease, checkUsesBus)
		return f
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(metrics.body))
	refused, there := families["usher_settings_refused"]
	switch {
	case err != nil || !there || len(refused.Metric) == 0:
		f.skip("its metrics do not tell", checkSettings)
	case refused.Metric[0].GetGauge().GetValue() > 0:
		f.add(Red, checkSettings, "the newest saved settings cannot be used with this configuration: what was in force before is", "'usher settings history"+d.Flags+"' shows them; save others, or go back with 'usher settings revert'")
	default:
		f.green(checkSettings, "saved settings are in force")
	}
	d.judgeBus(&f, families["usher_bus_info"])
	var is struct{ Version string }
	switch err := json.Unmarshal(version.body, &is); {
	case err != nil || is.Version == "":
		f.skip("it does not tell", checkRelease)
	case is.Version != d.Version:
		f.add(Yellow, checkRelease, fmt.Sprintf("it is %s, this program is %s", is.Version, d.Version), "well, while an update goes on; else use the program of the server")
	default:
		f.green(checkRelease, "%s", is.Version)
	}
	return f
}

// judgeBus compares the bus that a process was started with with the configured one.
func (d *Doctor) judgeBus(f *findings, info *dto.MetricFamily) {
	want := d.Config.Bus.URL
	if at, err := os.ReadFile(filepath.Join(d.Config.DataDir, "bus.url")); d.embedded() && err == nil {
		want = strings.TrimSpace(string(at))
	}
	uses := ""
	for _, label := range info.GetMetric() {
		for _, l := range label.GetLabel() {
			uses = l.GetValue()
		}
	}
	list := func(urls string) []string { return slices.Sorted(strings.SplitSeq(urls, ",")) }
	switch {
	case uses == "" || want == "":
		f.skip("it does not tell", checkUsesBus)
	case !slices.Equal(list(uses), list(want)):
		f.add(Yellow, checkUsesBus, fmt.Sprintf("the process at %s uses the bus %s, the configuration names %s", d.Admin.URL, uses, want), "start that process again with this configuration; or give the doctor that of the process, with -c FILE")
	default:
		f.green(checkUsesBus, "it uses %s", uses)
	}
}

// lastOf is the end of an error, without what stands in the finding already.
func lastOf(err error) string {
	text := oneLine(err)
	return text[strings.LastIndex(text, ": ")+1:]
}
