package courier_test

import (
	"errors"
	"mime"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/usher-auth/usher/services/courier"
)

// TestAllAttemptsAreOneMail lets the first attempt fail in each way that leaves
// open whether the mail has arrived, and looks at what arrives in the end.
func TestAllAttemptsAreOneMail(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		first    func(*session) error // of the server, once
		crash    bool                 // after the server said 250
		arrivals int
		attempts int
	}{
		"connection is lost before 250": {first: func(s *session) error { s.keep(); return s.conn.Conn().Close() }, arrivals: 2, attempts: 2},
		"server asks to wait": {
			first:    func(*session) error { return &smtp.SMTPError{Code: 451, Message: "later"} },
			arrivals: 1, attempts: 2,
		},
		"courier dies after 250": {crash: true, arrivals: 2, attempts: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := newServer(t, "127.0.0.1:0", offer{startTLS: true, login: true})
			first := tc.first
			out.data = func(s *session) error {
				if f := first; f != nil {
					first = nil
					return f(s)
				}
				s.keep()
				return nil
			}
			s, r := newMemory(t)
			if tc.crash {
				s.settleFails = 1
			}
			c := newService(t, s, newSMTP(t, out.options()))
			if err := c.Write(t.Context(), r); err == nil {
				t.Fatal("first attempt = nil, want an error")
			}
			// As another process would, which remembers nothing, once the lease of a dead one is over.
			s.now = func() time.Time { return now.Add(20 * time.Second) }
			c = newService(t, s, newSMTP(t, out.options()))
			if err := c.Write(t.Context(), r); err != nil {
				t.Fatalf("second attempt = %v, want nil", err)
			}
			got, m := out.got(), s.only()
			if len(got) != tc.arrivals || m.Status != courier.Sent || m.Attempts != tc.attempts {
				t.Fatalf("%d mails, message %+v, want %d, sent after %d attempts", len(got), m, tc.arrivals, tc.attempts)
			}
			for _, d := range got {
				if d != got[0] || !strings.Contains(d.content, "Message-ID: <"+m.ID.String()+"@id.example.com>\r\n") {
					t.Errorf("mails differ or lack the Message-ID of %s:\n%s", m.ID, d.content)
				}
			}
		})
	}
}

func TestServerThatWasDownGetsTheMailWhenItIsBack(t *testing.T) {
	t.Parallel()
	down := newServer(t, "127.0.0.1:0", offer{})
	options := down.options()
	down.stop()
	s, r := newMemory(t)
	c := newService(t, s, newSMTP(t, options))
	var deferred *courier.Deferred
	for range 10 {
		if err := c.Write(t.Context(), r); err == nil || errors.As(err, &deferred) {
			t.Fatalf("Verification = %v, want an error that costs no attempt", err)
		}
	}
	if m := s.only(); !strings.HasPrefix(m.LastError, "connect: ") {
		t.Errorf("last error = %q, want that there is no connection", m.LastError)
	}
	back := newServer(t, down.address(), offer{})
	if err := c.Write(t.Context(), r); err != nil {
		t.Fatalf("Verification = %v, want nil", err)
	}
	if m := s.only(); len(back.got()) != 1 || m.Attempts != 1 {
		t.Errorf("%d mails, %d attempts, want 1, 1", len(back.got()), m.Attempts)
	}
	if text := codeOf(t, back.got()[0].content); text != s.codes[0].Text.Reveal() {
		t.Errorf("code in the mail = %q, want the one that is stored", text)
	}
}

// codeOf finds the code as people's programs do.
func codeOf(t *testing.T, content string) string {
	t.Helper()
	m, err := netmail.ReadMessage(strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	plain, _ := parts(t, m)
	return sixDigits.FindString(plain)
}

func TestHostileTraitsChangeNoHeader(t *testing.T) {
	t.Parallel()
	out := newServer(t, "127.0.0.1:0", offer{})
	s, r := newMemory(t)
	s.recipient.Traits = []byte(`{"name":"Zoë\r\nBcc: eve@example.com\r\n\r\n<script>"}`)
	c := newService(t, s, newSMTP(t, out.options()))
	c.Templates = newTemplates(t, given(courier.Texts{
		Subject: "{{ .VerificationCode }}\nX-Injected: 1\r\n{{ .Identity.traits.name }}",
		HTML:    "<p>{{ .Identity.traits.name }}</p>",
	}))
	if err := c.Write(t.Context(), r); err != nil {
		t.Fatalf("Verification = %v, want nil", err)
	}
	m, err := netmail.ReadMessage(strings.NewReader(out.got()[0].content))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Header["Bcc"])+len(m.Header["X-Injected"]) != 0 || out.got()[0].to != "ada@example.com" {
		t.Errorf("headers = %v, want none from a trait or a subject", m.Header)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	want := s.codes[0].Text.Reveal() + " X-Injected: 1 Zoë Bcc: eve@example.com <script>"
	if err != nil || subject != want {
		t.Errorf("subject = %q, %v, want %q", subject, err, want)
	}
	if _, page := parts(t, m); strings.Contains(page, "<script>") {
		t.Errorf("HTML = %s, want it escaped", page)
	}
}
