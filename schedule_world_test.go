package websocket

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket/internal/faultnet"
	"github.com/fullduplex-go/websocket/internal/schedule"
)

// A consequence is what an action does to a connection, as far as that decides what
// may be expected of the others.
type consequence uint16

const (
	weClose    consequence = 1 << iota // by a closing handshake
	theyClose                          // the same
	weBreakOff                         // without one
	theyEnd                            // their direction, without one
	theyReset
	theyStall
	weStopReading
	isCancelled
	isQueued  // and leaves later
	theySpeak // so that breaking off may reset the connection under what they have not read
)

// An action is what an actor does.
type action struct {
	name string
	does func(w *world)
	consequence
}

// actions are what applications and peers do. Each is short: what matters is in
// between.
var actions = []action{
	{"Write", (*world).writeTwice, 0},
	{"Writer", (*world).stream, 0},
	{"Send", (*world).send, isQueued},
	{"Ping", (*world).ping, theySpeak},
	{"a Write that is cancelled", (*world).cancelWrite, isCancelled},
	{"a Read that is cancelled", (*world).interruptRead, 0},
	{"a read deadline", (*world).passDeadline, 0},
	{"Close", func(w *world) { w.close("Close", CloseNormal) }, weClose},
	{"SendClose and CloseNow", (*world).sendClose, weClose | weBreakOff},
	{"Close with a context that ends", (*world).cancelClose, weClose | weBreakOff},
	{"CloseNow", func(w *world) { w.c.CloseNow() }, weBreakOff},
	{"CloseRead", func(w *world) { w.c.CloseRead(context.Background()) }, weStopReading},
	{"the peer's messages", func(w *world) { w.peer.talk() }, theySpeak},
	{"the peer's Close", func(w *world) { w.peer.close(1001, "theirs") }, theyClose | theySpeak},
	{"the peer's end", func(w *world) { w.peer.nc.(scheduledConn).CloseWrite() }, theyEnd},
	{"the peer's reset", func(w *world) { w.peer.nc.(scheduledConn).Reset() }, theyReset},
	{"the peer stalls", func(w *world) { w.peer.stall() }, theyStall},
}

// scheduledReads are the ways to read.
var scheduledReads = []struct {
	name string
	loop func(w *world) error
}{
	{"nobody reads", inWorld(noLoop)},
	{"Read", (*world).read},
	{"Messages", inWorld(loopMessages)},
	{"Reader", inWorld(loopReader)},
	{"Receiver", inWorld(loopReceiver)},
}

// inWorld returns a way to read for a world.
func inWorld(loop readLoop) func(w *world) error {
	return func(w *world) error { return loop(w.c, w.deliver) }
}

// A scenario is a connection and what happens to it.
type scenario struct {
	role    role
	reads   int // which of scheduledReads
	actions []action
}

// String names the scenario.
func (s scenario) String() string {
	names := []string{s.role.String(), scheduledReads[s.reads].name}
	for _, a := range s.actions {
		names = append(names, a.name)
	}
	return strings.Join(names, ", ")
}

// has reports whether an action has one of these consequences.
func (s scenario) has(c consequence) bool {
	return slices.ContainsFunc(s.actions, func(a action) bool { return a.consequence&c != 0 })
}

// scenarios returns all pairs of actions, also of an action with itself, and triples of
// which one is a message either way, and two are an end; with each of them one of the
// roles and two of the ways to read.
func scenarios() (all []scenario) {
	add := func(does ...action) {
		for range 2 {
			n := len(all)
			all = append(all, scenario{roles[n%2], n % len(scheduledReads), does})
		}
	}
	for i, a := range actions {
		for _, b := range actions[i:] {
			add(a, b)
		}
	}
	for _, a := range actions {
		for i, b := range actions {
			for _, c := range actions[i:] {
				if !a.ends() && a.consequence&theyStall == 0 && b.consequence&c.consequence == 0 && b.ends() && c.ends() {
					add(a, b, c)
				}
			}
		}
	}
	return all
}

