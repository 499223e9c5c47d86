// Package dashboard checks deploy/grafana/usher.json: that it is of Grafana's form,
// asks for metrics and labels that are there, and can be looked at. It is not shown by
// a Grafana here.
package dashboard

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/heatmap"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"

	"github.com/usher-auth/usher/deploy/check/metrics"
)

// source is the variable that chooses which Prometheus is asked.
const source = "${datasource}"

// Check says what is wrong with the text of a dashboard, with the metrics that there are.
func Check(text string, known metrics.Known) []string {
	kinds := cog.NewRuntime()
	kinds.RegisterPanelcfgVariant(heatmap.VariantConfig())
	kinds.RegisterPanelcfgVariant(stat.VariantConfig())
	kinds.RegisterPanelcfgVariant(timeseries.VariantConfig())
	kinds.RegisterDataqueryVariant(prometheus.VariantConfig())
	// Decoded strictly a dashboard says what is wrong with it, in an error without text
	// where nothing is, and is left without its panels.
	var d dashboard.Dashboard                                                                               //nolint:staticcheck // the file is of this form
	if err := new(dashboard.Dashboard).UnmarshalJSONStrict([]byte(text)); err != nil && err.Error() != "" { //nolint:staticcheck // as above
		return strings.Split(err.Error(), "\n")
	}
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return []string{err.Error()}
	}
	if err := d.Validate(); err != nil && err.Error() != "" {
		return strings.Split(err.Error(), "\n")
	}
	c := &checked{known: known, variables: map[string]bool{}, ids: map[uint32]bool{}}
	c.checkVariables(&d)
	for _, p := range d.Panels {
		switch {
		case p.Panel != nil:
			c.checkPanel(p.Panel)
		case len(p.RowPanel.Panels) > 0:
			c.say("row %s: its panels are folded away", *p.RowPanel.Title)
		default:
			c.place(*p.RowPanel.Title, &p.RowPanel.Id, p.RowPanel.GridPos)
		}
	}
	for _, a := range d.Annotations.List {
		if a.Expr != nil {
			c.checkExpr("annotation "+a.Name, *a.Expr)
		}
	}
	return c.problems
}

// checked is what is known of a dashboard so far.
type checked struct {
	known     metrics.Known
	variables map[string]bool
	ids       map[uint32]bool
	placed    []box
	problems  []string
}

// box is where a panel is.
type box struct {
	title string
	dashboard.GridPos
}

func (c *checked) say(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

var labelValues = regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)

func (c *checked) checkVariables(d *dashboard.Dashboard) { //nolint:staticcheck // as above
	if d.Uid == nil || d.Title == nil || *d.Uid == "" || *d.Title == "" {
		c.say("the dashboard has no uid or title")
	}
	for _, v := range d.Templating.List {
		c.variables[v.Name] = true
	}
	for _, name := range []string{"datasource", "part", "instance"} {
		if !c.variables[name] {
			c.say("there is no variable %s", name)
		}
	}
	for _, v := range d.Templating.List {
		if v.Type != dashboard.VariableTypeQuery {
			continue
		}
		asks := labelValues.FindStringSubmatch(cmp.Or(value(v.Definition), ""))
		if asks == nil {
			c.say("variable %s: want label_values(series, label), not %q", v.Name, value(v.Definition))
			continue
		}
		c.checkExpr("variable "+v.Name, asks[1])
		if !slices.Contains(c.known.Labels(filled(asks[1])), asks[2]) {
			c.say("variable %s: no label %q", v.Name, asks[2])
		}
	}
}

func value(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

func (c *checked) checkPanel(p *dashboard.Panel) {
	title := value(p.Title)
	if title == "" || value(p.Description) == "" {
		c.say("panel %q: it has no title or description", title)
	}
	c.place(title, p.Id, p.GridPos)
	if p.FieldConfig == nil || p.Type != "heatmap" && value(p.FieldConfig.Defaults.Unit) == "" {
		c.say("panel %q: it has no unit", title)
	}
	if len(p.Targets) == 0 {
		c.say("panel %q: it asks for nothing", title)
	}
	refs := map[string]bool{}
	for _, t := range p.Targets {
		q, is := t.(*prometheus.Dataquery)
		if !is {
			c.say("panel %q: it asks %T, want Prometheus", title, t)
			continue
		}
		if refs[value(q.RefId)] {
			c.say("panel %q: two queries are %s", title, value(q.RefId))
		}
		refs[value(q.RefId)] = true
		c.checkTarget(title, q)
	}
}

var (
	shown    = regexp.MustCompile(`\{\{(\w+)\}\}`)
	variable = regexp.MustCompile(`\$\{?(\w+)\}?`)
)

func (c *checked) checkTarget(title string, q *prometheus.Dataquery) {
	if q.Datasource == nil || value(q.Datasource.Uid) != source {
		c.say("panel %q: it does not ask %s", title, source)
	}
	c.checkExpr(fmt.Sprintf("panel %q", title), q.Expr)
	for _, l := range shown.FindAllStringSubmatch(value(q.LegendFormat), -1) {
		if !slices.Contains(c.known.Labels(filled(q.Expr)), l[1]) {
			c.say("panel %q: its legend shows %q, which is no label", title, l[1])
		}
	}
	if c.known.Traced(filled(q.Expr)) && (q.Exemplar == nil || !*q.Exemplar) {
		c.say("panel %q: it leaves the traces of its samples out", title)
	}
}

func (c *checked) checkExpr(where, expr string) {
	for _, v := range variable.FindAllStringSubmatch(expr, -1) {
		if !c.variables[v[1]] && !strings.HasPrefix(v[1], "__") {
			c.say("%s: there is no variable %q", where, v[1])
		}
	}
	for _, name := range []string{"part", "instance"} {
		if !strings.Contains(expr, name+`=~"$`+name+`"`) && where != "variable instance" && where != "variable part" {
			c.say("%s: it does not look at the variable %s: %s", where, name, expr)
		}
	}
	for _, problem := range c.known.Check(filled(expr)) {
		c.say("%s: %s", where, problem)
	}
}

// filled puts something in the place of variables.
func filled(expr string) string {
	return variable.ReplaceAllStringFunc(expr, func(v string) string {
		if strings.Contains(v, "__") {
			return "5m"
		}
		return "x"
	})
}

// place notes where a panel is: on the grid of 24 columns, and over no other.
func (c *checked) place(title string, id *uint32, at *dashboard.GridPos) {
	if id == nil || *id == 0 || c.ids[*id] {
		c.say("panel %q: it has no id of its own", title)
	} else {
		c.ids[*id] = true
	}
	if at == nil || at.W == 0 || at.H == 0 || at.X+at.W > 24 {
		c.say("panel %q: it is not on the grid", title)
		return
	}
	for _, other := range c.placed {
		if at.X < other.X+other.W && other.X < at.X+at.W && at.Y < other.Y+other.H && other.Y < at.Y+at.H {
			c.say("panel %q: it is over %q", title, other.title)
		}
	}
	c.placed = append(c.placed, box{title, *at})
}
