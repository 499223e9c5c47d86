package events_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/events/natsserver"
)

// exampleBus starts a bus in a temporary folder; connect connects to it as one
// of Usher's users.
func exampleBus() (connect func(user string) *nats.Conn, end func()) {
	dir, err := os.MkdirTemp("", "example")
	check(err)
	keys, err := events.LoadOrMakeKeys(filepath.Join(dir, "keys"))
	check(err)
	config, err := keys.ServerConfig(events.ServerOptions{Listen: "127.0.0.1:-1", StoreDir: filepath.Join(dir, "store"), Name: "example"})
	check(err)
	server, err := natsserver.Start(context.Background(), config, natsserver.Options{Log: slog.Default()})
	check(err)
	connect = func(user string) *nats.Conn {
		creds, err := keys.Credentials(user)
		check(err)
		nc, err := events.Connect(context.Background(), events.ConnectOptions{InProcess: server, Credentials: creds, User: user, Log: slog.Default()})
		check(err)
		return nc
	}
	return connect, func() {
		server.Close()
		check(os.RemoveAll(dir))
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func ExamplePublisher_Publish() {
	connect, end := exampleBus()
	defer end()
	provision, relay := connect(events.UserProvision), connect(events.UserAPIEvents)
	defer provision.Close()
	defer relay.Close()

	ctx := context.Background()
	changes, err := events.Provision(ctx, provision, events.StreamOptions{}, []events.Durable{{Name: "crm-sync", Types: []string{"identity.created"}}})
	fmt.Println(changes, err)

	publisher, err := events.NewPublisher(relay)
	check(err)
	window := []events.Message{
		{ID: "0193600d-7d8b-7000-8000-000000000001", Type: "identity.created", Payload: []byte(`{}`)},
		{ID: "0193600d-7d8b-7000-8000-000000000002", Type: "session.issued", Payload: []byte(`{}`)},
	}
	fmt.Println(publisher.Publish(ctx, window))
	fmt.Println(publisher.Publish(ctx, window)) // a relay that was killed before it noted the first
	// Output:
	// [created stream USHER_EVENTS created durable consumer crm-sync] <nil>
	// [{1 <nil>} {2 <nil>}]
	// [{1 <nil>} {2 <nil>}]
}

func ExampleServe() {
	connect, end := exampleBus()
	defer end()
	worker, api := connect(events.UserSession), connect(events.UserAPIAuth)
	defer worker.Close()
	defer api.Close()

	ctx, stop := context.WithCancel(context.Background())
	ready, served := make(chan struct{}), make(chan error)
	go func() {
		served <- events.Serve(ctx, worker, events.Service{
			Name: "session", Version: "1.0.0", Subject: events.SubjectSessionIssue, Concurrency: 8, Pending: 1000,
			Log: slog.Default(), Ready: func() { close(ready) },
			Handle: func(_ context.Context, r events.Request) ([]byte, error) {
				if string(r.Data) == "again" {
					return nil, &events.Refused{Code: events.CodeGrantUsed, Text: "the grant gave a session already"}
				}
				return []byte("a session"), nil
			},
		})
	}()
	<-ready

	ask := func(data string) {
		answer, err := events.Ask(context.Background(), api, events.SubjectSessionIssue, "request-1", time.Now().Add(time.Second), []byte(data))
		fmt.Printf("%q %v\n", answer, err)
	}
	ask("please")
	ask("again")
	stop()
	fmt.Println(<-served)
	ask("anybody?")
	// Output:
	// "a session" <nil>
	// "" ask usher.svc.v1.session.issue: refused (grant_used): the grant gave a session already
	// <nil>
	// "" ask usher.svc.v1.session.issue: no worker: nats: no responders available for request
}
