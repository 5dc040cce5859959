package websocket

import (
	"context"
	"errors"
	"io"
	"iter"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// An interruptedRead is a readLoop whose calls of Read end with their context
// whenever interrupt is called, and are made again.
type interruptedRead struct {
	mu     sync.Mutex
	cancel context.CancelFunc
}

// loop is the readLoop.
func (i *interruptedRead) loop(c *Conn, deliver func(MessageType, []byte)) error {
	for {
		ctx, cancel := context.WithCancel(context.Background())
		i.mu.Lock()
		i.cancel = cancel
		i.mu.Unlock()
		kind, p, err := c.Read(ctx)
		cancel()
		switch {
		case err == nil:
			deliver(kind, p)
		case err != context.Canceled:
			return err
		}
	}
}

// interrupt ends the call of Read that waits, and returns when the next one does.
func (i *interruptedRead) interrupt() {
	synctest.Wait()
	i.mu.Lock()
	i.cancel()
	i.mu.Unlock()
	synctest.Wait()
}

// A player plays a conversation to an endpoint, step by step.
type player struct {
	*endpoint
	recv     func(p []byte) // how the peer sends
	at       step
	messages int // that were expected so far
	sent     int // bytes that were expected so far
	writer   *MessageWriter
	call     chan error // the result of the application's last call
	closing  bool       // the application has closed
	over     bool       // fail or closed was seen
}

// effects are the words that say what must be seen. The others make
// something happen.
var effects = []string{"send", "may", "text", "binary", "fail", "closes", "refused", "closed"}

// play plays the conversation: strict says whether everything expected must
// have been seen, and nothing else, each time before something new happens.
func (p *player) play(steps []step, strict bool) {
	for i, s := range steps {
		first := i == 0 || slices.Contains(effects, steps[i-1].verb)
		if !slices.Contains(effects, s.verb) && first && strict {
			p.nothingMore()
		}
		p.at = s
		p.step(s)
	}
	p.nothingMore()
	if !p.over {
		p.abandon()
		return
	}
	p.peer.Close()
}

// step plays one step.
func (p *player) step(s step) {
	switch s.verb {
	case "recv":
		p.recv(s.octets.wire())
	case "eof":
		p.peer.CloseWrite()
	case "reset":
		p.peer.Reset()
	case "write", "stream", "chunk", "finish", "close":
		p.application(s)
	case "wait":
		synctest.Wait()
		<-time.After(s.wait)
	case "send", "may":
		p.frame(s)
	case "text":
		p.message(Text, s)
	case "binary":
		p.message(Binary, s)
	case "refused":
		p.refused()
	case "fail":
		p.fail(s.code)
	case "closes":
		p.closeFrame(s.code)
	case "closed":
		p.closed(s)
	}
}

// errorf ends the test, and names the line of the step.
func (p *player) errorf(format string, args ...any) {
	p.t.Helper()
	p.t.Fatalf("line %d: "+format, append([]any{p.at.line}, args...)...)
}

// application makes a call of the application, after all that can happen before has
// happened: Close asks whether a read waits. The call may block.
func (p *player) application(s step) {
	synctest.Wait()
	ctx := context.Background()
	p.call = make(chan error, 1)
	call := p.call
	p.closing = p.closing || s.verb == "close"
	go func() {
		var err error
		switch s.verb {
		case "write":
			err = p.conn.Write(ctx, s.kind, s.octets.plain())
		case "stream":
			p.writer, err = p.conn.Writer(ctx, s.kind)
		case "chunk":
			if _, err = p.writer.Write(s.octets.plain()); err == nil {
				err = p.writer.Flush()
			}
		case "finish":
			err = p.writer.Close()
		case "close":
			err = p.conn.Close(s.code, string(s.octets.plain()))
		}
		call <- err
	}()
	synctest.Wait()
}

// refused checks that the application's last call was refused.
func (p *player) refused() {
	select {
	case err := <-p.call:
		if err == nil {
			p.errorf("the call succeeded")
		}
		p.call = nil
	default:
		p.errorf("the call has not returned")
	}
}

// nothingMore checks that no more messages were delivered, no more bytes sent
// and no call refused than was expected.
func (p *player) nothingMore() {
	messages, sent := p.seen()
	if len(messages) > p.messages {
		p.errorf("unexpected message %v", messages[p.messages])
	}
	if len(sent) > p.sent {
		p.errorf("unexpected bytes sent: % x", sent[p.sent:])
	}
	if len(p.call) == 1 && !p.over {
		if err := <-p.call; err != nil {
			p.errorf("the call failed: %v", err)
		}
		p.call = nil
	}
}

// message checks the next message delivered.
func (p *player) message(kind MessageType, s step) {
	messages, _ := p.seen()
	want := modelEvent{modelMessage, kind, string(s.octets.plain())}
	if len(messages) <= p.messages {
		p.errorf("no message, want %v", want)
	}
	if got := messages[p.messages]; got != want {
		p.errorf("message %v, want %v", got, want)
	}
	p.messages++
}

// frame checks the next frame sent.
func (p *player) frame(s step) {
	_, sent := p.seen()
	sent = sent[p.sent:]
	size := s.octets.size()
	switch {
	case len(sent) >= size && s.octets.matches(sent[:size]):
		p.sent += size
	case s.verb == "send":
		p.errorf("% .80x was sent, want % .80x", sent, s.octets.plain())
	}
}

// fail checks that we have failed the connection with the code.
func (p *player) fail(code CloseCode) {
	if !p.closing {
		p.closeFrame(code)
	}
	p.end(code, true)
}

// closeFrame checks that the next and last frame sent is a Close with the
// code and some reason.
func (p *player) closeFrame(code CloseCode) {
	_, sent := p.seen()
	frames, rest, err := modelFrames(p.role, sent[p.sent:])
	if err != nil || len(rest) > 0 || len(frames) != 1 || frames[0].opcode != 8 {
		p.errorf("% x was sent, want a Close with %d (%v)", sent[p.sent:], uint16(code), err)
	}
	payload := frames[0].payload
	if len(payload) < 2 || CloseCode(payload[0])<<8+CloseCode(payload[1]) != code || !modelUTF8(string(payload[2:])) {
		p.errorf("a Close with % x was sent, want code %d and a reason in UTF-8", payload, uint16(code))
	}
	p.sent = len(sent)
}

// closed checks how the connection has ended.
func (p *player) closed(s step) {
	ce := p.end(s.code, false)
	if ce.Reason != string(s.octets.plain()) {
		p.errorf("reason %q, want %q", ce.Reason, s.octets.plain())
	}
}

// end lets the peer end its direction and checks that the connection ends
// with the code, by our failing it or not.
func (p *player) end(code CloseCode, failed bool) *CloseError {
	p.over = true
	p.peer.CloseWrite()
	ce := p.finish()
	var pe *ProtocolError
	told := code
	if refusal := p.conn.life.refusal(); failed && refusal != nil {
		told = refusal.Code // what the peer was told before
	}
	if ce.Code != told || errors.As(ce, &pe) != failed {
		p.errorf("the end is %v (code %d), want code %d and a breach of the protocol: %v", ce, uint16(ce.Code), uint16(code), failed)
	}
	if failed && pe.Code != code {
		p.errorf("the breach has code %d, want %d", uint16(pe.Code), uint16(code))
	}
	if received := !failed && code != 1006; ce.Received != received {
		p.errorf("Received is %v, want %v", ce.Received, received)
	}
	return ce
}

// TestWire plays the conversations as they stand, with every way to read.
func TestWire(t *testing.T) {
	eachConversation(t, func(t *testing.T, c conversation, r role) {
		for _, reading := range readLoops {
			t.Run(reading.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					e := newEndpoint(t, endpointSetup{role: r, config: c.config, loop: reading.loop})
					p := &player{endpoint: e, recv: e.recv}
					p.play(joined(c.steps), true)
				})
			})
		}
	})
}

