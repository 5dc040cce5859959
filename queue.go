package websocket

import (
	"context"
	"sync"
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
	room     chan struct{} // closed when something left; nil if nobody waits
	dropped  uint64
}

// A queued message owns its payload, or shares a prepared one.
type queued struct {
	typ     MessageType
	payload *buffer
}

// size returns the number of payload bytes.
func (q queued) size() int { return len(q.payload.b) }

// maxBatch is about how many payload bytes leave the queue at once. Control
// frames can overtake what is left behind.
const maxBatch = 64 << 10

// Send queues a copy of p as one message and returns at once, unless the queue
// is full and Config.Slow is Block. An error of the network shows in later
// calls and in Context. Messages of Send and Write leave in the order of the
// calls.
func (c *Conn) Send(t MessageType, p []byte) error {
	if err := c.checkOutgoing(t, p); err != nil {
		return err
	}
	if err := c.writable(); err != nil {
		return err
	}
	if !c.queue.waits() && c.sending.try() {
		done, err := c.sendNow(t, p)
		c.sending.give()
		if done || err != nil {
			return c.writeError(context.Background(), err)
		}
	}
	m := queued{typ: t, payload: borrow(len(p))}
	m.payload.b = append(m.payload.b, p...)
	if err := c.enqueue(m); err != nil {
		m.payload.free()
		return err
	}
	return nil
}

// sendNow sends p without the queue, if nothing is before it. The caller has
// the sending turn.
func (c *Conn) sendNow(t MessageType, p []byte) (done bool, err error) {
	if c.queue.waits() {
		return false, nil
	}
	held, ok, err := c.out.post(bitFIN|byte(t), p, false)
	if ok && !held {
		c.out.flushNow()
	}
	return ok, err
}

// enqueue adds m to the queue as Config.Slow says and starts the pump.
func (c *Conn) enqueue(m queued) error {
	for {
		room, slow, err := c.queue.add(m, c.cfg)
		switch {
		case slow:
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
func (q *sendQueue) add(m queued, cfg *Config) (room <-chan struct{}, slow bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return nil, false, q.err
	}
	if !q.fits(m, cfg.MaxQueuedBytes) {
		switch cfg.Slow {
		case DropNewest:
			q.dropped++
			return nil, false, ErrQueueFull
		case DropOldest:
			q.makeRoom(m, cfg.MaxQueuedBytes)
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
	q.bytes += m.size()
	return nil, false, nil
}

// fits reports whether m has room. A message larger than the whole queue fits
// when nothing else is there. The caller holds q.mu.
func (q *sendQueue) fits(m queued, limit int) bool {
	used := q.bytes + q.movingBy
	return used+m.size() <= limit || used == 0
}

// makeRoom drops the oldest messages until m fits, or none is left. The caller
// holds q.mu.
func (q *sendQueue) makeRoom(m queued, limit int) {
	for len(q.entries) > 0 && !q.fits(m, limit) {
		q.pop().payload.free()
		q.dropped++
	}
}

// pop removes the oldest message. The caller holds q.mu.
func (q *sendQueue) pop() queued {
	m := q.entries[0]
	q.entries[0] = queued{}
	q.entries = q.entries[1:]
	q.bytes -= m.size()
	if len(q.entries) == 0 {
		q.entries = nil
	}
	return m
}

// waits reports whether messages are queued.
func (q *sendQueue) waits() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.entries) > 0
}

// take moves the oldest message out of the queue.
func (q *sendQueue) take() (m queued, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.entries) == 0 {
		return queued{}, false
	}
	m = q.pop()
	q.moving++
	q.movingBy += m.size()
	return m, true
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

// fail drops all messages and refuses others with err.
func (q *sendQueue) fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.err = err
	for len(q.entries) > 0 {
		q.pop().payload.free()
	}
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
}

// startPump starts the goroutine that empties the queue, unless it runs.
func (c *Conn) startPump() {
	c.queue.mu.Lock()
	defer c.queue.mu.Unlock()
	if !c.queue.pumping {
		c.queue.pumping = true
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
	if c.sending.take(nil, c.endedChan()) {
		messages, bytes := c.appendQueued(maxBatch)
		c.sending.give()
		err := c.out.flushAll(context.Background())
		c.queue.left(messages, bytes)
		if err != nil {
			c.writeError(context.Background(), err)
		}
	}
	c.queue.mu.Lock()
	defer c.queue.mu.Unlock()
	if len(c.queue.entries) > 0 && c.queue.err == nil {
		return true
	}
	c.queue.pumping = false
	return false
}

// appendQueued appends queued messages of about limit bytes to what the writer
// has pending. The caller has the sending turn, and enters them with
// sendQueue.left once they are out.
func (c *Conn) appendQueued(limit int) (messages, bytes int) {
	for bytes < limit {
		m, ok := c.queue.take()
		if !ok {
			break
		}
		messages++
		bytes += m.size()
		c.out.add(bitFIN|byte(m.typ), m.payload.b)
		m.payload.free()
	}
	return messages, bytes
}

// closeSlow ends a connection whose queue was full.
func (c *Conn) closeSlow() {
	c.close(ClosePolicyViolation, "reads too slowly", ErrSlowConsumer)
}

// Queued returns how many messages that Send took are not on the network, and
// their payload bytes.
func (c *Conn) Queued() (messages, bytes int) {
	q := &c.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.entries) + q.moving, q.bytes + q.movingBy
}

// Drained waits until all that Send took is on the network, or ctx ends.
func (c *Conn) Drained(ctx context.Context) error {
	for {
		room := c.queue.awaitRoom()
		if room == nil {
			return c.writeError(ctx, c.out.flushAll(ctx))
		}
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.endedChan():
			return c.terminal()
		}
	}
}

// awaitRoom returns a channel that is closed when something leaves the queue,
// or nil if it is empty.
func (q *sendQueue) awaitRoom() <-chan struct{} {
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
