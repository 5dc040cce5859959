package stress

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/fullduplex-go/websocket"
)

// A writer is a goroutine that sends messages in all possible ways.
type writer struct {
	*end
	id   int
	rand *rand.Rand
	buf  []byte // the message being sent, reused
}

// An action is something to do, and its relative frequency.
type action[T any] struct {
	weight int
	do     func(T)
}

// pick returns one of the actions.
func pick[T any](r *rand.Rand, actions []action[T]) func(T) {
	all := 0
	for _, a := range actions {
		all += a.weight
	}
	n := r.IntN(all)
	for _, a := range actions {
		if n -= a.weight; n < 0 {
			return a.do
		}
	}
	return nil
}

// writerActions are what a writer does.
var writerActions = []action[*writer]{
	{30, (*writer).write},
	{15, (*writer).send},
	{12, (*writer).stream},
	{6, (*writer).writePrepared},
	{6, (*writer).sendPrepared},
	{6, (*writer).sendGroup},
	{3, (*writer).empty},
	{2, (*writer).forsaken},
	{2, (*writer).flush},
	{2, (*writer).drain},
	{2, (*writer).ping},
	{4, (*writer).sendPing},
	{1, (*writer).sendPong},
	{3, (*writer).rest},
}

// run sends the messages of the plan, unless the connection ends before.
func (w *writer) run() {
	for range w.plan.messages {
		if w.terminal() != nil {
			return
		}
		pick(w.rand, writerActions)(w)
	}
}

// compose makes a message in buf and records it. Most messages are small.
func (w *writer) compose(way way, t websocket.MessageType) (name, []byte) {
	size := nameSize + w.rand.IntN(1+w.rand.IntN(200))
	if w.rand.IntN(3) == 0 {
		size = nameSize + w.rand.IntN(w.plan.largest)
	}
	n := w.out.begin(w.id, t, way)
	w.buf = compose(w.buf[:0], w.letter, n, size, content(w.rand, t, size-nameSize))
	return n, w.buf
}

// anyType returns one of the two types.
func (w *writer) anyType() websocket.MessageType {
	return websocket.MessageType(1 + w.rand.IntN(2))
}

// wrote records the outcome of a call that wrote message n, checks that the call
// has not changed the message, and overwrites its memory.
func (w *writer) wrote(c *call, n name, err error, may ...error) {
	f := maybe
	switch c.judge(err, may...) {
	case done:
		f = said
	case refused:
		f = never
	case gaveUp:
		if c.dead {
			f = never
		}
	}
	w.out.settle(n, f)
	if _, err := parse(w.buf, w.letter); err != nil {
		w.report("%s: the caller's message %v", c.name, err)
	}
	scribble(w.buf)
}

// scribble overwrites p.
func scribble(p []byte) {
	for i := range p {
		p[i] ^= 0x5a
	}
}

func (w *writer) write() {
	ctx, cancel := w.context(w.rand, w.mayInterrupt(writing))
	defer cancel()
	w.writeOnce(ctx)
}

// writeOnce sends one message with Write or a similar method.
func (w *writer) writeOnce(ctx context.Context) {
	t := w.anyType()
	n, p := w.compose(written, t)
	var err error
	c := w.begin("Write", writing, ctx)
	switch kind := w.rand.IntN(4); {
	case kind == 0 && t == websocket.Text:
		c.name = "WriteString"
		err = w.conn.WriteString(ctx, string(p))
	case kind == 1:
		c.name = "WritePlain"
		err = w.conn.WritePlain(ctx, t, p)
	default:
		err = w.conn.Write(ctx, t, p)
	}
	w.wrote(c, n, err)
}

// prepare returns a message to send, of which some must not be compressed.
func (w *writer) prepare(t websocket.MessageType, p []byte) *websocket.Prepared {
	if w.rand.IntN(3) == 0 {
		return websocket.PreparePlain(t, p)
	}
	return websocket.Prepare(t, p)
}

func (w *writer) writePrepared() {
	ctx, cancel := w.context(w.rand, w.mayInterrupt(writing))
	defer cancel()
	t := w.anyType()
	n, p := w.compose(written, t)
	m := w.prepare(t, p)
	c := w.begin("WritePrepared", writing, ctx)
	w.wrote(c, n, w.conn.WritePrepared(ctx, m))
}

