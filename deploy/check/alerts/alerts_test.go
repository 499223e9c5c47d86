package alerts

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	_ "github.com/prometheus/prometheus/discovery/dns" // the kind that prometheus.yml names

	"github.com/usher-auth/usher/deploy/check/checkout"
	"github.com/usher-auth/usher/deploy/check/metrics"
)

const file = "deploy/prometheus/alerts.yml"

func TestAlerts(t *testing.T) {
	t.Parallel()
	for _, problem := range Check(checkout.Read(t, file), checkout.Read(t, "deploy/RUNBOOK.md"), metrics.Of(t)) {
		t.Error(problem)
	}
}

// TestRunbookQueries sees that the queries of the runbook can be asked.
func TestRunbookQueries(t *testing.T) {
	t.Parallel()
	asked := 0
	for _, text := range regexp.MustCompile("`([^`]*(?:usher|process)_[^`]*[)}])`").FindAllStringSubmatch(checkout.Read(t, "deploy/RUNBOOK.md"), -1) {
		asked++
		for _, problem := range metrics.Of(t).Check(text[1]) {
			t.Errorf("%s: %s", text[0], problem)
		}
	}
	if asked < 8 {
		t.Errorf("%d queries found in the runbook, want more", asked)
	}
}

// TestEachAlertFires gives each alert series with which it fires, as its only alert
// with these labels, and others with which it does not.
func TestEachAlertFires(t *testing.T) {
	t.Parallel()
	groups, err := parse(checkout.Read(t, file))
	if err != nil {
		t.Fatal(err)
	}
	all := names(groups)
	for _, name := range all {
		if _, ok := examples[name]; !ok {
			t.Errorf("%s: no example says when it fires", name)
		}
	}
	for name, e := range examples {
		if !slices.Contains(all, name) {
			t.Errorf("%s: an example of no alert", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := cmp.Or(e.at, 10*time.Minute)
			found, err := Fire(checkout.Path(t, file), name, e.fires, at)
			if err != nil {
				t.Fatal(err)
			}
			if len(found) != 1 {
				t.Fatalf("%d alerts fire, want one: %v", len(found), found)
			}
			got := maps.Clone(found[0].labels)
			delete(got, "alertname")
			delete(got, "severity")
			if !maps.Equal(got, e.labels) {
				t.Errorf("it fires with %v, want %v", got, e.labels)
			}
			if !strings.Contains(found[0].description, e.says) {
				t.Errorf("it says %q, want %q", found[0].description, e.says)
			}
			found, err = Fire(checkout.Path(t, file), name, e.quiet, at)
			if err != nil || len(found) > 0 {
				t.Errorf("%v fire, %v, want none", found, err)
			}
			e.amongOthers(t, name, at)
		})
	}
}

// amongOthers sees that many installations that are well hide nothing of one that is
// not, and that together they are no ill one.
func (e example) amongOthers(t *testing.T, name string, at time.Duration) {
	series := of("ill", e.fires)
	for n := range 20 {
		series = append(series, of(fmt.Sprintf("well-%d", n), e.quiet)...)
	}
	found, err := Fire(checkout.Path(t, file), name, series, at)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].labels["namespace"] != "ill" || !strings.Contains(found[0].description, e.says) {
		t.Errorf("among others that are well %v fire, want one of the namespace ill that says %q", found, e.says)
	}
}

// of puts series into a namespace.
func of(namespace string, series []string) (all []string) {
	for _, s := range series {
		all = append(all, strings.Replace(s, "{", `{namespace="`+namespace+`",`, 1))
	}
	return all
}

// TestNobodyLeads sees that the leader of another installation does not stand in for
// one whose processes are all away.
func TestNobodyLeads(t *testing.T) {
	t.Parallel()
	found, err := Fire(checkout.Path(t, file), "UsherNoRelayLeader", []string{
		`up{job="usher",part="api",namespace="a"} 1x20`, `usher_relay_leading{namespace="a"} 1x20`,
		`up{job="usher",part="api",namespace="b"} 0x20`, `usher_relay_leading{namespace="b"} 1x3`,
	}, 10*time.Minute)
	if err != nil || len(found) != 1 || found[0].labels["namespace"] != "b" {
		t.Errorf("%v fire, %v, want one of the namespace b", found, err)
	}
}