// joined returns the steps with neighbouring recv lines made one.
func joined(steps []step) []step {
	var out []step
	for i, s := range steps {
		if s.verb == "recv" && i > 0 && steps[i-1].verb == "recv" {
			last := &out[len(out)-1]
			last.octets = octets{head: append(last.octets.wire(), s.octets.wire()...)}
			continue
		}
		out = append(out, s)
	}
	return out
}

// TestWireByteByByte plays them with every byte in a segment of its own.
func TestWireByteByByte(t *testing.T) {
	covers(t, "F13", "G06", "Q.C15")
	eachConversation(t, func(t *testing.T, c conversation, r role) {
		for _, reading := range readLoops {
			t.Run(reading.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					e := newEndpoint(t, endpointSetup{role: r, config: c.config, loop: reading.loop})
					p := &player{endpoint: e}
					p.recv = trickle(e, synctest.Wait)
					p.play(c.steps, true)
				})
			})
		}
	})
}

// TestWireInterrupted plays them byte by byte, with the context of every read
// cancelled after each byte: what was received stays and the next read goes
// on.
func TestWireInterrupted(t *testing.T) {
	covers(t, "F13", "Q.G06")
	eachConversation(t, func(t *testing.T, c conversation, r role) {
		synctest.Test(t, func(t *testing.T) {
			reading := &interruptedRead{}
			e := newEndpoint(t, endpointSetup{role: r, config: c.config, loop: reading.loop})
			p := &player{endpoint: e}
			p.recv = trickle(e, reading.interrupt)
			p.play(c.steps, true)
		})
	})
}

