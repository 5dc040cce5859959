package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/autobahn/internal/testee"
)

// The names of the library's testees in reports.
const (
	serverAgent = "fullduplex-go-server"
	clientAgent = "fullduplex-go-client"
)

// The address where the suite's configuration files expect the server, and the
// URL where they make the suite itself wait for clients.
const (
	serverAddress = "127.0.0.1:9001"
	suiteURL      = "ws://127.0.0.1:9002"
)

// serve is the command server.
func serve(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	addr := flags.String("addr", serverAddress, "`address` to listen on")
	plain := flags.Bool("plain", false, "without permessage-deflate")
	streams := flags.Bool("stream", false, "echo messages while they come in")
	receiver := flags.Bool("receiver", false, "echo from a Receiver")
	if err := parse(flags, args, false); err != nil {
		return err
	}
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "echo server at ws://%s/\n", l.Addr())
	return serveUntil(ctx, l, testeeServer(testeeConfig(*plain), *streams, *receiver))
}

// serveUntil serves HTTP until ctx ends.
func serveUntil(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// runClient is the command client. It waits until the judge listens.
func runClient(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("client", flag.ContinueOnError)
	address := flags.String("url", suiteURL, "`URL` of the judge or of the suite's fuzzingserver")
	agent := flags.String("agent", clientAgent, "`name` in the reports")
	plain := flags.Bool("plain", false, "without permessage-deflate")
	streams := flags.Bool("stream", false, "echo messages while they come in")
	receiver := flags.Bool("receiver", false, "echo from a Receiver")
	if err := parse(flags, args, false); err != nil {
		return err
	}
	host, err := hostOf(*address)
	if err != nil {
		return err
	}
	if err := await(ctx, host, out); err != nil {
		return err
	}
	client := &testee.Client{
		URL: *address, Agent: *agent, Echo: testeeEcho(*streams, *receiver),
		Dial: websocket.DialOptions{Config: testeeConfig(*plain)},
	}
	return client.Run(ctx, func(number, count int) { fmt.Fprintf(out, "case %d of %d\n", number, count) })
}

// hostOf returns the host and port of a URL of ws or wss.
func hostOf(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"ws": "80", "wss": "443"}[u.Scheme]
	}
	if port == "" || u.Hostname() == "" {
		return "", usageError("autobahn: " + address + " is not a ws or wss URL")
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}

// testeeConfig returns the settings of a testee.
func testeeConfig(plain bool) websocket.Config {
	config := testee.Config()
	if plain {
		config.Compression = nil
	}
	return config
}

// testeeServer returns the echo server.
func testeeServer(config websocket.Config, streams, receiver bool) http.Handler {
	if receiver {
		return testee.ReceiverHandler(config)
	}
	return testee.Handler(config, testeeEcho(streams, false))
}

// testeeEcho returns how a testee echoes.
func testeeEcho(streams, receiver bool) testee.Echo {
	switch {
	case streams:
		return testee.Streams
	case receiver:
		return testee.Receives
	default:
		return testee.Messages
	}
}
