package judge

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/fullduplex-go/websocket/autobahn/internal/conversation"
	"github.com/fullduplex-go/websocket/autobahn/internal/deflate"
	"github.com/fullduplex-go/websocket/autobahn/internal/peer"
)

// Times the suite gives a testee.
const (
	handshakeLimit = 5 * time.Second
	closeLimit     = time.Second     // for the answer to a Close, and for the end of TCP after it
	guardLimit     = 2 * time.Second // for the end of TCP, for which the suite would wait without limit
	scriptWait     = time.Second
)

// A state is a state of the closing handshake (RFC 6455, Section 7.1).
type state uint8

const (
	open    state = iota
	closing       // the judge has sent Close
	ended         // TCP has ended
)

// A session plays one conversation on a connection whose opening handshake is
// done. All fields but the channels belong to the goroutine of run.
type session struct {
	plan *conversation.Plan
	role peer.Role
	opts *Options
	conn net.Conn
	out  *peer.Outbox
	in   *bufio.Reader

	inbound chan arrival
	flushed chan func() // calls of the outbox, to be made on the goroutine of run
	done    chan struct{}
	reading sync.WaitGroup
	timer   <-chan time.Time // the conversation's own limit
	closer  <-chan time.Time // the limit of the closing handshake
	wait    <-chan time.Time // a wait of the script

	step    int // the next step of the script
	waits   int // ended so far
	pings   int // sent so far
	pongs   int // received so far
	key     *peer.Key
	prefix  []byte // sent together with the first burst
	turns   *turns // nil: the script is sent as a whole
	events  []conversation.Event
	deaf    bool     // nothing is recorded any more
	faults  []string // what was wrong; each fails the behavior
	remarks []string // what took too long; the verdict on the close says whether it matters
	started time.Time

	state      state
	sentCode   int  // of the judge's Close
	closedByUs bool // the judge sent Close first
	cutByUs    bool // the judge ended TCP because it waited too long
	answered   bool // the testee's Close arrived
	clean      bool
	code       int // of the testee's Close
	reason     string
}

// An arrival is what the reading goroutine passes on.
type arrival struct {
	message peer.Inbound
	err     error
}

// newSession returns a session. compression is what was agreed on, or nil.
func newSession(c *conversation.Conversation, role peer.Role, opts *Options, conn net.Conn, out *peer.Outbox, in *bufio.Reader, compression *deflate.Params) *session {
	s := &session{
		plan: c.Plan(), role: role, opts: opts, conn: conn, out: out, in: in,
		inbound: make(chan arrival),
		flushed: make(chan func()),
		done:    make(chan struct{}),
		started: time.Now(),
	}
	if c.Turns > 0 {
		s.turns = newTurns(s.plan, role, opts, compression)
	}
	return s
}

// run plays the conversation to its end and returns the verdicts. It closes
// the connection.
func (s *session) run() *Result {
	s.reading.Go(s.read)
	s.begin()
	for s.state != ended {
		select {
		case a := <-s.inbound:
			s.receive(a)
		case f := <-s.flushed:
			f()
		case <-s.wait:
			s.waitEnded()
		case <-s.timer:
			s.tookTooLong()
		case <-s.closer:
			s.cut("the closing handshake takes too long")
		}
	}
	duration := time.Since(s.started)
	close(s.done)
	s.conn.Close()
	s.out.Close()
	s.reading.Wait()
	result := s.result()
	result.Duration = duration
	return result
}

// read is the reading goroutine. After a violation it only waits for the end.
func (s *session) read() {
	var inflater *deflate.Inflater
	if s.turns != nil {
		inflater = s.turns.inflater
	}
	r := peer.NewReader(s.in, s.role, inflater)
	for {
		message, err := r.Next()
		select {
		case s.inbound <- arrival{message, err}:
		case <-s.done:
			return
		}
		var violation *peer.Violation
		if errors.As(err, &violation) {
			_, err = s.in.WriteTo(discard{})
			s.over(err)
			return
		}
		if err != nil {
			return
		}
	}
}

// over passes on the end of TCP.
func (s *session) over(err error) {
	select {
	case s.inbound <- arrival{err: errors.Join(net.ErrClosed, err)}:
	case <-s.done:
	}
}

// discard is a writer that drops everything.
type discard struct{}

// Write takes all of p.
func (discard) Write(p []byte) (int, error) { return len(p), nil }

// begin sends the start of the conversation.
func (s *session) begin() {
	if s.turns == nil {
		s.play()
		return
	}
	if s.plan.Compression != nil && !s.turns.compressed() {
		s.flushPrefix()
		s.close(1000, "")
		return
	}
	s.nextTurn()
	s.whenWritten(s.startTimer)
}

