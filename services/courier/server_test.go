package courier_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/usher-auth/usher/services/courier"
)

const password = "hunter2-of-the-mailbox"

// server is a mail server. What its functions answer, it answers; nil takes all.
type server struct {
	offer     // what it can
	host      string
	port      int
	roots     *x509.CertPool
	mail      func() error
	rcpt      func(to string) error
	data      func(s *session) error
	mu        sync.Mutex
	delivered []delivery
	greeted   string
	stop      func() // once, at the end of the test at the latest
}

type offer struct{ tls, startTLS, login, loginInClear, utf8 bool }

type delivery struct{ from, to, content string }

// newServer starts a server at an address, "127.0.0.1:0" for any.
func newServer(t *testing.T, address string, o offer) *server {
	t.Helper()
	s := &server{offer: o}
	certificate, roots := newCertificate(t)
	s.roots = roots
	out := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.greeted = c.Hostname()
		return &session{server: s, conn: c}, nil
	}))
	out.Domain, out.AllowInsecureAuth, out.EnableSMTPUTF8 = "localhost", o.loginInClear, o.utf8
	out.ErrorLog = log.New(io.Discard, "", 0)
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	if o.startTLS {
		out.TLSConfig = config
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr)
	s.host, s.port = at.IP.String(), at.Port
	if o.tls {
		l = tls.NewListener(l, config)
	}
	served := make(chan error, 1)
	go func() { served <- out.Serve(l) }()
	s.stop = sync.OnceFunc(func() {
		_ = l.Close() // Close knows it only once Serve does
		_ = out.Close()
		<-served
	})
	t.Cleanup(s.stop)
	return s
}

// options are those of a client that trusts s.
func (s *server) options() courier.SMTPOptions {
	at := courier.Server{Host: s.host, Port: s.port, TLS: s.tls, NoStartTLS: !s.tls && !s.startTLS}
	if s.login || s.loginInClear {
		at.User, at.Password = "ada", courier.NewSecret(password)
	}
	return courier.SMTPOptions{
		Server: at, FromAddress: "no-reply@id.example.com", FromName: "Ünser Dienst", Roots: s.roots, LocalName: "usher.example.com",
		Headers: map[string]string{"X-Mail-Class": "verification"},
	}
}

func (s *server) address() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }

func (s *server) got() []delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.delivered)
}

type session struct {
	server   *server
	conn     *smtp.Conn
	known    bool
	from, to string
	content  string
}

func (s *session) AuthMechanisms() []string { return []string{"SCRAM-SHA-1", sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, given string) error {
		if user != "ada" || given != password {
			return errors.New("no such user: " + given)
		}
		s.known = true
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	if (s.server.login || s.server.loginInClear) && !s.known {
		return smtp.ErrAuthRequired
	}
	if s.server.mail != nil {
		return s.server.mail()
	}
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = to
	if s.server.rcpt != nil {
		return s.server.rcpt(to)
	}
	return nil
}

func (s *session) Data(r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.content = string(content)
	if s.server.data != nil {
		return s.server.data(s)
	}
	s.keep()
	return nil
}

func (s *session) keep() {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.delivered = append(s.server.delivered, delivery{s.from, s.to, s.content})
}

func (*session) Reset() {}

func (*session) Logout() error { return nil }

// newCertificate makes one for 127.0.0.1 that its pool trusts.
func newCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"mail.example.com"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}
