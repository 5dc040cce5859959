package websocket

import (
	"context"
	"math"
	"sync"
	"time"
)

// maxBatch is about how many payload bytes leave the queue at once. Control
// frames can overtake those left behind.
const maxBatch = 64 << 10

// Send queues a copy of p as one message and returns at once, unless the queue
// is full and Config.SlowConsumer is Block. An error of the network shows in
// later calls and in Context. Messages of Send and Write leave in the order of
// the calls. If p has a secret, see [Conn.SendPlain].
func (c *Conn) Send(t MessageType, p []byte) error {
	return c.sendCopy(outgoing{typ: t, payload: p})
}

// SendPlain is Send for a message that must not be compressed, for the reason
// that [Conn.WritePlain] gives. It stays so in the queue.
func (c *Conn) SendPlain(t MessageType, p []byte) error {
	return c.sendCopy(outgoing{typ: t, payload: p, plain: true})
}

// sendCopy is Send for m, which is not shared.
func (c *Conn) sendCopy(m outgoing) error {
	if err := c.checkOutgoing(m.typ, m.payload); err != nil {
		return err
	}
	if done, err := c.sendNow(m); done || err != nil {
		return err
	}
	waiting := m.copied()
	if err := c.enqueue(waiting, c.cfg.SlowConsumer); err != nil {
		waiting.free()
		return err
	}
	return nil
}

// sendNow sends m without the queue and without waiting, if nothing is queued
// and nobody writes. Otherwise done is false.
func (c *Conn) sendNow(m outgoing) (done bool, err error) {
	done, corked, err := c.postNow(m)
	if done && !corked {
		c.out.flushNow()
	}
	return done, err
}

// postNow is sendNow without the flush, which must follow unless the message is
// corked.
func (c *Conn) postNow(m outgoing) (done, corked bool, err error) {
	if err := c.refusalError(); err != nil {
		return false, false, err
	}
	if c.send.queue.Load().hasMessages() || !c.send.lock.tryLock() {
		return false, false, nil
	}
	defer c.send.lock.unlock()
	if c.send.queue.Load().hasMessages() || c.out.isBusy() {
		return false, false, nil
	}
	e := c.encode(m)
	defer e.free()
	corked, err = c.out.postData(e.byte0, e.payload)
	return err == nil, corked, c.writeError(context.Background(), err)
}

// enqueue adds m to the queue under a policy, which may mean to wait, and
// starts the pump. After an error m is still the caller's.
func (c *Conn) enqueue(m queued, policy SlowPolicy) error {
	for {
		a, err := c.sendQueue().add(m, c.cfg.MaxQueuedBytes, policy)
		c.traceDropped(a.dropped, a.bytes)
		switch {
		case a.slow:
			c.refuseWrites(ClosePolicyViolation, tooSlow, ErrSlowConsumer) // before another closes
			go c.closeSlow()
			return err
		case err != nil:
			return err
		case a.room == nil:
			c.startPump()
			return nil
		}
		select {
		case <-a.room:
		case <-c.endedChan():
			return c.terminal()
		}
	}
}

