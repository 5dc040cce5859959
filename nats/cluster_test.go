package natsgroup

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// startTimeout bounds the start of a server.
const startTimeout = 30 * time.Second

// startServer starts a NATS server with JetStream that has no cluster.
func startServer(t testing.TB) *server.Server {
	t.Helper()
	return startWith(t, serverOptions("alone", t.TempDir()))
}

// serverOptions returns those of a NATS server with JetStream on a port of its own.
func serverOptions(name, store string) *server.Options {
	return &server.Options{
		ServerName: name, Host: "127.0.0.1", Port: server.RANDOM_PORT,
		JetStream: true, StoreDir: store, NoLog: true, NoSigs: true,
	}
}

// startWith starts a NATS server, which ends with the test.
func startWith(t testing.TB, opts *server.Options) *server.Server {
	t.Helper()
	s, err := server.NewServer(opts)
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	require.True(t, s.ReadyForConnections(startTimeout), "the server does not start")
	return s
}

// A cluster is three NATS servers whose routes to one another go through links that
// can be cut.
type cluster struct {
	t       testing.TB
	opts    [3]*server.Options
	servers [3]*server.Server
	links   map[[2]int]*link // from a server to another
}

// startCluster returns a cluster that has a leader.
func startCluster(t testing.TB) *cluster {
	t.Helper()
	cl := &cluster{t: t, links: make(map[[2]int]*link)}
	for i := range cl.servers {
		for j := range cl.servers {
			if i != j {
				cl.links[[2]int{i, j}] = startLink(t)
			}
		}
	}
	for i := range cl.servers {
		opts := serverOptions(fmt.Sprintf("server-%d", i), t.TempDir())
		opts.Cluster = server.ClusterOpts{
			Name: "test", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoAdvertise: true, PoolSize: -1,
			Advertise: "127.0.0.1:1", // what servers tell one another of themselves leads past the links
		}
		for ends, l := range cl.links {
			if ends[0] == i {
				opts.Routes = append(opts.Routes, server.RoutesFromStr("nats://"+l.addr())...)
			}
		}
		cl.opts[i] = opts
		cl.start(i)
	}
	t.Cleanup(func() {
		for i := range cl.servers {
			cl.kill(i)
		}
	})
	cl.waitForLeader()
	return cl
}

// start starts server i, and lets the links to it know where it is.
func (cl *cluster) start(i int) {
	cl.t.Helper()
	s, err := server.NewServer(cl.opts[i].Clone())
	require.NoError(cl.t, err)
	cl.servers[i] = s
	s.Start()
	require.True(cl.t, s.ReadyForConnections(startTimeout), "server %d does not start", i)
	cl.opts[i].Port = s.Addr().(*net.TCPAddr).Port
	for ends, l := range cl.links {
		if ends[1] == i {
			l.lead(s.ClusterAddr().String())
		}
	}
}

// waitForLeader waits until the servers that run have elected a leader.
func (cl *cluster) waitForLeader() {
	cl.t.Helper()
	require.Eventually(cl.t, func() bool {
		leaders := 0
		for _, s := range cl.servers {
			if s != nil && s.JetStreamIsLeader() {
				leaders++
			}
		}
		return leaders == 1
	}, startTimeout, 10*time.Millisecond, "no leader was elected")
}

// kill ends server i at once.
func (cl *cluster) kill(i int) {
	if s := cl.servers[i]; s != nil {
		s.Shutdown()
		s.WaitForShutdown()
		cl.servers[i] = nil
	}
}

// cut cuts server i off from the others, or ends that.
func (cl *cluster) cut(i int, off bool) {
	for ends, l := range cl.links {
		if ends[0] == i || ends[1] == i {
			l.cut(off)
		}
	}
}

// leaderOf returns the index of the server that leads the stream of a group.
func (cl *cluster) leaderOf(js jetstream.JetStream, group string) int {
	cl.t.Helper()
	leader := -1
	require.Eventually(cl.t, func() bool {
		s, err := js.Stream(cl.t.Context(), group)
		if err != nil || s.CachedInfo().Cluster == nil || s.CachedInfo().Cluster.Leader == "" {
			return false
		}
		leader, _ = strconv.Atoi(s.CachedInfo().Cluster.Leader[len("server-"):])
		return true
	}, startTimeout, 10*time.Millisecond, "the stream has no leader")
	return leader
}

// A link passes connections on to an address, until it is cut.
type link struct {
	l net.Listener

	mu    sync.Mutex
	to    string
	off   bool
	conns map[net.Conn]struct{}
}

// startLink starts a link, which ends with the test.
func startLink(t testing.TB) *link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	li := &link{l: l, conns: make(map[net.Conn]struct{})}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { li.pass(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		li.cut(true)
		running.Wait()
	})
	return li
}

// addr returns the address that the link listens on.
func (li *link) addr() string { return li.l.Addr().String() }

// lead makes the link pass connections on to an address from now on.
func (li *link) lead(to string) {
	li.mu.Lock()
	defer li.mu.Unlock()
	li.to = to
}

// pass passes one connection on.
func (li *link) pass(c net.Conn) {
	defer c.Close()
	li.mu.Lock()
	addr := li.to
	li.mu.Unlock()
	to, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer to.Close()
	if !li.add(c, to) {
		return
	}
	defer li.remove(c, to)
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{c, to}, {to, c}} {
		both.Go(func() {
			io.Copy(way[0], way[1])
			way[0].Close()
			way[1].Close()
		})
	}
	both.Wait()
}

// add notes connections that cut ends, unless the link is cut.
func (li *link) add(conns ...net.Conn) bool {
	li.mu.Lock()
	defer li.mu.Unlock()
	if li.off {
		return false
	}
	for _, c := range conns {
		li.conns[c] = struct{}{}
	}
	return true
}

// remove forgets connections.
func (li *link) remove(conns ...net.Conn) {
	li.mu.Lock()
	defer li.mu.Unlock()
	for _, c := range conns {
		delete(li.conns, c)
	}
}

// cut ends all connections and lets none through, or ends that.
func (li *link) cut(off bool) {
	li.mu.Lock()
	defer li.mu.Unlock()
	li.off = off
	if off {
		for c := range li.conns {
			c.Close()
		}
	}
}

// connect returns JetStream on a connection to the first of some servers, or the next
// ones if it is lost, which ends with the test.
func connect(t testing.TB, urls string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(urls, nats.DontRandomize(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.ReconnectJitter(50*time.Millisecond, 50*time.Millisecond), nats.RetryOnFailedConnect(true),
		nats.IgnoreDiscoveredServers(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	return js
}

// openGroup opens a group, which is closed when the test ends.
func openGroup(t testing.TB, js jetstream.JetStream, opts Options) *Group {
	t.Helper()
	if opts.Name == "" {
		opts.Name = "test"
	}
	var g *Group
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		var err error
		g, err = Open(ctx, js, opts)
		require.NoError(c, err)
	}, startTimeout, 50*time.Millisecond)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		g.Close(ctx)
	})
	return g
}

// subjects returns the subjects that the clients of a server subscribe to.
func subjects(s *server.Server) []string {
	conns, err := s.Connz(&server.ConnzOptions{Subscriptions: true})
	if err != nil {
		return nil
	}
	var all []string
	for _, c := range conns.Conns {
		all = append(all, c.Subs...)
	}
	return all
}
