package stress

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/fullduplex-go/websocket"
)

// patience bounds the time that a round waits for something that must happen.
// It is generous: no check depends on it.
const patience = time.Minute

// timeout is used for the library's own timeouts, so that a peer that hangs
// shows as an unexpected end.
const timeout = 20 * time.Second

// Interruptions says which calls are given contexts and deadlines that end.
type interruptions uint8

const (
	nothing interruptions = iota
	reads
	everything
)

func (i interruptions) String() string {
	return [...]string{"nothing", "reads", "everything"}[i]
}

// An ending is how a connection is ended.
type ending uint8

const (
	closeOne     ending = iota // one end calls Close
	closeBoth                  // both ends call Close, at the same time
	closeTwice                 // two goroutines of one end call Close
	closeNow                   // one end calls CloseNow
	cut                        // the transport breaks
	sendClose                  // one end calls SendClose, and reads on
	closeContext               // one end calls CloseContext with a context that may end
)

func (e ending) String() string {
	return [...]string{"Close", "Close of both", "Close twice", "CloseNow", "a cut", "SendClose", "CloseContext"}[e]
}

// An aftermath is what an end does when a read has returned the terminal error.
type aftermath uint8

const (
	leaveIt       aftermath = iota // nothing: the round calls CloseNow in the end
	closeNowAfter                  // CloseNow at once, as "defer c.CloseNow()" does
	closeAfter                     // Close at once
)

// A plan holds all choices made before a round begins. Everything comes from the
// seed.
type plan struct {
	seed       uint64
	transport  *transport
	entryPoint entryPoint
	config     [2]websocket.Config // of the client and of the server
	writers    [2]int              // goroutines
	readers    [2]int
	messages   int // that each writer sends
	largest    int // size of the largest message
	interrupt  interruptions
	pings      bool
	contested  bool   // others read while a reader streams a message
	answers    bool   // the server answers from within its loops
	handOver   [2]int // after how many actions the only reader of an end hands the reading over to a Receiver; -1: never
	closeRead  [2]int // after how many actions the only reader of an end calls CloseRead; -1: never
	hooks      [2]hooks
	limits     bool // the limit on messages changes

	busy   bool // it ends while messages are under way
	ending ending
	closer int // the end that ends it, as an index
	code   websocket.CloseCode
	reason string
	after  [2]aftermath
	when   int                 // how many messages the closer begins before a busy end
	answer websocket.CloseCode // what the peer's OnClose returns; 0 has it echo
	wait   time.Duration       // until the context of CloseContext ends; negative: never
}

// choose returns the plan of a seed.
func choose(seed uint64) *plan {
	r := rand.New(rand.NewPCG(seed, 0))
	p := &plan{
		seed:       seed,
		transport:  &transports[r.IntN(len(transports))],
		entryPoint: entryPoint{viaServer: r.IntN(3) == 0, viaDial: r.IntN(3) == 0},
		messages:   5 + r.IntN(40),
		largest:    []int{200, 2000, 20000, 200000}[r.IntN(4)],
		interrupt:  []interruptions{nothing, nothing, reads, everything}[r.IntN(4)],
		pings:      r.IntN(3) > 0,
		contested:  r.IntN(4) == 0,
		answers:    r.IntN(2) == 0,
		closer:     r.IntN(2),
		busy:       r.IntN(2) == 0,
	}
	for i := range 2 {
		p.writers[i] = 1 + r.IntN(3)
		p.readers[i] = 1 + r.IntN(3)*r.IntN(2)
		p.hooks[i] = hooks(r.IntN(int(allHooks) + 1))
		p.after[i] = aftermath(r.IntN(3))
	}
	p.adapt(r)
	p.chooseConfigs(r)
	p.chooseEnding(r)
	p.chooseReceivers(r)
	p.chooseCloseRead(r)
	p.limits = r.IntN(2) == 0
	return p
}

// chooseCloseRead chooses the ends that read no more, and when. A server whose
// transport is cut does: nobody tells a poller that its own socket was closed.
func (p *plan) chooseCloseRead(r *rand.Rand) {
	for i := range 2 {
		p.closeRead[i] = -1
		if r.IntN(8) == 0 && p.handOver[i] < 0 && (i == 0 || p.ending != cut) {
			p.closeRead[i] = r.IntN(10) * r.IntN(2)
			p.readers[i] = 1
		}
	}
}

// chooseReceivers chooses the ends whose reading is handed over, and when.
func (p *plan) chooseReceivers(r *rand.Rand) {
	for i := range 2 {
		p.handOver[i] = -1
		if r.IntN(3) == 0 {
			p.handOver[i] = r.IntN(10) * r.IntN(2)
			p.readers[i] = 1
		}
	}
	p.entryPoint.viaReceiver = p.entryPoint.viaServer && p.handOver[1] == 0 && r.IntN(2) == 0
	p.entryPoint.viaHandler = p.transport.http2 && !p.entryPoint.viaReceiver && r.IntN(2) == 0
}

