package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptrace"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// certificate makes a certificate for loopback and its key in the folder, in place of
// those that are there, and gives it.
func certificate(t *testing.T, dir string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "tls.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	write(t, filepath.Join(dir, "tls.crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	if leaf, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return leaf
}

// trusting gives a client of connections of its own that trusts these certificates.
func trusting(all ...*x509.Certificate) *http.Client {
	roots := x509.NewCertPool()
	for _, c := range all {
		roots.AddCert(c)
	}
	return &http.Client{
		Timeout:       10 * time.Second,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// heard is an answer, whether its connection was used before, and what showed who answered.
type heard struct {
	*http.Response
	body   string
	reused bool
}

func ask(t *testing.T, c *http.Client, url string) heard {
	t.Helper()
	var a heard
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: func(g httptrace.GotConnInfo) { a.reused = g.Reused }}))
	if a.Response, err = c.Do(req); err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	a.body = string(text)
	return a
}

// serviceManager is the socket that systemd gives a service, and what came by it.
type serviceManager struct {
	path string
	mu   sync.Mutex
	told []string
}

func newServiceManager(t *testing.T) *serviceManager {
	t.Helper()
	m := &serviceManager{path: filepath.Join(t.TempDir(), "notify")}
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := socket.Read(b)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.told = append(m.told, string(b[:n]))
			m.mu.Unlock()
		}
	}()
	return m
}

// count tells how often something was told.
func (m *serviceManager) count(what string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, told := range m.told {
		if strings.Contains(told, what) {
			n++
		}
	}
	return n
}

// secured is one process with TLS on both listeners, which a service manager looks after.
type secured struct {
	*process
	t             *testing.T
	dir, file     string
	public, admin string
	manager       *serviceManager
	first         *x509.Certificate
}

func newSecured(t *testing.T) *secured {
	t.Helper()
	s := &secured{t: t, dir: t.TempDir(), manager: newServiceManager(t)}
	s.first = certificate(t, s.dir)
	public, admin := freePort(t), freePort(t)
	s.public, s.admin = fmt.Sprintf("https://127.0.0.1:%d", public), fmt.Sprintf("https://127.0.0.1:%d", admin)
	const pair = "tls: {cert: {path: tls.crt}, key: {path: tls.key}}"
	s.file = write(t, filepath.Join(s.dir, "usher.yaml"), fmt.Sprintf("data_dir: %s/data\nbus: {listen: '127.0.0.1:%d'}\nserve:\n  public: {port: %d, %s}\n  admin: {port: %d, %s}\n  drain_delay: 20s\n",
		s.dir, freePort(t), public, pair, admin, pair))
	s.process = &process{
		name: "serve", bin: usherBin, args: []string{"serve", "--dev", "-c", s.file}, log: filepath.Join(s.dir, "serve.log"),
		env: []string{
			"USHER_SECRETS__COOKIE_FILE=" + write(t, filepath.Join(s.dir, "cookie"), "Vj2mWq8Zt5Rk1Xn7\n"),
			"USHER_SECRETS__CIPHER_FILE=" + write(t, filepath.Join(s.dir, "cipher"), "Rk1Xn7Vj2mWq8Zt5\n"),
			"NOTIFY_SOCKET=" + s.manager.path, "WATCHDOG_USEC=400000",
		},
	}
	s.begin()
	t.Cleanup(func() {
		if s.running() {
			s.kill()
		}
	})
	return s
}

// begin starts the process and waits until it says that it is ready.
func (s *secured) begin() {
	s.t.Helper()
	before := s.manager.count("STATUS=serving")
	s.start(s.t)
	eventually(s.t, 20*time.Second, func() error {
		if !s.running() {
			s.t.Fatalf("serve ended: %s", s.tail())
		}
		if s.manager.count("STATUS=serving") == before {
			return fmt.Errorf("the service manager was not told")
		}
		return nil
	})
}

// says waits until the log says something, and tells how often.
func (s *secured) says(what string) int {
	s.t.Helper()
	eventually(s.t, 10*time.Second, func() error {
		if !strings.Contains(s.output(), what) {
			return fmt.Errorf("the log does not say %q: %s", what, s.tail())
		}
		return nil
	})
	return strings.Count(s.output(), what)
}

