package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"

	"github.com/fullduplex-go/websocket"
)

// A state is that of a node's process.
type state string

// The states of a node.
const (
	starting state = "starting" // its process runs, and waits for most servers of NATS
	running  state = "running"  // it serves
	stopping state = "stopping" // it closes its connections
	stopped  state = "stopped"  // it has ended as it was told to
	killed   state = "killed"   // its process was killed
	failed   state = "failed"   // it has ended by itself
)

// A node is a process that serves the chat. Its fields but for cfg are under the mu
// of the cluster.
type node struct {
	cfg     nodeConfig
	state   state
	addr    string   // while it is running: where it serves
	conns   int      // that the front passes on to it
	process *process // nil if it has ended
	asked   state    // what it is to be when it has ended
}

// A cluster is the nodes and what is before them: the front, which passes each
// connection on to the node that has the fewest, and the control, by which pages
// see the nodes and kill them.
type cluster struct {
	nodes   []*node
	kills   bool               // pages may kill, stop and start nodes
	pages   websocket.Registry // of the control
	running sync.WaitGroup     // of who follows a process

	mu       sync.Mutex
	watching websocket.Group // the pages, which are told what changes
	changed  chan struct{}   // closed when something changes
	ending   bool            // no process is started any more
}

// newCluster returns a cluster whose nodes are to be started.
func newCluster(configs []nodeConfig, kills bool) *cluster {
	c := &cluster{kills: kills, changed: make(chan struct{})}
	for _, cfg := range configs {
		c.nodes = append(c.nodes, &node{cfg: cfg, state: stopped})
	}
	return c
}

// A process is this program as a node. It stops when stdin is closed.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout io.ReadCloser
}

// startProcess starts a node.
func startProcess(cfg *nodeConfig) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "node")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if err := json.NewEncoder(stdin).Encode(cfg); err != nil {
		return nil, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	return &process{cmd, stdin, stdout}, nil
}

// launch starts a node, unless it runs or the cluster stops.
func (c *cluster) launch(n *node) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.process != nil || c.ending {
		return nil
	}
	p, err := startProcess(&n.cfg)
	if err != nil {
		return err
	}
	n.process, n.state, n.asked = p, starting, failed
	c.running.Go(func() { c.follow(n, p) })
	c.tellLocked()
	return nil
}

// follow notes when a process serves, and when it has ended.
func (c *cluster) follow(n *node, p *process) {
	var r report
	if json.NewDecoder(p.stdout).Decode(&r) == nil {
		c.note(func() {
			n.addr = r.Addr
			if n.state == starting {
				n.state = running
			}
		})
	}
	p.cmd.Wait() // what it is to be says more than its error
	c.note(func() {
		p.stdin.Close()
		n.process, n.state = nil, n.asked
	})
}

// restart launches a node as a page asks for it.
func (c *cluster) restart(n *node) {
	if err := c.launch(n); err != nil {
		slog.Error("a node was not started", "node", n.cfg.Name, "error", err)
	}
}

// stop lets a node close its connections and end.
func (c *cluster) stop(n *node) {
	c.note(func() {
		if n.process != nil && n.asked == failed {
			n.state, n.asked = stopping, stopped
			n.process.stdin.Close()
		}
	})
}

// kill ends a node's process at once.
func (c *cluster) kill(n *node) {
	c.note(func() {
		if n.process != nil {
			n.asked = killed
			n.process.cmd.Process.Kill()
		}
	})
}

// note makes a change and tells the pages.
func (c *cluster) note(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	c.tellLocked()
}

// tellLocked tells all who wait, and the pages, what the nodes are. The caller
// holds c.mu.
func (c *cluster) tellLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
	c.watching.Send(websocket.Prepare(websocket.Text, c.statusLocked()))
}

// await waits until met is true of all nodes, or an error.
func (c *cluster) await(ctx context.Context, met func(n *node) (bool, error)) error {
	for {
		c.mu.Lock()
		changed, all := c.changed, true
		var errs []error
		for _, n := range c.nodes {
			ok, err := met(n)
			all = all && ok
			errs = append(errs, err)
		}
		c.mu.Unlock()
		if err := errors.Join(errs...); err != nil || all {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// startAll starts the nodes and waits until all of them serve.
func (c *cluster) startAll(ctx context.Context) error {
	for _, n := range c.nodes {
		if err := c.launch(n); err != nil {
			return err
		}
	}
	return c.await(ctx, func(n *node) (bool, error) {
		if n.state == failed {
			return false, fmt.Errorf("%s has ended: see above why", n.cfg.Name)
		}
		return n.state == running, nil
	})
}

// stopAll stops the nodes, and kills those that have not stopped before ctx ends.
func (c *cluster) stopAll(ctx context.Context) {
	c.note(func() { c.ending = true })
	for _, n := range c.nodes {
		c.stop(n)
	}
	over := func(n *node) (bool, error) { return n.process == nil, nil }
	if err := c.await(ctx, over); err != nil {
		slog.Warn("nodes are killed that do not stop")
		for _, n := range c.nodes {
			c.kill(n)
		}
	}
	c.running.Wait()
}
