package websocket

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A descriptor is a stream socket of which no net.Conn and no runtime keeps
// anything: a poller says when it is ready. It is a net.Conn that is small while
// nobody waits for it.
//
// Nobody uses the number of the descriptor without a reference, and it is closed
// with the last: the system gives the number to other sockets afterwards.
type descriptor struct {
	owner      polled                          // is served
	extra      atomic.Pointer[descriptorExtra] // nil until needed
	refs       atomic.Uint32                   // uses of fd; descriptorClosed is set at the end
	fd         int32
	generation uint32       // tells it from others that had the number before, and says which poller serves it
	slow       atomic.Int32 // the slowness of owner, if that is a parkedConn
}

// descriptorClosed is the bit of descriptor.refs that refuses further uses.
const descriptorClosed = 1 << 31

// A descriptorExtra is what only some descriptors need.
type descriptorExtra struct {
	read, write   waitPoint
	closed        chan struct{} // closed with the descriptor
	local, remote net.Addr      // kept when it is closed
}

// register makes a poller tell owner when something has come. There must be
// pollers.
func (d *descriptor) register() error {
	descriptors.add(d)
	return d.queue().add(int(d.fd), d.generation)
}

// queue returns the eventQueue of its poller. All have the same number of
// descriptors, about.
func (d *descriptor) queue() *eventQueue {
	return &pollers.all[d.generation%uint32(len(pollers.all))].queue
}

// acquire makes fd usable until release. It reports false once the descriptor is
// closed.
func (d *descriptor) acquire() bool {
	for {
		refs := d.refs.Load()
		if refs&descriptorClosed != 0 {
			return false
		}
		if d.refs.CompareAndSwap(refs, refs+1) {
			return true
		}
	}
}

// release ends a use of fd.
func (d *descriptor) release() {
	if d.refs.Add(^uint32(0)) == descriptorClosed {
		closeSocket(int(d.fd))
	}
}

// Close ends the registration and wakes those that wait. The socket is closed
// when nobody uses it any more, which is soon, since uses do not wait.
func (d *descriptor) Close() error {
	for {
		refs := d.refs.Load()
		if refs&descriptorClosed != 0 {
			return net.ErrClosed
		}
		if d.refs.CompareAndSwap(refs, refs+1|descriptorClosed) {
			break
		}
	}
	descriptors.forget(d)
	d.queue().remove(int(d.fd))
	extra := d.ensureExtra()
	extra.local, extra.remote = socketAddrs(int(d.fd))
	close(extra.closed)
	d.release()
	if s := d.owner.beginTurn(readyToRead | readyToEnd); s != nil {
		go serveAlone(s) // no event will tell it
	}
	return nil
}

// ensureExtra returns extra, creating it if there is none.
func (d *descriptor) ensureExtra() *descriptorExtra {
	if d.extra.Load() == nil {
		d.extra.CompareAndSwap(nil, &descriptorExtra{
			read:   waitPoint{woken: make(chan struct{}, 1)},
			write:  waitPoint{woken: make(chan struct{}, 1)},
			closed: make(chan struct{}),
		})
	}
	return d.extra.Load()
}

// signal wakes those that wait for what the descriptor is ready for, and returns
// who is to be served, or nil.
func (d *descriptor) signal(r readiness) polled {
	if extra := d.extra.Load(); extra != nil {
		if r&readyToRead != 0 {
			extra.read.wake()
		}
		if r&readyToWrite != 0 {
			extra.write.wake()
		}
	}
	if r&readyToRead == 0 {
		return nil
	}
	return d.owner
}

// await calls try with fd, and again whenever the descriptor may be ready for
// it, until try returns true, the deadline passes or the descriptor is closed.
func (d *descriptor) await(dir direction, try func(fd uintptr) bool) error {
	if done, err := d.use(try); done || err != nil {
		return err
	}
	extra := d.ensureExtra()
	point := &extra.read
	if dir == forWriting {
		point = &extra.write
	}
	for {
		if point.hasExpired() {
			return os.ErrDeadlineExceeded
		}
		if done, err := d.use(try); done || err != nil {
			return err
		}
		if err := point.wait(extra.closed); err != nil {
			return err
		}
	}
}

// use calls try with fd.
func (d *descriptor) use(try func(fd uintptr) bool) (done bool, err error) {
	if !d.acquire() {
		return false, net.ErrClosed
	}
	done = try(uintptr(d.fd))
	d.release()
	return done, nil
}

