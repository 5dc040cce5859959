package websocket

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"
)

// sendQueue holds the messages that Send took and that are not on the network.
// A goroutine moves them on while there are any; none waits otherwise.
type sendQueue struct {
	mu       sync.Mutex
	entries  []queued // waiting, in order
	bytes    int      // payload bytes of entries
	moving   int      // messages and payload bytes on their way out
	movingBy int
	pumping  bool
	err      error
	ended    bool          // err is the terminal error
	room     chan struct{} // closed when something left; nil if nobody waits
	dropped  uint64
	lost     int // messages and payload bytes that were given up at the end
	lostBy   int
}

// sendQueue returns the queue, which exists from now on.
func (c *Conn) sendQueue() *sendQueue {
	if q := c.queue.Load(); q != nil {
		return q
	}
	c.queue.CompareAndSwap(nil, new(sendQueue))
	q := c.queue.Load()
	// Who ended the connection may have come before the queue.
	if err := c.terminal(); err != nil {
		q.end(err)
	} else if err := c.writable(); err != nil {
		q.fail(err)
	}
	return q
}

// A queued message owns its payload, or shares a prepared message.
type queued struct {
	typ    MessageType
	owned  *buffer   // the payload, unless there is shared
	shared *Prepared // or nil
}

// payload returns the payload, which is not to be changed.
func (m queued) payload() []byte {
	if m.shared != nil {
		return m.shared.payload
	}
	return m.owned.b
}

// outgoing returns the message to be encoded.
func (m queued) outgoing() outgoing {
	return outgoing{typ: m.typ, payload: m.payload(), shared: m.shared}
}

// free gives the memory back that m owns.
func (m queued) free() { m.owned.free() }

// A queue takes so many messages however small its limit is, and beyond that
// one for so many bytes of the limit: messages without payload cost memory as
// well.
const (
	minQueued       = 64
	bytesPerMessage = 64
)

// maxBatch is about how many payload bytes leave the queue at once. Control
// frames can overtake what is left behind.
const maxBatch = 64 << 10

// Send queues a copy of p as one message and returns at once, unless the queue
// is full and Config.SlowConsumer is Block. An error of the network shows in later
// calls and in Context. Messages of Send and Write leave in the order of the
// calls.
func (c *Conn) Send(t MessageType, p []byte) error {
	if err := c.checkOutgoing(t, p); err != nil {
		return err
	}
	if done, err := c.sendNow(outgoing{typ: t, payload: p}); done || err != nil {
		return err
	}
	m := queued{typ: t, owned: borrow(len(p))}
	m.owned.b = append(m.owned.b, p...)
	if err := c.enqueue(m, c.cfg.SlowConsumer); err != nil {
		m.free()
		return err
	}
	return nil
}

// sendNow sends m without the queue, if nothing is before it and nobody writes.
func (c *Conn) sendNow(m outgoing) (done bool, err error) {
	done, held, err := c.postNow(m)
	if done && !held {
		c.out.flushNow()
	}
	return done, err
}

// postNow is sendNow without the flush, which must follow unless the message is
// held.
func (c *Conn) postNow(m outgoing) (done, held bool, err error) {
	if err := c.writable(); err != nil {
		return false, false, err
	}
	if c.queue.Load().waits() || !c.sending.try() {
		return false, false, nil
	}
	defer c.sending.give()
	if c.queue.Load().waits() || c.out.isBusy() {
		return false, false, nil
	}
	e := c.encode(m)
	defer e.free()
	held, err = c.out.post(e.first, e.payload)
	return err == nil, held, c.writeError(context.Background(), err)
}

// enqueue adds m to the queue as policy says and starts the pump.
func (c *Conn) enqueue(m queued, policy SlowPolicy) error {
	for {
		room, slow, err := c.sendQueue().add(m, c.cfg.MaxQueuedBytes, policy)
		switch {
		case slow:
			c.refuse(ClosePolicyViolation, tooSlow, ErrSlowConsumer) // before another closes
			go c.closeSlow()
			return err
		case err != nil:
			return err
		case room == nil:
			c.startPump()
			return nil
		}
		select {
		case <-room:
		case <-c.endedChan():
			return c.terminal()
		}
	}
}

// add appends m to the queue, or says what else there is to do: to wait for
// room, or to close a slow connection.
func (q *sendQueue) add(m queued, limit int, policy SlowPolicy) (room <-chan struct{}, slow bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return nil, false, q.err
	}
	if !q.fits(m, limit) {
		switch policy {
		case DropNewest:
			q.dropped++
			return nil, false, ErrQueueFull
		case DropOldest:
			q.makeRoom(m, limit)
		case CloseSlow:
			q.err = ErrSlowConsumer
			return nil, true, ErrSlowConsumer
		default:
			if q.room == nil {
				q.room = make(chan struct{})
			}
			return q.room, false, nil
		}
	}
	q.entries = append(q.entries, m)
	q.bytes += len(m.payload())
	return nil, false, nil
}