// TestOneOfTwoInstallationsIsGone, and not even its targets are known any more.
func TestOneOfTwoInstallationsIsGone(t *testing.T) {
	t.Parallel()
	for name, alerts := range map[string]int{"UsherPartGone": 3, "UsherNoRelayLeader": 1} {
		found, err := Fire(checkout.Path(t, file), name, []string{
			`up{job="usher",part="all",namespace="a"} 1x30`, `usher_relay_leading{namespace="a"} 1x30`,
			`up{job="usher",part="all",namespace="b"} 1x5`, `usher_relay_leading{namespace="b"} 1x5`,
		}, 20*time.Minute)
		if err != nil || len(found) != alerts || found[0].labels["namespace"] != "b" {
			t.Errorf("%s: %v fire, %v, want %d of the namespace b", name, found, err, alerts)
		}
	}
}

// TestDiskOfWhatIsBelow sees that data on a disk that is mounted above it is watched too.
func TestDiskOfWhatIsBelow(t *testing.T) {
	t.Parallel()
	for place, fires := range map[string]bool{"/": true, "/var": true, "/var/lib": true, "/var/lib/postgresql/15/main": true, "/var/lib/pgsql": true, "/var/lib/docker/volumes": true, "/var/lib/containers": true, "/var/log": false, "/home": false, "/variable": false} {
		found, err := Fire(checkout.Path(t, file), "UsherDiskFills", disk("usher-node", place, "5x30"), 20*time.Minute)
		if err != nil || (len(found) == 1) != fires {
			t.Errorf("a full disk at %s: %v fire, %v, want one: %t", place, found, err, fires)
		}
	}
}

// TestDiskThatFills looks ahead, and takes no large copy for a disk that fills.
func TestDiskThatFills(t *testing.T) {
	t.Parallel()
	for free, fires := range map[string]bool{"50-0.07x400": true, "100x300 100-1x40 60x100": false} {
		found, err := Fire(checkout.Path(t, file), "UsherDiskFills", disk("usher-node", "/", free), 385*time.Minute)
		if err != nil || (len(found) == 1) != fires {
			t.Errorf("a disk with %s free: %v fire, %v, want one: %t", free, found, err, fires)
		}
	}
}

// TestFewWakeNobody: what is half of all on a quiet day may be one person.
func TestFewWakeNobody(t *testing.T) {
	t.Parallel()
	const few = " 0x60 1x2 2x2 3x2 4x30"
	for name, series := range map[string][]string{
		"UsherErrorBudgetFast": {answers + `"200"}` + few, answers + `"503"}` + few},
		"UsherSlowFast":        {submits + "count" + post + "}" + few, submits + "bucket" + post + `,le="1"} 0x100`},
		"UsherSessionsMissing": {`usher_registrations_total{outcome="no_session"}` + few, `usher_registrations_total{outcome="ok"} 0x100`},
		"UsherMailServerAway":  {`usher_mail_total{outcome="unreachable"}` + few, `usher_mail_total{outcome="sent"} 0x100`},
	} {
		found, err := Fire(checkout.Path(t, file), name, series, 68*time.Minute)
		if err != nil || len(found) > 0 {
			t.Errorf("%s: %v fire, %v, want none for four within an hour", name, found, err)
		}
	}
}

// TestOneProcess is one target with all parts: well, it wakes nobody, and away it is each.
func TestOneProcess(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"UsherPartGone", "UsherNoRelayLeader", "UsherTwoRelayLeaders"} {
		found, err := Fire(checkout.Path(t, file), name, []string{`up{job="usher",part="all",instance="a"} 1x20`, `usher_relay_leading{part="all",instance="a"} 1x20`}, 10*time.Minute)
		if err != nil || len(found) > 0 {
			t.Errorf("%s: %v fire, %v, want none for one process that is well", name, found, err)
		}
	}
	found, err := Fire(checkout.Path(t, file), "UsherPartGone", []string{`up{job="usher",part="all",instance="a"} 0x20`}, 10*time.Minute)
	if err != nil || len(found) != 3 {
		t.Errorf("one process that is away: %v fire, %v, want api, session and hooks", found, err)
	}
}

// TestBusNodeBehindItsExporter: an exporter answers also when its server is away.
func TestBusNodeBehindItsExporter(t *testing.T) {
	t.Parallel()
	found, err := Fire(checkout.Path(t, file), "UsherBusNodeDown", []string{
		`up{job="nats",instance="n1"} 1x20`, `gnatsd_healthz_status{job="nats",instance="n1",server_id="A",value="connection refused"} 1x20`,
	}, 10*time.Minute)
	if err != nil || len(found) != 1 || found[0].labels["instance"] != "n1" {
		t.Errorf("%v fire, %v, want one of n1", found, err)
	}
}