// ends reports whether the action ends the connection.
func (a action) ends() bool {
	return a.consequence&(weClose|theyClose|weBreakOff|theyEnd|theyReset) != 0
}

// A scheduledConn is a net.Conn whose calls are points.
type scheduledConn struct{ *faultnet.Conn }

// Read is that of the Conn.
func (c scheduledConn) Read(p []byte) (int, error) {
	schedule.Point()
	n, err := c.Conn.Read(p)
	schedule.Point()
	return n, err
}

// Write is that of the Conn.
func (c scheduledConn) Write(p []byte) (int, error) {
	schedule.Point()
	n, err := c.Conn.Write(p)
	schedule.Point()
	return n, err
}

// SetReadDeadline is that of the Conn, and a point where it can be one: it is called
// with a mutex locked.
func (c scheduledConn) SetReadDeadline(at time.Time) error {
	if schedule.Instrumented() {
		schedule.Point()
	}
	return c.Conn.SetReadDeadline(at)
}

// A world is a connection, its application and its peer in one run of a scenario.
type world struct {
	t     *testing.T
	s     scenario
	c     *Conn
	nc    *faultnet.Conn // below c
	peer  *scheduledPeer
	began time.Time
	acts  sync.WaitGroup // the actions

	mu         sync.Mutex // guards what follows
	outcomes   map[string]error
	delivered  []string
	cancelRead func()
	ends       int // calls of Trace.Closed
	readErr    error
	calls      map[string]int // under way
}

// worldTime is the CloseTimeout of a world, in which no call may take that long.
const worldTime = 5 * time.Second

// newWorld returns the beginning of a scenario.
func newWorld(t *testing.T, s scenario) *world {
	ours, theirs := faultnet.Pipe()
	w := &world{t: t, s: s, nc: ours, began: time.Now(), outcomes: make(map[string]error), calls: make(map[string]int)}
	cfg := Config{
		CloseTimeout: worldTime,
		PingInterval: -1,
		Trace: &Trace{Closed: func(*Conn, *CloseError) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.ends++
		}},
	}
	c, err := NewConn(scheduledConn{ours}, connOptionsFor(s.role, cfg, nil))
	if err != nil {
		t.Fatal(err)
	}
	w.c = c
	w.peer = &scheduledPeer{rawPeer: newRawPeer(scheduledConn{theirs}, s.role), turn: make(chan struct{}, 1)}
	return w
}

// call calls f, and keeps what it returns as the outcome of name.
func (w *world) call(name string, f func() error) error {
	w.mu.Lock()
	w.calls[name]++
	w.mu.Unlock()
	err := f()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls[name]--
	if other := w.outcomes[name]; err == nil || other == nil {
		w.outcomes[name] = err
	}
	return err
}

// underWay returns the calls that have not returned.
func (w *world) underWay() (names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, n := range w.calls {
		if n > 0 {
			names = append(names, name)
		}
	}
	return names
}

// abandon ends what has not ended, as well as it can.
func (w *world) abandon() {
	w.c.CloseNow()
	w.peer.nc.Close()
	w.nc.Close()
}

// writeTwice sends two messages.
func (w *world) writeTwice() {
	writer := w.writer("write")
	for n := range 2 {
		w.write(context.Background(), writer.name(n+1))
	}
}

// write sends a message.
func (w *world) write(ctx context.Context, name string) {
	w.call(name, func() error { return w.c.Write(ctx, Text, []byte(name)) })
}

// A writer gives its messages names that tell whose they are, and which.
type writer string

// name returns the name of message n, which is its payload.
func (w writer) name(n int) string { return fmt.Sprint(string(w), " ", n) }

// writer returns a writer that has not begun: where two do the same, the later one has
// another name.
func (w *world) writer(name string) writer {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		writer := writer(name)
		if _, began := w.outcomes[writer.name(1)]; !began {
			w.outcomes[writer.name(1)] = errUnderWay
			return writer
		}
		name += "'"
	}
}