func TestListenersSpeakTLS(t *testing.T) {
	t.Parallel()
	s := newSecured(t)
	c := trusting(s.first)
	a := ask(t, c, s.public+"/self-service/registration/browser")
	if a.ProtoMajor != 2 || a.Header.Get("Strict-Transport-Security") == "" || len(a.Cookies()) == 0 || !strings.HasPrefix(a.Header.Get("Location"), s.public) {
		t.Errorf("answer %s %v, want HTTP/2, HSTS, cookies and an https URL", a.Proto, a.Header)
	}
	for _, cookie := range a.Cookies() {
		if !cookie.Secure {
			t.Errorf("cookie %s is not secure", cookie.Name)
		}
	}
	if a := ask(t, c, s.public+"/debug/pprof/heap"); a.StatusCode != http.StatusNotFound {
		t.Errorf("a profile at the public listener: %s", a.Status)
	}
	if a := ask(t, c, s.admin+"/debug/pprof/heap"); a.StatusCode != http.StatusOK || a.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("a profile at the admin listener: %s %v", a.Status, a.Header)
	}
	if a := ask(t, c, s.admin+"/metrics"); !strings.Contains(a.body, fmt.Sprintf(`usher_tls_certificate_expiry_timestamp_seconds{listener="public"} %g`, float64(s.first.NotAfter.Unix()))) {
		t.Error("the metrics do not tell when the certificate is over")
	}
	for _, args := range [][]string{{"health"}, {"events", "list"}} {
		if out, errOut, code := usher(t, nil, append(args, "-c", s.file)...); code != 0 {
			t.Errorf("usher %v = %d %s%s", args, code, out, errOut)
		}
	}
	s.renews(c)
	s.rotates()
	s.leaves()
	if _, errOut, code := usher(t, nil, "config", "check", "--dev", "-c", s.file); code == 0 || !strings.Contains(errOut, "serve.public.tls.key") {
		t.Errorf("usher config check with a broken key = %d %s, want a refusal", code, errOut)
	}
	certificate(t, s.dir)
	s.begin() // with the new cipher secret alone
}

// rotates goes over to another cipher secret and forgets the former.
func (s *secured) rotates() {
	s.t.Helper()
	for i, secrets := range []string{"Rk1Xn7Vj2mWq8Zt5\nBc4Hf9Lp3Ds6Ga0Y\n", "Bc4Hf9Lp3Ds6Ga0Y\nRk1Xn7Vj2mWq8Zt5\n", "Bc4Hf9Lp3Ds6Ga0Y\n"} {
		write(s.t, filepath.Join(s.dir, "cipher"), secrets)
		eventually(s.t, 10*time.Second, func() error {
			if n := strings.Count(s.output(), `"configuration read again" changed=secrets.cipher`); n <= i {
				return fmt.Errorf("the cipher secrets were read anew %d times: %s", n, s.tail())
			}
			return nil
		})
	}
}

// renews replaces the certificate, then breaks it, then changes a secret.
func (s *secured) renews(c *http.Client) {
	second := certificate(s.t, s.dir)
	s.says("another certificate is in use")
	for _, at := range []string{s.public, s.admin} {
		if a := ask(s.t, trusting(second), at+"/health/alive"); a.StatusCode != http.StatusOK {
			s.t.Errorf("with the second certificate: %s", a.Status)
		}
		if a := ask(s.t, c, at+"/health/alive"); a.StatusCode != http.StatusOK || !a.reused {
			s.t.Errorf("on the connection that there was: %s, reused %t", a.Status, a.reused)
		}
	}
	write(s.t, filepath.Join(s.dir, "tls.key"), "-----BEGIN nothing")
	s.says("the new certificate cannot be used")
	reloads := s.manager.count("RELOADING=1")
	s.signal(syscall.SIGHUP)
	eventually(s.t, 10*time.Second, func() error {
		if s.manager.count("RELOADING=1") == reloads || s.manager.count("MONOTONIC_USEC=") == 0 {
			return fmt.Errorf("the service manager was not told of the reload")
		}
		return nil
	})
	write(s.t, filepath.Join(s.dir, "cookie"), "Xn7Bc4Hf9Lp3Ds6G\nVj2mWq8Zt5Rk1Xn7\n")
	s.says("changed=secrets.cookie")
	if n := s.says("the new certificate cannot be used"); n != len([]string{"public", "admin"}) {
		s.t.Errorf("said %d times that a certificate cannot be used, want once for each listener", n)
	}
	if a := ask(s.t, trusting(second), s.public+"/health/alive"); a.StatusCode != http.StatusOK {
		s.t.Errorf("with the second certificate, the third being broken: %s", a.Status)
	}
}