// TestWireOnSockets plays the conversations in which only the peer acts on
// sockets and streams of HTTP/2, where there is no bubble: to a Receiver, whole and
// byte by byte, and with one of the other ways to read. What is delivered is
// compared with the model, and so is what is sent on sockets, where a Pong leaves
// before the next frame is looked at.
func TestWireOnSockets(t *testing.T) {
	covers(t, "F13", "G06", "Q.C13")
	peerInputs(t, func(t *testing.T, c conversation, r role, input []byte) {
		for _, play := range []struct {
			name string
			pair func(t *testing.T, ours role) (near, far net.Conn)
			loop readLoop
			size int
		}{
			{"Receiver on TCP", tcpNetwork, loopReceiver, len(input) + 1},
			{"Receiver on TCP, byte by byte", tcpNetwork, loopReceiver, 1},
			{"Receiver on Unix", unixNetwork, loopReceiver, len(input) + 1},
			{"one of the others", tcpNetwork, readLoops[len(input)%len(readLoops)].loop, len(input) + 1},
			{"another one on HTTP/2", http2Network.pair, readLoops[(len(input)+1)%len(readLoops)].loop, len(input) + 1},
			{"Receiver on HTTP/2, byte by byte", http2ReceiverNetwork.pair, loopReceiver, 1},
		} {
			near, far := play.pair(t, r)
			e, m := playOnSocket(t, c, r, near, far, play.loop, slices.Chunk(input, play.size))
			if _, stream := far.(*http2Stream); !stream {
				e.checkAnswers(m)
			}
			if t.Failed() {
				t.Fatal(play.name)
			}
		}
	})
}

// playOnSocket lets the peer at far send pieces, and then end its direction, and
// compares what is delivered with the model. It returns both.
func playOnSocket(t *testing.T, c conversation, r role, near, far net.Conn, loop readLoop, pieces iter.Seq[[]byte]) (*endpoint, *model) {
	t.Helper()
	defer far.Close()
	e := &endpoint{t: t, role: r, conn: newConn(near, r, c.config.withDefaults(), agreedFor(r, c.config.Compression), nil)}
	m := c.model(r)
	read, received := make(chan bool), make(chan bool)
	go func() {
		e.err = loop(e.conn, e.deliver)
		close(read)
	}()
	go func() {
		e.sent, _ = io.ReadAll(far)
		close(received)
	}()
	for piece := range pieces {
		m.feed(piece)
		far.Write(piece)
	}
	far.(interface{ CloseWrite() error }).CloseWrite()
	<-read
	<-e.conn.Context().Done()
	<-received
	e.compare(asCloseError(e.err), m)
	return e, m
}

