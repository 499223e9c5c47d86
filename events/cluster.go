package events

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
)

// Cluster is how several servers that share one set of keys become one bus.
type Cluster struct {
	// Listen is host:port for the other servers. Only they can use it: they show a
	// password that is made from the keys, and their certificates if they have TLS.
	// Without TLS the password is in clear text: keep it in a network of their own.
	Listen string
	// Advertise is host:port under which the others find this one, where Listen does
	// not say it.
	Advertise string
	// Routes are host:port of all servers, this one among them.
	Routes []string
}

// clusterName is the cluster's; placement may name it.
const clusterName = "usher"

// routeURLs are the routes as a server knows them.
func (c Cluster) routeURLs(password string) (all []string) {
	for _, r := range c.Routes {
		u := url.URL{Scheme: "nats", User: url.UserPassword("usher", password), Host: r}
		all = append(all, u.String())
	}
	return all
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
