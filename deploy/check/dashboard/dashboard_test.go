package dashboard

import (
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/deploy/check/checkout"
	"github.com/usher-auth/usher/deploy/check/metrics"
)

const file = "deploy/grafana/usher.json"

func TestDashboard(t *testing.T) {
	t.Parallel()
	for _, problem := range Check(checkout.Read(t, file), metrics.Of(t)) {
		t.Error(problem)
	}
}

// TestBrokenDashboardsAreRefused breaks copies of the dashboard.
func TestBrokenDashboardsAreRefused(t *testing.T) {
	t.Parallel()
	text := checkout.Read(t, file)
	for name, broken := range map[string]struct{ old, new, want string }{
		"no JSON":              {`"panels": [`, `"panels": [,`, "invalid character"},
		"unknown field":        {`"graphTooltip": 1`, `"graphTooltips": 1`, "graphTooltips"},
		"unknown panel option": {`"drawStyle": "line"`, `"drawStyles": "line"`, "drawStyles"},
		"unknown query option": {`"editorMode": "code"`, `"editorModes": "code"`, "editorModes"},
		"unknown metric":       {"usher_outbox_depth", "usher_outbox_size", `no metric "usher_outbox_size"`},
		"unknown label":        {"by (le, step)", "by (le, phase)", `no label "phase" to group by`},
		"not PromQL":           {"max(usher_outbox_depth", "max((usher_outbox_depth", "unclosed"},
		"rate of a gauge":      {"max(usher_outbox_depth{part=~\\\"$part\\\",instance=~\\\"$instance\\\"})", "max(rate(usher_outbox_depth{part=~\\\"$part\\\",instance=~\\\"$instance\\\"}[$__rate_interval]))", "is a gauge"},
		"another datasource":   {`"uid": "${datasource}"`, `"uid": "prometheus-1"`, "it does not ask ${datasource}"},
		"no datasource":        {`"name": "datasource"`, `"name": "source"`, "there is no variable datasource"},
		"unknown variable":     {"$__rate_interval", "$interval", `no variable "interval"`},
		"all instances":        {`,instance=~\"$instance\"`, "", "it does not look at the variable instance"},
		"legend":               {`"legendFormat": "{{step}}"`, `"legendFormat": "{{phase}}"`, `"phase", which is no label`},
		"no exemplars":         {`"exemplar": true`, `"exemplar": false`, "leaves the traces"},
		"two of an id":         {`"id": 3,`, `"id": 2,`, "no id of its own"},
		"over each other":      {`"x": 8,`, `"x": 7,`, "it is over"},
		"off the grid":         {`"w": 8,`, `"w": 20,`, "not on the grid"},
		"no description":       {`"description": "Requests a second."`, `"description": ""`, "no title or description"},
		"variable's label":     {"label_values(usher_build_info, part)", "label_values(usher_build_info, parts)", `no label "parts"`},
	} {
		if !strings.Contains(text, broken.old) {
			t.Errorf("%s: no %q to break", name, broken.old)
			continue
		}
		problems := Check(strings.ReplaceAll(text, broken.old, broken.new), metrics.Of(t))
		if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, broken.want) }) {
			t.Errorf("%s: problems = %.2000q, want %q", name, problems, broken.want)
		}
	}
}