// errUnderWay is the outcome of a call that has not returned.
var errUnderWay = errors.New("has not returned")

// stream sends a message in pieces.
func (w *world) stream() {
	name := w.writer("stream").name(1)
	w.call(name, func() error {
		m, err := w.c.Writer(context.Background(), Text)
		if err != nil {
			return err
		}
		for _, piece := range []string{name[:3], name[3:]} {
			if _, err := m.Write([]byte(piece)); err != nil {
				return err
			}
			if err := m.Flush(); err != nil {
				return err
			}
		}
		return m.Close()
	})
}

// send queues messages.
func (w *world) send() {
	writer := w.writer("send")
	for n := range 2 {
		name := writer.name(n + 1)
		w.call(name, func() error { return w.c.Send(Text, []byte(name)) })
	}
}

// ping waits for a Pong.
func (w *world) ping() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // nobody may read
	defer cancel()
	w.call("Ping", func() error {
		_, err := w.c.Ping(ctx)
		return err
	})
}

// cancelWrite sends a message whose context ends meanwhile.
func (w *world) cancelWrite() {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		schedule.Point()
		cancel()
	}()
	w.write(ctx, w.writer("cancelled").name(1))
	cancel()
}

// passDeadline makes the reads under way time out.
func (w *world) passDeadline() {
	w.c.SetReadDeadline(time.Unix(1, 0))
	schedule.Point()
	w.c.SetReadDeadline(time.Time{})
}

// close calls Close.
func (w *world) close(name string, code CloseCode) {
	w.call(name, func() error { return w.c.Close(code, "ours") })
}

// cancelClose calls Close, whose context ends meanwhile.
func (w *world) cancelClose() {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		schedule.Point()
		cancel()
	}()
	w.call("Close with a context", func() error { return w.c.CloseContext(ctx, CloseGoingAway, "ours") })
	cancel()
}

// sendClose ends the connection as a handler with a deferred CloseNow does.
func (w *world) sendClose() {
	defer w.c.CloseNow()
	w.call("SendClose", func() error { return w.c.SendClose(CloseGoingAway, "ours") })
}

// reads reads until the end, again whenever a read was interrupted.
func (w *world) reads() {
	w.call("reading", func() error {
		for {
			err := scheduledReads[w.s.reads].loop(w)
			if err != os.ErrDeadlineExceeded && err != errReadClosed {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.readErr = err
				return nil
			}
			if err == errReadClosed {
				<-w.c.Context().Done()
				return nil
			}
			<-time.After(time.Millisecond) // somebody is to set another deadline
		}
	})
}

// read reads with Read, whose context interruptRead may end.
func (w *world) read() error {
	for {
		ctx, cancel := context.WithCancel(context.Background())
		w.mu.Lock()
		w.cancelRead = cancel
		w.mu.Unlock()
		typ, p, err := w.c.Read(ctx)
		cancel()
		switch {
		case err == nil:
			w.deliver(typ, p)
		case err != context.Canceled:
			return err
		}
	}
}

// interruptRead ends the call of Read that waits.
func (w *world) interruptRead() {
	w.mu.Lock()
	cancel := w.cancelRead
	w.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// deliver takes a message.
func (w *world) deliver(_ MessageType, p []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delivered = append(w.delivered, string(p))
}

// finish ends a connection that the actions have not ended, once all is quiet.
func (w *world) finish() {
	w.acts.Wait()
	<-time.After(time.Second)
	w.close("last Close", CloseNormal)
	w.call("the end of the Context", func() error {
		<-w.c.Context().Done()
		return nil
	})
}

// check checks everything that is promised of the end.
func (w *world) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checkSent()
	w.checkDelivered()
	w.checkEnd()
	if took := time.Since(w.began); took >= worldTime {
		w.t.Errorf("it took %v", took)
	}
}

