package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// An endpoint is a Conn under test, with an application that reads from it
// and a peer that records what it sends. It lives in a synctest bubble.
type endpoint struct {
	t    *testing.T
	role role
	conn *Conn
	ours *faultnet.Conn // below conn
	peer *faultnet.Conn

	mu       sync.Mutex
	messages []modelEvent
	sent     []byte

	readEnded chan struct{} // the application has the terminal error
	err       error
	sentEnded chan struct{} // we have ended our direction
}

// An endpointSetup is how to build an endpoint. The zero value of a field is
// the plain case.
type endpointSetup struct {
	role   role
	config Config
	early  []byte                     // what came with the opening handshake
	wrap   func(nc net.Conn) net.Conn // what is put between the Conn and the network
	loop   readLoop
}

// newEndpoint starts an endpoint, made by NewConn: its application reads and its
// peer records.
func newEndpoint(t *testing.T, s endpointSetup) *endpoint {
	ours, peer := faultnet.Pipe()
	var nc net.Conn = ours
	if s.wrap != nil {
		nc = s.wrap(nc)
	}
	if s.loop == nil {
		s.loop = loopRead
	}
	conn, err := NewConn(nc, connOptionsFor(s.role, s.config, s.early))
	if err != nil {
		t.Fatal(err)
	}
	e := &endpoint{
		t:         t,
		role:      s.role,
		conn:      conn,
		ours:      ours,
		peer:      peer,
		readEnded: make(chan struct{}),
		sentEnded: make(chan struct{}),
	}
	t.Cleanup(func() { // of a test that has failed: others are done already
		e.conn.CloseNow()
		e.peer.Close()
	})
	go func() {
		defer close(e.readEnded)
		e.err = s.loop(e.conn, e.deliver)
	}()
	go func() {
		defer close(e.sentEnded)
		e.record()
	}()
	return e
}

// deliver takes a message from the application's loop.
func (e *endpoint) deliver(kind MessageType, p []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.messages = append(e.messages, modelEvent{modelMessage, kind, string(p)})
}