// adapt makes the plan fit the transport.
func (p *plan) adapt(r *rand.Rand) {
	tr := p.transport
	if tr.noDeadlines {
		p.entryPoint.viaServer = false // net/http needs them to hijack a connection
	}
	if tr.http2 {
		p.entryPoint = entryPoint{viaServer: true, viaNewConn: true}
	}
	if tr.slow {
		p.largest = min(p.largest, 20000)
		p.messages = min(p.messages, 15)
	}
	// Where interruptions end connections, most rounds do without.
	if tr.noDeadlines && r.IntN(4) > 0 {
		p.interrupt = nothing
	}
	if tr.fragile() && p.interrupt == everything && r.IntN(2) == 0 {
		p.interrupt = reads
		if tr.noDeadlines {
			p.interrupt = nothing
		}
	}
}

// chooseEnding chooses how the connection ends.
func (p *plan) chooseEnding(r *rand.Rand) {
	p.ending = ending(r.IntN(int(closeContext) + 1))
	p.answer = []websocket.CloseCode{0, 0, 1000, 4001}[r.IntN(4)]
	p.wait = time.Duration(r.IntN(4)-1) * brief(r, 3000)
	if r.IntN(3) == 0 {
		p.ending = closeOne
	}
	p.when = 1 + r.IntN(p.messages*p.writers[p.closer])
	codes := []websocket.CloseCode{0, 1000, 1000, 1000, 1001, 1003, 1008, 1011, 1012, 3000, 4999}
	p.code = codes[r.IntN(len(codes))]
	if p.code != 0 {
		p.reason = strings.Repeat("ended é", r.IntN(25))
	}
}

// chooseConfigs chooses the settings of both ends.
func (p *plan) chooseConfigs(r *rand.Rand) {
	compressed := r.IntN(2) == 0
	for i := range p.config {
		cfg := &p.config[i]
		*cfg = websocket.Config{
			MaxMessageSize:   2 << 20,
			PingInterval:     -1,
			WriteTimeout:     timeout,
			HandshakeTimeout: timeout,
			CloseTimeout:     timeout,
			MaxQueuedBytes:   []int{0, 1000, 100000}[r.IntN(3)],
			SlowConsumer:     websocket.SlowPolicy(r.IntN(3)),
			HoldReplies:      []time.Duration{0, 0, -1, time.Millisecond}[r.IntN(4)],
			ReadBufferSize:   []int{0, 0, 512, 256, 20000}[r.IntN(5)],
			SkipUTF8Check:    r.IntN(5) == 0,
		}
		if r.IntN(20) == 0 {
			cfg.SlowConsumer = websocket.CloseSlow
		}
		if p.pings && r.IntN(3) == 0 {
			cfg.PingInterval = time.Duration(1+r.IntN(5)) * time.Millisecond
			cfg.PongTimeout = timeout
		}
		if compressed {
			cfg.Compression = chooseCompression(r)
		}
	}
}

// chooseCompression chooses settings of permessage-deflate.
func chooseCompression(r *rand.Rand) *websocket.Compression {
	bits := func() int { return []int{0, 0, 9, 10, 12, 15}[r.IntN(6)] }
	return &websocket.Compression{
		Level:                 r.IntN(10),
		Threshold:             []int{0, -1, 1000}[r.IntN(3)],
		WindowBits:            bits(),
		NoContextTakeover:     r.IntN(3) == 0,
		PeerWindowBits:        bits(),
		PeerNoContextTakeover: r.IntN(3) == 0,
	}
}

// quiet reports whether CloseNow promises that everything arrives: the peer has
// nothing in flight, and what is held fits the socket, or nothing is held.
func (p *plan) quiet() bool {
	holds := p.config[p.closer].HoldReplies >= 0
	return !p.busy && !p.pings && p.interrupt == nothing && (p.transport.taking || !holds)
}

// String describes the plan in a few lines.
func (p *plan) String() string {
	end := "at rest"
	if p.busy {
		end = fmt.Sprintf("after %d messages", p.when)
	}
	s := fmt.Sprintf("%s, %v; interrupted: %v; pings %v, contested %v, answers %v, handed over %v, reading closed %v, hooks %v, limits %v\n"+
		"writers %v, readers %v, %d messages each, up to %d bytes\n"+
		"ends with %v of the %s %s, code %d, reason of %d bytes, answered with %d, context of %v; after the end %v",
		p.transport.name, p.entryPoint, p.interrupt, p.pings, p.contested, p.answers, p.handOver, p.closeRead, p.hooks, p.limits,
		p.writers, p.readers, p.messages, p.largest,
		p.ending, roles[p.closer], end, uint16(p.code), len(p.reason), uint16(p.answer), p.wait, p.after)
	for i, cfg := range p.config {
		s += fmt.Sprintf("\n%s: queue %d %v, hold %v, buffer %d, pings %v", roles[i], cfg.MaxQueuedBytes,
			cfg.SlowConsumer, cfg.HoldReplies, cfg.ReadBufferSize, cfg.PingInterval)
		if cfg.Compression != nil {
			s += fmt.Sprintf(", compression %+v", *cfg.Compression)
		}
	}
	return s
}

// roles are the names of the ends, by index.
var roles = [2]string{"client", "server"}