// checkSent checks what the peer has received.
func (w *world) checkSent() {
	messages, closes, err := w.peer.understand()
	if err != nil {
		w.t.Error(err)
	}
	last := make(map[string]int)
	for _, m := range messages {
		writer, n := takeApart(m)
		if last[writer]++; n != last[writer] {
			w.t.Errorf("message %q came, after %d of this writer", m, last[writer]-1)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.outcomes)) {
		if err := w.outcomes[name]; err == nil && w.mustArrive(name) && !slices.Contains(messages, name) {
			w.t.Errorf("%q was sent, and has not come", name)
		}
	}
	if w.mustSayClose() && closes != 1 {
		w.t.Errorf("%d Close frames have come", closes)
	}
}

// mustSayClose reports whether our Close frame must arrive.
func (w *world) mustSayClose() bool {
	switch {
	case w.s.has(theyReset | theyEnd):
		return false
	case w.s.has(weBreakOff):
		return w.s.has(weClose) && !w.onlyBrokenOff() && !w.s.has(theyStall|isQueued)
	}
	return true
}

// onlyBrokenOff reports whether CloseNow may come before any Close frame.
func (w *world) onlyBrokenOff() bool {
	return slices.ContainsFunc(w.s.actions, func(a action) bool { return a.consequence == weBreakOff })
}

// takeApart takes the name of a message apart.
func takeApart(name string) (writer string, n int) {
	i := strings.LastIndexByte(name, ' ')
	fmt.Sscan(name[i+1:], &n)
	return name[:i], n
}

// mustArrive reports whether a call of this name that has succeeded has sent a message
// that must arrive.
func (w *world) mustArrive(name string) bool {
	switch {
	case w.onlyBrokenOff() && w.s.has(theySpeak):
		return false
	case w.s.has(theyReset), name[len(name)-1] > '9': // not the name of a message
		return false
	case strings.HasPrefix(name, "send"):
		return !w.s.has(weBreakOff|theyEnd|theyClose) && w.outcomes["Close"] == nil && w.outcomes["last Close"] == nil
	}
	return !w.s.has(theyStall) || !w.s.has(weBreakOff|theyEnd)
}

// checkDelivered checks what the application was given: the peer's messages in order,
// and all if nothing of ours stood in the way.
func (w *world) checkDelivered() {
	said := w.peer.saidSoFar()
	if len(w.delivered) > len(said) || !slices.Equal(w.delivered, said[:len(w.delivered)]) {
		w.t.Errorf("delivered %q, the peer has said %q", w.delivered, said)
	}
	if w.s.reads > 0 && !w.s.has(weClose|weBreakOff|weStopReading|theyReset) && (w.s.has(theyClose | theyEnd)) && len(w.delivered) < len(said) {
		w.t.Errorf("delivered only %q, the peer has said %q", w.delivered, said)
	}
}

// checkEnd checks how the connection has ended.
func (w *world) checkEnd() {
	end := w.c.life.terminal()
	if w.ends != 1 || w.nc.CloseCalls() != 1 {
		w.t.Errorf("Trace.Closed was called %d times, Close of the net.Conn %d times", w.ends, w.nc.CloseCalls())
	}
	for name, err := range (&endpoint{conn: w.c}).callsAfterEnd() {
		if err != error(end) && err != errReadClosed {
			w.t.Errorf("%s returns %v after the end, which is %v", name, err, end)
		}
	}
	if w.readErr != nil && w.readErr != error(end) {
		w.t.Errorf("reading has ended with %v, the connection with %v", w.readErr, end)
	}
	if w.c.read.lock.isLocked() {
		w.t.Error("read.lock is locked")
	}
	if w.s.has(weBreakOff | theyEnd | theyReset) {
		return
	}
	if !end.clean() {
		w.t.Errorf("the end is %v (received %v, sent %v)", end, end.Received, end.Sent)
	}
	for _, name := range []string{"Close", "last Close"} {
		if err := w.outcomes[name]; err != nil && !w.s.has(theyClose) { // which may come in front of what is queued
			w.t.Errorf("%s has returned %v", name, err)
		}
	}
	if err := w.outcomes["Ping"]; err != nil && !w.s.has(weClose|theyClose) && (w.s.reads > 0 || len(w.peer.saidSoFar()) == 0) {
		w.t.Errorf("Ping has returned %v", err)
	}
	if w.s.reads > 0 && !w.s.has(weClose|theyClose) && len(w.peer.saidSoFar()) == 3 && !w.peer.hasPong("p") {
		w.t.Error("the peer's Ping was not answered")
	}
}

