package events

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Cluster is how several servers that share one set of keys become one bus.
type Cluster struct {
	// Listen is host:port for the other servers. Only they can use it: they show a
	// password that is made from the keys, in clear text. Keep it in a network of
	// their own, or add TLS.
	Listen string
	// Routes are host:port of all servers, this one among them.
	Routes []string
}

// File is the name of a server's configuration: nats-server.conf, or that of the
// server in a cluster, whose configurations differ.
func (o ServerOptions) File() string {
	if o.Cluster.Listen == "" {
		return "nats-server.conf"
	}
	return o.Name + ".conf"
}

const clusterConfig = `
cluster {
  name: usher
  listen: %s
  authorization { user: usher, password: %s }
  routes: [
    %s
  ]
}
`

func (k *Keys) clusterConfig(c Cluster) (string, error) {
	if c.Listen == "" {
		return "", nil
	}
	password, err := k.clusterPassword()
	if err != nil {
		return "", fmt.Errorf("cluster: %w", err)
	}
	var routes []string
	for _, r := range c.Routes {
		u := url.URL{Scheme: "nats", User: url.UserPassword("usher", password), Host: r}
		routes = append(routes, strconv.Quote(u.String()))
	}
	return fmt.Sprintf(clusterConfig, strconv.Quote(c.Listen), strconv.Quote(password), strings.Join(routes, "\n    ")), nil
}

// clusterPassword is the same for all who have the keys. It tells nothing of them.
func (k *Keys) clusterPassword() (string, error) {
	seed, err := k.system.Seed()
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, seed)
	mac.Write([]byte("routes of the cluster"))
	return hex.EncodeToString(mac.Sum(nil)), nil
}