// startPump starts the pump unless it runs.
func (c *Conn) startPump() {
	q := c.send.queue.Load()
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
	q := c.send.queue.Load()
	if c.send.lock.lock(nil, c.endedChan()) {
		messages, bytes, err := c.moveQueued(context.Background())
		q.noteSent(messages, bytes, err)
		c.writeError(context.Background(), err)
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
// It returns how many were added, for noteSent. The caller holds send.lock, which
// moveQueued releases.
func (c *Conn) moveQueued(ctx context.Context) (messages, bytes int, err error) {
	m, large := c.send.queue.Load().takeOldest(inPlaceFrom, math.MaxInt)
	if !large {
		messages, bytes = c.appendQueued(maxBatch)
		c.send.lock.unlock()
		return messages, bytes, c.out.flushAllInternal(ctx)
	}
	defer m.free()
	e := c.encode(m.outgoing())
	defer e.free()
	ticket, err := c.out.addData(e.byte0, e.payload)
	c.send.queue.Load().noteAdded(len(m.payload()), err)
	c.send.lock.unlock()
	if err != nil {
		return 0, 0, err
	}
	if ticket != nil {
		ticket.internal = true
	}
	_, err = c.out.flush(ctx, ticket, orLeave)
	return 1, len(m.payload()), err
}

// appendQueued adds frames for queued messages of up to limit bytes, copied, and
// returns how many were added. The caller holds send.lock, and calls
// sendQueue.noteSent once they are out.
func (c *Conn) appendQueued(limit int) (messages, bytes int) {
	q := c.send.queue.Load()
	for {
		m, ok := q.takeOldest(0, limit-bytes)
		if !ok {
			return messages, bytes
		}
		size := len(m.payload())
		e := c.encode(m.outgoing())
		_, err := c.out.postData(e.byte0, e.payload)
		q.noteAdded(size, err)
		if err == nil {
			messages++
			bytes += size
		}
		e.free()
		m.free()
	}
}

// maxAtOnce is how many queued payload bytes emptyQueue copies. While there are
// more, it lets the network take them first: many connections may end at once,
// with queues that share their messages.
const maxAtOnce = 256 << 10

// emptyQueue waits until everything queued can be added to what the frameWriter
// has pending, and adds it.
//
// A MessageWriter that nobody closes keeps send.lock, and a peer may not read.
// When nothing has come or gone for half of CloseTimeout, and at the latest when
// seven eighths of the time have passed, what is queued is given up, so that the
// Close frame can still leave.
func (c *Conn) emptyQueue(ctx context.Context) error {
	if c.send.queue.Load().roomChan() == nil {
		return nil
	}
	latest, _ := ctx.Deadline()
	reserve := min(c.cfg.CloseTimeout, time.Until(latest)) / 8
	ctx, cancel := context.WithDeadline(ctx, latest.Add(-reserve))
	defer cancel()
	defer c.whenStalled(c.cfg.CloseTimeout/2, cancel)()
	for {
		room := c.send.queue.Load().roomChan()
		if room == nil {
			return nil
		}
		if _, bytes := c.Queued(); bytes > maxAtOnce {
			select {
			case <-room:
			case <-ctx.Done():
			}
		} else if c.send.lock.lock(ctx.Done(), room) {
			messages, bytes := c.appendQueued(math.MaxInt)
			c.send.lock.unlock()
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

// hasAddedQueued reports whether everything queued was added to what the
// frameWriter has pending.
func (c *Conn) hasAddedQueued() bool {
	if queued, _ := c.Queued(); queued == 0 {
		return true
	}
	if !c.send.lock.tryLock() {
		return false
	}
	defer c.send.lock.unlock()
	return !c.send.queue.Load().hasMessages()
}

// whenStalled calls f once no byte has come or gone for limit: a peer that
// sends may read later. stop prevents the call.
func (c *Conn) whenStalled(limit time.Duration, f func()) (stop func() bool) {
	moved := func() uint64 { return c.out.written() + c.read.intake.received.Load() }
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

// awaitQueued waits until messages that appendQueued added are out, and tells
// the queue.
func (c *Conn) awaitQueued(messages, bytes int) {
	err := c.out.flushAllInternal(context.Background())
	c.send.queue.Load().noteSent(messages, bytes, err)
	c.writeError(context.Background(), err)
}

// tooSlow is the reason that closeSlow gives to the peer.
const tooSlow = "reads too slowly"

// closeSlow ends a connection whose queue was full.
func (c *Conn) closeSlow() {
	c.close(ClosePolicyViolation, tooSlow, ErrSlowConsumer)
}

// Queued returns how many messages that Send accepted are not on the network,
// and their payload bytes.
func (c *Conn) Queued() (messages, bytes int) {
	q := c.send.queue.Load()
	if q == nil {
		return 0, 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.entries) + q.moving.messages, q.bytes + q.moving.bytes
}

// Drain waits until everything that Send accepted was handed to the network, or
// ctx ends.
func (c *Conn) Drain(ctx context.Context) error {
	ctx = c.callContext(ctx)
	for {
		if err := c.terminal(); err != nil {
			return err
		}
		room := c.send.queue.Load().roomChan()
		if room == nil {
			return c.writeError(ctx, c.out.flushAll(ctx))
		}
		select {
		case <-room:
		case <-ctx.Done():
			return c.contextError(ctx)
		case <-c.endedChan():
			return c.terminal()
		}
	}
}