// TestPrometheus reads the configurations with Prometheus' own library.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"deploy/prometheus/prometheus.yml", "deploy/prometheus/hosts.yml"} {
		if _, err := config.LoadFile(checkout.Path(t, path), false, slog.New(slog.DiscardHandler)); err != nil {
			t.Error(err)
		}
	}
}

// TestHostsAreScraped sees that hosts.yml gives the alerts all that they ask for.
func TestHostsAreScraped(t *testing.T) {
	t.Parallel()
	read, err := config.LoadFile(checkout.Path(t, "deploy/prometheus/hosts.yml"), false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := read.GetScrapeConfigs()
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]bool{}
	for _, job := range jobs {
		given[`job="`+job.JobName+`"`] = true
		for _, from := range job.ServiceDiscoveryConfigs {
			for _, targets := range from.(discovery.StaticConfig) {
				given[`part="`+string(targets.Labels["part"])+`"`] = true
			}
		}
	}
	asked := regexp.MustCompile(`job="[\w-]+"`).FindAllString(checkout.Read(t, file), -1)
	for _, one := range append(asked, `part="api"`, `part="session"`, `part="hooks"`, `part="console"`) {
		if !given[one] {
			t.Errorf("an alert asks for %s, which hosts.yml does not give: %v", one, given)
		}
	}
}

// TestBrokenAlertsAreRefused breaks copies of the alerts and of the runbook.
func TestBrokenAlertsAreRefused(t *testing.T) {
	t.Parallel()
	text, book := checkout.Read(t, file), checkout.Read(t, "deploy/RUNBOOK.md")
	for name, broken := range map[string]struct {
		inBook         bool
		old, new, want string
	}{
		"unknown metric":          {false, "usher_outbox_depth", "usher_outbox_size", `no metric "usher_outbox_size"`},
		"unknown label":           {false, `{state="dead"}`, `{status="dead"}`, `no label "status"`},
		"grouped by another":      {false, "max by (namespace, hook) (usher_hook_pending)", "max by (namespace, name) (usher_hook_pending)", `no label "name" to group by`},
		"rate of a gauge":         {false, "(usher_outbox_oldest_seconds)", "(rate(usher_outbox_oldest_seconds[5m]))", "is a gauge"},
		"counter itself":          {false, "(increase(usher_relay_errors_total[10m]))", "(usher_relay_errors_total)", "is a counter"},
		"not PromQL":              {false, "(usher_outbox_depth)", "(usher_outbox_depth", "unclosed"},
		"of all installations":    {false, "max by (namespace) (usher_outbox_depth)", "max(usher_outbox_depth)", "max(usher_outbox_depth) is not of one installation"},
		"but for installations":   {false, "max by (namespace) (usher_outbox_depth)", "max without (namespace) (usher_outbox_depth)", "is not of one installation"},
		"by what another does":    {false, "          unless\n", "          unless on ()\n", "matches what is of another installation"},
		"label that is not there": {false, "The hook {{ $labels.hook }} is behind", "The hook {{ $labels.queue }} is behind", `no label "queue" to show`},
		"template":                {false, "The hook {{ $labels.hook }} is behind", "The hook {{ $labels.hook } is behind", "template"},
		"severity":                {false, "labels: {severity: critical}", "labels: {severity: high}", `severity is "high"`},
		"no summary":              {false, `summary: "The outbox grows"`, `title: "The outbox grows"`, "no summary"},
		"says nothing":            {false, "{{ $value }} events wait for the relay.", "Many.", "names no value"},
		"another anchor":          {false, "#usheroutboxdeep", "#outbox", "runbook_url"},
		"two of a name":           {false, "alert: UsherOutboxDeep", "alert: UsherOutboxOld", "it is there twice"},
		"unknown field":           {false, "for: 2h", "since: 2h", "since"},
		"no paragraph":            {true, "### UsherOutboxDeep", "### OutboxDeep", "UsherOutboxDeep: deploy/RUNBOOK.md has no paragraph"},
		"paragraph of nothing":    {true, "### UsherOutboxDeep", "### UsherGone\n\n### UsherOutboxDeep", "UsherGone: the runbook has it"},
		"nothing to do":           {true, "**Do.**", "**Maybe.**", "has no **Do.**"},
	} {
		alerts, runs := text, book
		in := &alerts
		if broken.inBook {
			in = &runs
		}
		if !strings.Contains(*in, broken.old) {
			t.Fatalf("%s: no %q to break", name, broken.old)
		}
		*in = strings.Replace(*in, broken.old, broken.new, 1)
		problems := Check(alerts, runs, metrics.Of(t))
		if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, broken.want) }) {
			t.Errorf("%s: problems = %q, want %q", name, problems, broken.want)
		}
	}
}
