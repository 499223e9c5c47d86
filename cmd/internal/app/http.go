package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// DrainTime is how long requests that run at the end may take.
	DrainTime = 20 * time.Second
	// farewellTime is how long clients that are connected are told to go, before
	// idle connections are closed: one that sends just then is reset.
	farewellTime = 300 * time.Millisecond
)

// listen opens a listener; its error says what to do.
func listen(ctx context.Context, what, host string, port int) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, fmt.Sprint(port)))
	if err != nil {
		return nil, fmt.Errorf("%s listener (serve.%s.host, serve.%s.port): %w", what, what, what, err)
	}
	return l, nil
}

// serveHTTP serves a listener until ctx ends and its requests are answered (S64), with
// TLS unless that is nil. While this process is leaving, connections end with the next
// answer.
func serveHTTP(l net.Listener, h http.Handler, secure *tls.Config, leaving *atomic.Bool, log *slog.Logger) func(context.Context) error {
	server := &http.Server{
		TLSConfig: secure,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if leaving.Load() {
				w.Header().Set("Connection", "close")
			}
			h.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      60 * time.Second, // a registration may wait for the hash queue and for hooks
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // clients that misbehave
	}
	return func(ctx context.Context) error {
		served := make(chan error, 1)
		go func() {
			if secure != nil {
				served <- server.ServeTLS(l, "", "")
				return
			}
			served <- server.Serve(l)
		}()
		select {
		case err := <-served:
			return err
		case <-ctx.Done():
		}
		leaving.Store(true)
		err := l.Close()
		if ended := <-served; !errors.Is(ended, net.ErrClosed) {
			err = errors.Join(err, ended)
		}
		time.Sleep(farewellTime)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), DrainTime)
		defer cancel()
		return errors.Join(err, server.Shutdown(ctx))
	}
}