// leaves asks the process to end, and then at once.
func (s *secured) leaves() {
	if n := s.manager.count("WATCHDOG=1"); n < 2 {
		s.t.Errorf("the watchdog was told %d times, want more", n)
	}
	s.signal(syscall.SIGTERM)
	eventually(s.t, 5*time.Second, func() error {
		if _, errOut, code := usher(s.t, nil, "health", "-c", s.file); code == 0 || !strings.Contains(errOut, "503") {
			return fmt.Errorf("usher health = %d %s, want 503", code, errOut)
		}
		return nil
	})
	if _, errOut, code := usher(s.t, nil, "health", "--live", "-c", s.file); code != 0 {
		s.t.Errorf("usher health --live while draining = %d %s", code, errOut)
	}
	if s.manager.count("STOPPING=1") == 0 {
		s.t.Error("the service manager was not told of the end")
	}
	s.signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(5 * time.Second):
		s.t.Error("it goes on after the second SIGTERM")
	}
}

// simpleBalancer sends requests to those that are ready, as it has last seen, and never
// tries another.
type simpleBalancer struct {
	backends []*simpleBackend
	mu       sync.Mutex
	turn     int
}

type simpleBackend struct {
	url, health string
	up          bool
}

// look asks all backends how they are, until stop is closed.
func (b *simpleBalancer) look(stop <-chan struct{}) {
	for tick := time.Tick(100 * time.Millisecond); ; {
		for _, one := range b.backends {
			resp, err := http.Get(one.health)
			up := err == nil && resp.StatusCode == http.StatusOK
			if err == nil {
				resp.Body.Close()
			}
			b.mu.Lock()
			one.up = up
			b.mu.Unlock()
		}
		select {
		case <-stop:
			return
		case <-tick:
		}
	}
}

func (b *simpleBalancer) next() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range b.backends {
		b.turn++
		if one := b.backends[b.turn%len(b.backends)]; one.up {
			return one.url
		}
	}
	return b.backends[0].url
}

// TestDrainFailsNoRequest: behind a balancer that asks /health/ready, a process that ends
// fails nobody, whatever the balancer does with its connections.
func TestDrainFailsNoRequest(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "parts", merge(hooks(sessionHook), settings{"serve": settings{"drain_delay": "1s"}}))
	b := &simpleBalancer{}
	for i, api := range s.apis {
		b.backends = append(b.backends, &simpleBackend{url: api, health: s.health[fmt.Sprintf("api-%d", i+1)], up: true})
	}
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { b.look(stop) })
	var mu sync.Mutex
	var failures []string
	answered := 0
	for i := range 8 {
		all.Go(func() {
			c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: i%2 == 0}}
			for {
				select {
				case <-stop:
					return
				default:
				}
				failed := ""
				if resp, err := c.Get(b.next() + "/sessions/whoami"); err != nil {
					failed = err.Error()
				} else {
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if resp.StatusCode != http.StatusUnauthorized {
						failed = resp.Status
					}
				}
				mu.Lock()
				answered++
				if failed != "" {
					failures = append(failures, failed)
				}
				mu.Unlock()
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	for _, name := range []string{"api-1", "api-2"} {
		s.processes[name].stop(t)
		s.restart(name)
		time.Sleep(300 * time.Millisecond) // the balancer looks
	}
	close(stop)
	all.Wait()
	if len(failures) > 0 {
		t.Fatalf("%d of %d requests failed while both were restarted in turns: %q", len(failures), answered, slices.Compact(failures)[:1])
	}
	t.Logf("%d requests, none failed", answered)
}
