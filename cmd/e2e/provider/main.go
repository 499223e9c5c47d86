// Command provider is an OpenID provider that nobody here wrote: the example of
// github.com/zitadel/oidc, with a client for each way to get claims and any
// number of users. The tests of cmd/e2e build and run it; it is a module of its
// own so that the product does not depend on that library.
//
//	provider -listen 127.0.0.1:9998 -redirect 'http://127.0.0.1:*/self-service/methods/oidc/callback/*'
//
// Its first line says the issuer. It keeps everything in memory, its signing key
// too: one that was started again knows no code, and has another key.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// The clients: the one finds address and name at userinfo, as the standard has
// it, the other in its id_token already.
const (
	userinfoClient = "usher"
	idTokenClient  = "usher-id-token"
	secret         = "secret-of-the-client"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on; only loopback")
	redirect := flag.String("redirect", "", "pattern of the clients' redirect URIs")
	flag.Parse()
	// The example logs each request, which nobody reads and which is not what is measured.
	log.SetOutput(io.Discard)
	slog.SetDefault(slog.New(slog.DiscardHandler))
	if err := serve(*listen, *redirect); err != nil {
		fmt.Fprintln(os.Stderr, "provider:", err)
		os.Exit(1)
	}
}

func serve(address, redirect string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	if !l.Addr().(*net.TCPAddr).IP.IsLoopback() {
		return fmt.Errorf("%s is not loopback: passwords are in the source", l.Addr())
	}
	issuer := "http://" + l.Addr().String()
	storage.RegisterClients( // before the server: the map has no lock
		storage.WebClient(userinfoClient, secret),
		storage.WebClient(idTokenClient, secret),
	)
	server := &http.Server{
		Handler:           exampleop.SetupServer(issuer, store{storage.NewStorage(users{}), redirect}, nil, false),
		ReadHeaderTimeout: 10 * time.Second,
	}
	fmt.Println(issuer)
	return server.Serve(l)
}

// store is the example's, but for what a client of it cannot be told: where it
// is, as ports come and go, and which one gets all claims in the id_token.
type store struct {
	*storage.Storage
	redirect string
}

func (s store) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := s.Storage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	return client{c, s.redirect, id == idTokenClient}, nil
}

type client struct {
	op.Client
	redirect string
	claims   bool
}

func (c client) RedirectURIGlobs() []string { return []string{c.redirect} }

func (client) PostLogoutRedirectURIGlobs() []string { return nil }

func (c client) IDTokenUserinfoClaimsAssertion() bool { return c.claims }
