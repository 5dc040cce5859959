package websocket

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// A Registry holds the connections that servers have accepted, and closes them
// when the servers stop: net/http forgets a connection once it is a WebSocket.
// The zero value is empty and ready; AcceptOptions.Registry and
// ConnOptions.Registry add connections. All its methods may be called by several
// goroutines at once.
//
// A connection is removed when its net.Conn is closed. A Registry must not be
// copied.
//
// # Stopping a server
//
// [http.Server.Shutdown] neither waits for the functions registered with it nor
// passes its context to them. So stopping a server takes two calls with one
// context: the first lets no more requests in and answers those under way, the
// second closes the WebSockets, with its code and reason, and waits for them.
//
//	err := srv.Shutdown(ctx)
//	err = errors.Join(err, registry.Shutdown(ctx, websocket.CloseServiceRestart, "deploy"))
//
// Attach is for programs in which the code that stops the server does not know
// the Registry. After Attach, the first of the two calls already begins to
// close the WebSockets of srv, with CloseGoingAway. All connections of a server
// are closed with the same code and reason, those of the call that came first:
// a program that attaches a server and wants another code calls the Registry's
// Shutdown first.
type Registry struct {
	mu      sync.Mutex
	conns   map[*Conn]*http.Server       // those whose net.Conn is open, and the server that accepted each
	stopped map[*http.Server]*CloseError // servers that were stopped alone, and what their connections are closed with
	closing *CloseError                  // what those of all other servers are closed with; nil before Shutdown
	pending []pendingClose               // closings that have yet to begin
	busy    int                          // number of connections and reservations
	idle    chan struct{}                // closed when busy falls to 0; nil if no call waits
}

// A pendingClose is a connection that is to be closed with the code and reason
// of end.
type pendingClose struct {
	c   *Conn
	end *CloseError
}

// Attach makes srv.Shutdown begin to close the WebSockets that srv accepted,
// with CloseGoingAway and no reason, and refuse others with 503 Service
// Unavailable. Those of other servers stay. srv.Shutdown does not wait for
// them: Shutdown of the Registry does, but its code and reason no longer apply
// to them. If Shutdown was called before, srv.Shutdown changes nothing.
// srv.Close does not close WebSockets.
func (r *Registry) Attach(srv *http.Server) {
	srv.RegisterOnShutdown(func() {
		r.stopServer(srv, &CloseError{Code: CloseGoingAway})
		r.closePending(context.Background())
	})
}

// Shutdown closes every connection with a closing handshake, as Conn.Close
// does, and refuses new ones on all servers with 503 Service Unavailable from
// now on. A handshake that is under way is completed, and its connection closed
// like the rest, as is one that [NewConn] makes later. So that not all clients
// come back at once, the closings begin one after another, a millisecond apart,
// or less so that the last begins after five seconds or half of the time that
// ctx has left.
//
// Shutdown returns nil when the last connection is closed and the functions
// that Handler runs have returned, including those that have yet to begin. If
// ctx ends first, the connections that are left are closed without a handshake,
// and the error, which wraps that of ctx, says how many they were. A code or
// reason that Conn.Close would refuse is an error, and nothing is closed.
//
// Shutdown may be called again, also while another call is under way. The code
// and reason of the first call apply; see Attach for connections of a server
// that was stopped before.
func (r *Registry) Shutdown(ctx context.Context, code CloseCode, reason string) error {
	if err := checkClose(code); err != nil {
		return err
	}
	idle := r.stopAll(&CloseError{Code: code, Reason: reason})
	r.closePending(ctx)
	select {
	case <-idle:
		return nil
	default:
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return r.dropAll(ctx.Err())
	}
}

// closeErrorLocked returns what the connections of srv are closed with, or nil
// while srv accepts connections. The caller holds r.mu.
func (r *Registry) closeErrorLocked(srv *http.Server) *CloseError {
	if end := r.stopped[srv]; end != nil {
		return end
	}
	return r.closing
}

// stopServer stops accepting connections of srv and marks those that it has for
// closing with end, unless they have been marked before.
func (r *Registry) stopServer(srv *http.Server, end *CloseError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closeErrorLocked(srv) != nil {
		return
	}
	if r.stopped == nil {
		r.stopped = make(map[*http.Server]*CloseError)
	}
	r.stopped[srv] = end
	for c, by := range r.conns {
		if by == srv {
			r.pending = append(r.pending, pendingClose{c, end})
		}
	}
}

