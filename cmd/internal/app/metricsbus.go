package app

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/events"
)

// stream adds how full the stream is, asked for at each scrape.
func (m *metrics) stream(now func(context.Context) (events.StreamState, error)) {
	m.register(&streamCollector{
		now:  now,
		used: prometheus.NewDesc("usher_stream_bytes", "What the stream holds, on one server.", nil, nil),
		most: prometheus.NewDesc("usher_stream_max_bytes", "Where the stream takes no more events (bus.max_bytes); missing without such a limit.", nil, nil),
	})
}

type streamCollector struct {
	now        func(context.Context) (events.StreamState, error)
	used, most *prometheus.Desc
}

func (c *streamCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.used; ch <- c.most }

func (c *streamCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	s, err := c.now(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return // no leader has made it yet
	}
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.used, err)
		return
	}
	ch <- prometheus.MustNewConstMetric(c.used, prometheus.GaugeValue, float64(s.Bytes))
	if s.MaxBytes > 0 {
		ch <- prometheus.MustNewConstMetric(c.most, prometheus.GaugeValue, float64(s.MaxBytes))
	}
}

// busStore adds how full the store of the embedded server is.
func (m *metrics) busStore(of func() (used, most uint64, err error)) {
	m.register(&storeCollector{
		of:   of,
		used: prometheus.NewDesc("usher_bus_store_bytes", "What the streams of the embedded bus have on the disk.", nil, nil),
		most: prometheus.NewDesc("usher_bus_store_max_bytes", "How much they may have.", nil, nil),
	})
}

type storeCollector struct {
	of         func() (used, most uint64, err error)
	used, most *prometheus.Desc
}

func (c *storeCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.used; ch <- c.most }

func (c *storeCollector) Collect(ch chan<- prometheus.Metric) {
	used, most, err := c.of()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.used, err)
		return
	}
	ch <- prometheus.MustNewConstMetric(c.used, prometheus.GaugeValue, float64(used))
	ch <- prometheus.MustNewConstMetric(c.most, prometheus.GaugeValue, float64(most))
}

// busEnds adds when what this process and an external bus know each other by is over.
func (m *metrics) busEnds(conns func() []*nats.Conn, certificate string, credentials func() map[string]string) {
	m.register(&endsCollector{
		conns: conns, certificate: certificate, credentials: credentials, read: map[string]time.Time{},
		certificates: prometheus.NewDesc("usher_bus_certificate_expiry_timestamp_seconds",
			"When a certificate of the bus is over, in seconds since 1970, by whose it is: server (the earliest of the connections, as it was when they were made), ca (who signed that), client (bus.tls.cert).", []string{"certificate"}, nil),
		users: prometheus.NewDesc("usher_bus_credential_expiry_timestamp_seconds",
			"When a credential that this process connects with is over, in seconds since 1970; missing for one that does not end.", []string{"user"}, nil),
	})
}

type endsCollector struct {
	conns               func() []*nats.Conn
	certificate         string                   // a file; empty: none
	credentials         func() map[string]string // files by user
	certificates, users *prometheus.Desc

	mu   sync.Mutex
	read map[string]time.Time // when it is over, by file
}

func (c *endsCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.certificates; ch <- c.users }

func (c *endsCollector) Collect(ch chan<- prometheus.Metric) {
	ends := map[string]time.Time{}
	earliest := func(whose string, at time.Time) {
		if former, known := ends[whose]; !at.IsZero() && (!known || at.Before(former)) {
			ends[whose] = at
		}
	}
	for _, nc := range c.conns() {
		if state, err := nc.TLSConnectionState(); err == nil {
			server, ca := chainEnds(state.VerifiedChains)
			earliest("server", server)
			earliest("ca", ca)
		}
	}
	earliest("client", c.of(c.certificate, certificateEnd))
	for whose, at := range ends {
		ch <- prometheus.MustNewConstMetric(c.certificates, prometheus.GaugeValue, float64(at.Unix()), whose)
	}
	for user, path := range c.credentials() {
		if at := c.of(path, credentialEnd(user)); !at.IsZero() {
			ch <- prometheus.MustNewConstMetric(c.users, prometheus.GaugeValue, float64(at.Unix()), user)
		}
	}
}

// of reads when a file's is over. One that cannot be used is as it was: so the
// connections go on.
func (c *endsCollector) of(path string, read func([]byte) (time.Time, error)) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	text, err := os.ReadFile(path)
	if err == nil {
		var end time.Time
		if end, err = read(text); err == nil {
			c.read[path] = end
		}
	}
	return c.read[path]
}

// credentialEnd is that of a user's .creds file. Another user's cannot be used.
func credentialEnd(user string) func([]byte) (time.Time, error) {
	return func(text []byte) (time.Time, error) {
		whose, end, err := events.CredentialOf(text)
		if err == nil && whose != user {
			err = errors.New("it is that of " + whose)
		}
		return end, err
	}
}

// certificateEnd is that of the first certificate of a PEM file.
func certificateEnd(text []byte) (time.Time, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return time.Time{}, errors.New("no certificate")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}, err
	}
	return leaf.NotAfter, nil
}

// chainEnds gives when a server's certificate is over, with those between it and
// its authority, and when the authority's is: of the chain that is good for longest.
func chainEnds(chains [][]*x509.Certificate) (server, ca time.Time) {
	longest := time.Time{}
	for _, chain := range chains {
		first, root := chain[0].NotAfter, chain[len(chain)-1].NotAfter
		for _, c := range chain[:max(1, len(chain)-1)] {
			first = sooner(first, c.NotAfter)
		}
		if end := sooner(first, root); end.After(longest) {
			longest, server, ca = end, first, root
		}
	}
	return server, ca
}

func sooner(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
