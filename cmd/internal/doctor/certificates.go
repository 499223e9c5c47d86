package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"
)

const (
	checkListenerCerts = "certificates.listeners"
	checkBusCerts      = "certificates.bus"
	checkPublicURL     = "certificates.public_url"
)

var certificateLooks = []look{
	{[]Check{{checkListenerCerts, "certificates of serve.*.tls: their end, and whom they are for"}}, (*Doctor).lookListenerCerts, false},
	{[]Check{{checkBusCerts, "certificates of bus.tls, and those of its servers: their end"}}, (*Doctor).lookBusCerts, false},
	{[]Check{{checkPublicURL, "what answers at serve.public.base_url, where that is https"}}, (*Doctor).lookPublicURL, false},
}

// judgeCertificate judges one by its end, and by the host that it must be for;
// an empty one is any.
func (d *Doctor) judgeCertificate(f *findings, check, whose string, leaf *x509.Certificate, host string) {
	now := d.Now()
	until := leaf.NotAfter.UTC().Format(time.DateTime)
	mend := "renew it; what renews certificates by itself (ACME) should have done so a month before"
	switch left := leaf.NotAfter.Sub(now); {
	case left <= 0:
		f.add(Red, check, fmt.Sprintf("%s: it ended %s", whose, until), mend)
	case now.Before(leaf.NotBefore):
		f.add(Red, check, fmt.Sprintf("%s: it begins %s", whose, leaf.NotBefore.UTC().Format(time.DateTime)), "see whether this machine's clock is right")
	case host != "" && leaf.VerifyHostname(host) != nil:
		f.add(Red, check, fmt.Sprintf("%s: it is not for %s, but %v", whose, host, leaf.DNSNames), "get a certificate with that name")
	case left < endsNow:
		f.add(Red, check, fmt.Sprintf("%s: it ends %s, in %d days", whose, until, int(left.Hours()/24)), mend)
	case left < endsSoon:
		f.add(Yellow, check, fmt.Sprintf("%s: it ends %s, in %d days", whose, until, int(left.Hours()/24)), mend)
	default:
		f.green(check, "%s: until %s", whose, until)
	}
}

// lookPublicURL does what a browser does before it asks for anything.
func (d *Doctor) lookPublicURL(ctx context.Context) (f findings) {
	base, err := url.Parse(d.Config.PublicURL())
	if err != nil || base.Scheme != "https" {
		f.green(checkPublicURL, "it is not https")
		return f
	}
	port := base.Port()
	if port == "" {
		port = "443"
	}
	address := net.JoinHostPort(base.Hostname(), port)
	conn, err := (&tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12}}).DialContext(ctx, "tcp", address)
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &untrusted):
		f.add(Red, checkPublicURL, fmt.Sprintf("browsers refuse %s: %s", address, oneLine(untrusted.Err)), "get a certificate for that name by an authority that clients trust")
	case err != nil:
		f.add(Yellow, checkPublicURL, "it is not reached from here: "+oneLine(err), "well, if it is not meant to be; else see the proxy and the name in DNS")
	default:
		defer func() { _ = conn.Close() }() // nothing was said on it
		d.judgeCertificate(&f, checkPublicURL, address, conn.(*tls.Conn).ConnectionState().PeerCertificates[0], base.Hostname())
	}
	return f
}
