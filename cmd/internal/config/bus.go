package config

import (
	"net"
	"net/url"
	"os"
	"strings"
)

// Bus is where the bus is: in this process, or an external server, or several.
type Bus struct {
	// Listen is the address of the embedded server.
	Listen string `yaml:"listen"`
	// URL of an external server; the embedded one is not started then.
	URL string `yaml:"url"`
	// Credentials is a folder with a file <user>.creds for each part.
	Credentials string `yaml:"credentials"`
	// TLS are files that are read again whenever a connection is made.
	TLS struct {
		// CA signs the servers' certificates; empty for what the system trusts.
		CA string `yaml:"ca"`
		// Cert and Key are for servers that ask their clients for a certificate.
		Cert string `yaml:"cert"`
		Key  string `yaml:"key"`
	} `yaml:"tls"`
	// Replicas is on how many servers of a cluster each event is kept, an odd
	// number; 0 leaves the stream as it is.
	Replicas int `yaml:"replicas"`
	// Placement is which servers; what is empty is left as it is.
	Placement struct {
		Cluster string   `yaml:"cluster"`
		Tags    []string `yaml:"tags"`
	} `yaml:"placement"`
	// MaxBytes is where the stream takes no more events, which then wait in the
	// database. 0 is no limit but those of the servers' stores where it is written, see
	// [Config.Written], and else leaves the stream as it is.
	MaxBytes Size `yaml:"max_bytes"`
}

// BusMaxBytes is the name of the key of [Bus.MaxBytes].
const BusMaxBytes = "bus.max_bytes"

// leastMaxBytes holds some of the largest events: less would be a mistake.
const leastMaxBytes = MB

func (l *loader) checkBus(b *Bus) {
	if _, _, err := net.SplitHostPort(b.Listen); err != nil {
		l.refuseKey("bus.listen", "want host:port, not %q", b.Listen)
	}
	if n := b.Replicas; n < 0 || n > 5 || n != 0 && n%2 == 0 {
		l.refuseKey("bus.replicas", "want 1, 3 or 5, or 0 to leave the stream as it is, not %d", n)
	}
	if n := b.MaxBytes; n != 0 && n < leastMaxBytes {
		l.refuseKey(BusMaxBytes, "want %s or more, or 0B for no limit, not %s", leastMaxBytes, n)
	}
	for _, tag := range b.Placement.Tags {
		if tag == "" || strings.ContainsAny(tag, " \t") {
			l.refuseKey("bus.placement.tags", "want tags of servers, such as region:eu, not %q", tag)
		}
	}
	if b.URL == "" {
		l.checkEmbeddedBus(b)
		return
	}
	for server := range strings.SplitSeq(b.URL, ",") {
		u, err := url.Parse(server)
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != "nats" && u.Scheme != "tls" {
			l.refuseKey("bus.url", "want nats://host:port or tls://host:port, several with commas between; what the parts are known by stands in bus.credentials")
		}
	}
	if b.Credentials == "" {
		l.refuseKey("bus.credentials", "want the folder that 'usher bus config' wrote, since bus.url is set")
	}
	if (b.TLS.Cert == "") != (b.TLS.Key == "") {
		l.refuseKey("bus.tls", "cert and key go together")
	}
	for key, path := range map[string]string{"ca": b.TLS.CA, "cert": b.TLS.Cert, "key": b.TLS.Key} {
		if path == "" {
			continue
		}
		if _, err := os.Stat(path); err != nil {
			l.refuseKey("bus.tls."+key, "%v; it is a file of this machine", err)
		}
	}
}

// checkEmbeddedBus refuses what only an external bus can be told.
func (l *loader) checkEmbeddedBus(b *Bus) {
	const alone = "want none, or bus.url with the servers of a cluster: the embedded server is alone"
	if b.Replicas > 1 {
		l.refuseKey("bus.replicas", alone)
	}
	if b.Placement.Cluster != "" || len(b.Placement.Tags) > 0 {
		l.refuseKey("bus.placement", alone)
	}
	if b.TLS.CA != "" || b.TLS.Cert != "" || b.TLS.Key != "" {
		l.refuseKey("bus.tls", "want none, or bus.url: the embedded server listens on %s without TLS", b.Listen)
	}
}
