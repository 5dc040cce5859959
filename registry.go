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

// A Registry knows the connections that servers have accepted, and closes them
// when the servers stop: net/http forgets a connection that became a
// WebSocket. The zero value is empty and ready; AcceptOptions.Registry puts
// connections into it. All its methods may be called by several goroutines at
// once.
//
// A connection leaves by itself once its net.Conn is closed. A Registry must
// not be copied.
//
// # Stopping a server
//
// [http.Server.Shutdown] does not wait for what is registered to be called,
// and does not hand its context on. So stopping takes two calls with one
// context: the first lets no more requests in and answers those under way, the
// second closes the WebSockets, with its code and reason, and waits for them.
//
//	err := srv.Shutdown(ctx)
//	err = errors.Join(err, registry.Shutdown(ctx, websocket.CloseServiceRestart, "deploy"))
//
// Attach is for programs whose code that stops the server does not know of the
// Registry. With it the first call begins to close the WebSockets of srv, and
// with CloseGoingAway: how the connections of a server end is decided once, by
// whoever stops it first, and all of them are told the same. A program that
// attaches a server and has something else to say calls the Registry's
// Shutdown first.
type Registry struct {
	mu      sync.Mutex
	conns   map[*Conn]*http.Server       // whose net.Conn is open, with the server that accepted each
	stopped map[*http.Server]*CloseError // how connections end, of servers that accept no more
	closing *CloseError                  // how those of all others end, which accept no more either; nil before Shutdown
	pending []pendingClose               // still to be said, by whoever is first
	busy    int                          // connections and places
	idle    chan struct{}                // closed when busy falls to 0; nil if nobody waits
}

// A pendingClose is a connection that is to be closed, and with what.
type pendingClose struct {
	c   *Conn
	end *CloseError
}

// Attach makes srv.Shutdown begin to close the WebSockets that srv accepted,
// with CloseGoingAway and no reason, and refuse others with 503 Service
// Unavailable. Those of other servers stay. srv.Shutdown does not wait for
// them: Shutdown of the Registry does, whose code and reason are not theirs
// any more. If Shutdown was called before, srv.Shutdown changes nothing.
// srv.Close does nothing to them.
func (r *Registry) Attach(srv *http.Server) {
	srv.RegisterOnShutdown(func() {
		r.stopServer(srv, &CloseError{Code: CloseGoingAway})
		r.closePending(context.Background())
	})
}

// Shutdown closes every connection with a closing handshake, as Conn.Close
// does, and refuses others with 503 Service Unavailable from now on, whatever
// server they come by. A handshake that is under way is completed, and its
// connection closed like the rest. They are not closed all at once, lest all
// clients come back at once: there is a millisecond between two, or less, so
// that it takes five seconds at most, or half of the time that ctx has left.
//
// Shutdown returns nil when the last of them is closed, and functions given to
// Handler have returned, those that have yet to begin included. When ctx ends
// first, connections that are left are closed without a handshake, and an error
// that wraps that of ctx says how many they were. A code or reason that
// Conn.Close would refuse is an error, and nothing happens.
//
// Shutdown may be called again, also while another call is under way. The first
// decides what connections are told; see Attach for those of a server that was
// stopped before.
func (r *Registry) Shutdown(ctx context.Context, code CloseCode, reason string) error {
	if err := checkClose(code); err != nil {
		return err
	}
	quiet := r.stopAll(&CloseError{Code: code, Reason: reason})
	r.closePending(ctx)
	select {
	case <-quiet:
		return nil
	default:
	}
	select {
	case <-quiet:
		return nil
	case <-ctx.Done():
		return r.dropAll(ctx.Err())
	}
}

// closeErrorLocked returns how the connections of srv end, or nil while it accepts
// them. The caller holds r.mu.
func (r *Registry) closeErrorLocked(srv *http.Server) *CloseError {
	if end := r.stopped[srv]; end != nil {
		return end
	}
	return r.closing
}

// stopServer makes the connections of srv those that are to be closed with end,
// unless that is decided.
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

// stopAll makes all connections those that are to be closed with end, unless
// that is decided, and returns a channel that is closed when nothing is left.
func (r *Registry) stopAll(end *CloseError) (quiet <-chan struct{}) {
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
	quiet = r.idle
	r.signalIfIdleLocked()
	return quiet
}

// releaseLocked takes note that something ended. The caller holds r.mu.
func (r *Registry) releaseLocked() {
	r.busy--
	r.signalIfIdleLocked()
}

// signalIfIdleLocked tells those who wait if nothing is left. The caller holds r.mu.
func (r *Registry) signalIfIdleLocked() {
	if r.busy == 0 && r.idle != nil {
		close(r.idle)
		r.idle = nil
	}
}

// closePending begins to close what is to be closed, one after the other. Several
// calls share the work. It returns when all have begun, or ctx ends.
func (r *Registry) closePending(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	began := time.Now()
	step := r.stagger(ctx)
	for i := time.Duration(0); ; i++ {
		if wait := time.Until(began.Add(i * step)); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		}
		last, ok := r.takePending()
		if !ok {
			return
		}
		go last.c.Close(last.end.Code, last.end.Reason)
	}
}

// stagger returns the time between the closings of two connections.
func (r *Registry) stagger(ctx context.Context) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	span := 5 * time.Second
	if deadline, ok := ctx.Deadline(); ok {
		span = max(0, min(span, time.Until(deadline)/2))
	}
	return min(time.Millisecond, span/time.Duration(len(r.pending)+1))
}

// takePending returns one of the connections that are to be closed.
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

// dropAll closes all that is left without waiting, because of err.
func (r *Registry) dropAll(err error) error {
	n := 0
	for c := range r.Conns() {
		c.CloseNow()
		n++
	}
	return fmt.Errorf("websocket: shutdown ended early, %d connections dropped: %w", n, err)
}

// A reservation is held by a handshake that is about to be completed and, behind
// Handler, by the function that serves the connection. The zero value is none.
type reservation struct {
	registry *Registry
	srv      *http.Server // that accepts the connection, or nil
}

// reserve holds a place for a handshake, or refuses it. The place must be left.
// A nil Registry has no places and refuses nobody.
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

// add enters c, which leaves by itself. If the server has been stopped
// meanwhile, c is closed.
func (p reservation) add(c *Conn) {
	r := p.registry
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
	r.conns[c] = p.srv
	if end := r.closeErrorLocked(p.srv); end != nil {
		go c.Close(end.Code, end.Reason)
	}
}

// release gives the place up.
func (p reservation) release() { p.registry.release() }

// commit enters c, unless it is nil, and gives the place up.
func (p reservation) commit(c *Conn) {
	if c != nil {
		p.add(c)
	}
	p.release()
}

// ended waits for gone.
func (r *Registry) ended(*Conn) {}

// gone lets go of c.
func (r *Registry) gone(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
	r.releaseLocked()
}

// release takes note that a place was left. A nil Registry does not.
func (r *Registry) release() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.releaseLocked()
}

// Conns returns the connections as they are when the loop begins, in any
// order. Those that are closing are among them.
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

// Len returns the number of connections. Those that are closing count.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.conns)
}
