package events

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// authorityLife and certificateLife are how long what a [CertificateAuthority]
	// signs is good: its own certificate, and those of servers and clients.
	authorityLife   = 10 * 365 * 24 * time.Hour
	certificateLife = 365 * 24 * time.Hour
	// clockSkew is how far behind another machine's clock may be.
	clockSkew = 5 * time.Minute
)

// CertificateAuthority signs the certificates of a bus that has none of its
// operator's own. [LoadOrMakeAuthority] makes it.
type CertificateAuthority struct {
	certificate *x509.Certificate
	pem         []byte
	key         *ecdsa.PrivateKey
}

// LoadOrMakeAuthority reads the authority that the folder of [Keys] holds, or
// makes it. Whoever has ca.key of it can be any server of the bus.
func LoadOrMakeAuthority(dir string) (*CertificateAuthority, error) {
	a, err := loadAuthority(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeAuthority(dir); err == nil {
			a, err = loadAuthority(dir)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("certificate authority of the bus: %w", err)
	}
	return a, nil
}

// loadAuthority reads one file, so that key and certificate are always of one make.
func loadAuthority(dir string) (*CertificateAuthority, error) {
	path := filepath.Join(dir, authorityFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	bad := fmt.Errorf("%s is not what \"usher bus config\" writes", path)
	key, rest := pem.Decode(text)
	if key == nil {
		return nil, bad
	}
	certificate, _ := pem.Decode(rest)
	if certificate == nil {
		return nil, bad
	}
	a := &CertificateAuthority{pem: pem.EncodeToMemory(certificate)}
	if a.certificate, err = x509.ParseCertificate(certificate.Bytes); err != nil {
		return nil, bad
	}
	if a.key, err = x509.ParseECPrivateKey(key.Bytes); err != nil {
		return nil, bad
	}
	return a, nil
}

// authorityFile holds the authority's key and certificate.
const authorityFile = "ca.key"

// makeAuthority makes one; the first of two processes wins.
func makeAuthority(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	t := newCertificate("Usher bus", authorityLife)
	t.IsCA, t.BasicConstraintsValid, t.MaxPathLenZero = true, true, true
	t.KeyUsage = x509.KeyUsageCertSign
	certificate, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return err
	}
	text, err := keyPEM(key)
	if err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(dir, authorityFile+".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	path := filepath.Join(fresh, authorityFile)
	if err := writeSecret(path, append(text, certificatePEM(certificate)...)); err != nil {
		return err
	}
	if err := os.Link(path, filepath.Join(dir, authorityFile)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// WriteServer writes a certificate for a server that is known by hosts, names or
// addresses, with its key, and the authority's own: NAME.pem, NAME.key and ca.pem
// in dir. It is good for a year, for connections that the server takes and makes.
func (a *CertificateAuthority) WriteServer(dir, name string, hosts []string) (TLS, error) {
	t := newCertificate(name, certificateLife)
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, host)
		}
	}
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	return a.write(dir, name, t)
}

// WriteClient writes a certificate for the clients of servers that ask for one,
// as [CertificateAuthority.WriteServer] does: client.pem, client.key and ca.pem.
func (a *CertificateAuthority) WriteClient(dir string) (TLS, error) {
	t := newCertificate("usher", certificateLife)
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return a.write(dir, "client", t)
}

func (a *CertificateAuthority) write(dir, name string, t *x509.Certificate) (TLS, error) {
	files := TLS{
		Cert: filepath.Join(dir, name+".pem"), Key: filepath.Join(dir, name+".key"), CA: filepath.Join(dir, "ca.pem"),
	}
	fail := func(err error) (TLS, error) { return TLS{}, fmt.Errorf("certificate of %s: %w", name, err) }
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fail(err)
	}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	certificate, err := x509.CreateCertificate(rand.Reader, t, a.certificate, key.Public(), a.key)
	if err != nil {
		return fail(err)
	}
	text, err := keyPEM(key)
	if err != nil {
		return fail(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // what is secret in it has a mode of its own
		return fail(err)
	}
	err = errors.Join(
		replaceFile(files.CA, a.pem, 0o644),
		replaceFile(files.Key, text, 0o600),
		replaceFile(files.Cert, certificatePEM(certificate), 0o644),
	)
	if err != nil {
		return fail(err)
	}
	return files, nil
}

// newCertificate is a certificate of a name that is good from now.
func newCertificate(name string, life time.Duration) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic("events: no random numbers: " + err.Error()) // never, as of Go 1.24
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(life),
	}
}

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// Hosts are the names and addresses that a server's certificate has to hold: those
// under which clients and the other servers of its cluster find it.
func (o ServerOptions) Hosts() (hosts []string) {
	for _, address := range []string{o.Listen, o.Advertise, o.Cluster.Listen, o.Cluster.Advertise} {
		host, _, err := net.SplitHostPort(address)
		if err == nil && host != "" && !net.ParseIP(host).IsUnspecified() {
			hosts = append(hosts, host)
		}
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// String hides the key.
func (*CertificateAuthority) String() string { return "[certificate authority]" }

// GoString hides the key.
func (*CertificateAuthority) GoString() string { return "[certificate authority]" }
