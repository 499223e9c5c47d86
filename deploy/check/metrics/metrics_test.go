package metrics_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/deploy/check/metrics"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	known := metrics.Of(t)
	for expression, want := range map[string]string{
		`rate(usher_logins_total{outcome="ok"}[5m])`:                                                   "",
		`sum by (le, route) (rate(usher_http_request_duration_seconds_bucket[5m]))`:                    "",
		`go_goroutines{job="usher"}`:                                                                   "",
		`rate(usher_logins_total[5m]`:                                                                  "unclosed",
		`rate(usher_login_total[5m])`:                                                                  `no metric "usher_login_total"`,
		`rate(usher_logins_total{result="ok"}[5m])`:                                                    `no label "result"`,
		`sum by (hook) (rate(usher_logins_total[5m]))`:                                                 `no label "hook" to group by`,
		`rate(usher_outbox_depth[5m])`:                                                                 "is a gauge",
		`usher_logins_total > 5`:                                                                       "is a counter",
		`usher_http_request_duration_seconds`:                                                          "no metric",
		`sum by (le) (rate(usher_http_request_duration_seconds_count[5m]))`:                            `no label "le"`,
		`histogram_quantile(0.9, sum by (le) (rate(usher_session_issue_duration_seconds_bucket[5m])))`: "",
		`sum(rate(usher_hook_attempt_duration_seconds_count{hook=~"a",outcome="",part="hooks"}[5m])) without (x)`: "asked to be empty",
	} {
		problems := known.Check(expression)
		found := slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, want) })
		if want == "" && len(problems) > 0 || want != "" && !found {
			t.Errorf("Check(%s) = %q, want %q", expression, problems, want)
		}
	}
	if _, err := metrics.Parse("# Metrics\n"); err == nil {
		t.Error("a page without a table is taken for one")
	}
}
