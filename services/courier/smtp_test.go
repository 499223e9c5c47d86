package courier_test

import (
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/google/uuid"

	"github.com/usher-auth/usher/services/courier"
)

func newSMTP(t *testing.T, o courier.SMTPOptions) *courier.SMTP {
	t.Helper()
	s, err := courier.NewSMTP(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newMessage() *courier.Message {
	return &courier.Message{
		ID: uuid.New(), Recipient: "ada@example.com", Template: courier.VerificationCode, CreatedAt: now,
		Content: courier.Content{
			Subject: courier.NewSecret("Grüße: 123456"), Plain: courier.NewSecret("Žluťoučký 123456\n.\n.dot\n"), HTML: courier.NewSecret("<p>123456 😀</p>"),
		},
	}
}

func TestSMTPDelivers(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]offer{
		"STARTTLS and login":         {startTLS: true, login: true},
		"TLS and login":              {tls: true, login: true},
		"STARTTLS":                   {startTLS: true},
		"in the clear":               {},
		"login over loopback":        {loginInClear: true},
		"addresses beyond ASCII too": {startTLS: true, utf8: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, m := newServer(t, "127.0.0.1:0", o), newMessage()
			to := "ada@example.com"
			if o.utf8 {
				to = "žofie@example.com"
			}
			m.Recipient = to
			if err := newSMTP(t, s.options()).Send(t.Context(), m); err != nil {
				t.Fatalf("Send = %v, want nil", err)
			}
			got := s.got()
			if len(got) != 1 || got[0].from != "no-reply@id.example.com" || got[0].to != to || s.greeted != "usher.example.com" {
				t.Fatalf("server got %+v from %s, want one mail to %s", got, s.greeted, to)
			}
			checkMail(t, got[0].content, m)
		})
	}
}

// checkMail wants the mail of m with its headers and both its parts.
func checkMail(t *testing.T, content string, m *courier.Message) {
	t.Helper()
	got, err := netmail.ReadMessage(strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	var words mime.WordDecoder
	for name, want := range map[string]string{
		"Message-ID": "<" + m.ID.String() + "@id.example.com>", "Subject": m.Content.Subject.Reveal(),
		"Date": now.Format(time.RFC1123Z), "X-Mail-Class": "verification", "Auto-Submitted": "auto-generated", "User-Agent": "", "Bcc": "",
	} {
		if header, err := words.DecodeHeader(got.Header.Get(name)); err != nil || header != want {
			t.Errorf("header %s = %q, %v, want %q", name, header, err, want)
		}
	}
	from, _ := got.Header.AddressList("From")
	to, _ := got.Header.AddressList("To")
	if len(from) != 1 || *from[0] != (netmail.Address{Name: "Ünser Dienst", Address: "no-reply@id.example.com"}) ||
		len(to) != 1 || *to[0] != (netmail.Address{Address: m.Recipient}) {
		t.Errorf("from %v to %v, want the service and %s", from, to, m.Recipient)
	}
	plain, page := parts(t, got)
	if plain != m.Content.Plain.Reveal() || page != m.Content.HTML.Reveal() {
		t.Errorf("parts = %q, %q, want %q, %q", plain, page, m.Content.Plain.Reveal(), m.Content.HTML.Reveal())
	}
}

func parts(t *testing.T, m *netmail.Message) (plain, page string) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("Content-Type = %q, %v, want multipart/alternative", kind, err)
	}
	var all []string
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := r.NextPart() // decodes quoted-printable
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p.Header.Get("Content-Type"), strings.ReplaceAll(string(content), "\r\n", "\n"))
	}
	if len(all) != 4 || all[0] != "text/plain; charset=UTF-8" || all[2] != "text/html; charset=UTF-8" {
		t.Fatalf("parts = %q, want plain text and HTML", all)
	}
	return all[1], all[3]
}

