package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"time"
)

// TLS are a listener's certificate, with those between it and its authority behind it, and
// its key: PEM, each in a file or as base64. The zero TLS is none.
type TLS struct {
	Cert struct {
		Path   string `yaml:"path"`
		Base64 string `yaml:"base64"`
	} `yaml:"cert"`
	Key struct {
		Path   string `yaml:"path"`
		Base64 Secret `yaml:"base64"`
	} `yaml:"key"`
}

// On tells whether the listener speaks TLS.
func (t *TLS) On() bool { return t.Cert.Path+t.Cert.Base64+t.Key.Path+t.Key.Base64.Reveal() != "" }

// checkTLS checks what is given, and not what stands in the files: they are read when a
// listener opens, see [Config.Certificate].
func (l *loader) checkTLS(listener string, t *TLS) {
	if !t.On() {
		return
	}
	for _, half := range []struct{ name, path, base64 string }{
		{"cert", t.Cert.Path, t.Cert.Base64},
		{"key", t.Key.Path, t.Key.Base64.Reveal()},
	} {
		name := tlsKey(listener, half.name)
		switch {
		case half.path != "" && half.base64 != "":
			l.refuseKey(name, "want path or base64, not both")
		case half.path+half.base64 == "":
			l.refuseKey(name, "this is needed too: path or base64 of a PEM file")
		case half.path != "":
			l.beside(half.path)
		}
	}
}

func tlsKey(listener, half string) string { return "serve." + listener + ".tls." + half }

// Listeners are the names of the listeners, as in the keys below serve.
var Listeners = [...]string{"public", "admin"}

// TLSOf gives what is configured for a listener.
func (c *Config) TLSOf(listener string) *TLS {
	if listener == "admin" {
		return &c.Serve.Admin.TLS
	}
	return &c.Serve.Public.TLS
}

// Certificate reads the certificate of a listener and its key as they are now; nil without
// TLS. What cannot be used is refused as [Problems], such as a key of another certificate;
// one that is [Untimely] is warned of.
func (c *Config) Certificate(listener string, now time.Time) (*tls.Certificate, []Warning, error) {
	t := c.TLSOf(listener)
	if !t.On() {
		return nil, nil, nil
	}
	l := *c.reading()
	l.problems, l.warnings = nil, nil
	cert := l.pem(tlsKey(listener, "cert"), t.Cert.Path, t.Cert.Base64)
	key := l.pem(tlsKey(listener, "key"), t.Key.Path, t.Key.Base64.Reveal())
	if len(l.problems) > 0 {
		return nil, nil, l.problems.sorted()
	}
	pair := l.pair(listener, t, cert, key, now)
	if len(l.problems) > 0 {
		return nil, nil, l.problems.sorted()
	}
	if t.Key.Path != "" && othersRead(l.beside(t.Key.Path)) {
		l.warn(tlsKey(listener, "key.path"), fmt.Sprintf("everybody on this machine can read %s: 'chmod o-r' it", t.Key.Path))
	}
	return pair, l.warnings, nil
}

// pem gives half of a pair. Its errors show nothing of a key.
func (l *loader) pem(name, path, encoded string) []byte {
	if path != "" {
		name += ".path"
	} else {
		name += ".base64"
	}
	var text []byte
	var err error
	if path != "" {
		text, err = readRegular(l.beside(path))
	} else if text, err = base64.StdEncoding.DecodeString(encoded); err != nil {
		err = errors.New("this is not base64")
	}
	switch {
	case err != nil:
		l.refuseKey(name, "%w", err)
	case !bytes.Contains(text, []byte("-----BEGIN ")):
		l.refuseKey(name, "%sthere is no PEM in it (-----BEGIN …)", before(path))
	}
	return text
}

// before names a file in front of what is said of it.
func before(path string) string {
	if path == "" {
		return ""
	}
	return path + ": "
}

// pair makes one of both halves, and says at which of them it is wrong.
func (l *loader) pair(listener string, t *TLS, cert, key []byte, now time.Time) *tls.Certificate {
	certName, keyName := tlsKey(listener, "cert"), tlsKey(listener, "key")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		l.refuseKey(keyName, "%sit does not go with the certificate %s: %w", before(t.Key.Path), t.Cert.Path, err)
		return nil
	}
	if text := Untimely(pair.Leaf, now); text != "" {
		l.warn(certName, before(t.Cert.Path)+text)
	}
	return &pair
}

// Untimely says why clients refuse a certificate at a time, or nothing: it is over, or
// has not begun.
func Untimely(leaf *x509.Certificate, now time.Time) string {
	switch {
	case now.After(leaf.NotAfter):
		return fmt.Sprintf("the certificate is over since %s: renew it", leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return fmt.Sprintf("the certificate begins only at %s: see whether the clock of this machine is right", leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return ""
}

// othersRead tells whether all users may read a file. A group may: that is how a key is
// given to a service.
func othersRead(path string) bool {
	if runtime.GOOS == "windows" {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && info.Mode()&fs.FileMode(0o004) != 0
}

// leaf gives the certificate that is configured, nil where it cannot be read.
func (l *loader) leaf(t *TLS) *x509.Certificate {
	name := tlsKey("admin", "cert")
	reading := *l // what is wrong with it is the server's to say
	block, _ := pem.Decode(reading.pem(name, t.Cert.Path, t.Cert.Base64))
	if block == nil {
		return nil
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return leaf
}

// Pinned trusts one certificate whatever name it is asked for by, since it is known to be
// that of the listener that is asked; any other one is verified as usual.
func Pinned(own *x509.Certificate, roots *x509.CertPool) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		RootCAs:    roots,
		// VerifyConnection does all of it; that the other side holds the key is proven in any case.
		InsecureSkipVerify: true, //nolint:gosec // see VerifyConnection
		VerifyConnection: func(s tls.ConnectionState) error {
			if own != nil && s.PeerCertificates[0].Equal(own) {
				return nil
			}
			others := x509.NewCertPool()
			for _, c := range s.PeerCertificates[1:] {
				others.AddCert(c)
			}
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: s.ServerName, Roots: roots, Intermediates: others})
			return err
		},
	}
}