// play sends the script up to its next wait or its end.
func (s *session) play() {
	for ; s.step < len(s.plan.Script.Steps); s.step++ {
		step := s.plan.Script.Steps[s.step]
		if step.Wait() {
			s.whenWritten(func() { s.wait = time.After(s.opts.wait()) })
			return
		}
		s.send(step)
	}
	s.whenWritten(s.startTimer)
}

// waitEnded continues after a wait of the script.
func (s *session) waitEnded() {
	s.wait = nil
	if s.state != open {
		return // the limit of the closing handshake is running
	}
	if s.plan.Class == conversation.TextFail {
		s.record(conversation.Event{Kind: conversation.WaitEnd, Payload: []byte{"AB"[s.waits]}})
		s.waits++
	}
	if s.pongs < s.pings {
		s.fault("%d of %d pongs came before the wait ended", s.pongs, s.pings)
	}
	s.step++
	s.play()
}

// startTimer starts the conversation's own limit.
func (s *session) startTimer() { s.timer = time.After(s.opts.total(s.plan.Timer.After)) }

// whenWritten calls f on this goroutine when everything sent so far is written.
func (s *session) whenWritten(f func()) {
	s.out.Then(func() {
		select {
		case s.flushed <- f:
		case <-s.done:
		}
	})
}

// send writes a burst, cut as the script says.
func (s *session) send(burst conversation.Step) {
	chop := s.plan.Script.Chop
	if chop != conversation.OneBurst {
		s.flushPrefix()
	}
	p := s.prefix
	s.prefix = nil
	for _, piece := range burst {
		p = s.appendPiece(p, piece)
		if chop != conversation.OneBurst {
			s.out.Write(p, max(chop, 0))
			p = nil
		}
	}
	if p != nil {
		s.out.Write(p, 0)
	}
}

// flushPrefix sends the prefix on its own.
func (s *session) flushPrefix() {
	s.out.Write(s.prefix, 0)
	s.prefix = nil
}

// appendPiece appends the octets of a piece, and records pings and the judge's
// Close.
func (s *session) appendPiece(dst []byte, piece conversation.Piece) []byte {
	f := piece.Frame
	if piece.From == 0 {
		s.key = s.newKey()
		dst = slices.Grow(dst, piece.To+14)
		dst = peer.AppendHeader(dst, f, s.key)
		switch {
		case f.Opcode == conversation.Ping:
			s.pings++
		case f.Opcode == conversation.Close && f.RSV == 0 && s.state == open:
			s.startClosing(codeOf(f.Payload))
		}
	}
	return peer.AppendPayload(dst, f.Payload[piece.From:piece.To], s.key, piece.From)
}

// newKey returns a fresh masking key, or nil for a server.
func (s *session) newKey() *peer.Key {
	if s.role == peer.Server {
		return nil
	}
	key := new(peer.Key)
	rand.Read(key[:])
	return key
}

// codeOf returns the close code in a payload, 0 if there is none.
func codeOf(payload []byte) int {
	if len(payload) < 2 {
		return 0
	}
	return int(payload[0])<<8 | int(payload[1])
}

// sendFrame writes one frame.
func (s *session) sendFrame(opcode byte, payload []byte) {
	f := &conversation.Frame{FIN: true, Opcode: opcode, Payload: payload}
	key := s.newKey()
	s.out.Write(peer.AppendPayload(peer.AppendHeader(nil, f, key), payload, key, 0), 0)
}

// receive handles what the reading goroutine passes on.
func (s *session) receive(a arrival) {
	var violation *peer.Violation
	switch {
	case errors.As(a.err, &violation):
		s.violated(a.message, violation)
	case a.err != nil:
		s.tcpEnded()
	default:
		s.receiveMessage(a.message)
	}
}

// receiveMessage handles a message or a control frame.
func (s *session) receiveMessage(m peer.Inbound) {
	switch m.Opcode {
	case conversation.Close:
		s.receiveClose(m)
	case conversation.Ping:
		if s.state == open {
			s.sendFrame(conversation.Pong, m.Payload)
		}
	case conversation.Pong:
		s.pongs++
		s.record(conversation.Event{Kind: conversation.PongFrame, Payload: m.Payload})
	case conversation.Text:
		s.record(conversation.Event{Kind: conversation.TextMessage, Payload: m.Payload})
	case conversation.Binary:
		s.record(conversation.Event{Kind: conversation.BinaryMessage, Payload: m.Payload})
	}
}

// record records an event. In the class Normal the judge closes when the list is
// complete.
func (s *session) record(e conversation.Event) {
	switch {
	case s.deaf:
	case s.turns != nil:
		s.turnEnded(e)
	default:
		s.events = append(s.events, e)
		if s.plan.Class == conversation.Normal && s.state == open && !s.plan.Script.ClosesItself() &&
			conversation.Equal(s.events, s.plan.Expected) {
			s.close(1000, "")
		}
	}
}

// fault records something wrong.
func (s *session) fault(format string, args ...any) {
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}