func TestSMTPTellsWhatWentWrong(t *testing.T) {
	t.Parallel()
	answer := func(code int) func() error {
		return func() error {
			return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 1, 2}, Message: "ada@example.com 123456"}
		}
	}
	rcpt := func(code int) func(*server) {
		return func(s *server) { s.rcpt = func(string) error { return answer(code)() } }
	}
	data := func(code int) func(*server) {
		return func(s *server) { s.data = func(*session) error { return answer(code)() } }
	}
	for name, tc := range map[string]struct {
		offer     offer
		server    func(*server)
		client    func(*courier.SMTPOptions)
		recipient string
		seen      bool // counts as an attempt
		permanent bool
		want      string
	}{
		"no STARTTLS":           {client: func(o *courier.SMTPOptions) { o.Server.NoStartTLS = false }, want: "does not offer STARTTLS"},
		"certificate unknown":   {offer: offer{startTLS: true}, client: func(o *courier.SMTPOptions) { o.Roots = nil }, want: "certificate"},
		"TLS certificate":       {offer: offer{tls: true}, client: func(o *courier.SMTPOptions) { o.Roots = nil }, want: "TLS: "},
		"other name":            {offer: offer{startTLS: true}, client: func(o *courier.SMTPOptions) { o.Server.Name = "other.example.com" }, want: "other.example.com"},
		"TLS to a plain server": {client: func(o *courier.SMTPOptions) { o.Server.TLS = true }, want: "TLS: "},
		"wrong password": {offer: offer{startTLS: true, login: true}, client: func(o *courier.SMTPOptions) {
			o.Server.Password = courier.NewSecret("wrong-123456")
		}, want: "login: server answered 454"},
		"no login offered":  {client: func(o *courier.SMTPOptions) { o.Server.User = "ada" }, want: "takes no login"},
		"login required":    {offer: offer{startTLS: true, login: true}, client: func(o *courier.SMTPOptions) { o.Server.User = "" }, want: "MAIL: server answered 502"},
		"sender refused":    {server: func(s *server) { s.mail = answer(550) }, want: "MAIL: server answered 550 5.1.2"},
		"sender later":      {server: func(s *server) { s.mail = answer(451) }, seen: true, want: "MAIL: server answered 451 4.1.2"},
		"recipient later":   {server: rcpt(450), seen: true, want: "RCPT: server answered 450 4.1.2"},
		"recipient never":   {server: rcpt(550), seen: true, permanent: true, want: "RCPT: server answered 550 5.1.2"},
		"content later":     {server: data(452), seen: true, want: "content: server answered 452 4.1.2"},
		"content never":     {server: data(554), seen: true, permanent: true, want: "content: server answered 554 5.1.2"},
		"lost after DATA":   {server: func(s *server) { s.data = hangUp }, seen: true, want: "not taken: content: "},
		"breaks":            {server: func(s *server) { s.mail = func() error { panic("lost") } }, want: "MAIL: server answered 421"},
		"closes":            {server: rcpt(421), want: "RCPT: server answered 421"},
		"closes at the end": {server: data(421), seen: true, want: "content: server answered 421"},
		"not an address":    {recipient: "ada@example.com>\r\nRCPT TO:<eve@example.com", seen: true, permanent: true, want: "not an email address"},
		"needs SMTPUTF8":    {recipient: "žofie@example.com", seen: true, permanent: true, want: "beyond ASCII"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, m := newServer(t, "127.0.0.1:0", tc.offer), newMessage()
			if tc.server != nil {
				tc.server(s)
			}
			o := s.options()
			if tc.client != nil {
				tc.client(&o)
			}
			if tc.recipient != "" {
				m.Recipient = tc.recipient
			}
			err := newSMTP(t, o).Send(t.Context(), m)
			var refused *courier.Refused
			if errors.As(err, &refused) != tc.seen || refused != nil && refused.Permanent != tc.permanent {
				t.Errorf("Send = %v (%T), want a Refused: %t, permanent: %t", err, err, tc.seen, tc.permanent)
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("Send = %v, want an error with %q", err, tc.want)
			}
			for _, secret := range []string{"123456", "ada@", "eve@", "žofie@", password} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("Send = %v, which shows %q", err, secret)
				}
			}
			if got := s.got(); len(got) != 0 {
				t.Errorf("server took %+v, want nothing", got)
			}
		})
	}
}

// hangUp takes the content and closes the connection before it answers.
func hangUp(s *session) error {
	return s.conn.Conn().Close()
}

