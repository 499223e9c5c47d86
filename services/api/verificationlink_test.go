package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/flow"
)

// byLink is a world whose verifications go by link.
func byLink(t *testing.T) *world {
	return newWorld(t, func(w *world) { w.settings.Verification.Methods = []string{flow.MethodLink} })
}

// TestVerificationByLink: the link of a mail verifies at once, whatever the type of the
// flow, and leads whoever opens it to the flow; the second time to another one.
func TestVerificationByLink(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*world) *client{"app": (*world).app, "browser": (*world).browser} {
		w := byLink(t)
		c := start(w)
		f := c.begin(routeVerification)
		g := c.postJSON(f.at(routeVerification), `{"method":"link","email":"a@example.org","csrf_token":"`+f.csrf()+`"}`)
		if s := g.shown(t); g.status != 200 || !slices.Equal(s.messages(), []int64{1080001}) || s.value("method") != "link" || s.value("code") != "" {
			t.Fatalf("%s: email = %d %s, want 1080001 and no code", name, g.status, g.body)
		}
		reader := w.browser() // reads the mail, and may be another
		link := f.at(routeVerification) + "&token=" + rightCode
		if g := reader.do(http.MethodHead, link, ""); g.status != 303 || w.flows[uuid.MustParse(f.ID)].State != flow.SentEmail {
			t.Errorf("%s: HEAD of the link = %d, the flow is %s, want nothing done", name, g.status, w.flows[uuid.MustParse(f.ID)].State)
		}
		if g := reader.get(link, "Accept", "text/html"); g.status != 303 || g.header.Get("Location") != ui+"verification?flow="+f.ID {
			t.Errorf("%s: link = %d to %q, want 303 to the flow", name, g.status, g.header.Get("Location"))
		}
		if g := reader.get(routeVerification + "/flows?id=" + f.ID); !slices.Contains(g.shown(t).messages(), 1080002) {
			t.Errorf("%s: flow behind the link = %d %s, want it passed", name, g.status, g.body)
		}
		g = reader.get(link, "Accept", "application/json")
		other := strings.TrimPrefix(g.header.Get("Location"), ui+"verification?flow=")
		if g.status != 303 || other == f.ID || len(other) != 36 {
			t.Fatalf("%s: the used link = %d to %q, want 303 to another flow", name, g.status, g.header.Get("Location"))
		}
		if said := w.flows[uuid.MustParse(other)].Form.Messages[""]; len(said) != 1 || said[0].ID != 4070001 {
			t.Errorf("%s: the other flow says %v, want 4070001", name, said)
		}
	}
}

// What is not the flow's token verifies nothing, and counts.
func TestVerificationByAnotherLink(t *testing.T) {
	t.Parallel()
	w := byLink(t)
	c := w.browser()
	f := c.begin(routeVerification)
	c.postJSON(f.at(routeVerification), `{"method":"link","email":"a@example.org","csrf_token":"`+f.csrf()+`"}`)
	for _, token := range []string{"wrong", strings.Repeat("x", 4000), "%00", "%3Cscript%3E"} {
		g := w.browser().get(f.at(routeVerification)+"&token="+token, "Accept", "text/html")
		if g.status != 303 || strings.HasSuffix(g.header.Get("Location"), f.ID) {
			t.Errorf("token %.20q = %d to %q, want 303 to another flow", token, g.status, g.header.Get("Location"))
		}
	}
	if state := w.flows[uuid.MustParse(f.ID)].State; state != flow.SentEmail || w.tries[uuid.MustParse(f.ID)] != 4 {
		t.Errorf("the flow is %s after %d tries, want %s after 4", state, w.tries[uuid.MustParse(f.ID)], flow.SentEmail)
	}
	if g := w.browser().get(routeVerification+"?flow="+uuid.NewString()+"&token=x", "Accept", "application/json"); g.status != 404 {
		t.Errorf("link of a flow that is not there = %d, want 404", g.status)
	}
}