// fits reports whether m has room. A message larger than the whole queue fits
// when nothing else is there. The caller holds q.mu.
func (q *sendQueue) fits(m queued, limit int) bool {
	waiting := len(q.entries) + q.moving
	if waiting == 0 {
		return true
	}
	return q.bytes+q.movingBy+len(m.payload()) <= limit && waiting < max(limit/bytesPerMessage, minQueued)
}

// makeRoom drops the oldest messages until m fits, or none is left. The caller
// holds q.mu.
func (q *sendQueue) makeRoom(m queued, limit int) {
	for len(q.entries) > 0 && !q.fits(m, limit) {
		q.pop().free()
		q.dropped++
	}
}

// pop removes the oldest message. The caller holds q.mu.
func (q *sendQueue) pop() queued {
	m := q.entries[0]
	q.entries[0] = queued{}
	q.entries = q.entries[1:]
	q.bytes -= len(m.payload())
	if len(q.entries) == 0 {
		q.entries = nil
	}
	return m
}

// waits reports whether messages are queued. In a nil queue there are none.
func (q *sendQueue) waits() bool {
	if q == nil {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.entries) > 0
}

// take moves the oldest message, whose payload must be at least and at most so
// many bytes, out of the queue.
func (q *sendQueue) take(atLeast, atMost int) (m queued, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.entries) == 0 {
		return queued{}, false
	}
	size := len(q.entries[0].payload())
	if size < atLeast || size > atMost {
		return queued{}, false
	}
	q.moving++
	q.movingBy += size
	return q.pop(), true
}

// left enters that messages are on the network, or lost, and tells those who
// wait for room.
func (q *sendQueue) left(messages, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.moving -= messages
	q.movingBy -= bytes
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
}

// refuse refuses messages with err from now on. Those that it has leave. q may
// be nil.
func (q *sendQueue) refuse(err error) {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.ended {
		q.err = err
	}
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
}

// lose enters messages that were given up. q may be nil.
func (q *sendQueue) lose(messages, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lost += messages
	q.lostBy += bytes
}

// givenUp returns an error that says what was given up of the queue, or nil. If
// the end was clean, what is on its way has arrived. q may be nil.
func (q *sendQueue) givenUp(clean bool) error {
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	lost, bytes := q.lost, q.lostBy
	if !clean {
		lost += q.moving
		bytes += q.movingBy
	}
	if lost == 0 {
		return nil
	}
	return fmt.Errorf("websocket: queued messages were given up: %d, with %d bytes", lost, bytes)
}

// end is fail with the terminal error, which no other replaces. q may be nil.
func (q *sendQueue) end(err error) {
	if q == nil {
		return
	}
	q.fail(err)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.err, q.ended = err, true
}

// fail drops all messages and refuses others with err. q may be nil.
func (q *sendQueue) fail(err error) {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.ended {
		q.err = err
	}
	for len(q.entries) > 0 {
		m := q.pop()
		q.lost++
		q.lostBy += len(m.payload())
		m.free()
	}
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
}

// startPump starts the goroutine that empties the queue, unless it runs.
func (c *Conn) startPump() {
	q := c.queue.Load()
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.pumping {
		q.pumping = true
		go c.pump()
	}
}

// pump moves messages from the queue to the network until there are none.
func (c *Conn) pump() {
	for c.pumpOnce() {
	}
}

