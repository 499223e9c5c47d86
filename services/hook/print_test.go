package hook_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/usher-auth/usher/services/hook"
)

var update = flag.Bool("update", false, "write testdata anew")

// written is a list in an order that needs every kind of remark.
var written = hook.Lists{
	Gated:  true,
	Before: []hook.Configured{{Kind: hook.KindWebHook, Endpoint: "webhook-captcha", Timing: hook.Waiting, Line: 5}},
	Method: []hook.Configured{
		{Kind: hook.KindWebHook, Endpoint: "webhook-audit", Timing: hook.Background, Line: 9},
		{Kind: hook.KindSession, Line: 12},
		{Kind: hook.KindWebHook, Endpoint: "webhook-crm", Timing: hook.Waiting, Line: 13},
		{Kind: hook.KindWebHook, Endpoint: "webhook-enrich", Timing: hook.Refusing, Line: 17},
		{Kind: hook.KindShowVerification, Line: 20},
		{Kind: hook.KindWebHook, Endpoint: "webhook-mail", Timing: hook.Background, Line: 21},
		{Kind: hook.KindWorker, Endpoint: "vet", Asked: hook.Asked{Timeout: 2 * time.Second, OnMissing: hook.Continue}, Line: 25},
	},
}

func TestPlanPrints(t *testing.T) {
	t.Parallel()
	p := hook.Compile("password", written)
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, r := range p.Rows() {
		fmt.Fprintf(w, "%s\t%s\t%d\n", r.When, r.Step, r.Line)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "\nline %d: %s\n", n.Line, n.Text)
	}
	for _, text := range p.Warnings(false) {
		fmt.Fprintf(&b, "\nwarning: %s\n", text)
	}
	golden(t, "plan.txt", b.Bytes())
}

func TestPlanAsJSON(t *testing.T) {
	t.Parallel()
	text, err := json.MarshalIndent(hook.Compile("password", written), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "plan.json", append(text, '\n'))
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant:\n%s", path, got, want)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		lists    hook.Lists
		mitigate bool
		want     bool
	}{
		{"session, no mitigation", hook.Lists{Method: []hook.Configured{session}}, false, true},
		{"session by itself", hook.Lists{AutoSession: true}, false, true},
		{"no session", hook.Lists{}, false, false},
		{"mitigation", hook.Lists{Method: []hook.Configured{session}}, true, false},
	} {
		got := strings.Join(hook.Compile("password", tt.lists).Warnings(tt.mitigate), "\n")
		if strings.Contains(got, "taken address") != tt.want || (got != "") != tt.want {
			t.Errorf("%s: Warnings(%t) = %q, want the danger named: %t", tt.name, tt.mitigate, got, tt.want)
		}
	}
}
