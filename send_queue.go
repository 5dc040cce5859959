package websocket

import (
	"fmt"
	"sync"
)

// A sendQueue holds the messages that Send has accepted and that are not on the
// network. A goroutine, the pump, moves them on while there are any.
type sendQueue struct {
	mu      sync.Mutex    // guards all that follows
	entries []queued      // waiting, in order
	bytes   int           // payload bytes of entries
	moving  amount        // messages that were taken and are on their way out
	adding  amount        // those of moving whose frames are not added yet
	pumping bool          // the pump runs
	err     error         // why no more messages are accepted
	ended   bool          // err is the terminal error
	room    chan struct{} // closed when something left or was given up; nil if nobody waits
	dropped uint64        // messages dropped because there was no room
	lost    amount        // messages that were given up at the end
}

// An amount is of messages and of their payload bytes.
type amount struct{ messages, bytes int }

// add adds to a; what is negative is taken away.
func (a *amount) add(messages, bytes int) {
	a.messages += messages
	a.bytes += bytes
}

// sendQueue returns the queue, creating it if there is none.
func (c *Conn) sendQueue() *sendQueue {
	if q := c.send.queue.Load(); q != nil {
		return q
	}
	c.send.queue.CompareAndSwap(nil, new(sendQueue))
	q := c.send.queue.Load()
	// The connection may have ended before the queue existed.
	if err := c.terminal(); err != nil {
		q.end(err)
	} else if err := c.refusalError(); err != nil {
		q.dropAll(err)
	}
	return q
}

// A queued message owns its payload, or is a Prepared.
type queued struct {
	shared *Prepared // or nil: then there are the next three
	owned  *buffer   // the payload
	typ    MessageType
	plain  bool // it must not be compressed
}

// copied returns m to be queued. Its payload is copied.
func (m outgoing) copied() queued {
	b := acquireBuffer(len(m.payload))
	b.b = append(b.b, m.payload...)
	return queued{owned: b, typ: m.typ, plain: m.plain}
}

// payload returns the payload, which must not be changed.
func (m queued) payload() []byte {
	if m.shared != nil {
		return m.shared.payload
	}
	return m.owned.b
}

// outgoing returns the message to encode.
func (m queued) outgoing() outgoing {
	if m.shared != nil {
		return m.shared.outgoing()
	}
	return outgoing{typ: m.typ, payload: m.owned.b, plain: m.plain}
}

// free frees the memory that m owns.
func (m queued) free() { m.owned.free() }

// A queue takes minQueued messages however small its limit is, and beyond that
// one for each bytesPerMessage bytes of the limit: messages without payload use
// memory as well.
const (
	minQueued       = 64
	bytesPerMessage = 64
)

// An admission says what came of adding a message to the queue.
type admission struct {
	room           <-chan struct{} // not nil: wait until it is closed, and try again
	slow           bool            // close the connection
	dropped, bytes int             // messages that were dropped, and their payload bytes
}

// add appends m to the queue, or says what else must be done. The queue takes m
// over unless that is to wait or to close, or add returns an error.
func (q *sendQueue) add(m queued, limit int, policy SlowPolicy) (a admission, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return a, q.err
	}
	if !q.fits(m, limit) {
		switch policy {
		case DropNewest:
			q.dropped++
			return admission{dropped: 1, bytes: len(m.payload())}, ErrQueueFull
		case DropOldest:
			a.dropped, a.bytes = q.makeRoom(m, limit)
		case CloseSlow:
			q.err = ErrSlowConsumer
			return admission{slow: true}, ErrSlowConsumer
		default:
			if q.room == nil {
				q.room = make(chan struct{})
			}
			return admission{room: q.room}, nil
		}
	}
	q.entries = append(q.entries, m)
	q.bytes += len(m.payload())
	return a, nil
}

