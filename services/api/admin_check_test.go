package api_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/services/delivery"
)

func (d *hookDesk) Check(ctx context.Context, o delivery.CheckOptions) (delivery.Checked, error) {
	d.check = o
	if until, ok := ctx.Deadline(); ok {
		d.until = time.Until(until).Round(time.Second)
	}
	if d.err == nil && o.Hook == "waits" {
		<-ctx.Done()
		return delivery.Checked{Case: o.Case, Verdict: delivery.CheckTimeout}, nil
	}
	_, err := d.shown("check", o.Hook)
	return delivery.Checked{
		Case: o.Case, Type: "identity.created", Verdict: delivery.CheckFailed, Took: 1500 * time.Millisecond,
		Events: 2, Settled: 1, Deliveries: 3, Reason: "error: no", Note: "it failed",
	}, err
}

func TestCheckHook(t *testing.T) {
	t.Parallel()
	for _, r := range []struct {
		path, body string
		err        error
		status     int
		want       string
	}{
		{"crm", `{"case":"event"}`, nil, 200, `{"case":"event","type":"identity.created","verdict":"failed","took_ms":1500,"events":2,"settled":1,"deliveries":3,"reason":"error: no","note":"it failed"}`},
		{"crm", `{"case":"event","for":"6m"}`, nil, 400, "for"},
		{"crm", `{"case":"event","for":"-1s"}`, nil, 400, "for"},
		{"crm", `{"case":"event","body":"x"}`, nil, 400, ""},
		{"crm", `{"case":"x"}`, &delivery.Invalid{Text: "case must be one"}, 400, "case must be one"},
		{"other", `{"case":"event"}`, nil, 404, ""},
	} {
		d := &hookDesk{err: r.err}
		g := newWorld(t, withHooks(d)).admin().do("POST", "/admin/hooks/"+r.path+"/check", r.body, "Content-Type", asJSON)
		if g.status != r.status || !strings.Contains(g.body, r.want) {
			t.Errorf("check %s of %s = %d %s, want %d %s", r.body, r.path, g.status, g.body, r.status, r.want)
		}
	}
	d := &hookDesk{}
	newWorld(t, withHooks(d)).admin().do("POST", "/admin/hooks/crm/check", `{"case":"backlog","count":7,"type":"t","for":"2m"}`, "Content-Type", asJSON)
	if o := d.check; o.Hook != "crm" || o.Case != delivery.CheckBacklog || o.Count != 7 || o.Type != "t" || o.By.Actor == "" || d.until != 2*time.Minute {
		t.Errorf("checked %+v for %s", o, d.until)
	}
}

// TestCheckEndsWithTheServer: a server that drains waits for no worker.
func TestCheckEndsWithTheServer(t *testing.T) {
	t.Parallel()
	draining := make(chan struct{})
	w := newWorld(t, withHooks(&hookDesk{}), func(w *world) { w.options.Draining = draining })
	time.AfterFunc(50*time.Millisecond, func() { close(draining) })
	if g := w.admin().do("POST", "/admin/hooks/waits/check", `{"case":"event","for":"5m"}`, "Content-Type", asJSON); !strings.Contains(g.body, "timeout") {
		t.Errorf("check = %d %s, want an answer at once", g.status, g.body)
	}
}
