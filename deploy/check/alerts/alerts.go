// Package alerts checks deploy/prometheus/alerts.yml: each alert has a paragraph in
// deploy/RUNBOOK.md and asks for metrics that are there, and with series that a test
// gives it fires or stays silent.
package alerts

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"

	"github.com/usher-auth/usher/deploy/check/metrics"
)

// runbook is where the paragraphs of the alerts are.
const runbook = "https://github.com/usher-auth/usher/blob/main/deploy/RUNBOOK.md#"

func parse(text string) (*rulefmt.RuleGroups, error) {
	groups, errs := rulefmt.Parse([]byte(text), false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		return nil, errs[0]
	}
	return groups, nil
}

// names are the alerts of a file.
func names(groups *rulefmt.RuleGroups) (all []string) {
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			all = append(all, r.Alert)
		}
	}
	return all
}

var (
	heading = regexp.MustCompile(`(?m)^### (\w+)$`)
	asked   = regexp.MustCompile(`\$labels\.(\w+)`)
)

// Check says what is wrong with a file of alerts, beside a runbook and with the
// metrics that there are.
func Check(text, book string, known metrics.Known) (problems []string) {
	groups, err := parse(text)
	if err != nil {
		return []string{err.Error()}
	}
	sections := map[string]string{}
	for _, at := range heading.FindAllStringSubmatchIndex(book, -1) {
		section, _, _ := strings.Cut(book[at[1]:], "\n#")
		sections[book[at[2]:at[3]]] = strings.TrimSpace(section)
	}
	seen := map[string]bool{}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			say := func(format string, args ...any) {
				problems = append(problems, r.Alert+": "+fmt.Sprintf(format, args...))
			}
			if seen[r.Alert] {
				say("it is there twice")
			}
			seen[r.Alert] = true
			checkAlert(say, r, known)
			checkSection(say, sections[r.Alert])
		}
	}
	for name := range sections {
		if !seen[name] {
			problems = append(problems, name+": the runbook has it, and no alert does")
		}
	}
	return problems
}

type sayer func(format string, args ...any)

func checkAlert(say sayer, r rulefmt.Rule, known metrics.Known) {
	for _, problem := range known.Check(r.Expr) {
		say("%s", problem)
	}
	checkInstallations(say, r.Expr)
	if !slices.Contains([]string{"critical", "warning"}, r.Labels["severity"]) {
		say("severity is %q, want critical or warning", r.Labels["severity"])
	}
	if r.Annotations["summary"] == "" {
		say("no summary")
	}
	if d := r.Annotations["description"]; !strings.Contains(d, "$value") && !strings.Contains(d, "$labels") {
		say("its description names no value and no place: %q", d)
	}
	if want := runbook + strings.ToLower(r.Alert); r.Annotations["runbook_url"] != want {
		say("runbook_url is %q, want %q", r.Annotations["runbook_url"], want)
	}
	for _, text := range r.Annotations {
		for _, l := range asked.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(known.Labels(r.Expr), l[1]) {
				say("no label %q to show", l[1])
			}
		}
	}
}

// installation is the label that tells apart the installations which one Prometheus sees.
const installation = "namespace"

// checkInstallations wants what is summed up, or held against each other, to be of one
// installation: else what is well hides what is not.
func checkInstallations(say sayer, expression string) {
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	if err != nil {
		return // and said already
	}
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.AggregateExpr:
			if slices.Contains(n.Grouping, installation) == n.Without {
				say("%s is not of one installation: want by (%s, …)", n, installation)
			}
		case *parser.BinaryExpr:
			m := n.VectorMatching
			if m != nil && slices.Contains(m.MatchingLabels, installation) != m.On && !isConstant(n.RHS) {
				say("%s matches what is of another installation", n)
			}
		}
		return nil
	})
}

// isConstant tells whether an expression is one number that is of nothing.
func isConstant(e parser.Expr) bool {
	call, is := e.(*parser.Call)
	return is && call.Func.Name == "vector"
}

// parts of each paragraph of the runbook.
var parts = []string{"**Means.**", "**Look.**", "**Do.**", "**Safe.**"}

func checkSection(say sayer, section string) {
	if section == "" {
		say("deploy/RUNBOOK.md has no paragraph ### of this name")
		return
	}
	for _, part := range parts {
		if !strings.Contains(section, part) {
			say("its paragraph has no %s", part)
		}
	}
}

// fired is an alert that fires.
type fired struct {
	labels      map[string]string
	description string
}

// Fire gives what of an alert fires at a time, when a file's rules have looked at the
// series each minute. The series are in the form of Prometheus' tests: "up{job="x"} 0x10"
// is ten more minutes of 0.
func Fire(file, alert string, series []string, at time.Duration) (found []fired, err error) {
	suite, err := promqltest.NewLazyLoader("load 1m\n  "+strings.Join(series, "\n  "), promqltest.LazyLoaderOpts{EnableAtModifier: true, EnableNegativeOffset: true})
	if err != nil {
		return nil, err
	}
	defer func() { _ = suite.Close() }() // a storage that is thrown away
	group, rule, err := find(suite, file, alert)
	if err != nil {
		return nil, err
	}
	for now := time.Duration(0); now <= at; now += time.Minute {
		ts := time.Unix(0, 0).Add(now)
		suite.WithSamplesTill(ts, func(failed error) {
			if err = failed; err == nil {
				group.Eval(suite.Context(), ts)
				err = rule.LastError()
			}
		})
		if err != nil {
			return nil, err
		}
	}
	for _, a := range rule.ActiveAlerts() {
		if a.State == rules.StateFiring {
			found = append(found, fired{a.Labels.Map(), a.Annotations.Get("description")})
		}
	}
	return found, nil
}

// find loads a file and gives an alert as the only rule of a group.
func find(suite *promqltest.LazyLoader, file, alert string) (*rules.Group, *rules.AlertingRule, error) {
	options := &rules.ManagerOptions{
		QueryFunc:    rules.EngineQueryFunc(suite.QueryEngine(), suite.Storage()),
		AppendableV2: suite.Storage(),
		Context:      context.Background(),
		NotifyFunc:   func(context.Context, string, ...*rules.Alert) {},
		Logger:       slog.New(slog.DiscardHandler),
		Parser:       parser.NewParser(parser.Options{}),
	}
	loaded, errs := rules.NewManager(options).LoadGroups(time.Minute, labels.EmptyLabels(), "", nil, false, file)
	if len(errs) > 0 {
		return nil, nil, errs[0]
	}
	for _, g := range loaded {
		for _, r := range g.Rules() {
			if one, is := r.(*rules.AlertingRule); is && one.Name() == alert {
				one.SetRestored(true)
				return rules.NewGroup(rules.GroupOptions{Name: alert, Interval: time.Minute, Rules: []rules.Rule{one}, Opts: options}), one, nil
			}
		}
	}
	return nil, nil, fmt.Errorf("no alert %s in %s", alert, file)
}
