package workers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Runner is a [Worker] or an [Answering] worker.
type Runner interface {
	// Run works until ctx ends and gives nil then.
	Run(ctx context.Context) error
}

// Main is all that a program needs that is one worker: it runs until SIGTERM or
// an interrupt, lets handlers finish, and exits with 0. If waiting does not
// help, it says why in one line and exits with 1. A second signal ends it at once.
//
// The environment configures it: NATS_URL is the bus, NATS_CREDS the file with
// the worker's credential, and USHER_WORKER_LISTEN, if it is set, the address
// where [Worker.Handler] is served. A bus with TLS: NATS_CA is the file with who
// signs its certificates, NATS_CERT and NATS_KEY are for one that asks for one.
func Main(r Runner) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(exitCode(ctx, r, os.Stderr))
}

// exitCode is Main without a process of its own.
func exitCode(ctx context.Context, r Runner, complaints io.Writer) (code int) {
	err := serve(ctx, r, os.Getenv("USHER_WORKER_LISTEN"))
	if err != nil {
		_, _ = fmt.Fprintln(complaints, err)
		return 1
	}
	return 0
}

// serve runs r, and its handler at an address unless that is empty.
func serve(ctx context.Context, r Runner, listen string) error {
	h, ok := r.(interface{ Handler() http.Handler })
	if !ok || listen == "" {
		return r.Run(ctx)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("USHER_WORKER_LISTEN: %w", err)
	}
	server := &http.Server{Handler: h.Handler(), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	err = r.Run(ctx)
	_ = server.Close()
	if lost := <-served; !errors.Is(lost, http.ErrServerClosed) {
		err = errors.Join(err, lost)
	}
	return err
}