// record keeps what the peer receives, until an error.
func (e *endpoint) record() {
	var p [1024]byte
	for {
		n, err := e.peer.Read(p[:])
		e.mu.Lock()
		e.sent = append(e.sent, p[:n]...)
		e.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// recv lets the peer send p. That the connection is gone is no error here.
func (e *endpoint) recv(p []byte) { e.peer.Write(p) }

// peerSays lets the peer send a frame, masked if it is a client, once it has
// received all there is.
func (e *endpoint) peerSays(first byte, payload string) {
	synctest.Wait()
	frame := append([]byte{first, byte(len(payload))}, payload...)
	if e.role == server {
		frame[1] |= 0x80
		frame = slices.Insert(frame, 2, 0, 0, 0, 0)
	}
	e.recv(frame)
	synctest.Wait()
}

// seen returns the messages delivered and the bytes sent so far, after all
// that can happen now has happened.
func (e *endpoint) seen() (messages []modelEvent, sent []byte) {
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.messages), bytes.Clone(e.sent)
}

// finish waits for the connection's end, which must come by itself, and
// checks what is promised of every end. It returns the terminal error.
func (e *endpoint) finish() *CloseError {
	e.t.Helper()
	<-e.readEnded
	<-e.conn.Context().Done()
	<-e.sentEnded
	synctest.Wait()
	return e.mustFailClean()
}

// abandon closes the connection at once and checks its end.
func (e *endpoint) abandon() {
	e.t.Helper()
	e.conn.CloseNow()
	e.finish()
	e.peer.Close()
}

// mustFailClean checks that the connection is over, with one typed error from
// every call, and that the connection below was closed once. That nothing is
// left running is for the bubble to prove, which ends only then.
func (e *endpoint) mustFailClean() *CloseError {
	e.t.Helper()
	var ce *CloseError
	if !errors.As(e.err, &ce) {
		e.t.Fatalf("reading ended with %#v, not with a *CloseError", e.err)
	}
	if !errors.Is(e.err, net.ErrClosed) {
		e.t.Errorf("%v is not net.ErrClosed", e.err)
	}
	if !errors.Is(e.err, ce.Code) {
		e.t.Errorf("%v is not its own code %d", e.err, uint16(ce.Code))
	}
	for name, err := range e.callsAfterEnd() {
		if err != e.err {
			e.t.Errorf("%s returns %v after the end, reading ended with %v", name, err, e.err)
		}
	}
	if got := e.ours.CloseCalls(); got != 1 {
		e.t.Errorf("the connection below was closed %d times", got)
	}
	return ce
}

// callsAfterEnd returns what every call says after the end.
func (e *endpoint) callsAfterEnd() map[string]error {
	ctx := context.Background()
	_, _, read := e.conn.Read(ctx)
	_, _, again := e.conn.ReadInto(ctx, nil)
	_, _, reader := e.conn.Reader(ctx)
	_, writer := e.conn.Writer(ctx, Text)
	return map[string]error{
		"Read":          read,
		"ReadInto":      again,
		"Reader":        reader,
		"Writer":        writer,
		"Write":         e.conn.Write(ctx, Text, nil),
		"context.Cause": context.Cause(e.conn.Context()),
	}
}

// checkEnd waits for the end of the connection and compares it, and what was
// delivered, with the model.
func (e *endpoint) checkEnd(m *model) {
	e.t.Helper()
	e.compare(e.finish(), m)
	e.peer.Close()
}

// compare compares the end of the connection, and what was delivered, with the
// model.
func (e *endpoint) compare(ce *CloseError, m *model) {
	e.t.Helper()
	code, orFail := m.end()
	if ce.Code != code && !slices.Contains(orFail, ce.Code) {
		e.t.Errorf("the end is %v (code %d), the model has %d or one of %v", ce, uint16(ce.Code), uint16(code), orFail)
	}
	if m.closed && ce.Reason != m.reason {
		e.t.Errorf("reason %q, the model has %q", ce.Reason, m.reason)
	}
	var want []modelEvent
	for _, event := range m.events {
		if event.kind == modelMessage {
			want = append(want, event)
		}
	}
	if !slices.Equal(e.messages, want) {
		e.t.Errorf("delivered\n%s\nthe model has\n%s", describe(e.messages), describe(want))
	}
}

// checkAnswers compares what was sent with the model: the Pongs in order, of
// which all but the last may be missing, and the Close.
func (e *endpoint) checkAnswers(m *model) {
	e.t.Helper()
	pongs, closes := e.answers()
	wantPongs, wantCloses := answersOf(m.events)
	if !isAnswer(pongs, wantPongs) {
		e.t.Errorf("Pongs %q were sent, the model has %q", pongs, wantPongs)
	}
	if _, orFail := m.end(); len(orFail) == 0 && !slices.Equal(closes, wantCloses) {
		e.t.Errorf("Closes %q were sent, the model has %q", closes, wantCloses)
	}
}

// checkAnswersToNobody is checkAnswers where the peer was gone before it could get
// them: all may be missing.
func (e *endpoint) checkAnswersToNobody(m *model) {
	e.t.Helper()
	pongs, closes := e.answers()
	wantPongs, wantCloses := answersOf(m.events)
	if !isSubsequence(pongs, wantPongs) || !isSubsequence(closes, wantCloses) {
		e.t.Errorf("Pongs %q and Closes %q were sent, the model has %q and %q", pongs, closes, wantPongs, wantCloses)
	}
}

// answers returns the payloads of the Pongs that were sent, and the codes of the
// Closes. What was sent must be whole frames.
func (e *endpoint) answers() (pongs, closes []string) {
	e.t.Helper()
	frames, rest, err := modelFrames(e.role, e.sent)
	if err != nil || len(rest) > 0 {
		e.t.Fatalf("% x was sent: %v, and % x is no whole frame", e.sent, err, rest)
	}
	return answersIn(frames)
}

// answersIn returns the payloads of the Pongs and the codes of the Closes
// among the frames.
func answersIn(frames []modelFrame) (pongs, closes []string) {
	for _, frame := range frames {
		switch {
		case frame.opcode == 10:
			pongs = append(pongs, string(frame.payload))
		case frame.opcode == 8 && len(frame.payload) >= 2:
			closes = append(closes, fmt.Sprint(int(frame.payload[0])<<8+int(frame.payload[1])))
		case frame.opcode == 8:
			closes = append(closes, string(frame.payload))
		}
	}
	return pongs, closes
}

// answersOf returns the payloads of the Pongs and the codes of the Closes among
// the events.
func answersOf(events []modelEvent) (pongs, closes []string) {
	for _, e := range events {
		switch e.kind {
		case modelPong:
			pongs = append(pongs, e.payload)
		case modelClose:
			closes = append(closes, e.payload)
		}
	}
	return pongs, closes
}

// isAnswer reports whether the Pongs sent answer the Pings that want the
// others: in order, and the last Ping for certain (RFC 6455, Section 5.5.3).
func isAnswer(pongs, want []string) bool {
	if len(want) == 0 {
		return len(pongs) == 0
	}
	if len(pongs) == 0 || pongs[len(pongs)-1] != want[len(want)-1] {
		return false
	}
	return isSubsequence(pongs, want)
}

// isSubsequence reports whether some are among all, in the same order.
func isSubsequence(some, all []string) bool {
	for _, s := range some {
		i := slices.Index(all, s)
		if i < 0 {
			return false
		}
		all = all[i+1:]
	}
	return true
}

// A readLoop reads messages in one of the ways the API offers, until the
// connection's terminal error, which it returns.
type readLoop func(c *Conn, deliver func(MessageType, []byte)) error

// readLoops are all ways to read.
var readLoops = []struct {
	name string
	loop readLoop
}{
	{"Read", loopRead},
	{"ReadInto", loopReadInto},
	{"Messages", loopMessages},
	{"Reader", loopReader},
	{"Receiver", loopReceiver},
}

// loopRead reads with Read.
func loopRead(c *Conn, deliver func(MessageType, []byte)) error {
	for {
		kind, p, err := c.Read(context.Background())
		if err != nil {
			return err
		}
		deliver(kind, p)
	}
}

// loopReadInto reads with ReadInto.
func loopReadInto(c *Conn, deliver func(MessageType, []byte)) error {
	var buf []byte
	for {
		kind, p, err := c.ReadInto(context.Background(), buf)
		if err != nil {
			return err
		}
		deliver(kind, p)
		buf = p
	}
}

// loopMessages asks Read for the error when the messages have ended quietly.
func loopMessages(c *Conn, deliver func(MessageType, []byte)) error {
	for m, err := range c.Messages(context.Background()) {
		if err != nil {
			return err
		}
		deliver(m.Type, m.Data)
	}
	_, _, err := c.Read(context.Background())
	return err
}

// loopReader reads with Reader.
func loopReader(c *Conn, deliver func(MessageType, []byte)) error {
	for {
		kind, r, err := c.Reader(context.Background())
		if err != nil {
			return err
		}
		p, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		deliver(kind, p)
	}
}

// loopReceiver hands the reading over to a Receiver.
func loopReceiver(c *Conn, deliver func(MessageType, []byte)) error {
	r := newRecorder(func(_ *Conn, m Message) error {
		deliver(m.Type, m.Data)
		return nil
	})
	if err := c.Deliver(r); err != nil {
		return err
	}
	return <-r.closed
}

// readOn reads like loopRead, but goes on after a deadline that nobody set.
func readOn(c *Conn, deliver func(MessageType, []byte)) error {
	for {
		err := loopRead(c, deliver)
		if err != os.ErrDeadlineExceeded {
			return err
		}
	}
}

// noLoop is the loop of an application that does not read; it returns the
// terminal error when there is one.
func noLoop(c *Conn, _ func(MessageType, []byte)) error {
	<-c.Context().Done()
	return context.Cause(c.Context())
}

// by reads by one of the loops.
func by(loop readLoop) func(c *Conn) error {
	return func(c *Conn) error { return loop(c, func(MessageType, []byte) {}) }
}
