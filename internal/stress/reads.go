package stress

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"sync/atomic"

	"github.com/fullduplex-go/websocket"
)

// A reader is a goroutine that receives messages in all possible ways, until
// the connection ends.
type reader struct {
	*end
	id     int
	rand   *rand.Rand
	order  *order
	buf    []byte // for ReadInto, reused
	kept   []kept
	stale  []*websocket.MessageReader // of messages that are over or abandoned
	answer *writer                    // nil: does not answer
	over   bool                       // a call has returned the terminal error
}

// A kept message was received into memory that belongs to the reader. Nothing
// may change it any more.
type kept struct {
	data []byte
	copy []byte
}

// readerActions are what a reader does.
var readerActions = []action[*reader]{
	{20, (*reader).read},
	{20, (*reader).readInto},
	{20, (*reader).loop},
	{20, (*reader).stream},
	{3, (*reader).rest},
}

// run reads until the connection ends.
func (r *reader) run() {
	for n := 0; !r.over; n++ {
		if n == r.plan.handOver[r.index] {
			r.handOver()
			continue
		}
		if n == r.plan.closeRead[r.index] {
			r.closeReading()
			continue
		}
		pick(r.rand, readerActions)(r)
	}
	r.lookAtKept(0)
	switch r.plan.after[r.index] {
	case closeNowAfter:
		r.conn.CloseNow()
	case closeAfter:
		r.closeAgain()
	}
}

// handOver hands the reading over, and waits for the end.
func (r *reader) handOver() {
	d := &delivered{reader: r, closed: make(chan struct{})}
	if r.late != nil {
		r.handed.Store(true)
		r.late.become(d)
		<-d.closed
		return
	}
	c := r.begin("Deliver", reading, context.Background())
	if err := r.conn.Deliver(d); err != nil {
		r.judgeRead(c, err)
		return
	}
	r.handed.Store(true)
	<-d.closed
}

// closeReading calls CloseRead, checks that there is nothing more to read, and waits
// for the end. Before, its context may end alone.
func (r *reader) closeReading() {
	r.in.drop()
	if r.rand.IntN(2) == 0 {
		parent, cancel := context.WithCancel(context.Background())
		ctx := r.conn.CloseRead(parent)
		cancel()
		<-ctx.Done()
	}
	ctx := r.conn.CloseRead(context.Background())
	for range r.rand.IntN(3) {
		if _, _, err := r.conn.Read(ctx); err == nil {
			r.report("Read after CloseRead returned a message")
		}
		r.useStale()
	}
	<-ctx.Done()
	for r.conn.Flush() == nil { // the context ends a moment before writes are refused
		pause(r.rand, 100)
	}
	r.over = true
	if end := r.terminal(); end == nil || context.Cause(ctx) != error(end) {
		r.report("the context of CloseRead ended with %v, and the connection with %v", context.Cause(ctx), end)
	}
}

// A delivered is the Receiver of an end.
type delivered struct {
	*reader
	calls  atomic.Int32
	opened bool
	closed chan struct{}
}

// alone reports if another call is under way.
func (d *delivered) alone() (leave func()) {
	if d.calls.Add(1) > 1 {
		d.report("a Receiver is called twice at once")
	}
	return func() { d.calls.Add(-1) }
}

// Opened checks that it is called first.
func (d *delivered) Opened(*websocket.Conn) error {
	defer d.alone()()
	if d.opened {
		d.report("Opened was called twice")
	}
	d.opened = true
	return nil
}

// Receive does what the body of a loop does.
func (d *delivered) Receive(_ *websocket.Conn, m websocket.Message) error {
	defer d.alone()()
	if !d.opened || d.over {
		d.report("Receive was called before Opened or after Closed")
	}
	d.body(m)
	return nil
}

// Closed checks the end.
func (d *delivered) Closed(_ *websocket.Conn, end *websocket.CloseError) {
	defer close(d.closed)
	defer d.alone()()
	if end == nil || d.terminal() != end {
		d.report("Closed was called with %v, and the end is %v", end, d.terminal())
	}
	d.over = true
	if d.plan.after[d.index] == closeNowAfter {
		d.conn.CloseNow()
	}
}

// closeAgain calls Close after the end, which only returns how it ended.
func (r *reader) closeAgain() {
	err := r.conn.Close(websocket.CloseNormal, "")
	switch end := r.terminal(); {
	case end == nil:
	case end.Received && end.Sent && err != nil, !(end.Received && end.Sent) && err != error(end):
		r.report("Close after the end returned %v, and the end was %s", err, describe(end))
	}
}