// Read reads what has come, waiting if nothing has.
func (d *descriptor) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	if waited := d.await(forReading, func(fd uintptr) bool {
		var wait bool
		n, wait, err = readNow(fd, p)
		return !wait
	}); waited != nil {
		return 0, waited
	}
	return n, err
}

// Write writes p, waiting until all of it is taken.
func (d *descriptor) Write(p []byte) (n int, err error) {
	if waited := d.await(forWriting, func(fd uintptr) bool {
		var written int
		written, err = writeNow(fd, p[n:])
		n += written
		return err != nil || n == len(p)
	}); waited != nil {
		return n, waited
	}
	return n, err
}

// CloseWrite shuts the sending half.
func (d *descriptor) CloseWrite() (err error) {
	if _, used := d.use(func(fd uintptr) bool { err = shutdownSending(int(fd)); return true }); used != nil {
		return used
	}
	return err
}

// SetDeadline sets both deadlines.
func (d *descriptor) SetDeadline(t time.Time) error {
	d.SetReadDeadline(t)
	return d.SetWriteDeadline(t)
}

// SetReadDeadline sets the time at which reads return os.ErrDeadlineExceeded.
func (d *descriptor) SetReadDeadline(t time.Time) error {
	return d.setDeadline(&d.ensureExtra().read, t)
}

// SetWriteDeadline sets the time at which writes return
// os.ErrDeadlineExceeded.
func (d *descriptor) SetWriteDeadline(t time.Time) error {
	return d.setDeadline(&d.ensureExtra().write, t)
}

// setDeadline sets the deadline of a waitPoint.
func (d *descriptor) setDeadline(point *waitPoint, t time.Time) error {
	if d.refs.Load()&descriptorClosed != 0 {
		return net.ErrClosed
	}
	point.setDeadline(instantOf(t))
	return nil
}

// LocalAddr returns the local network address.
func (d *descriptor) LocalAddr() net.Addr {
	local, _ := d.addrs()
	return local
}

// RemoteAddr returns the peer's network address.
func (d *descriptor) RemoteAddr() net.Addr {
	_, remote := d.addrs()
	return remote
}

// addrs asks the system for the addresses. Those of a closed descriptor are
// kept.
func (d *descriptor) addrs() (local, remote net.Addr) {
	if _, err := d.use(func(fd uintptr) bool {
		local, remote = socketAddrs(int(fd))
		return true
	}); err == nil {
		return local, remote
	}
	extra := d.ensureExtra()
	<-extra.closed
	return extra.local, extra.remote
}

// SyscallConn returns the descriptor for options of the socket.
func (d *descriptor) SyscallConn() (syscall.RawConn, error) { return (*rawDescriptor)(d), nil }

// A rawDescriptor is a descriptor as a syscall.RawConn.
type rawDescriptor descriptor

// Control calls f with the descriptor.
func (r *rawDescriptor) Control(f func(fd uintptr)) error {
	_, err := (*descriptor)(r).use(func(fd uintptr) bool { f(fd); return true })
	return err
}

// Read calls f until it returns true, waiting in between for something to come.
func (r *rawDescriptor) Read(f func(fd uintptr) bool) error {
	return (*descriptor)(r).await(forReading, f)
}

// Write calls f until it returns true, waiting in between for room.
func (r *rawDescriptor) Write(f func(fd uintptr) bool) error {
	return (*descriptor)(r).await(forWriting, f)
}

// A waitPoint is where the one waits that uses one direction of a descriptor.
type waitPoint struct {
	woken chan struct{} // gets a value to make the one look again; has room for one

	mu       sync.Mutex
	deadline instant     // 0 for none
	timer    *time.Timer // calls wake at the deadline; nil before the first
}

// wake makes the one that waits, or is about to, look again.
func (w *waitPoint) wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// wait waits for wake, or for closed, and in that case returns an error.
func (w *waitPoint) wait(closed <-chan struct{}) error {
	select {
	case <-w.woken:
		return nil
	case <-closed:
		return net.ErrClosed
	}
}

// hasExpired reports whether the deadline has passed. If another one waits, it
// is told.
func (w *waitPoint) hasExpired() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deadline == 0 || w.deadline > now() {
		return false
	}
	w.wake()
	return true
}

// setDeadline sets the deadline; 0 means none.
func (w *waitPoint) setDeadline(at instant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = at
	switch wait := at.until(); {
	case at == 0:
		if w.timer != nil {
			w.timer.Stop()
		}
	case w.timer == nil:
		w.timer = time.AfterFunc(wait, w.wake)
	default:
		w.timer.Reset(wait)
	}
	w.wake()
}