// fits reports whether there is room for m. A message larger than the whole
// queue fits if nothing else is there. The caller holds q.mu.
func (q *sendQueue) fits(m queued, limit int) bool {
	waiting := len(q.entries) + q.moving.messages
	if waiting == 0 {
		return true
	}
	return q.bytes+q.moving.bytes+len(m.payload()) <= limit && waiting < max(limit/bytesPerMessage, minQueued)
}

// makeRoom drops the oldest messages until m fits, or none is left that is not
// on its way out. It returns how many they were, and their payload bytes. The
// caller holds q.mu.
func (q *sendQueue) makeRoom(m queued, limit int) (dropped, bytes int) {
	for len(q.entries) > 0 && !q.fits(m, limit) {
		oldest := q.pop()
		dropped++
		bytes += len(oldest.payload())
		oldest.free()
	}
	q.dropped += uint64(dropped)
	return dropped, bytes
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

// hasMessages reports whether messages are queued. q may be nil.
func (q *sendQueue) hasMessages() bool {
	if q == nil {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.entries) > 0
}

// takeOldest takes the oldest message out of the queue, as moving, if its
// payload has at least and at most so many bytes. The caller has to free it,
// and to call noteAdded.
func (q *sendQueue) takeOldest(atLeast, atMost int) (m queued, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.entries) == 0 {
		return queued{}, false
	}
	size := len(q.entries[0].payload())
	if size < atLeast || size > atMost {
		return queued{}, false
	}
	q.moving.add(1, size)
	q.adding.add(1, size)
	return q.pop(), true
}

// noteAdded records that the frames of a moving message of size bytes were added,
// or refused with err: then it is lost. If they were added, noteSent has to be
// called. The caller holds Conn.send.lock since it has taken the message.
func (q *sendQueue) noteAdded(size int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.adding.add(-1, -size)
	if err != nil {
		q.leftLocked(1, size, err)
	}
}

// noteSent records that moving messages are on the network or, with an error,
// lost, and wakes those that wait for room.
func (q *sendQueue) noteSent(messages, bytes int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.leftLocked(messages, bytes, err)
}

// leftLocked is noteSent for a caller that holds q.mu.
func (q *sendQueue) leftLocked(messages, bytes int, err error) {
	q.moving.add(-messages, -bytes)
	if err != nil {
		q.lost.add(messages, bytes)
	}
	q.signalRoomLocked()
}

// signalRoomLocked wakes those that wait for room. The caller holds q.mu.
func (q *sendQueue) signalRoomLocked() {
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
}

// refuse refuses further messages with err, unless the terminal error does.
// Those that are queued leave. q may be nil.
func (q *sendQueue) refuse(err error) {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.ended {
		q.err = err
	}
	q.signalRoomLocked()
}

// givenUp returns an error that says how many messages were given up, or nil.
// If the end was clean, those that were moving have arrived, but for those that are
// to be added behind the Close frame, and will be refused. q may be nil.
func (q *sendQueue) givenUp(clean bool) error {
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	lost, late := q.lost, q.moving
	if clean {
		late = q.adding
	}
	lost.add(late.messages, late.bytes)
	if lost.messages == 0 {
		return nil
	}
	return fmt.Errorf("websocket: queued messages were given up: %d, with %d bytes", lost.messages, lost.bytes)
}

// end is dropAll with the terminal error, which no other replaces. q may be
// nil.
func (q *sendQueue) end(err error) {
	if q == nil {
		return
	}
	q.dropAll(err)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.err, q.ended = err, true
}

// dropAll drops all messages and refuses further ones with err. q may be nil.
func (q *sendQueue) dropAll(err error) {
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
		q.lost.add(1, len(m.payload()))
		m.free()
	}
	q.signalRoomLocked()
}

// roomChan returns a channel that is closed when something that Send accepted
// has left or was given up, or nil if there is nothing. q may be nil.
func (q *sendQueue) roomChan() <-chan struct{} {
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.entries)+q.moving.messages == 0 {
		return nil
	}
	if q.room == nil {
		q.room = make(chan struct{})
	}
	return q.room
}
