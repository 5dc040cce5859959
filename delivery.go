package websocket

import (
	"context"
	"errors"
	"log"
	"os"
	"sync/atomic"
)

// A Receiver is called with what happens on a connection whose reading was
// handed over, by [ReceiverHandler] or [Conn.Deliver]. The calls for one
// connection come one after another, those for different connections at once.
//
// All methods of a Conn may be called from these, except those that read. Close
// waits for the end of the connection, in which Closed is not called before the
// method has returned.
//
// Methods may take their time: other connections are served meanwhile. One that
// takes longer than about 100 µs costs a goroutine while it lasts.
//
// A panic ends the connection with 1011, and is logged as one of a function
// given to [Handler].
type Receiver interface {
	// Opened is called once, first. An error closes the connection, as one of
	// Receive does.
	Opened(c *Conn) error
	// Receive is called with each message, in order. m is lent: it is valid
	// until Receive returns. After nil the next message follows. An error
	// closes the connection, as one that a function given to Handler returns,
	// and no message follows.
	Receive(c *Conn, m Message) error
	// Closed is called once, last, with the terminal error. The connection may
	// linger until its peer has seen the end.
	Closed(c *Conn, end *CloseError)
}

// Errors of Deliver, and of the methods that read after it.
var (
	errNoReceiver = errors.New("websocket: Deliver without a Receiver")
	errDelivered  = errors.New("websocket: reading was handed over to a Receiver")
)

// Deliver hands the reading of c over: from now on to is called with what
// happens, beginning with Opened, on goroutines of the package and never on the
// caller's. Messages that have come and were not read are delivered, also one of
// which an interrupted read has received a part; one that a MessageReader has
// begun is dropped.
//
// The methods that read return an error from now on; a call that waits for a
// message gets that one first. Deadlines of reads are removed, and no longer
// set. c is closed by an error of to, by its peer, or by any call of Close or
// CloseNow.
//
// # Memory
//
// On Linux, a connection whose net.Conn is itself a [*net.TCPConn] or
// [*net.UnixConn] is parked: no goroutine waits for it, and while it is idle it
// takes about 500 bytes. Its descriptor is duplicated and its net.Conn closed;
// [Conn.NetConn] then returns another one, with the method SyscallConn for
// options of the socket. On any other net.Conn, such as TLS, on other systems
// and in a bubble of [testing/synctest], a goroutine waits for messages, which
// takes some 3 KiB.
//
// If Deliver returns an error, because c has ended, was handed over before, or
// [Conn.CloseRead] was called, to is not called.
func (c *Conn) Deliver(to Receiver) error {
	if to == nil {
		return errNoReceiver
	}
	if err := c.terminal(); err != nil {
		return err
	}
	if !c.startDelivery(&delivery{to: to}) {
		return c.whyNotRead()
	}
	return nil
}

// A delivery is what is known of a connection whose reading was handed over.
//
//	Deliver ──► a goroutine: Opened, and what has come
//	                 │
//	                 ├── the socket can be polled ──► park ──► turns, by a poller
//	                 └── otherwise ──────────────► the goroutine waits for messages
//
// One goroutine at a time has the turn, in which it calls the Receiver:
//
//	               a poller's event, or the end
//	turnFree ───────────────────────────────────► turnTaken ──┐ another event
//	    ▲                                             │   ▲    ▼
//	    └─────────────────────────────────────────────┘   └─ turnAgain
//	                     all is delivered
//
// A connection that is not parked never frees the turn.
type delivery struct {
	to    Receiver
	host  *deliveryHost // or nil. Conn.life.mu guards it
	turn  atomic.Uint32 // turnFree, turnTaken or turnAgain
	marks flagSet[deliveryMark]

	fd     descriptor // of a parked connection
	socket socket     // the same, for those that read and write
}

// A deliveryMark is something that is so or not.
type deliveryMark uint32

const (
	parked          deliveryMark = 1 << iota // a poller calls serveTurn
	mayHaveEnded                             // what comes is read until nothing does: the peer may have ended
	unseenInput                              // something has come while somebody read
	receiverStopped                          // it gets no more messages
	receiverClosed                           // Closed has returned; set with Conn.life.mu
)

// A deliveryHost is where a connection came from. Connections may share it.
type deliveryHost struct {
	errorLog *log.Logger // for panics; nil: the log package's
	release  func()      // called once nothing serves the connection; or nil
}

// States of delivery.turn.
const (
	turnFree uint32 = iota
	turnTaken
	turnAgain // taken, and there may be more to do
)

// claim takes the turn and reports true, or tells whoever has it that there may
// be more to do.
func (d *delivery) claim() bool {
	for {
		if d.turn.CompareAndSwap(turnFree, turnTaken) {
			return true
		}
		if d.turn.CompareAndSwap(turnTaken, turnAgain) || d.turn.Load() == turnAgain {
			return false
		}
	}
}

// yieldTurn frees the turn, unless there may be more to do, and reports that.
func (d *delivery) yieldTurn() bool {
	if d.turn.CompareAndSwap(turnTaken, turnFree) {
		return true
	}
	d.turn.Store(turnTaken)
	return false
}

