package e2e_test

import (
	"fmt"
	"net/http"
	"time"
)

// social measures registrations at a provider on PostgreSQL, everything on. The
// provider is another process, whose work does not count; that of the server with
// it does. Beside it stand registrations by a password with the cheapest hash, as
// many as there can be and as many a second as at the provider: the fewer there are
// a second, the fewer share a commit, a window of the outbox and a batch.
func (b *bench) social() {
	p := newProvider(b.t)
	s := newSystem(b.t, "postgres", merge(hooks(sessionHook), providers(
		p.oidcProvider(example, nil),
		p.oidcProvider("id-token", settings{"client_id": idTokenClient, "claims_source": "id_token"}),
	)))
	defer s.stop()
	hash := hashCPU(4)
	s.registrations(500, 8) // warm
	password := medianOf(func() load { return s.registrations(2000, 8) })
	for _, way := range []string{byScript, byApp} {
		for _, provider := range []string{example, "id-token"} {
			s.socialRegistrations(way, provider, 300, 8)
			l := medianOf(func() load { return s.socialRegistrations(way, provider, 1500, 8) })
			paced := s.registrationsEach(time.Duration(8/l.rate*float64(time.Second)), 1500, 8)
			floor := fmt.Sprintf("by password %s, database %s; %.0f/s as here: %s, database %s; hash %s",
				ms(password.server), ms(password.database), paced.rate, ms(paced.server), ms(paced.database), ms(hash))
			b.row(fmt.Sprintf("registration at a provider, %s, claims of %s, 8 in flight: CPU", way, map[string]string{example: "userinfo", "id-token": "id_token"}[provider]),
				fmt.Sprintf("%s, of which the database %s", ms(l.server), ms(l.database)), floor,
				fmt.Sprintf("%.2f × beyond the hash, %.2f × as many a second", l.server.Seconds()/(password.server-hash).Seconds(),
					l.server.Seconds()/(paced.server-hash).Seconds()), "≤ 3.00 ms")
		}
	}
}

// socialRegistrations are registrations at a provider in three closed loops: all
// flows begin, all people sign in at the provider, which is not counted, and all
// come back. So what is counted is not stretched over the provider's work on the
// same machine.
func (s *system) socialRegistrations(way, provider string, n, inFlight int) load {
	transport := &http.Transport{MaxIdleConnsPerHost: inFlight}
	defer transport.CloseIdleConnections()
	visitors, to := make([]*visitor, n), make([]string, n)
	begun := s.closedLoop(n, inFlight, func(worker, i int) error {
		v := s.visitor(way, worker)
		v.http.Transport = transport
		visitors[i], to[i] = v, v.press("registration", v.begin("registration"), provider, nil)
		return nil
	})
	away := s.closedLoop(n, inFlight, func(_, i int) (err error) {
		to[i], err = visitors[i].signIn(to[i], newAddress())
		return err
	})
	l := s.closedLoop(n, inFlight, func(_, i int) error {
		a, err := visitors[i].comeBack(to[i])
		switch {
		case err != nil:
			return err
		case way == byApp:
			return visitors[i].exchangeCode(a)
		case a.status != http.StatusSeeOther || a.header.Get("Set-Cookie") == "":
			return fmt.Errorf("back from the provider: %d %s", a.status, a.body)
		}
		return nil
	})
	for _, part := range []load{begun, away, l} {
		if part.failed > 0 {
			s.t.Errorf("%d of %d registrations failed: %s", part.failed, n, part.firstFail)
		}
	}
	l.server, l.database = l.server+begun.server, l.database+begun.database
	return l
}