// policy prepares for a call that queues a message, and returns the errors that
// it may return.
func (w *writer) policy(c *call) (may []error) {
	switch w.plan.config[w.index].SlowConsumer {
	case websocket.DropNewest:
		return []error{websocket.ErrQueueFull}
	case websocket.CloseSlow:
		return []error{websocket.ErrSlowConsumer}
	}
	return nil
}

// queued records the outcome of a call that queued message n. If it failed,
// nothing is sent.
func (w *writer) queued(c *call, n name, err error) {
	may := w.policy(c)
	f := never
	if c.judge(err, may...) == done {
		f = said
	} else if err == websocket.ErrSlowConsumer {
		w.excuse(c.at, "the queue was full")
	}
	w.out.settle(n, f)
	scribble(w.buf)
}

func (w *writer) send() {
	t := w.anyType()
	n, p := w.compose(queued, t)
	c := w.begin("Send", writing, context.Background())
	if w.rand.IntN(3) == 0 {
		c.name = "SendPlain"
		w.queued(c, n, w.conn.SendPlain(t, p))
		return
	}
	w.queued(c, n, w.conn.Send(t, p))
}

func (w *writer) sendPrepared() {
	t := w.anyType()
	n, p := w.compose(queued, t)
	m := w.prepare(t, p)
	scribble(p)
	c := w.begin("SendPrepared", writing, context.Background())
	w.queued(c, n, w.conn.SendPrepared(m))
}

func (w *writer) sendGroup() {
	t := w.anyType()
	n, p := w.compose(queued, t)
	m := w.prepare(t, p)
	c := w.begin("Group.Send", writing, context.Background())
	queued, dropped := w.group.Send(m)
	f := never
	switch {
	case queued == 1 && dropped == 0:
		f = said
		if c.after != nil {
			w.report("Group.Send after the end queued a message")
		}
	case queued+dropped > 1, queued+dropped == 0 && w.terminal() == nil:
		w.report("Group.Send to one member returned %d, %d", queued, dropped)
	case dropped == 1 && w.plan.config[w.index].SlowConsumer == websocket.CloseSlow:
		w.excuse(c.at, "the queue was full")
	}
	w.out.settle(n, f)
}

// empty sends an empty message.
func (w *writer) empty() {
	way := way(w.rand.IntN(2))
	number := w.out.beginEmpty(way)
	c := w.begin("Write of nothing", writing, context.Background())
	var err error
	if way == written {
		err = w.conn.Write(c.ctx, w.anyType(), nil)
	} else {
		err = w.conn.Send(w.anyType(), nil)
	}
	f := maybe
	if c.judge(err, w.policy(c)...) == done {
		f = said
	} else if err == websocket.ErrSlowConsumer {
		w.excuse(c.at, "the queue was full")
	}
	w.out.settleEmpty(number, f)
}

// stream sends a message with a MessageWriter, in random pieces.
func (w *writer) stream() {
	ctx, cancel := w.context(w.rand, w.mayInterrupt(writing) && w.rand.IntN(4) == 0)
	defer cancel()
	t := w.anyType()
	n, p := w.compose(written, t)
	c := w.begin("MessageWriter", writing, ctx)
	open := w.conn.Writer
	if w.rand.IntN(3) == 0 {
		open = w.conn.WriterPlain
	}
	mw, err := open(ctx, t)
	if err == nil {
		c.after, c.lenient = nil, true // buffering needs no connection
		err = w.pieces(mw, p)
	}
	if err != nil && mw != nil {
		if !errors.Is(err, net.ErrClosed) {
			w.excuse(c.at, "a MessageWriter could not finish: %v", err)
		}
		if again := mw.Close(); again != err {
			w.report("a MessageWriter failed with %v and then with %v", err, again)
		}
	}
	w.wrote(c, n, err)
}

