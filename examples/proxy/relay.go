package main

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/fullduplex-go/websocket"
)

// A side is one of the two connections of a session.
type side struct {
	name   string // "client" or "backend"
	conn   *websocket.Conn
	passed *progress
	ended  chan struct{}         // closed when conn has ended and its messages were passed on
	end    *websocket.CloseError // how; set before
}

// newSide returns a side without a connection.
func newSide(name string) side {
	return side{name: name, passed: newProgress(), ended: make(chan struct{})}
}

// relay passes messages of one side on to the other until either side ends, and
// then how from ended.
func (s *session) relay(from, to *side) {
	err := s.pass(from, to)
	from.passed.stop()
	if errors.Is(err, errOverRate) {
		from.conn.Close(websocket.ClosePolicyViolation, "messages come too fast")
	}
	// After an error of to, the other relay closes from.
	<-from.conn.Context().Done()
	errors.As(context.Cause(from.conn.Context()), &from.end)
	close(from.ended)
	s.passEnd(from, to)
}

// pass passes messages on until a read, a write, or a rate stops it.
func (s *session) pass(from, to *side) error {
	for {
		t, r, err := from.conn.Reader(context.Background())
		if err != nil {
			return err
		}
		if err := s.passMessage(t, r, from, to); err != nil {
			return err
		}
		s.proxy.metrics.messages.WithLabelValues(from.name).Inc()
		from.passed.add()
	}
}

// pieces are buffers for what is under way of a message.
var pieces = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// passMessage passes one message on, each piece when it arrives. One that is
// here as a whole becomes one frame. After an error, what was sent of it is
// never completed: the other peer must not take it for the whole.
func (s *session) passMessage(t websocket.MessageType, r io.Reader, from, to *side) error {
	buf := pieces.Get().(*[32 << 10]byte)
	defer pieces.Put(buf)
	var w *websocket.MessageWriter
	for {
		n, err := r.Read(buf[:])
		last := err == io.EOF || err == nil && from.isBetweenMessages()
		if err != nil && err != io.EOF {
			return err
		}
		if err := s.account(from, to, n, w == nil); err != nil {
			return err
		}
		if w == nil && last {
			return to.conn.Write(context.Background(), t, buf[:n])
		}
		if w == nil {
			if w, err = to.conn.Writer(context.Background(), t); err != nil {
				return err
			}
		}
		if err := passPiece(w, buf[:n], last); err != nil || last {
			return err
		}
	}
}

// passPiece adds p to the message of w, and sends it.
func passPiece(w *websocket.MessageWriter, p []byte, last bool) error {
	if _, err := w.Write(p); err != nil {
		return err
	}
	if last {
		return w.Close()
	}
	return w.Flush()
}

// account counts n bytes of a message of from, of which they are the first or
// not, and takes them from what a client may send. While it waits, nothing is
// read: the client's own writes come to a halt. The wait ends with to and with
// the program.
func (s *session) account(from, to *side, n int, first bool) error {
	s.proxy.metrics.bytes.WithLabelValues(from.name).Add(float64(n))
	if from != &s.client || s.from.messages == nil && s.from.bytes == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(to.conn.Context())
	defer cancel()
	defer context.AfterFunc(s.proxy.stopping, cancel)()
	if first {
		if err := s.from.take(ctx, s.from.messages, 1); err != nil {
			return err
		}
	}
	return s.from.take(ctx, s.from.bytes, n)
}

// passEnd ends to as from has ended: with the same code and reason, without a
// code if there was none, and without a Close frame if from was lost.
func (s *session) passEnd(from, to *side) {
	switch code := from.end.Code; {
	case s.first.Load() == to:
		// Its peer waits for the answer that onClose returns.
	case code != websocket.CloseAbnormal:
		to.conn.Close(code, from.end.Reason)
	case s.proxy.stopping.Err() != nil:
		to.conn.Close(websocket.CloseGoingAway, goingAway)
	default:
		to.conn.CloseNow()
	}
}

// onClose returns the function that is called with a Close frame of the peer of
// from which is not answered yet. It passes it on behind the messages before
// it, and answers with what the other peer answers: the closing handshake goes
// from end to end, and what the other peer sent meanwhile still arrives. If
// both close at once, each gets its own code back.
func (s *session) onClose(from, to *side) func(*websocket.Conn, *websocket.CloseError) (websocket.CloseCode, string) {
	return func(c *websocket.Conn, end *websocket.CloseError) (websocket.CloseCode, string) {
		<-s.ready // the server may be done before the client is answered
		if s.client.conn == nil || !s.first.CompareAndSwap(nil, from) {
			return 0, ""
		}
		from.passed.await(c.Stats().MessagesIn)
		if to.conn.SendClose(end.Code, end.Reason) != nil {
			return 0, ""
		}
		select {
		case <-to.ended:
		case <-time.After(grace): // the peer that closes does not read what comes before the answer
			return 0, ""
		}
		if to.end.Code == websocket.CloseAbnormal {
			return 0, ""
		}
		return to.end.Code, to.end.Reason
	}
}

// isBetweenMessages reports whether the message that is being read is here to its
// end: Stats then count one message more than were passed on.
func (s *side) isBetweenMessages() bool { return s.conn.Stats().MessagesIn > s.passed.count() }

// A progress counts the messages that were passed on. Make one with
// newProgress.
type progress struct {
	mu      sync.Mutex
	changed sync.Cond
	n       uint64
	over    bool
}

// newProgress returns a progress with a count of 0.
func newProgress() *progress {
	p := new(progress)
	p.changed.L = &p.mu
	return p
}

// count returns how many messages were passed on.
func (p *progress) count() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

// add counts a message.
func (p *progress) add() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	p.changed.Broadcast()
}

// stop says that no message is passed on any more.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.changed.Broadcast()
}

// await waits until n messages were passed on, or no more are.
func (p *progress) await(n uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.n < n && !p.over {
		p.changed.Wait()
	}
}
