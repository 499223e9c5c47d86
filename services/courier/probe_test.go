package courier_test

import (
	"strings"
	"testing"

	"github.com/usher-auth/usher/services/courier"
)

func TestProbeGoesAsFarAsBeforeAMail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		offer  offer
		server courier.Server
		want   string
	}{
		{"STARTTLS and a login", offer{startTLS: true, login: true}, courier.Server{User: "ada", Password: courier.NewSecret(password)}, ""},
		{"wrong password", offer{startTLS: true, login: true}, courier.Server{User: "ada", Password: courier.NewSecret("wrong")}, "login: "},
		{"no STARTTLS", offer{}, courier.Server{}, "does not offer STARTTLS"},
		{"in the clear, as asked", offer{}, courier.Server{NoStartTLS: true}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, "127.0.0.1:0", c.offer)
			c.server.Host, c.server.Port = s.host, s.port
			sender, err := courier.NewSMTP(courier.SMTPOptions{Server: c.server, FromAddress: "accounts@example.com", Roots: s.roots})
			if err != nil {
				t.Fatal(err)
			}
			err = sender.Probe(t.Context())
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("Probe = %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "wrong") {
				t.Errorf("Probe shows the password: %v", err)
			}
			if len(s.delivered) > 0 {
				t.Error("Probe gives a mail")
			}
		})
	}
	s := newServer(t, "127.0.0.1:0", offer{})
	s.stop()
	sender, err := courier.NewSMTP(courier.SMTPOptions{Server: courier.Server{Host: s.host, Port: s.port}, FromAddress: "accounts@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if err := sender.Probe(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "connect: ") {
		t.Errorf("Probe of nobody = %v, want connect", err)
	}
}
