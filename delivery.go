package websocket

import (
	"context"
	"errors"
	"log"
)

// A Receiver is called with what happens on a connection whose reading was
// handed over, by [ReceiverHandler] or [Conn.Deliver]. The calls for one
// connection come one after another, those for different connections at once.
//
// All methods of a Conn may be called from these, except those that read. Close
// waits for the end of the connection, in which Closed is not called before the
// method has returned.
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
// message gets that one first. c is closed by an error of to, by its peer, or by
// any call of Close or CloseNow.
//
// If Deliver returns an error, because c has ended or was handed over before, to
// is not called.
func (c *Conn) Deliver(to Receiver) error {
	if to == nil {
		return errNoReceiver
	}
	return c.deliver(&delivery{to: to})
}

// A delivery is what is known of a connection whose reading was handed over.
type delivery struct {
	to       Receiver
	errorLog *log.Logger // for panics; nil: the log package's
	release  func()      // called once nothing serves the connection; nil: nobody waits. Conn.life.mu guards it
	over     bool        // Closed has returned. Conn.life.mu guards it
}

// deliver is Deliver for a delivery that has begun nothing.
func (c *Conn) deliver(d *delivery) error {
	if err := c.terminal(); err != nil {
		return err
	}
	if !c.delivery.CompareAndSwap(nil, d) {
		return errDelivered
	}
	go c.runDelivery(d)
	return nil
}

// whyNotRead returns why the application must not read: reading was handed
// over.
func (c *Conn) whyNotRead() error {
	if c.delivery.Load() == nil {
		return nil
	}
	if err := c.terminal(); err != nil {
		return err
	}
	return errDelivered
}

// runDelivery delivers messages until the connection ends, on the goroutine
// that the connection has meanwhile.
func (c *Conn) runDelivery(d *delivery) {
	err := errHandlerExit
	defer c.endDelivery(d)
	defer c.finishDelivery(d, &err)
	if err = d.to.Opened(c); err == nil {
		err = c.deliverAll(d)
	}
}

// deliverAll delivers messages until the connection ends or the Receiver
// returns an error.
func (c *Conn) deliverAll(d *delivery) error {
	ctx := context.Background()
	var loop borrower
	for {
		if err := c.awaitMessage(ctx, loop); err != nil {
			return err
		}
		c.lendTo(&loop)
		t, p, err := c.takeMessage(ctx, placeLend, nil)
		if err != nil {
			return err
		}
		if err := d.to.Receive(c, Message{t, p}); err != nil {
			return err
		}
	}
}

// finishDelivery is deferred. It closes the connection because of *err, which
// ended the delivery, or because of a panic, and logs that.
func (c *Conn) finishDelivery(d *delivery, err *error) {
	if panicked := recover(); panicked != nil {
		c.logPanic(d.errorLog, panicked)
	} else {
		c.logError(*err)
	}
	if c.terminal() == nil {
		c.Close(closeFor(*err))
	}
}

// endDelivery tells the Receiver of the end of the connection, and those that
// wait that nothing serves it any more.
func (c *Conn) endDelivery(d *delivery) {
	defer c.releaseDelivery(d)
	defer func() {
		if panicked := recover(); panicked != nil {
			c.logPanic(d.errorLog, panicked)
		}
	}()
	d.to.Closed(c, c.life.terminal.Load())
}

// releaseDelivery records that Closed has returned.
func (c *Conn) releaseDelivery(d *delivery) {
	c.life.mu.Lock()
	d.over = true
	release := d.release
	c.life.mu.Unlock()
	if release != nil {
		release()
	}
}

// whenDelivered calls release once Closed has returned.
func (c *Conn) whenDelivered(d *delivery, release func()) {
	c.life.mu.Lock()
	over := d.over
	d.release = release
	c.life.mu.Unlock()
	if over {
		release()
	}
}
