package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// postOffice is a mail server that can be away, refuse, and die with a mail in
// its hands.
type postOffice struct {
	t    *testing.T
	addr string

	mu     sync.Mutex
	server *smtp.Server
	mails  []string // as they came
	answer func(n int) error
	tried  int
}

func newPostOffice(t *testing.T) *postOffice {
	o := &postOffice{t: t, addr: fmt.Sprintf("127.0.0.1:%d", freePort(t))}
	t.Cleanup(o.close)
	return o
}

func (o *postOffice) open() {
	o.t.Helper()
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return visit{o}, nil }))
	server.Domain = "localhost"
	l, err := net.Listen("tcp", o.addr)
	if err != nil {
		o.t.Fatal(err)
	}
	o.mu.Lock()
	o.server = server
	o.mu.Unlock()
	go func() { _ = server.Serve(l) }() // ends with close
}

func (o *postOffice) close() {
	o.mu.Lock()
	server := o.server
	o.server = nil
	o.mu.Unlock()
	if server != nil {
		_ = server.Close()
	}
}

// came gives the mails that were taken.
func (o *postOffice) came() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string{}, o.mails...)
}

// codeFor waits for the code that was mailed to an address.
func (o *postOffice) codeFor(address string) (code string) {
	o.t.Helper()
	eventually(o.t, 30*time.Second, func() error {
		for _, mail := range o.came() {
			if strings.Contains(header(mail, "To"), address) {
				code = codePattern.FindString(header(mail, "Subject"))
			}
		}
		if code == "" {
			return errors.New("no mail with a code to " + address)
		}
		return nil
	})
	return code
}

// visit is one connection.
type visit struct{ office *postOffice }

func (visit) Reset()                               {}
func (visit) Logout() error                        { return nil }
func (visit) Mail(string, *smtp.MailOptions) error { return nil }
func (visit) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (v visit) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	o := v.office
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tried++
	if o.answer != nil {
		if err := o.answer(o.tried); err != nil {
			return err
		}
	}
	o.mails = append(o.mails, string(text))
	return nil
}

// header is a header's value in a mail.
func header(mail, name string) string {
	for line := range strings.Lines(mail) {
		if rest, ok := strings.CutPrefix(line, name+": "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// mailsTo is a configuration whose mails go to an office.
func mailsTo(o *postOffice) settings {
	return merge(verifying(settings{"hook": "show_verification_ui"}, sessionHook), settings{"courier": settings{"smtp": settings{
		"connection_uri": "smtp://" + o.addr + "/?disable_starttls=true",
		"from_address":   "accounts@example.org",
	}}})
}

// A mail server that is away, refuses for now or dies changes no answer; the
// mail goes out when it can, and the code in it is good.
func TestTheMailServerIsDown(t *testing.T) {
	t.Parallel()
	for _, shape := range shapes {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			office := newPostOffice(t)
			s := newSystem(t, shape, mailsTo(office))
			app, address := newApp(t, s.api(0)), newAddress()
			at := time.Now()
			r := app.register(address) // nobody is there to take the mail
			if took := time.Since(at); took > 5*time.Second {
				t.Errorf("the answer took %v: it waited for the mail", took)
			}
			office.answer = func(n int) error {
				if n == 1 {
					return &smtp.SMTPError{Code: 451, Message: "later"}
				}
				return nil
			}
			office.open()
			eventually(t, 60*time.Second, func() error {
				if n := len(office.came()); n != 1 {
					return fmt.Errorf("%d mails, want 1", n)
				}
				return nil
			})
			eventually(t, 20*time.Second, func() error { return s.count(r.Identity.ID, "mail.sent", 1) })

			mail := office.came()[0]
			_, body, _ := strings.Cut(mail, "\r\n\r\n")
			plain, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader([]byte(body))))
			if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				plain = []byte(body)
			}
			code := codePattern.FindString(string(plain))
			a := app.must("POST", "/self-service/verification?flow="+verificationFlow(r.ContinueWith), asJSON, fmt.Appendf(nil, `{"method":"code","code":%q}`, code))
			if a.status != http.StatusOK || !strings.Contains(string(a.body), "passed_challenge") {
				t.Errorf("the code %q of the mail = %d %s", code, a.status, a.body)
			}
			page, err := s.mails(address)
			if err != nil || len(page) != 1 || page[0].Status != "sent" || strings.Contains(page[0].Body, code) {
				t.Errorf("messages = %v %+v, want one that was sent, and nothing of what it said", err, page)
			}
			if header(mail, "To") == "" || !strings.Contains(header(mail, "Message-Id")+header(mail, "Message-ID"), page[0].ID) {
				t.Errorf("the mail's headers do not name its message %s:\n%s", page[0].ID, mail)
			}
		})
	}
}

// Where the server has said 250, killing the courier makes no second mail.
func TestNoSecondMailAfterAKill(t *testing.T) {
	t.Parallel()
	for _, shape := range shapes {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			office := newPostOffice(t)
			office.open()
			s := newSystem(t, shape, mailsTo(office))
			app := newApp(t, s.api(0))
			var people []string
			for range 5 {
				people = append(people, app.register(newAddress()).Identity.ID)
			}
			for _, id := range people {
				eventually(t, 30*time.Second, func() error { return s.count(id, "mail.sent", 1) })
			}
			for _, p := range s.named(map[string]string{"sqlite": "serve", "postgres": "serve", "parts": "hooks"}[shape]) {
				p.kill()
				s.restart(p.name)
			}
			last := app.register(newAddress()).Identity.ID
			eventually(t, 60*time.Second, func() error { return s.count(last, "mail.sent", 1) })
			if n := len(office.came()); n != len(people)+1 {
				t.Errorf("%d mails for %d people", n, len(people)+1)
			}
		})
	}
}
