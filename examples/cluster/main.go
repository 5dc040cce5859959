// Command cluster is a chat whose servers are processes of their own, of which any
// one may be killed: nothing is lost, and the pages go on with another.
//
// It starts three nodes, each with a NATS server in it, and a front that passes
// connections on to those that are alive. Open the address it prints in two tabs
// and kill a node. Ctrl-C stops all of it.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/fullduplex-go/websocket"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "node" {
		end(playNode(os.Stdin, os.Stdout))
		return
	}
	var s settings
	flag.StringVar(&s.addr, "addr", "localhost:8080", "`host:port` to listen on; the nodes behind it take the ports that follow, or any if it is 0")
	flag.IntVar(&s.nodes, "nodes", 3, "`number` of nodes; with -nats, 1 is a node in this process, without a front")
	flag.StringVar(&s.nats, "nats", "", "`URL` of the NATS to use, with JetStream; by default each node has a server of its own")
	flag.IntVar(&s.replicas, "replicas", 3, "`number` of NATS servers that keep each message")
	flag.StringVar(&s.name, "name", hostname(), "`name` of the only node")
	flag.BoolVar(&s.kill, "kill", false, "let pages kill, stop and start nodes also with -nats")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	end(run(ctx, s, os.Stdout))
}

// end ends the program with an error, if there is one.
func end(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// hostname returns the name of this machine, or "node".
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "node"
	}
	return name
}

// settings are what the flags say.
type settings struct {
	addr     string
	nodes    int
	nats     string
	replicas int
	name     string
	kill     bool
}

// check returns an error if the flags do not fit together.
func (s *settings) check() error {
	switch {
	case s.nodes < 1 || s.nodes > 9:
		return errors.New("-nodes is 1 to 9")
	case s.nats == "" && s.nodes == 1:
		return errors.New("a cluster of NATS has at least 2 nodes: choose more with -nodes, or a NATS that is there with -nats")
	case s.replicas < 1 || s.replicas > 5:
		return errors.New("-replicas is 1 to 5")
	case s.nats == "" && s.replicas > s.nodes:
		return fmt.Errorf("%d replicas need as many nodes: choose fewer with -replicas", s.replicas)
	}
	return nil
}

// run runs what s says until ctx ends, and prints to out where it is.
func run(ctx context.Context, s settings, out io.Writer) error {
	if err := s.check(); err != nil {
		return err
	}
	if s.nats != "" && s.nodes == 1 {
		return runAlone(ctx, s, out)
	}
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		return fmt.Errorf("%w\nIs another program using this address? Choose one with -addr, such as -addr localhost:8180", err)
	}
	dir, err := os.MkdirTemp("", "cluster-")
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer os.RemoveAll(dir)
	configs, err := nodeConfigs(s, dir, l.Addr().(*net.TCPAddr).Port)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	c := newCluster(configs, s.nats == "" || s.kill)
	err = c.serve(ctx, l, func() {
		fmt.Fprintf(out, "Chat at %s (open it in two tabs; Ctrl-C stops)\n", pageURL(l.Addr()))
		for _, n := range c.list() {
			fmt.Fprintf(out, "  %s at %s\n", n.Name, n.URL)
		}
	})
	if err == nil {
		fmt.Fprintln(out, "Stopped. All connections were closed.")
	}
	return err
}

// runAlone is run for one node that is this process, as on a machine of its own.
func runAlone(ctx context.Context, s settings, out io.Writer) error {
	cfg := &nodeConfig{Name: s.name, Addr: s.addr, NATS: s.nats, Replicas: s.replicas}
	err := serveNode(ctx, cfg, func(addr net.Addr) {
		fmt.Fprintf(out, "Chat at %s, node %s (Ctrl-C stops)\n", pageURL(addr), s.name)
	})
	if err == nil {
		fmt.Fprintln(out, "Stopped. All connections were closed.")
	}
	return err
}

// nodeConfigs returns what the nodes are told. Their servers keep what they have to
// keep in dir, and port is that of the front; the nodes take those that follow if
// it was chosen.
func nodeConfigs(s settings, dir string, port int) ([]nodeConfig, error) {
	host, chosen, err := net.SplitHostPort(s.addr)
	if err != nil {
		return nil, err
	}
	configs := make([]nodeConfig, s.nodes)
	routes, secret := make([]string, s.nodes), rand.Text()
	for i := range configs {
		cfg := &configs[i]
		*cfg = nodeConfig{Name: fmt.Sprintf("node-%d", i+1), NATS: s.nats, Replicas: s.replicas, Control: true}
		cfg.Addr = net.JoinHostPort(host, strconv.Itoa(port+1+i))
		if chosen == "0" {
			cfg.Addr = net.JoinHostPort(host, "0")
		}
		cfg.Server = serverConfig{Dir: filepath.Join(dir, cfg.Name), Secret: secret, Routes: routes}
		if cfg.Server.Port, err = freePort(routes); err != nil {
			return nil, err
		}
		routes[i] = fmt.Sprintf("127.0.0.1:%d", cfg.Server.Port)
	}
	return configs, nil
}

// freePort returns a port on which a server may listen, also after it was killed: one
// below those that systems give to connections, and of none of the addresses taken.
func freePort(taken []string) (port int, err error) {
	for range 100 {
		port = 20000 + mathrand.IntN(10000)
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		l.Close()
		if !slices.Contains(taken, addr) {
			return port, nil
		}
	}
	return 0, errors.New("there is no free port from 20000 to 29999 on 127.0.0.1")
}

// pageURL returns the URL of the page: on localhost if a is a local address.
func pageURL(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if ok && (tcp.IP.IsLoopback() || tcp.IP.IsUnspecified()) {
		return fmt.Sprintf("http://localhost:%d", tcp.Port)
	}
	return "http://" + a.String()
}

// serve starts the nodes, calls ready when all of them serve, and is their front
// on l until ctx ends. Then it stops them. It closes l.
func (c *cluster) serve(ctx context.Context, l net.Listener, ready func()) error {
	srv := &http.Server{Handler: c.routes(), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	err := c.startAll(ctx)
	if err == nil {
		ready()
		select {
		case err = <-failed:
		case <-ctx.Done():
		}
	} else if ctx.Err() != nil {
		err = nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*grace)
	defer cancel()
	c.stopAll(ctx) // first: they close the connections that the front passes on
	return errors.Join(err, srv.Shutdown(ctx), c.pages.Shutdown(ctx, websocket.CloseGoingAway, "the cluster stops"))
}
