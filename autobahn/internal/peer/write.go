package peer

import (
	"net"
	"runtime"
	"sync"
)

// An Outbox writes to a connection in the order of its calls and never blocks
// the caller, so that reading continues while a testee does not read. After a
// failed write the rest is dropped: the connection's reader sees the end.
type Outbox struct {
	conn net.Conn
	chop int // largest number of octets per write; 0: no limit

	mu     sync.Mutex
	filled sync.Cond
	queue  []job
	closed bool
	broken bool
	done   chan struct{}
}

// A job is octets to write in pieces of chop octets, and then a call.
type job struct {
	p     []byte
	chop  int
	after func()
}

// NewOutbox starts writing to conn. No write has more than chop octets unless
// that is 0.
func NewOutbox(conn net.Conn, chop int) *Outbox {
	o := &Outbox{conn: conn, chop: chop, done: make(chan struct{})}
	o.filled.L = &o.mu
	go o.write()
	return o
}

// Write queues p, to be written in pieces of chop octets, or whole if chop is
// 0. The Outbox retains p.
func (o *Outbox) Write(p []byte, chop int) { o.push(job{p: p, chop: chop}) }

// Then calls f when everything queued before has been written or dropped. f
// runs on the outbox's goroutine.
func (o *Outbox) Then(f func()) { o.push(job{after: f}) }

// Flush waits until everything queued has been written or dropped.
func (o *Outbox) Flush() {
	written := make(chan struct{})
	o.Then(func() { close(written) })
	<-written
}

// Close stops the outbox once its queue is written, and waits for that. If the
// connection blocks, close it first.
func (o *Outbox) Close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.filled.Signal()
	<-o.done
}

// push queues a job.
func (o *Outbox) push(j job) {
	o.mu.Lock()
	o.queue = append(o.queue, j)
	o.mu.Unlock()
	o.filled.Signal()
}

// write is the outbox's goroutine.
func (o *Outbox) write() {
	defer close(o.done)
	for {
		o.mu.Lock()
		for len(o.queue) == 0 && !o.closed {
			o.filled.Wait()
		}
		jobs := o.queue
		o.queue = nil
		o.mu.Unlock()
		if len(jobs) == 0 {
			return
		}
		for _, j := range jobs {
			o.run(j)
		}
	}
}

// run does one job.
func (o *Outbox) run(j job) {
	size := len(j.p)
	if j.chop > 0 {
		size = min(size, j.chop)
	}
	if o.chop > 0 {
		size = min(size, o.chop)
	}
	for rest := j.p; len(rest) > 0 && !o.broken; rest = rest[min(size, len(rest)):] {
		_, err := o.conn.Write(rest[:min(size, len(rest))])
		o.broken = err != nil
		if size < len(j.p) {
			runtime.Gosched() // a pause of some microseconds, so that the testee sees the cut
		}
	}
	if j.after != nil {
		j.after()
	}
}