// judgeRead checks the error of a call that reads, and reports whether the call
// received something.
func (r *reader) judgeRead(c *call, err error) bool {
	o := c.judge(err)
	if o == over && !r.over {
		r.over = true
		if r.terminal() == nil {
			r.report("%s returned %v, and Context is not done", c.name, err)
		}
	}
	if o == gaveUp {
		pause(r.rand, 100) // a deadline may have passed and not be reset yet
	}
	return o == done
}

func (r *reader) read() {
	r.gate.RLock()
	defer r.gate.RUnlock()
	ctx, cancel := r.context(r.rand, r.mayInterrupt(reading))
	defer cancel()
	c := r.begin("Read", reading, ctx)
	t, p, err := r.conn.Read(ctx)
	if !r.judgeRead(c, err) {
		return
	}
	r.in.arrived(r.order, t, p)
	r.kept = append(r.kept, kept{p, bytes.Clone(p)})
	r.lookAtKept(4)
	r.useStale()
}

// lookAtKept checks and drops the oldest kept messages until left remain.
func (r *reader) lookAtKept(left int) {
	for len(r.kept) > left {
		k := r.kept[0]
		r.kept = r.kept[1:]
		if !bytes.Equal(k.data, k.copy) {
			r.report("what Read returned was changed later: %.60q", k.data)
		}
		scribble(append(k.data, "mine"...))
	}
}

func (r *reader) readInto() {
	r.gate.RLock()
	defer r.gate.RUnlock()
	if r.rand.IntN(4) == 0 {
		r.buf = make([]byte, r.rand.IntN(1<<r.rand.IntN(17)))
	}
	ctx, cancel := r.context(r.rand, r.mayInterrupt(reading))
	defer cancel()
	c := r.begin("ReadInto", reading, ctx)
	t, p, err := r.conn.ReadInto(ctx, r.buf[:r.rand.IntN(len(r.buf)+1)])
	if !r.judgeRead(c, err) {
		return
	}
	r.in.arrived(r.order, t, p)
	scribble(p[:cap(p)])
	r.buf = p[:cap(p)]
}

// loop takes some messages from Messages.
func (r *reader) loop() {
	r.gate.RLock()
	defer r.gate.RUnlock()
	ctx, cancel := r.context(r.rand, r.mayInterrupt(reading))
	defer cancel()
	left := 1 + r.rand.IntN(8)
	c := r.begin("Messages", reading, ctx)
	for m, err := range r.conn.Messages(ctx) {
		if !r.judgeRead(c, err) {
			return
		}
		r.body(m)
		if left--; left == 0 {
			return
		}
		c = r.begin("Messages", reading, ctx)
	}
	// The loop ended without an error, so the connection has ended normally.
	<-r.conn.Context().Done()
	r.over = true
	if ce := r.terminal(); ce == nil || !ce.Received || !ce.Sent && r.plan.ending != closeContext {
		r.report("Messages ended quietly, and the connection by %v", ce)
	}
}

// body is the body of a loop. The message is lent to it: nothing else changes
// the message, and the body may.
func (r *reader) body(m websocket.Message) {
	r.bodies.Add(1)
	r.in.arrived(r.order, m.Type, m.Data)
	before := bytes.Clone(m.Data)
	answers := r.answer != nil && r.rand.IntN(3) == 0
	if !answers {
		r.bodies.Add(-1)
		r.useStale()
	}
	if r.rand.IntN(4) == 0 {
		pause(r.rand, 300)
	}
	if !bytes.Equal(m.Data, before) {
		r.report("a message that was lent changed in the body of the loop")
	}
	r.damage(m.Data)
	if answers {
		r.answer.buf = m.Data[:0] // an answer may overwrite the message
		r.answer.write()
		r.answer.buf = nil
		r.bodies.Add(-1)
	}
}

// damage overwrites p, or bytes between its length and capacity, or nothing.
func (r *reader) damage(p []byte) {
	switch r.rand.IntN(3) {
	case 0:
		scribble(p)
	case 1:
		scribble(append(p, "these bytes may lie where the next message does"...))
	}
}

