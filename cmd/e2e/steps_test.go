package e2e_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
)

// step is the first of two steps of a registration.
func step(csrf, address string) []byte {
	b, err := json.Marshal(map[string]any{"method": "profile", "csrf_token": csrf, "traits": map[string]any{"email": address}})
	if err != nil {
		panic(err)
	}
	return b
}

// button tells whether the flow has a button of this name and value.
func (f flowView) button(name, value string) bool {
	return slices.ContainsFunc(f.UI.Nodes, func(n nodeView) bool { return n.Attributes.Name == name && n.Attributes.Value == value })
}

// Each step may be answered by another process, and nobody is there before the end.
func TestTwoStepsAtAnyProcess(t *testing.T) {
	t.Parallel()
	inEveryShape(t, signIn, func(t *testing.T, s *system, _ *endpoint) {
		address := newAddress()
		here := newBrowser(t, s.api(0))
		there := newBrowser(t, s.api(1))
		there.http.Jar = here.http.Jar // the same browser, behind a balancer
		f := here.browserFlow()
		if !f.button("method", "profile") || f.button("method", "password") {
			t.Fatalf("nodes = %+v, want the first step", f.UI.Nodes)
		}
		submit := func(c *client, body []byte) (next flowView) {
			t.Helper()
			a, err := c.submit(f.ID, body)
			if err != nil || a.status != http.StatusBadRequest {
				t.Fatalf("submit = %v %d %s, want 400", err, a.status, a.body)
			}
			a.json(t, &next)
			return next
		}
		if next := submit(there, step(f.csrf(), address)); !next.button("screen", "previous") {
			t.Errorf("step at another process leads to %+v, want the second step", next.UI.Nodes)
		}
		// This one has begun the flow, and remembers it as it was.
		back, _ := json.Marshal(map[string]any{"screen": "previous", "csrf_token": f.csrf()})
		if next := submit(here, back); !next.button("method", "profile") || !next.button("traits.email", address) {
			t.Errorf("back at the first process leads to %+v, want the first step with the address", next.UI.Nodes)
		}
		if next := submit(here, step(f.csrf(), address)); !next.button("screen", "previous") {
			t.Errorf("step at the first process leads to %+v, want the second step", next.UI.Nodes)
		}
		if ids, all := s.identities(), s.events(""); len(ids) > 0 || slices.ContainsFunc(all, func(e event) bool { return e.Type == "identity.created" }) {
			t.Fatalf("after the first step there are people %v and events %v, want none", ids, all)
		}
		a, err := there.submit(f.ID, submission(f.csrf(), address, goodPassword))
		if err != nil || a.status != http.StatusOK {
			t.Fatalf("second step = %v %d %s, want 200", err, a.status, a.body)
		}
		var r registered
		a.json(t, &r)
		if status, who := here.whoami(""); status != http.StatusOK || who.Identity.ID != r.Identity.ID {
			t.Errorf("whoami with the cookie = %d %+v, want the person", status, who)
		}
		s.sequence(r.Identity.ID, "identity.created", "session.issued")
	})
}

// Steps that come together with the end of their flow make nobody else, and take
// nothing back.
func TestStepsTogetherWithTheEnd(t *testing.T) {
	t.Parallel()
	inEveryShape(t, signIn, func(t *testing.T, s *system, _ *endpoint) {
		f, err := newApp(t, s.api(0)).initAPI()
		if err != nil {
			t.Fatal(err)
		}
		address := newAddress()
		statuses := together(40, func(n int) int {
			body := step("", newAddress())
			if n%2 == 0 {
				body = submission("", address, goodPassword)
			}
			a, err := newApp(t, s.api(n/2)).submit(f.ID, body)
			if err != nil {
				t.Error(err)
				return 0
			}
			return a.status
		})
		for n, status := range statuses {
			end := status == http.StatusOK || status == http.StatusServiceUnavailable // the hash queue was full
			if step := status == http.StatusBadRequest || status == http.StatusGone; n%2 == 0 && !end || n%2 == 1 && !step {
				t.Errorf("submit %d = %d, want 200 or 503 at the end, 400 or 410 for a step", n, status)
			}
		}
		if people := s.stored(); len(people) != 1 || people[0].Traits.Email != address {
			t.Errorf("people = %+v, want one with %s", people, address)
		}
	})
}