// silent listens and lets talk speak on each connection.
func silent(t *testing.T, talk func(net.Conn)) courier.SMTPOptions {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		talk(c)
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
	})
	at := l.Addr().(*net.TCPAddr)
	return courier.SMTPOptions{
		Server: courier.Server{Host: "127.0.0.1", Port: at.Port, NoStartTLS: true}, FromAddress: "no-reply@example.com",
	}
}

func TestSMTPDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	untilClosed := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	for name, tc := range map[string]struct {
		talk   func(net.Conn)
		change func(*courier.SMTPOptions)
		want   string
	}{
		"says nothing":        {untilClosed, func(o *courier.SMTPOptions) { o.Command = 20 * time.Millisecond }, "greeting: "},
		"says nothing in TLS": {untilClosed, func(o *courier.SMTPOptions) { o.Command, o.Server.TLS = 20*time.Millisecond, true }, "TLS: "},
		"says little at a time": {
			func(c net.Conn) {
				for err := error(nil); err == nil; time.Sleep(time.Millisecond) {
					_, err = c.Write([]byte("2"))
				}
			},
			func(o *courier.SMTPOptions) { o.Total = 100 * time.Millisecond }, "not done within 100ms",
		},
		"says too much": {
			func(c net.Conn) {
				for err := error(nil); err == nil; {
					_, err = c.Write([]byte(strings.Repeat("220-welcome\r\n", 1000)))
				}
			},
			func(*courier.SMTPOptions) {}, "answers are too long",
		},
		"says something else": {
			func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 400 ada@example.com\r\n")) },
			func(*courier.SMTPOptions) {}, "what is not SMTP",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := silent(t, tc.talk)
			tc.change(&o)
			err := newSMTP(t, o).Send(t.Context(), newMessage())
			if err == nil || !strings.Contains(err.Error(), tc.want) || errors.As(err, new(*courier.Refused)) {
				t.Errorf("Send = %v, want an error with %q that costs no attempt", err, tc.want)
			}
		})
	}
}

func TestSMTPEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	o := silent(t, func(c net.Conn) {
		cancel(errBroken)
		_, _ = io.Copy(io.Discard, c)
	})
	if err := newSMTP(t, o).Send(ctx, newMessage()); !errors.Is(err, errBroken) {
		t.Errorf("Send = %v, want the cause of the context's end", err)
	}
}

func TestPasswordIsNotSentInTheClear(t *testing.T) {
	t.Parallel()
	s := newServer(t, "127.0.0.1:0", offer{loginInClear: true})
	out := newSMTP(t, s.options())
	out.SetDial(func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		return elsewhere{c}, err
	})
	err := out.Send(t.Context(), newMessage())
	if err == nil || !strings.Contains(err.Error(), "not sent in the clear") {
		t.Errorf("Send = %v, want a refusal to log in", err)
	}
}

// elsewhere is a connection whose other end says that it is another machine.
type elsewhere struct{ net.Conn }

func (elsewhere) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 25} }

func TestNewSMTPRefusesWhatCannotStandInAHead(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*courier.SMTPOptions){
		"from_address":          func(o *courier.SMTPOptions) { o.FromAddress = "a@example.com\r\nBcc: eve@example.com" },
		"want an email address": func(o *courier.SMTPOptions) { o.FromAddress = "" },
		"from_name":             func(o *courier.SMTPOptions) { o.FromName = "a\nb" },
		"local_name":            func(o *courier.SMTPOptions) { o.LocalName = "a b" },
		`"X:y"`:                 func(o *courier.SMTPOptions) { o.Headers = map[string]string{"X:y": "1"} },
		`"X-A"`:                 func(o *courier.SMTPOptions) { o.Headers = map[string]string{"X-A": "1\r\nBcc: eve@example.com"} },
		`"bcc"`:                 func(o *courier.SMTPOptions) { o.Headers = map[string]string{"bcc": "eve@example.com"} },
		`"Content-Type"`:        func(o *courier.SMTPOptions) { o.Headers = map[string]string{"Content-Type": "text/plain"} },
	} {
		o := courier.SMTPOptions{Server: courier.Server{Host: "h", Port: 25}, FromAddress: "a@example.com"}
		change(&o)
		if _, err := courier.NewSMTP(o); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "eve") {
			t.Errorf("NewSMTP = %v, want an error with %q", err, want)
		}
	}
}
