package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"

	"github.com/usher-auth/usher/cmd/internal/config"
)

func (d *Doctor) lookListenerCerts(context.Context) (f findings) {
	for _, listener := range config.Listeners {
		pair, _, err := d.Config.Certificate(listener, d.Now())
		host := ""
		if base, err := url.Parse(d.Config.PublicURL()); err == nil && listener == "public" && base.Scheme == "https" {
			host = base.Hostname()
		}
		switch whose := "serve." + listener + ".tls"; {
		case err != nil:
			f.add(Red, checkListenerCerts, oneLine(err), "put it there or renew it, or mend "+whose+"; a server that runs goes on with the former one, and does not start again")
		case pair != nil:
			d.judgeCertificate(&f, checkListenerCerts, whose, pair.Leaf, host)
		}
	}
	if len(f) == 0 {
		f.green(checkListenerCerts, "none: what is in front of the listeners has TLS")
	}
	return f
}

func (d *Doctor) lookBusCerts(ctx context.Context) (f findings) {
	files := d.Config.Bus.TLS
	if files.Cert != "" {
		pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		if err != nil {
			f.add(Red, checkBusCerts, "bus.tls.cert: "+oneLine(err), "'usher bus config' makes one, with its key")
		} else {
			d.judgeCertificate(&f, checkBusCerts, "bus.tls.cert", pair.Leaf, "")
		}
	}
	if files.CA != "" {
		all, err := readCertificates(files.CA)
		if errors.Is(err, fs.ErrNotExist) {
			f.skip("a file is not there, see "+checkValid, checkBusCerts)
		} else if err != nil {
			f.add(Red, checkBusCerts, "bus.tls.ca: "+oneLine(err), "set it to the ca.pem that 'usher bus config' wrote")
		}
		for _, ca := range all {
			d.judgeCertificate(&f, checkBusCerts, "bus.tls.ca "+ca.Subject.CommonName, ca, "")
		}
	}
	if b, err := d.nats(ctx); err == nil && !d.embedded() { // a bus that is away is another finding
		for _, url := range sorted(b.certificates) {
			d.judgeCertificate(&f, checkBusCerts, url, b.certificates[url], "")
		}
	}
	if len(f) == 0 {
		f.green(checkBusCerts, "none")
	}
	return f
}

// readCertificates reads all certificates of a PEM file.
func readCertificates(path string) (all []*x509.Certificate, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		ca, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, ca)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return all, nil
}
