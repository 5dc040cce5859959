package websocket

import (
	"context"
	"math"
	"sync"
	"time"
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
