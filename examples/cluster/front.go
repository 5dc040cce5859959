package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"

	"github.com/fullduplex-go/websocket"
)

// routes returns the control at /control. All else is passed on to a node.
func (c *cluster) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/control", websocket.Handler(&websocket.AcceptOptions{
		Registry: &c.pages,
		Config:   websocket.Config{MaxMessageSize: 256, SlowConsumer: websocket.CloseSlow},
	}, func(*http.Request) (func(*websocket.Conn) error, error) { return c.control, nil }))
	mux.Handle("/", &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetXForwarded()
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "node" // dial chooses which; Host stays: pages are of its origin
		},
		Transport: &http.Transport{DialContext: c.dial, DisableKeepAlives: true},
		ErrorLog:  log.New(io.Discard, "", 0), // connections of nodes that are killed
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			http.Error(w, "no node is running", http.StatusServiceUnavailable)
		},
	})
	return mux
}

// dial connects to the running node that has the fewest connections. A node that
// does not answer has just been killed, and the next is tried.
func (c *cluster) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	tried := make(map[*node]bool)
	var dialer net.Dialer
	for {
		n, addr := c.choose(tried)
		if n == nil {
			return nil, errors.New("no node is running")
		}
		conn, err := dialer.DialContext(ctx, "tcp", addr)
		if err == nil {
			return &counted{Conn: conn, over: func() { c.left(n) }}, nil
		}
		c.left(n)
		tried[n] = true
	}
}

// choose returns the running node that has the fewest connections, and counts one
// more. It returns nil if all that run were tried.
func (c *cluster) choose(tried map[*node]bool) (chosen *node, addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		if n.state == running && !tried[n] && (chosen == nil || n.conns < chosen.conns) {
			chosen = n
		}
	}
	if chosen == nil {
		return nil, ""
	}
	chosen.conns++
	return chosen, chosen.addr
}

// left counts one connection less.
func (c *cluster) left(n *node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n.conns--
}

// counted is a connection to a node, which is counted until it is closed.
type counted struct {
	net.Conn
	once sync.Once
	over func()
}

// Close closes the connection.
func (c *counted) Close() error {
	c.once.Do(c.over)
	return c.Conn.Close()
}

// CloseWrite ends the sending half, as a TCP connection can.
func (c *counted) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// ---- The control ------------------------------------------------------------

// A status is what pages are told about a node.
type status struct {
	Name  string `json:"name"`
	State state  `json:"state"`
	URL   string `json:"url,omitempty"` // while it is running: without the front
}

// listLocked returns what the nodes are. The caller holds c.mu.
func (c *cluster) listLocked() []status {
	list := make([]status, len(c.nodes))
	for i, n := range c.nodes {
		list[i] = status{Name: n.cfg.Name, State: n.state}
		if addr, err := net.ResolveTCPAddr("tcp", n.addr); n.state == running && err == nil {
			list[i].URL = pageURL(addr)
		}
	}
	return list
}

// list returns what the nodes are.
func (c *cluster) list() []status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.listLocked()
}

// statusLocked returns what pages are told about the nodes. The caller holds c.mu.
func (c *cluster) statusLocked() []byte {
	data, err := json.Marshal(map[string]any{"nodes": c.listLocked(), "kills": c.kills})
	if err != nil {
		panic(err) // it can always be encoded
	}
	return data
}

// control serves a page: it is told what the nodes are, and asks for changes.
func (c *cluster) control(page *websocket.Conn) error {
	c.mu.Lock()
	page.Send(websocket.Text, c.statusLocked())
	c.watching.Add(page)
	c.mu.Unlock()
	for m, err := range page.Messages(page.Context()) {
		if err != nil {
			return err
		}
		var ask struct{ Do, Node string }
		if json.Unmarshal(m.Data, &ask) != nil || !c.act(ask.Do, ask.Node) {
			return &websocket.CloseError{Code: websocket.ClosePolicyViolation, Reason: "there is no such node or nothing that may be done with it"}
		}
	}
	return nil
}

// act does what a page asks for, and reports whether it may.
func (c *cluster) act(do, name string) bool {
	acts := map[string]func(n *node){
		"kill":  c.kill,
		"stop":  c.stop,
		"start": c.restart,
	}
	for _, n := range c.nodes {
		if act := acts[do]; c.kills && act != nil && n.cfg.Name == name {
			act(n)
			return true
		}
	}
	return false
}
