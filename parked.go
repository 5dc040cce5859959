package websocket

import (
	"context"
	"math"
	"sync/atomic"
)

// A parkedConn is a Conn as a poller serves it: no goroutine waits for what
// comes. Whatever may be of interest to it takes the turn of its delivery and
// sees to it that serveTurn is called, or tells whoever has the turn: an event
// of the poller, the end of the connection, and a call that has read for itself
// and stops.
type parkedConn Conn

// theReceiver is the borrower of messages that are delivered.
const theReceiver borrower = math.MaxUint64 // no other has it

// messagesPerTurn is how many messages of one connection are delivered before
// it is another's turn.
const messagesPerTurn = 64

// park makes a poller serve c, if that is possible: it duplicates the descriptor
// and closes the net.Conn, whose memory is half of that of an idle connection.
// The caller has the turn of d and keeps it.
func (c *Conn) park(d *delivery) bool {
	if !canPoll || inBubble() || !c.socket().isRaw() {
		return false
	}
	if !startPollers() || c.lockReading(context.Background()) != nil {
		return false
	}
	defer c.read.lock.unlock()
	fd, err := duplicate(c.socket().rawConn())
	if err != nil {
		return false
	}
	d.fd = descriptor{owner: (*parkedConn)(c), fd: fd}
	if err := d.fd.register(); err != nil {
		d.fd.Close()
		return false
	}
	d.marks.set(parked)
	c.moveTo(d)
	return true
}

// isParked reports whether a poller serves c.
func (c *Conn) isParked() bool {
	d := c.delivery.Load()
	return d != nil && d.marks.has(parked)
}

// moveTo makes c use the descriptor of d instead of its net.Conn, which is
// closed. The caller holds read.lock.
func (c *Conn) moveTo(d *delivery) {
	old := c.socket()
	if watched := c.unwatchInput(); watched != nil {
		old.rawConn().Control(func(fd uintptr) { watched.queue().remove(int(fd)) })
	}
	d.socket = socket{Conn: &d.fd}
	c.nc.Store(&d.socket)
	if c.in != nil {
		c.in.nc = &d.socket
	}
	c.read.deadlines.load().replaceSocket(&d.socket)
	c.out.replaceSocket(old, &d.socket)
	if c.life.closingTransport.Load() {
		d.fd.Close() // closeTransport may have seen the old one
	}
}

// beginTurn is called by the poller. While a Receiver is slow, control frames
// are read nevertheless.
func (p *parkedConn) beginTurn(r readiness) polled {
	d := (*Conn)(p).delivery.Load()
	if r&readyToEnd != 0 {
		d.marks.set(mayHaveEnded)
	}
	if d.claim() {
		return p
	}
	return (*slowConn)(p)
}

// serveTurn delivers what has come. It keeps the turn if there is more, and when
// it has told the Receiver of the end.
func (p *parkedConn) serveTurn() (more bool) {
	c := (*Conn)(p)
	d := c.delivery.Load()
	returned := false
	defer func() {
		if !returned { // the Receiver has ended the goroutine
			go serveAlone(p)
		}
	}()
	for !more {
		if c.terminal() != nil {
			returned = true
			c.endDelivery(d)
			return false
		}
		if !d.marks.has(receiverStopped) {
			c.guarded(d, func() (err error) { more, err = c.deliverSome(d); return err })
		}
		if !more && d.yieldTurn() {
			break
		}
	}
	returned = true
	return more
}

// slowness is that of the descriptor.
func (p *parkedConn) slowness() *atomic.Int32 { return &(*Conn)(p).delivery.Load().fd.slow }

// deliverSome delivers messages that have come, and reports whether there may be
// more. An error is the Receiver's.
func (c *Conn) deliverSome(d *delivery) (more bool, err error) {
	for n := range messagesPerTurn {
		m, err := c.nextDelivered(d, n == 0)
		if err != nil {
			return false, nil // nothing more has come, or terminate will say what it is
		}
		if err := d.to.Receive(c, m); err != nil {
			return false, err
		}
	}
	c.out.flushCorked()
	return true, nil
}

// nextDelivered returns the next message if it is here, the first of a turn or a
// later one. If somebody else reads, that one sees to it that the delivery goes
// on.
func (c *Conn) nextDelivered(d *delivery, first bool) (m Message, err error) {
	if !c.read.lock.tryLock() {
		return Message{}, errNoInput
	}
	defer c.afterDelivered(d)
	if c.life.ending() != nil {
		return Message{}, errEnding
	}
	if first && c.in != nil {
		c.in.raw.drained = false // there was another event
	}
	return c.pollMessage(d)
}

// afterDelivered is deferred. It releases read.lock and reads for others that
// wanted to meanwhile.
func (c *Conn) afterDelivered(d *delivery) {
	c.read.lock.unlock()
	if c.life.closingTransport.Load() {
		c.releaseReading()
	}
	if d.marks.has(unseenInput) {
		c.readUnseen(d)
	}
}

// pollMessage is nextDelivered for a caller that holds read.lock.
func (c *Conn) pollMessage(d *delivery) (m Message, err error) {
	if c.keepalive.flags.has(dataPending) {
		c.keepalive.flags.clear(dataPending)
	}
	c.reading()
	if c.in.msg.loan.to != nobody {
		c.endLoan(theReceiver)
	}
	m.Type, m.Data, err = c.readMessage(c.pollingFor(d), placeLend, nil)
	if err == nil {
		c.in.msg.loan.to = theReceiver
	}
	return m, err
}

// pollingFor returns the caller that reads for d.
func (c *Conn) pollingFor(d *delivery) caller {
	return caller{ctx: context.Background(), polled: true, edges: !d.marks.has(mayHaveEnded)}
}

// A slowConn is a parkedConn whose Receiver has the turn while more comes.
type slowConn parkedConn

// beginTurn is never called.
func (*slowConn) beginTurn(readiness) polled { return nil }

// serveTurn reads what the Receiver need not wait for.
func (p *slowConn) serveTurn() (more bool) {
	c := (*Conn)(p)
	c.readControls(c.delivery.Load())
	return false
}

// slowness is that of the descriptor.
func (p *slowConn) slowness() *atomic.Int32 { return (*parkedConn)(p).slowness() }

// readControls handles the control frames that have come, up to the next data
// frame, while the Receiver has the turn. If somebody else reads, that one calls
// readUnseen afterwards.
func (c *Conn) readControls(d *delivery) {
	d.marks.set(unseenInput)
	c.readUnseen(d)
	c.resumeDelivery()
}

// readUnseen reads for readControls, if it was called since the last read.
func (c *Conn) readUnseen(d *delivery) {
	for d.marks.has(unseenInput) && c.read.lock.tryLockInternal() {
		d.marks.clear(unseenInput)
		if c.in != nil {
			c.in.raw.drained = false
		}
		c.readLocked(c.pollingFor(d))
	}
}

// resumeDelivery sees to it that what may have to be delivered is.
func (c *Conn) resumeDelivery() {
	d := c.delivery.Load()
	if d != nil && d.claim() {
		go serveAlone((*parkedConn)(c))
	}
}
