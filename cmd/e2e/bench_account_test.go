package e2e_test

import (
	"fmt"
	"net/http"
	"time"
)

// account counts what the database writes durably while people recover and change
// what is theirs. The couriers are stopped meanwhile: what they write is no part of it.
func (b *bench) account() {
	s := newSystem(b.t, "parts", recovering())
	defer s.stop()
	const n = 100
	people, flows, codes := make([]*changer, n), make([]string, n), make([]string, n)
	for i := range n {
		people[i] = s.changer(i)
		s.mailedCode(people[i].address, "") // of the registration
	}
	app := newApp(b.t, s.apis[0])
	count := func(what string, do func(i int) error) (syncs float64, took string) {
		for _, p := range s.named("hooks") {
			p.stop(b.t)
		}
		time.Sleep(3 * time.Second) // what they leave, and PostgreSQL's statistics
		before := b.walSyncs(s.dsn)
		l := s.closedLoop(n, 1, func(_, i int) error { return do(i) })
		time.Sleep(3 * time.Second)
		syncs = float64(b.walSyncs(s.dsn)-before) / n
		if l.failed > 0 {
			b.t.Errorf("%s: %d of %d failed: %s", what, l.failed, n, l.firstFail)
		}
		for _, p := range s.named("hooks") {
			s.restart(p.name)
		}
		return syncs, fmt.Sprintf("p50 %s, CPU %s", ms(l.p50), ms(l.server))
	}
	asked, took := count("recovery", func(i int) (err error) {
		flows[i], err = app.beginRecovery(people[i].address)
		return err
	})
	b.row("recovery: an address is entered", took, "", fmt.Sprintf("%.2f syncs of the log each, the writer's own included", asked), "")
	for i := range n {
		codes[i] = s.mailedCode(people[i].address, flows[i])
	}
	passed, took := count("recovery", func(i int) (err error) {
		people[i].token, err = app.recovered(flows[i], codes[i])
		return err
	})
	b.row("  and the code, which gives a session", took, "", fmt.Sprintf("%.2f syncs, both together %.2f", passed, asked+passed), "≤ 2 durable commits")
	for i := range n {
		a := people[i].must("GET", "/self-service/settings/api", people[i].header(), nil)
		if a.status != http.StatusOK {
			b.t.Fatalf("begin settings = %d %s", a.status, a.body)
		}
		a.json(b.t, &people[i].flow)
	}
	for what, body := range map[string]string{
		"password": `{"method":"password","password":"another long secret %[2]d"}`,
		"profile":  `{"method":"profile","traits":{"email":%[1]q,"name":{"first":"Ann %[2]d"}}}`,
	} {
		changed, took := count(what, func(i int) error {
			_, err := people[i].change(fmt.Sprintf(body, people[i].address, i))
			return err
		})
		goal := ""
		if what == "profile" {
			goal = "≤ 1 durable commit"
		}
		b.row("settings: another "+what, took, "", fmt.Sprintf("%.2f syncs", changed), goal)
	}
}