// startDelivery begins d, also on a connection that has ended. It reports false
// if there is a delivery.
func (c *Conn) startDelivery(d *delivery) bool {
	handedOver := c.handOver(d)
	if handedOver {
		go c.beginDelivery(d)
	}
	return handedOver
}

// handOver makes d, which is to be begun, the delivery of c. It reports false if
// there is one.
func (c *Conn) handOver(d *delivery) bool {
	d.turn.Store(turnTaken)
	if !c.delivery.CompareAndSwap(nil, d) {
		return false
	}
	c.removeReadDeadline()
	return true
}

// removeReadDeadline removes the deadline that the user set.
func (c *Conn) removeReadDeadline() {
	if d := c.read.deadlines.load(); d != nil {
		d.setUserDeadline(0)
	}
}

// whyNotRead returns why the application must not read: reading was handed over,
// or closed.
func (c *Conn) whyNotRead() error {
	if c.delivery.Load() == nil {
		return nil
	}
	c.life.mu.Lock() // under which terminate ends the context first
	defer c.life.mu.Unlock()
	if err := c.terminal(); err != nil {
		return err
	}
	if c.isReadClosed() {
		return errReadClosed
	}
	return errDelivered
}

// hasReceiver reports whether reading was handed over to a Receiver.
func (c *Conn) hasReceiver() bool { return c.delivery.Load() != nil && !c.isReadClosed() }

// beginDelivery opens the delivery and hands it to a poller or, if the
// connection cannot be parked, waits for messages.
func (c *Conn) beginDelivery(d *delivery) {
	returned := false
	defer func() {
		if !returned { // the Receiver has ended the goroutine
			go c.awaitEndOfDelivery(d)
		}
	}()
	c.guarded(d, func() error { return d.to.Opened(c) })
	if c.park(d) {
		returned = true
		serveAlone((*parkedConn)(c))
		return
	}
	if !d.marks.has(receiverStopped) {
		c.guarded(d, func() error { return c.deliverAll(d) })
	}
	returned = true
	c.awaitEndOfDelivery(d)
}

// awaitEndOfDelivery waits for the end of a connection that is not parked, and
// tells the Receiver.
func (c *Conn) awaitEndOfDelivery(d *delivery) {
	<-c.endedChan()
	c.endDelivery(d)
}

// guarded calls f, which calls the Receiver. An error, a panic or
// runtime.Goexit closes the connection, which guarded does not wait for.
func (c *Conn) guarded(d *delivery, f func() error) {
	err := errHandlerExit
	defer c.judge(d, &err)
	err = f()
}

// judge is deferred. If the Receiver has returned an error, or not at all, it
// logs that and closes the connection.
func (c *Conn) judge(d *delivery, err *error) {
	if *err == nil {
		return
	}
	if panicked := recover(); panicked != nil {
		c.logPanic(c.errorLogOf(d), panicked)
	} else if *err != c.terminal() { // which was reported
		c.logError(*err)
	}
	d.marks.set(receiverStopped)
	if c.terminal() == nil {
		go c.Close(closeFor(*err))
	}
}

// deliverAll waits for messages and delivers them until the connection ends or
// the Receiver returns an error, which deliverAll returns.
func (c *Conn) deliverAll(d *delivery) error {
	ctx, borrower := context.Background(), theReceiver
	for {
		var m Message
		err := c.awaitMessage(ctx, borrower)
		if err == nil {
			m.Type, m.Data, err = c.takeMessage(ctx, placeLend, nil, &borrower)
		}
		switch {
		case err == nil:
			if err := d.to.Receive(c, m); err != nil {
				return err
			}
		case err == os.ErrDeadlineExceeded:
			c.removeReadDeadline() // it was set just before
		default:
			return nil
		}
	}
}

// endDelivery tells the Receiver of the end of the connection, and those that
// wait that nothing serves it any more. It is called once, by whoever has the
// turn, and keeps it.
func (c *Conn) endDelivery(d *delivery) {
	defer c.releaseDelivery(d)
	defer func() {
		if panicked := recover(); panicked != nil {
			c.logPanic(c.errorLogOf(d), panicked)
		}
	}()
	d.to.Closed(c, c.life.terminal())
}

// releaseDelivery records that Closed has returned.
func (c *Conn) releaseDelivery(d *delivery) {
	c.life.mu.Lock()
	d.marks.set(receiverClosed)
	host := d.host
	c.life.mu.Unlock()
	if host != nil && host.release != nil {
		host.release()
	}
}

// setHost makes host what c came from, and what is released once Closed has
// returned. There must be a delivery.
func (c *Conn) setHost(host *deliveryHost) {
	d := c.delivery.Load()
	c.life.mu.Lock()
	d.host = host
	over := d.marks.has(receiverClosed)
	c.life.mu.Unlock()
	if over && host.release != nil {
		host.release()
	}
}

// errorLogOf returns where panics of the Receiver are logged, or nil.
func (c *Conn) errorLogOf(d *delivery) *log.Logger {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	if d.host == nil {
		return nil
	}
	return d.host.errorLog
}
