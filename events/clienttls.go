package events

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"sync"

	"github.com/nats-io/nats.go"
)

// ClientTLS names the files of a client's TLS. The zero value takes what the
// system trusts.
type ClientTLS struct {
	// CA signs the certificates of the servers.
	CA string
	// Cert and Key are for servers that ask for a certificate.
	Cert, Key string
	// Kept is told once of each reason why a file cannot be used while the former is;
	// nil is for whoever need not know. [Connect] logs it.
	Kept func(err error)
}

// Options are those of a connection with TLS, none for the zero value. The files
// are read again each time that the connection is made. What cannot be used, a
// file that is half written or holds no authority, is an error at first; later
// the former stays in force.
func (t ClientTLS) Options() (options []nats.Option) {
	if t.CA != "" {
		ca := followed[*x509.CertPool]{read: t.readCA, kept: t.Kept}
		options = append(options, func(o *nats.Options) error {
			o.RootCAsCB = ca.now
			return secured(o, ca.first())
		})
	}
	if t.Cert != "" {
		pair := followed[tls.Certificate]{read: t.readPair, kept: t.Kept}
		options = append(options, func(o *nats.Options) error {
			o.TLSCertCB = pair.now
			return secured(o, pair.first())
		})
	}
	return options
}

// secured gives err, or has a connection use TLS.
func secured(o *nats.Options, err error) error {
	if o.TLSConfig == nil {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	o.Secure = true
	return err
}

// readCA reads who signs the servers' certificates. One that signs nothing, such as
// a server's own that was put in its place, would shut all servers out; a server
// that signs itself is its own authority.
func (t ClientTLS) readCA() (*x509.CertPool, error) {
	text, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	pool, signs := x509.NewCertPool(), false
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue // of a kind that is not known here; the others may do
		}
		pool.AddCert(c)
		signs = signs || c.IsCA || bytes.Equal(c.RawIssuer, c.RawSubject)
	}
	if !signs {
		return nil, fmt.Errorf("certificate authority: %s holds no certificate of one", t.CA)
	}
	return pool, nil
}

func (t ClientTLS) readPair() (tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return pair, fmt.Errorf("certificate %s: %w", t.Cert, err)
	}
	return pair, nil
}

// followed is what files hold. It is read again each time; what cannot be used
// leaves the former in force.
type followed[T any] struct {
	read func() (T, error)
	kept func(error)

	mu   sync.Mutex
	good T
	last string // why the files cannot be used
}

// first reads it, before anything is in force.
func (f *followed[T]) first() (err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.good, err = f.read()
	return err
}

// now gives what is in force. It is called when a connection is made.
func (f *followed[T]) now() (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	read, err := f.read()
	if err == nil {
		f.good, f.last = read, ""
		return f.good, nil
	}
	if reason := err.Error(); reason != f.last {
		f.last = reason
		if f.kept != nil {
			f.kept(err)
		}
	}
	return f.good, nil
}