// pieces writes p to mw in pieces and closes mw.
func (w *writer) pieces(mw *websocket.MessageWriter, p []byte) (err error) {
	for len(p) > 0 {
		piece := p[:1+w.rand.IntN(min(len(p), 1<<w.rand.IntN(15)))]
		p = p[len(piece):]
		switch w.rand.IntN(4) {
		case 0:
			_, err = mw.WriteString(string(piece))
		case 1:
			_, err = mw.ReadFrom(onlyReader{bytes.NewReader(piece)})
		default:
			own := bytes.Clone(piece)
			_, err = mw.Write(own)
			scribble(own)
		}
		if err == nil && w.rand.IntN(4) == 0 {
			err = mw.Flush()
		}
		if w.rand.IntN(10) == 0 {
			w.pingBriefly()
		}
		if err != nil {
			return err
		}
	}
	return mw.Close()
}

// An onlyReader has no method but Read, which returns io.EOF together with the
// last bytes.
type onlyReader struct{ r *bytes.Reader }

func (o onlyReader) Read(p []byte) (int, error) {
	n, err := o.r.Read(p)
	if o.r.Len() == 0 {
		err = io.EOF
	}
	return n, err
}

// forsaken begins a message and abandons it before its first byte is sent:
// nothing is sent, and the connection stays open.
func (w *writer) forsaken() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	t := w.anyType()
	n := w.out.begin(w.id, t, written)
	w.buf = compose(w.buf[:0], w.letter, n, nameSize, nil)
	c := w.begin("forsaken MessageWriter", writing, ctx)
	mw, err := w.conn.Writer(ctx, t)
	if err == nil {
		c.after, c.lenient = nil, true
		if _, err = mw.Write(w.buf); err == nil {
			cancel()
			c.dead = true // its context ended before anything was sent
			err = mw.Close()
		}
	}
	w.wrote(c, n, err)
}

func (w *writer) flush() {
	c := w.begin("Flush", writing, context.Background())
	c.judge(w.conn.Flush())
}

func (w *writer) drain() {
	ctx, cancel := w.context(w.rand, w.mayInterrupt(writing))
	defer cancel()
	c := w.begin("Drain", writing, ctx)
	c.judge(w.conn.Drain(ctx))
}

func (w *writer) ping() {
	if w.plan.pings {
		ctx, cancel := w.context(w.rand, w.mayInterrupt(reading))
		defer cancel()
		w.pingOnce(ctx)
	}
}

// pingBriefly sends a Ping and does not wait for long: the Pong may come after
// data that only the caller itself could read.
func (w *writer) pingBriefly() {
	if w.plan.pings && !w.plan.transport.noDeadlines {
		ctx, cancel := context.WithTimeout(context.Background(), brief(w.rand, 2000))
		defer cancel()
		w.pingOnce(ctx)
	}
}

// pingOnce sends a Ping.
func (w *writer) pingOnce(ctx context.Context) {
	c := w.begin("Ping", neither, ctx)
	_, err := w.conn.Ping(ctx)
	c.judge(err)
}

// sendPing sends a Ping of the application's.
func (w *writer) sendPing() {
	if w.plan.pings {
		w.pings.send(w.end)
	}
}

// sendPong sends a Pong that nobody has asked for.
func (w *writer) sendPong() {
	c := w.begin("SendPong", writing, context.Background())
	c.judge(w.conn.SendPong([]byte(unsolicited)), websocket.ErrQueueFull)
}

// limit changes the limit on messages, to one above all that are sent.
func (w *writer) limit() {
	if w.plan.limits {
		w.conn.SetMaxMessageSize(int64(nameSize + w.plan.largest + w.rand.IntN(1000)))
	}
}

// rest calls the methods that only report state, and waits.
func (w *writer) rest() {
	w.conn.Stats()
	if messages, bytes := w.conn.Queued(); messages < 0 || bytes < 0 {
		w.report("Queued returned %d, %d", messages, bytes)
	}
	pause(w.rand, 500)
}

// meddle interrupts the calls of other goroutines until stop is closed, and
// leaves no deadline behind.
func (w *writer) meddle(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(brief(w.rand, 1500)):
		}
		if w.terminal() != nil {
			return
		}
		w.sendPing()
		k := kind(w.rand.IntN(2))
		if w.mayInterrupt(k) && w.rand.IntN(3) == 0 {
			deadline := time.Now().Add(brief(w.rand, 4000) - 2*time.Millisecond)
			w.setDeadline(k, deadline)
			pause(w.rand, 3000)
			w.setDeadline(k, time.Time{})
			continue
		}
		w.limit()
		w.ping()
	}
}
