package doctor_test

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/usher-auth/usher/cmd/internal/doctor"
)

// validate holds a report against its schema.
func validate(t *testing.T, r doctor.Report) {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile("../../../schemas/doctor.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("the report is none by its schema: %v", err)
	}
}

var report = doctor.Report{
	Status: doctor.Red, Configuration: "usher.yaml", Version: "1.2.3", At: time.Unix(0, 0).UTC(), Seconds: 1.5,
	Findings: []doctor.Finding{
		{Check: "database.reachable", Status: doctor.Red, Seen: "PostgreSQL db/usher: connection refused", Mend: "start it"},
		{Check: "database.migrations", Status: doctor.Skipped, Seen: "see database.reachable"},
		{Check: "database.keys", Status: doctor.Skipped, Seen: "see database.reachable"},
		{Check: "mail.server", Status: doctor.Green, Seen: "mail:587 takes mails"},
		{Check: "clocks.bus", Status: doctor.Yellow, Seen: "the bus is 2s before this machine", Mend: "keep clocks right"},
	},
}

func TestReportIsAsItsSchemaSays(t *testing.T) {
	t.Parallel()
	validate(t, report)
}

func TestReportForPeople(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	report.Write(&out, doctor.Style{Width: 60})
	want := `mail
  ✓ green   server             mail:587 takes mails

clocks
  ! yellow  bus                the bus is 2s before this
                               machine
                               → keep clocks right

database
  ✗ red     reachable          PostgreSQL db/usher:
                               connection refused
                               → start it
  · skipped                    migrations, keys: see
                               database.reachable

✗ red in 1.5 s: 1 red, 1 yellow, 1 green, 2 skipped
`
	if out.String() != want {
		t.Errorf("Write gives:\n%s\nwant:\n%s", out.String(), want)
	}
}

// TestATerminalIsTakenNoOrders has names and messages of others with what terminals
// obey: colours, a title, another direction, a bell, a byte that is no UTF-8.
func TestATerminalIsTakenNoOrders(t *testing.T) {
	t.Parallel()
	bad := "crm\x1b[31m \x1b]0;title\x07 \u202egnp \u009b2J \x9b2J \x7f é✓"
	r := doctor.Report{Status: doctor.Yellow, Findings: []doctor.Finding{
		{Check: "database.retries", Status: doctor.Yellow, Seen: bad + " has failed", Mend: "usher worker show " + bad},
		{Check: "bus.lag", Status: doctor.Skipped, Seen: bad},
	}}
	for _, width := range []int{0, 60} {
		var out strings.Builder
		r.Write(&out, doctor.Style{Width: width})
		for i, c := range out.String() {
			if c != '\n' && !strconv.IsPrint(c) {
				t.Fatalf("Write gives %q at %d of:\n%q", c, i, out.String())
			}
		}
		for _, want := range []string{`crm\x1b[31m`, `\x1b]0;title\a`, `\u202egnp`, `\u009b2J`, `\x9b2J`, `\x7f`, "é✓"} {
			if strings.Count(out.String(), want) != 3 {
				t.Errorf("Write gives:\n%s\nwant %s in it, three times", out.String(), want)
			}
		}
	}
}

func TestChecksHaveNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range doctor.Checks() {
		if seen[c.Name] || c.About == "" {
			t.Errorf("check %q stands twice, or says nothing", c.Name)
		}
		seen[c.Name] = true
	}
	for _, good := range [][]string{nil, {"bus"}, {"bus.rights", "clocks"}} {
		if err := doctor.CheckOnly(good); err != nil {
			t.Errorf("CheckOnly(%q) = %v, want nil", good, err)
		}
	}
	for _, bad := range []string{"", "bu", "bus.right"} {
		if err := doctor.CheckOnly([]string{bad}); err == nil {
			t.Errorf("CheckOnly(%q) = nil, want a refusal", bad)
		}
	}
}