// trickle returns a way to send bytes one by one, with a call of pause after
// each. Long runs go in larger pieces.
func trickle(e *endpoint, pause func()) func(p []byte) {
	return func(p []byte) {
		size := 1
		if len(p) > 4096 {
			size = 509
		}
		for piece := range slices.Chunk(p, size) {
			e.recv(piece)
			pause()
		}
	}
}

// TestWireOneSegment plays the conversations in which only the peer acts with
// everything it sends in one segment, and with everything behind the opening
// handshake.
func TestWireOneSegment(t *testing.T) {
	covers(t, "F14", "Q.C13")
	eachConversation(t, func(t *testing.T, c conversation, r role) {
		input, rest := c.input(), slices.DeleteFunc(slices.Clone(c.steps), func(s step) bool { return s.verb == "recv" })
		if slices.ContainsFunc(rest, func(s step) bool { return !slices.Contains(effects, s.verb) }) {
			return
		}
		for _, reading := range readLoops {
			t.Run(reading.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					e := newEndpoint(t, endpointSetup{role: r, config: c.config, loop: reading.loop})
					p := &player{endpoint: e}
					e.recv(input)
					p.play(rest, false)
				})
			})
			t.Run(reading.name+" early", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					e := newEndpoint(t, endpointSetup{role: r, config: c.config, loop: reading.loop, early: input})
					p := &player{endpoint: e}
					p.play(rest, false)
				})
			})
		}
	})
}

// TestWireCut plays each conversation up to each byte of the peer's, and then
// lets the connection end, in two of four ways: only messages that were whole
// are delivered, and the error is that of the model.
func TestWireCut(t *testing.T) {
	covers(t, "G10", "X12", "X13", "X18", "Q.C08", "Q.C09", "Q.C10", "Q.F07", "Q.F08", "Q.F09", "Q.J11")
	ends := []struct {
		name string
		end  func(e *endpoint)
		loop readLoop
	}{
		{"end", func(e *endpoint) { e.peer.CloseWrite() }, loopRead},
		{"end, Reader", func(e *endpoint) { e.peer.CloseWrite() }, loopReader},
		{"reset", func(e *endpoint) { e.peer.Reset() }, loopMessages},
		{"silence", func(e *endpoint) {
			e.conn.CloseNow()
			<-e.conn.transportClosedChan() // an end that is under way takes its time
		}, loopReadInto},
	}
	eachConversation(t, func(t *testing.T, c conversation, r role) {
		for i, end := range ends {
			for j, cut := range cuts(c.steps) {
				if i%2 != j%2 {
					continue
				}
				synctest.Test(t, func(t *testing.T) {
					e := newEndpoint(t, endpointSetup{role: r, config: c.config, loop: end.loop})
					m := c.model(r)
					p := &player{endpoint: e, recv: e.recv}
					p.playTo(cut, c.steps, m)
					end.end(e)
					if t.Failed() {
						return
					}
					e.checkEnd(m)
					if t.Failed() {
						t.Fatalf("%s after byte %d", end.name, cut)
					}
				})
			}
		}
	})
}

// cuts returns the offsets at which to cut what the peer sends: all, or in a
// long stream those near the borders of the lines and a few more.
func cuts(steps []step) []int {
	var at []int
	start, total := 0, 0
	for _, s := range steps {
		if s.verb != "recv" {
			continue
		}
		start, total = total, total+len(s.octets.wire())
		for i := start; i < total; i++ {
			if total-start < 1000 || i-start < 16 || total-i < 2 || i%20011 == 0 {
				at = append(at, i)
			}
		}
	}
	return append(at, total)
}

// playTo plays to the endpoint and the model what comes before byte cut of
// the peer's, without checking anything.
func (p *player) playTo(cut int, steps []step, m *model) {
	synctest.Wait()
	for _, s := range steps {
		p.at = s
		switch s.verb {
		case "recv":
			b := s.octets.wire()
			b = b[:min(cut, len(b))]
			cut -= len(b)
			m.feed(b)
			p.recv(b)
			if cut == 0 {
				synctest.Wait()
				return
			}
		case "closes":
			m.weClose(s.code)
		case "close":
			p.application(s)
			m.weClose(s.code)
		case "write", "stream", "chunk", "finish":
			p.application(s)
		}
		synctest.Wait()
	}
}