// stopAll stops accepting connections and marks all for closing with end,
// except those that have been marked before. It returns a channel that is
// closed when nothing is left.
func (r *Registry) stopAll(end *CloseError) (idle <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing == nil {
		r.closing = end
		for c, by := range r.conns {
			if r.stopped[by] == nil {
				r.pending = append(r.pending, pendingClose{c, end})
			}
		}
	}
	if r.idle == nil {
		r.idle = make(chan struct{})
	}
	idle = r.idle
	r.signalIfIdleLocked()
	return idle
}

// releaseLocked counts one connection or reservation less. The caller holds
// r.mu.
func (r *Registry) releaseLocked() {
	r.busy--
	r.signalIfIdleLocked()
}

// signalIfIdleLocked wakes the calls of Shutdown that wait, if nothing is left.
// The caller holds r.mu.
func (r *Registry) signalIfIdleLocked() {
	if r.busy == 0 && r.idle != nil {
		close(r.idle)
		r.idle = nil
	}
}

// closePending begins to close the pending connections, one after another.
// Several calls share the work. It returns when none is pending, or ctx ends.
func (r *Registry) closePending(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	began := time.Now()
	step := r.stagger(ctx)
	for i := time.Duration(0); r.hasPending(); i++ {
		if wait := time.Until(began.Add(i * step)); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		}
		if last, ok := r.takePending(); ok {
			go last.c.Close(last.end.Code, last.end.Reason)
		}
	}
}

// maxStagger bounds the time in which all closings begin.
const maxStagger = 5 * time.Second

// stagger returns the time between the beginnings of two closings.
func (r *Registry) stagger(ctx context.Context) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	span := maxStagger
	if deadline, ok := ctx.Deadline(); ok {
		span = max(0, min(span, time.Until(deadline)/2))
	}
	return min(time.Millisecond, span/time.Duration(len(r.pending)+1))
}

// hasPending reports whether a closing has yet to begin.
func (r *Registry) hasPending() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.pending) > 0
}

// takePending removes and returns a pending connection. ok is false if there is
// none.
func (r *Registry) takePending() (last pendingClose, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.pending)
	if n == 0 {
		return pendingClose{}, false
	}
	last = r.pending[n-1]
	r.pending[n-1] = pendingClose{}
	r.pending = r.pending[:n-1]
	return last, true
}

// dropAll closes all connections without a handshake, and returns an error that
// wraps err and says how many they were.
func (r *Registry) dropAll(err error) error {
	n := 0
	for c := range r.Conns() {
		c.drop()
		n++
	}
	return fmt.Errorf("websocket: shutdown ended early, %d connections dropped: %w", n, err)
}

// A reservation makes Shutdown wait. It is held by a handshake that is about to
// be completed and, behind Handler, by the function that serves the connection.
// The zero value reserves nothing.
type reservation struct {
	registry *Registry
	srv      *http.Server // the server of the handshake, or nil
}

// reserve returns a reservation for a handshake with srv, which must be
// released, or refuses the handshake. A nil Registry refuses nothing, and
// reserves nothing.
func (r *Registry) reserve(srv *http.Server) (reservation, error) {
	if r == nil {
		return reservation{}, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closeErrorLocked(srv) != nil {
		return reservation{}, &HandshakeError{Status: http.StatusServiceUnavailable, Reason: "server is shutting down"}
	}
	r.busy++
	return reservation{r, srv}, nil
}

// add adds c, which is removed when its net.Conn is closed. If the server has
// been stopped since the reservation, add has c closed. The reservation stays.
func (v reservation) add(c *Conn) {
	r := v.registry
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !c.watch(r) {
		return
	}
	r.busy++
	if r.conns == nil {
		r.conns = make(map[*Conn]*http.Server)
	}
	r.conns[c] = v.srv
	if end := r.closeErrorLocked(v.srv); end != nil {
		go c.Close(end.Code, end.Reason)
	}
}

// release gives the reservation up.
func (v reservation) release() { v.registry.release() }

// commit adds c, unless it is nil, and gives the reservation up.
func (v reservation) commit(c *Conn) {
	if c != nil {
		v.add(c)
	}
	v.release()
}

// ended does nothing: a connection stays until gone is called.
func (r *Registry) ended(*Conn) {}

// gone removes c.
func (r *Registry) gone(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
	r.releaseLocked()
}

// release gives a reservation up. A nil Registry has none.
func (r *Registry) release() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.releaseLocked()
}

// Conns returns an iterator over the connections that there are when the loop
// begins, in any order, including those that are closing.
func (r *Registry) Conns() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		r.mu.Lock()
		conns := slices.Collect(maps.Keys(r.conns))
		r.mu.Unlock()
		for _, c := range conns {
			if !yield(c) {
				return
			}
		}
	}
}

// Len returns the number of connections, including those that are closing.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.conns)
}