// A scheduledPeer answers what comes, and does what actions say.
type scheduledPeer struct {
	*rawPeer
	turn   chan struct{} // is full while somebody sends
	frames []rawFrame
	closed bool     // has sent a Close frame
	said   []string // messages that were sent
}

// sending calls f while nobody else sends, and not once a Close frame was sent.
func (p *scheduledPeer) sending(f func()) {
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	if !p.closed {
		f()
	}
}

// serve answers Pings and Close frames until the end.
func (p *scheduledPeer) serve() {
	defer p.nc.Close()
	for {
		f, err := p.read()
		if err != nil {
			return
		}
		p.turn <- struct{}{}
		p.frames = append(p.frames, f)
		<-p.turn
		switch f.opcode() {
		case 9:
			p.sending(func() { p.send(0x8a, f.payload) })
		case 8:
			p.sending(func() { p.closeLocked(f.payload) })
			p.nc.(scheduledConn).CloseWrite()
		}
	}
}

// close sends a Close frame.
func (p *scheduledPeer) close(code uint16, reason string) {
	p.sending(func() { p.closeLocked(rawClose(code, reason)) })
}

// closeLocked is close for one whose turn it is.
func (p *scheduledPeer) closeLocked(payload string) {
	p.closed = true
	p.send(0x88, payload)
}

// talk sends three messages, the second in two fragments with a Ping between them.
func (p *scheduledPeer) talk() {
	p.sending(func() { p.say("m1", 0x81, "m1") })
	p.sending(func() {
		p.send(0x01, "m")
		p.send(0x89, "p")
		p.say("m2", 0x80, "2")
	})
	p.sending(func() { p.say("m3", 0x81, "m3") })
}

// say sends the last frame of a message.
func (p *scheduledPeer) say(message string, first byte, payload string) {
	if p.send(first, payload) == nil {
		p.said = append(p.said, message)
	}
}

// stall lets nothing come for a while.
func (p *scheduledPeer) stall() {
	nc := p.nc.(scheduledConn)
	nc.SetWindow(0)
	schedule.Point()
	<-time.After(100 * time.Millisecond)
	nc.SetWindow(faultnet.DefaultWindow)
}

// saidSoFar returns the messages that were sent.
func (p *scheduledPeer) saidSoFar() []string {
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	return slices.Clone(p.said)
}

// hasPong reports whether a Pong has come.
func (p *scheduledPeer) hasPong(payload string) bool {
	return slices.Contains(p.frames, rawFrame{0x8a, payload})
}

// understand returns the messages and the number of Close frames that came, and what
// is wrong with the frames.
func (p *scheduledPeer) understand() (messages []string, closes int, err error) {
	var open *strings.Builder
	for i, f := range p.frames {
		if closes > 0 {
			return messages, closes, fmt.Errorf("%v after a Close frame", f)
		}
		switch f.opcode() {
		case 8:
			closes++
		case 9, 10:
		case 0, 1:
			if (open != nil) != (f.opcode() == 0) {
				return messages, closes, fmt.Errorf("frame %d is %v", i, f)
			}
			if open == nil {
				open = new(strings.Builder)
			}
			open.WriteString(f.payload)
			if f.first&0x80 != 0 {
				messages = append(messages, open.String())
				open = nil
			}
		default:
			return messages, closes, fmt.Errorf("frame %d is %v", i, f)
		}
	}
	return messages, closes, nil
}
