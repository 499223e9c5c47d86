// Package nats starts a real nats-server with each NATS configuration that
// deploy/ makes or holds, since one that parses may still not start.
package nats

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Start starts a server with a configuration on free ports, and checks that it is
// what a bus has to be: durable, encrypted, with accounts. The caller shuts it down.
func Start(path string) (*server.Server, error) {
	o, err := server.ProcessConfigFile(path)
	if err != nil {
		return nil, err
	}
	if err := fit(o); err != nil {
		return nil, err
	}
	o.Host, o.Port = "127.0.0.1", server.RANDOM_PORT
	o.Cluster.Host, o.Cluster.Port = "127.0.0.1", server.RANDOM_PORT
	o.HTTPPort = -1
	o.NoLog, o.NoSigs = true, true
	s, err := server.NewServer(o)
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(20*time.Second) || !s.JetStreamEnabled() {
		s.Shutdown()
		return nil, errors.New("the server does not get ready, or has no JetStream")
	}
	return s, nil
}

// fit says what a configuration lacks.
func fit(o *server.Options) error {
	var problems []error
	for _, want := range []struct {
		has  bool
		what string
	}{
		{o.JetStream && o.StoreDir != "", "jetstream with a store_dir"},
		{o.SyncAlways, "sync_interval: always: a power cut would lose acknowledged events"},
		{o.TLSConfig != nil, "tls for clients"},
		{o.Cluster.Name != "" && len(o.Routes) >= 3, "a cluster of three"},
		{o.Cluster.TLSConfig != nil, "tls between the servers"},
		{len(o.TrustedOperators) == 1 && o.SystemAccount != "", "an operator, so that nobody is let in without a credential"},
		{o.HTTPPort == 0 || o.HTTPHost == "127.0.0.1", "http on loopback: it asks nobody who they are"},
		{len(o.Tags) > 0 && o.JetStreamUniqueTag != "", "tags, so that the copies of an event are apart"},
	} {
		if !want.has {
			problems = append(problems, fmt.Errorf("it lacks %s", want.what))
		}
	}
	return errors.Join(problems...)
}
