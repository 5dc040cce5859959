package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/fullduplex-go/websocket"
	natsgroup "github.com/fullduplex-go/websocket/nats"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Times of a node's life.
const (
	startTimeout  = 30 * time.Second // until an embedded server takes connections
	leaveTimeout  = time.Second      // until the presence is taken back
	grace         = 12 * time.Second // until the last connection is closed
	presenceTTL   = 10 * time.Second // until those on a node that was killed are gone; longer than NATS takes to elect a leader
	reconnectWait = 250 * time.Millisecond
)

// A nodeConfig is what a node is told when it starts.
type nodeConfig struct {
	Name     string
	Addr     string // host:port to listen on
	NATS     string // URL of the NATS it uses; empty: it runs Server
	Replicas int
	Control  bool // a front that has /control may be before it
	Server   serverConfig
}

// A serverConfig is what an embedded NATS server is told.
type serverConfig struct {
	Dir    string   // where it keeps its part of the stream
	Secret string   // which the servers of the cluster show to each other, and their nodes to them
	Port   int      // for the other servers, on 127.0.0.1
	Routes []string // the addresses of all servers of the cluster
}

// A report is what a node tells its parent once it serves.
type report struct{ Addr string }

// playNode is main of a node: its configuration comes on stdin, and it stops when
// that ends, which also happens if its parent is killed.
func playNode(stdin io.Reader, stdout io.Writer) error {
	signal.Ignore(os.Interrupt) // Ctrl-C is for the parent, which stops its nodes
	var cfg nodeConfig
	if err := json.NewDecoder(stdin).Decode(&cfg); err != nil {
		return fmt.Errorf("a node is started by its parent: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	go func() {
		io.Copy(io.Discard, stdin)
		stop()
		time.AfterFunc(2*grace, func() { os.Exit(1) }) // whatever it waits for
	}()
	return serveNode(ctx, &cfg, func(addr net.Addr) {
		json.NewEncoder(stdout).Encode(report{addr.String()})
	})
}

// serveNode serves the chat until ctx ends, and calls ready when it does. Then it
// closes all connections with 1012, one after another: the pages go to other nodes.
func serveNode(ctx context.Context, cfg *nodeConfig, ready func(net.Addr)) error {
	l, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return fmt.Errorf("%w\nIs another program using this address? Choose one with -addr, such as -addr localhost:8180", err)
	}
	defer l.Close()
	nc, disconnect, err := connect(cfg)
	if err != nil {
		return err
	}
	defer disconnect()
	group, err := openGroup(ctx, nc, cfg)
	if err != nil {
		return err
	}
	var conns websocket.Registry // http.Server.Shutdown does not know of WebSockets
	ch := &chat{node: cfg.Name, control: cfg.Control, group: group, rooms: make(map[string]*room)}
	srv := &http.Server{Handler: routes(ch, &conns), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	ready(l.Addr())
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err = srv.Shutdown(ctx)
	leave(ctx, group)
	return errors.Join(err, conns.Shutdown(ctx, websocket.CloseServiceRestart, cfg.Name+" restarts"))
}

// leave ends the memberships: what is published from now on, the pages get from
// other nodes. Without NATS the presence ends a little later, by itself.
func leave(ctx context.Context, group *natsgroup.Group) {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	group.Close(ctx)
}

// connect connects to NATS, or to a server of its own, and returns how to end that.
func connect(cfg *nodeConfig) (nc *nats.Conn, disconnect func(), err error) {
	opts := []nats.Option{
		nats.Name("cluster " + cfg.Name), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(reconnectWait), nats.ReconnectJitter(reconnectWait, reconnectWait),
	}
	if cfg.NATS != "" {
		nc, err = nats.Connect(cfg.NATS, opts...)
		if err != nil {
			return nil, nil, fmt.Errorf("%w\nIs -nats the URL of a NATS server, such as nats://localhost:4222?", err)
		}
		return nc, nc.Close, nil
	}
	s, err := startServer(cfg)
	if err != nil {
		return nil, nil, err
	}
	stop := func() {
		s.Shutdown() // another server leads what this one has led
		s.WaitForShutdown()
	}
	nc, err = nats.Connect("", append(opts, nats.InProcessServer(s), nats.UserInfo(user, cfg.Server.Secret))...)
	if err != nil {
		stop()
		return nil, nil, err
	}
	return nc, func() { nc.Close(); stop() }, nil
}

// user is who the nodes are to the servers of NATS.
const user = "node"

// startServer starts the NATS server of this node, which is one of the cluster.
func startServer(cfg *nodeConfig) (*server.Server, error) {
	opts := &server.Options{
		ServerName: cfg.Name, Host: "127.0.0.1", Port: server.RANDOM_PORT, // without a port it has no routes either
		Username: user, Password: cfg.Server.Secret,
		JetStream: true, StoreDir: cfg.Server.Dir, NoLog: true, NoSigs: true,
		Cluster: server.ClusterOpts{
			Name: "cluster", Host: "127.0.0.1", Port: cfg.Server.Port, NoAdvertise: true,
			Username: user, Password: cfg.Server.Secret,
		},
	}
	for _, addr := range cfg.Server.Routes {
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats", Host: addr, User: url.UserPassword(user, cfg.Server.Secret)})
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(startTimeout) {
		s.Shutdown()
		return nil, errors.New("the NATS server of this node does not start")
	}
	return s, nil
}

// openGroup opens the group of all nodes, as soon as enough servers of NATS are there.
func openGroup(ctx context.Context, nc *nats.Conn, cfg *nodeConfig) (*natsgroup.Group, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	return natsgroup.Open(ctx, js, natsgroup.Options{
		Name: "chat", Node: cfg.Name, Replicas: cfg.Replicas, MaxBytes: 256 << 20, PerTopic: 100_000,
		PresenceTTL: presenceTTL, Encode: encodeMessage, Logger: slog.Default().With("node", cfg.Name),
	})
}

//go:embed page
var files embed.FS

// routes returns the page at / and the chat at /ws, whose connections are in conns.
func routes(ch *chat, conns *websocket.Registry) http.Handler {
	page, err := fs.Sub(files, "page")
	if err != nil {
		panic(err) // page is embedded above
	}
	static := http.FileServerFS(page)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		static.ServeHTTP(w, r)
	})
	mux.Handle("/ws", websocket.Handler(&websocket.AcceptOptions{
		Registry: conns,
		Config: websocket.Config{
			MaxMessageSize: maxMessage,
			SlowConsumer:   websocket.CloseSlow, // a page that does not read is closed, and resumes
			PingInterval:   15 * time.Second,
			PongTimeout:    10 * time.Second,
		},
	}, ch.enter))
	return mux
}
