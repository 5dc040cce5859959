// Command proxy stands in front of a WebSocket server and passes connections on
// to it, with limits, logs and metrics.
//
// It ends the protocol on both sides and keeps no message: what arrives of one
// goes out at once, and who reads slowly slows down who sends. Ctrl-C closes
// every connection with 1001.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/fullduplex-go/websocket"
)

func main() {
	set, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "proxy:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, set, slog.New(slog.NewTextHandler(os.Stderr, nil)), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "proxy:", err)
		os.Exit(1)
	}
}

// run listens as set says, prints the addresses to out, and serves until ctx
// ends.
func run(ctx context.Context, set *settings, log *slog.Logger, out io.Writer) error {
	l, err := set.front.open()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Proxy at %s://%s (Ctrl-C stops)\n", set.front.scheme(), l.Addr())
	var metrics net.Listener
	if set.front.metrics != "" {
		if metrics, err = listen(set.front.metrics, "-metrics"); err != nil {
			l.Close()
			return err
		}
		fmt.Fprintf(out, "Metrics at http://%s/metrics\n", metrics.Addr())
	}
	if err := serve(ctx, newProxy(ctx, set, log), l, metrics); err != nil {
		return err
	}
	fmt.Fprintln(out, "Stopped. All connections were closed.")
	return nil
}

// open listens for clients, with TLS if there is a certificate.
func (f *front) open() (net.Listener, error) {
	if f.cert == "" {
		return listen(f.listen, "-listen")
	}
	cert, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, fmt.Errorf("%w\nGive -cert and -key the PEM files of a certificate and its key", err)
	}
	l, err := listen(f.listen, "-listen")
	if err != nil {
		return nil, err
	}
	return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}), nil
}

// scheme returns that of the URLs by which clients connect.
func (f *front) scheme() string {
	if f.cert == "" {
		return "ws"
	}
	return "wss"
}

// listen listens on addr, which is the value of flag.
func listen(addr, flag string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w\nIs another program using this address? Choose one with %s, such as %[2]s localhost:8081", err, flag)
	}
	return l, nil
}

// grace is how long connections have to end when the program stops. It is
// longer than closeTimeout on one side and then on the other.
const grace = 3 * closeTimeout

// serve runs p on l, and its metrics on the listener of that name if it is not
// nil, until ctx ends. Then it closes every connection, on both sides, with
// 1001. It closes the listeners.
func serve(ctx context.Context, p *proxy, l, metrics net.Listener) error {
	srv := newServer(p, p.log)
	failed := make(chan error, 2)
	go func() { failed <- srv.Serve(l) }()
	if metrics != nil {
		side := newServer(p.metrics.handler(), p.log)
		defer side.Close()
		go func() { failed <- side.Serve(metrics) }()
	}
	defer p.transport.CloseIdleConnections()
	select {
	case err := <-failed:
		srv.Close()
		return err
	case <-ctx.Done():
	}
	soon, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := srv.Shutdown(soon)
	return errors.Join(err, p.conns.Shutdown(soon, websocket.CloseGoingAway, goingAway))
}

// goingAway is the reason with which connections end when the program stops.
const goingAway = "the proxy is going away"

// newServer returns a server for h that logs to log.
func newServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}
