package events_test

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
)

// matrix is what the test prints: users × what they try, subjects of one kind
// together.
type matrix struct {
	granted map[cell]int
	tries   map[int]int // of each user, by column
}

// cell is a user and the index of a column.
type cell struct {
	user   string
	column int
}

// columns are what is tried, by how its subjects begin; the first that fits counts.
var columns = []struct {
	head      string
	subscribe bool
	begins    []string
}{
	{"session.issue", false, []string{"usher.svc.v1.session."}},
	{"hook.answer", false, []string{"usher.svc.v1.hook.answer."}},
	{"hook.failed", false, []string{"usher.svc.v1.hook.failed."}},
	{"identity.get", false, []string{"usher.svc.v1.identity."}},
	{"$SRV", false, []string{"$SRV."}},
	{"event", false, []string{"usher.evt."}},
	{"retry", false, []string{"usher.hook."}},
	{"wake-up", false, []string{"usher.ctl."}},
	{"an inbox", false, []string{"_INBOX", "_R_"}},
	{"ack", false, []string{"$JS.ACK."}},
	{"CONSUMER.INFO", false, []string{"$JS.API.CONSUMER.INFO."}},
	{"….MSG.NEXT", false, []string{"$JS.API.CONSUMER.MSG.NEXT."}},
	{"….PAUSE", false, []string{"$JS.API.CONSUMER.PAUSE."}},
	{"….LIST", false, []string{"$JS.API.CONSUMER.LIST."}},
	{"STREAM.INFO", false, []string{"$JS.API.STREAM.INFO."}},
	{"other verbs", false, []string{"$JS.API."}},
	{"$SYS, $JS.…", false, []string{""}},
	{"session.issue", true, []string{"usher.svc.v1.session."}},
	{"hook.answer", true, []string{"usher.svc.v1.hook.answer."}},
	{"hook.failed", true, []string{"usher.svc.v1.hook.failed."}},
	{"identity.get", true, []string{"usher.svc.v1.identity."}},
	{"$SRV", true, []string{"$SRV."}},
	{"event, retry", true, []string{"usher.evt.", "usher.hook."}},
	{"wake-up", true, []string{"usher.ctl."}},
	{"an inbox", true, []string{"_INBOX_"}},
	{"ack sample", true, []string{"$JS.EVENT.METRIC."}},
	{"all else", true, []string{""}},
}

func (m *matrix) count(user string, subscribe bool, row try, granted bool) {
	for n, c := range columns {
		if c.subscribe != subscribe || !slices.ContainsFunc(c.begins, func(s string) bool { return strings.HasPrefix(row.subject, s) }) {
			continue
		}
		if granted {
			m.granted[cell{user, n}]++
		}
		if user == everybody[0] {
			m.tries[n]++
		}
		return
	}
}

func (m *matrix) String() string {
	var text strings.Builder
	all := 0
	for _, n := range m.tries {
		all += n * len(everybody)
	}
	fmt.Fprintf(&text, `%d tries. "1 of 3": one subject of the three of this kind that were tried, such as the one
of its own name. crm and mail are workers, in account WORKERS, gate answers, in AUTH.
`, all)
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, part := range []struct {
		title     string
		from, end int
	}{{"PUBLISH", 0, 5}, {"PUBLISH", 5, 10}, {"PUBLISH", 10, 17}, {"SUBSCRIBE", 17, 22}, {"SUBSCRIBE", 22, 27}} {
		fmt.Fprintf(table, "\n%s", part.title)
		for n := part.from; n < part.end; n++ {
			fmt.Fprintf(table, "\t%s", columns[n].head)
		}
		for _, user := range everybody {
			fmt.Fprintf(table, "\n%s", user)
			for n := part.from; n < part.end; n++ {
				fmt.Fprintf(table, "\t%s", word(m.granted[cell{user, n}], m.tries[n]))
			}
		}
		fmt.Fprintln(table)
	}
	table.Flush()
	return text.String()
}

// word is what a cell says of what was granted.
func word(granted, tried int) string {
	switch granted {
	case 0:
		return "refused"
	case tried:
		return "granted"
	}
	return fmt.Sprintf("%d of %d", granted, tried)
}