// pumpOnce moves some messages on and waits until they are out. It reports
// whether there may be more.
func (c *Conn) pumpOnce() bool {
	q := c.queue.Load()
	if c.sending.take(nil, c.endedChan()) {
		messages, bytes, err := c.moveQueued(context.Background())
		q.left(messages, bytes)
		if err != nil {
			q.lose(messages, bytes)
			c.writeError(context.Background(), err)
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.entries) > 0 {
		return true
	}
	q.pumping = false
	return false
}

// moveQueued moves messages to the network and waits until they are out: a
// large one alone, from where it is, or several that are copied into one write.
// It has the sending turn, and gives it on.
func (c *Conn) moveQueued(ctx context.Context) (messages, bytes int, err error) {
	m, large := c.queue.Load().take(lendAbove, math.MaxInt)
	if !large {
		messages, bytes = c.appendQueued(maxBatch)
		c.sending.give()
		return messages, bytes, c.out.flushAll(ctx, true)
	}
	defer m.free()
	e := c.encode(m.outgoing())
	defer e.free()
	ticket, err := c.out.append(e.first, e.payload)
	c.sending.give()
	if err == nil {
		if ticket != nil {
			ticket.ours = true
		}
		_, err = c.out.flush(ctx, ticket, false)
	}
	return 1, len(m.payload()), err
}

// appendQueued appends queued messages of up to limit bytes to what the writer
// has pending, copied. The caller has the sending turn, and enters them with
// sendQueue.left once they are out.
func (c *Conn) appendQueued(limit int) (messages, bytes int) {
	for {
		m, ok := c.queue.Load().take(0, limit-bytes)
		if !ok {
			return messages, bytes
		}
		messages++
		bytes += len(m.payload())
		e := c.encode(m.outgoing())
		c.out.post(e.first, e.payload)
		e.free()
		m.free()
	}
}

// maxAtOnce is how many queued payload bytes emptyQueue copies. While there are
// more, it lets the network take them first: many connections may end at once,
// with queues that share their messages.
const maxAtOnce = 256 << 10

// emptyQueue waits until all that is queued can be appended to what the writer
// has pending, and does that.
//
// A MessageWriter that nobody closes keeps the turn, and a peer may not read:
// when nothing has come or gone for half of CloseTimeout, and an eighth of it
// before it is over, what is queued is given up, so that the Close frame can
// still leave.
func (c *Conn) emptyQueue(ctx context.Context) error {
	if c.queue.Load().awaitRoom() == nil {
		return nil
	}
	latest, _ := ctx.Deadline()
	ctx, cancel := context.WithDeadline(ctx, latest.Add(-c.cfg.CloseTimeout/8))
	defer cancel()
	defer c.whileMoving(c.cfg.CloseTimeout/2, cancel)()
	for {
		room := c.queue.Load().awaitRoom()
		if room == nil {
			return nil
		}
		if _, bytes := c.Queued(); bytes > maxAtOnce {
			select {
			case <-room:
			case <-ctx.Done():
			}
		} else if c.sending.take(ctx.Done(), room) {
			messages, bytes := c.appendQueued(math.MaxInt)
			c.sending.give()
			if messages > 0 {
				go c.awaitQueued(messages, bytes)
			}
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// whileMoving calls f once no byte has come or gone for so long: a peer that
// sends may read later. stop prevents that.
func (c *Conn) whileMoving(limit time.Duration, f func()) (stop func() bool) {
	moved := func() uint64 { return c.out.left() + c.in.received.Load() }
	var mu sync.Mutex // until the timer is known
	mu.Lock()
	defer mu.Unlock()
	before := moved()
	var timer *time.Timer
	timer = time.AfterFunc(limit, func() {
		mu.Lock()
		defer mu.Unlock()
		if after := moved(); after != before {
			before = after
			timer.Reset(limit)
			return
		}
		f()
	})
	return timer.Stop
}

// awaitQueued waits until messages that appendQueued appended are out.
func (c *Conn) awaitQueued(messages, bytes int) {
	err := c.out.flushAll(context.Background(), true)
	q := c.queue.Load()
	q.left(messages, bytes)
	if err != nil {
		q.lose(messages, bytes)
	}
	c.writeError(context.Background(), err)
}

// tooSlow is the reason that the peer is told by closeSlow.
const tooSlow = "reads too slowly"

// closeSlow ends a connection whose queue was full.
func (c *Conn) closeSlow() {
	c.close(ClosePolicyViolation, tooSlow, ErrSlowConsumer)
}

// Queued returns how many messages that Send took are not on the network, and
// their payload bytes.
func (c *Conn) Queued() (messages, bytes int) {
	q := c.queue.Load()
	if q == nil {
		return 0, 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.entries) + q.moving, q.bytes + q.movingBy
}

// Drain waits until all that Send took is on the network, or ctx ends.
func (c *Conn) Drain(ctx context.Context) error {
	ctx = c.bounding(ctx)
	for {
		if err := c.terminal(); err != nil {
			return err
		}
		room := c.queue.Load().awaitRoom()
		if room == nil {
			return c.writeError(ctx, c.out.flushAll(ctx, false))
		}
		select {
		case <-room:
		case <-ctx.Done():
			return c.over(ctx)
		case <-c.endedChan():
			return c.terminal()
		}
	}
}

// awaitRoom returns a channel that is closed when something leaves the queue,
// or nil if it is empty. q may be nil.
func (q *sendQueue) awaitRoom() <-chan struct{} {
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.entries)+q.moving == 0 {
		return nil
	}
	if q.room == nil {
		q.room = make(chan struct{})
	}
	return q.room
}