// stream reads a message with a MessageReader, in one of many ways, to its end
// or not. Unless the round is contested no other reader reads meanwhile.
func (r *reader) stream() {
	contested := r.plan.contested && r.rand.IntN(2) == 0
	if contested {
		r.gate.RLock()
		defer r.gate.RUnlock()
	} else {
		r.gate.Lock()
		defer r.gate.Unlock()
	}
	ctx, cancel := r.context(r.rand, r.mayInterrupt(reading))
	defer cancel()
	c := r.begin("Reader", reading, ctx)
	t, mr, err := r.conn.Reader(ctx)
	if !r.judgeRead(c, err) {
		return
	}
	s := &streamed{reader: r, call: c, mr: mr}
	c.after = nil
	if contested {
		r.in.lost(1) // others may take the message away, and keep the turn
		defer r.in.lost(-1)
	}
	pick(r.rand, streamActions)(s)
	c.hazard() // of the calls that returned no error
	s.account(t)
	r.stale = append(r.stale[max(0, len(r.stale)-3):], mr)
}

// A streamed message is read in pieces.
type streamed struct {
	*reader
	call  *call
	mr    *websocket.MessageReader
	got   []byte
	ended bool // everything was read
}

// streamActions are the ways to read a message with a MessageReader.
var streamActions = []action[*streamed]{
	{6, (*streamed).inPieces},
	{3, (*streamed).byCopy},
	{2, (*streamed).partly},
	{1, (*streamed).discard},
}

// account records what was received.
func (s *streamed) account(t websocket.MessageType) {
	if s.ended {
		s.in.arrived(s.order, t, s.got)
		return
	}
	if n, ok := parseName(s.got, s.in.from); ok {
		s.in.see(s.order, n, t)
	} else {
		s.in.lost(1)
	}
}

// again reports whether reading continues after err.
func (s *streamed) again(err error) bool {
	switch {
	case err == nil:
		return true
	case err == os.ErrDeadlineExceeded:
		return s.judge(err) == gaveUp
	case err == io.EOF:
		s.ended = true
		return false
	}
	s.judge(err)
	return false
}

// judge checks an error of the MessageReader.
func (s *streamed) judge(err error) outcome {
	if s.plan.contested && isStale(err) {
		return refused
	}
	c := s.call
	c.name = "MessageReader"
	if s.judgeRead(c, err) {
		return done
	}
	if err == os.ErrDeadlineExceeded {
		return gaveUp
	}
	return over
}

// isStale reports whether err is that of a MessageReader whose message is gone.
func isStale(err error) bool {
	return err != nil && err.Error() == "websocket: another message was read after this one"
}

// inPieces reads the message to its end.
func (s *streamed) inPieces() { s.readUpTo(1 << 30) }

// partly reads some bytes, usually including the name, and abandons the message.
func (s *streamed) partly() { s.readUpTo(s.rand.IntN(10 * nameSize)) }

// readUpTo reads at least n bytes, unless the message ends before.
func (s *streamed) readUpTo(n int) {
	for err := error(nil); s.again(err) && len(s.got) < n; {
		piece := make([]byte, 1+s.rand.IntN(1<<s.rand.IntN(15)))
		var k int
		k, err = s.mr.Read(piece)
		s.got = append(s.got, piece[:k]...)
		scribble(piece)
	}
}

// byCopy reads the message with io.Copy.
func (s *streamed) byCopy() {
	for {
		_, err := io.Copy(s, s.mr)
		if err == nil {
			s.ended = true
			return
		}
		if !s.again(err) {
			return
		}
	}
}

// Write receives a piece from io.Copy and checks that nothing changes it
// meanwhile.
func (s *streamed) Write(p []byte) (int, error) {
	s.got = append(s.got, p...)
	if s.rand.IntN(8) == 0 {
		pause(s.rand, 100)
	}
	if !bytes.Equal(p, s.got[len(s.got)-len(p):]) {
		s.report("a piece that WriteTo lent was changed")
	}
	return len(p), nil
}

// discard drops the message, usually after its name.
func (s *streamed) discard() {
	if s.rand.IntN(4) > 0 {
		s.readUpTo(nameSize)
	}
	for !s.ended {
		err := s.mr.Discard()
		if err == nil || !s.again(err) {
			return
		}
	}
}

// useStale uses a MessageReader whose message is over or was abandoned. It must
// return an error and change nothing.
func (r *reader) useStale() {
	if len(r.stale) == 0 || r.rand.IntN(3) > 0 {
		return
	}
	mr := r.stale[r.rand.IntN(len(r.stale))]
	p := make([]byte, 100)
	n, err := mr.Read(p)
	if n > 0 || err == nil {
		r.report("a stale MessageReader read %d bytes and returned %v", n, err)
	}
	var sink bytes.Buffer
	if n, _ := mr.WriteTo(&sink); n > 0 || sink.Len() > 0 {
		r.report("a stale MessageReader wrote %d bytes", n)
	}
	mr.Discard()
}

// rest does not read for a while.
func (r *reader) rest() { pause(r.rand, 1000) }
