// Package metrics tells what the metrics of deploy/METRICS.md are, for the checks of
// whatever asks for them: alerts and dashboards.
package metrics

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/usher-auth/usher/deploy/check/checkout"
)

// Known are metrics by name.
type Known map[string]Metric

// Metric is one of them.
type Metric struct {
	Type   string // counter, gauge, histogram; empty: not said
	Labels []string
	Traced bool // samples of its buckets carry a trace
}

// scraped are the labels that scrapes add to every metric.
var scraped = []string{"__name__", "job", "instance", "part", "namespace"}

// others are metrics that are not ours, which whoever operates Usher may have besides.
var others = Known{
	"up":                          {Type: "gauge"},
	"node_filesystem_avail_bytes": {Type: "gauge", Labels: []string{"mountpoint"}},
	"node_filesystem_size_bytes":  {Type: "gauge", Labels: []string{"mountpoint"}},
	// Of prometheus-nats-exporter.
	"gnatsd_healthz_status":                    {Type: "gauge", Labels: []string{"server_id", "value"}},
	"gnatsd_varz_jetstream_stats_storage":      {Type: "gauge"},
	"gnatsd_varz_jetstream_config_max_storage": {Type: "gauge"},
}

var (
	row     = regexp.MustCompile(`(?m)^\| (usher_\w+) \| (\w+) \| ([^|]*) \|`)
	runtime = regexp.MustCompile(`\b(?:go|process|promhttp)_\w+`)
	traced  = regexp.MustCompile(`(?s)buckets of\s(.*?)\scarry the trace`)
)

// Of gives those of the repository's deploy/METRICS.md.
func Of(t testing.TB) Known {
	t.Helper()
	known, err := Parse(checkout.Read(t, "deploy/METRICS.md"))
	if err != nil {
		t.Fatal(err)
	}
	return known
}

// Parse reads deploy/METRICS.md, and adds those of exporters beside Usher.
func Parse(page string) (Known, error) {
	known := maps.Clone(others)
	carry := traced.FindString(page)
	for _, r := range row.FindAllStringSubmatch(page, -1) {
		known[r[1]] = Metric{r[2], strings.FieldsFunc(r[3], func(c rune) bool { return c == ',' || c == ' ' }), strings.Contains(carry, r[1])}
	}
	if _, ours := known["usher_build_info"]; !ours {
		return nil, errors.New("the page has no table with usher_build_info: is it of another form?")
	}
	for _, name := range runtime.FindAllString(page, -1) {
		m := Metric{}
		if strings.HasSuffix(name, "_total") {
			m.Type = "counter"
		}
		known[name] = m
	}
	return known, nil
}

// find gives the metric that a series is of, with the labels that it has.
func (k Known) find(series string) (Metric, bool) {
	if m, ok := k[series]; ok && m.Type != "histogram" {
		return m, true
	}
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		base, ok := strings.CutSuffix(series, suffix)
		m, is := k[base]
		if !ok || !is || m.Type != "histogram" {
			continue
		}
		own := slices.Clone(m.Labels)
		if suffix == "_bucket" {
			own = append(own, "le")
		}
		return Metric{"counter", own, m.Traced && suffix == "_bucket"}, true
	}
	return Metric{}, false
}

func parse(expression string) (parser.Expr, error) {
	return parser.NewParser(parser.Options{}).ParseExpr(expression)
}

// Check says what is wrong with an expression: that it cannot be parsed, that it asks
// for metrics or labels which are not there or groups by such labels, takes the rate
// of a gauge, or looks at a counter itself.
func (k Known) Check(expression string) (problems []string) {
	e, err := parse(expression)
	if err != nil {
		return []string{err.Error()}
	}
	parser.Inspect(e, func(n parser.Node, path []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			problems = append(problems, k.checkSelector(n, path)...)
		case *parser.AggregateExpr:
			problems = append(problems, k.checkGrouping(n)...)
		}
		return nil
	})
	return problems
}

// overTime are functions that want a counter.
var overTime = []string{"rate", "irate", "increase"}

func (k Known) checkSelector(v *parser.VectorSelector, path []parser.Node) (problems []string) {
	m, ok := k.find(v.Name)
	if !ok {
		return []string{fmt.Sprintf("no metric %q in deploy/METRICS.md", v.Name)}
	}
	for _, l := range v.LabelMatchers {
		if !m.has(l.Name) {
			problems = append(problems, fmt.Sprintf("%s has no label %q", v.Name, l.Name))
		}
		if l.Type == labels.MatchEqual && l.Value == "" {
			problems = append(problems, fmt.Sprintf("%s: %s is asked to be empty", v.Name, l.Name))
		}
	}
	counted := slices.ContainsFunc(path, func(n parser.Node) bool {
		call, is := n.(*parser.Call)
		return is && slices.Contains(overTime, call.Func.Name)
	})
	switch {
	case counted && m.Type == "gauge":
		problems = append(problems, fmt.Sprintf("%s is a gauge, and has no rate", v.Name))
	case !counted && m.Type == "counter":
		problems = append(problems, fmt.Sprintf("%s is a counter: ask for its rate or increase", v.Name))
	}
	return problems
}

func (k Known) checkGrouping(a *parser.AggregateExpr) (problems []string) {
	for _, name := range a.Grouping {
		for _, series := range seriesOf(a.Expr) {
			if m, ok := k.find(series); ok && !m.has(name) {
				problems = append(problems, fmt.Sprintf("%s has no label %q to group by", series, name))
			}
		}
	}
	return problems
}

func (m Metric) has(label string) bool {
	return slices.Contains(m.Labels, label) || slices.Contains(scraped, label)
}

func seriesOf(e parser.Expr) []string {
	found := map[string]bool{}
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if v, is := n.(*parser.VectorSelector); is {
			found[v.Name] = true
		}
		return nil
	})
	return slices.Sorted(maps.Keys(found))
}

// Traced tells whether samples of what an expression asks for carry a trace.
func (k Known) Traced(expression string) bool {
	e, err := parse(expression)
	return err == nil && slices.ContainsFunc(seriesOf(e), func(series string) bool {
		m, ok := k.find(series)
		return ok && m.Traced
	})
}

// Labels are those that what an expression asks for may have.
func (k Known) Labels(expression string) []string {
	e, err := parse(expression)
	if err != nil {
		return nil
	}
	all := slices.Clone(scraped)
	for _, series := range seriesOf(e) {
		if m, ok := k.find(series); ok {
			all = append(all, m.Labels...)
		}
	}
	return all
}
