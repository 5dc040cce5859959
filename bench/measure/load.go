//go:build linux

package measure

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fullduplex-go/websocket/bench/wire"
)

// A link is one connection of the load.
type link struct {
	*socket
	stream io.ReadWriter // the socket, or TLS on it
	index  int           // in load.links
	pos    int           // bytes of the batch's reply received
	sentAt time.Time
	reply  []byte // the start of a frame of a client
	polls  bool   // epoll watches for room to write
}

// loadSpec holds the load's settings.
type loadSpec struct {
	Row      Row
	Floor    bool   // the subject is the floor
	Addr     string // of the subject, unless it is a client
	Cert     []byte // of the subject, in DER
	PID      int    // of the subject
	Warm     time.Duration
	Measured time.Duration
}

// A Result is the outcome of one run of one subject.
type Result struct {
	Kind       Kind          // of the row
	Messages   int           // messages, handshakes or Pings in the measured time
	Counted    int           // messages after that, while allocations were counted
	Wall       time.Duration // the measured time
	SubjectCPU time.Duration // CPU time of the subject in it
	LoadCPU    time.Duration // CPU time of the load in it
	Reads      int           // read system calls of the subject in it
	Writes     int           // its write system calls
	P50, P99   time.Duration // from sending a batch to receiving its last reply
	Allocs     float64       // for each message, in rows of kind Echo; negative: unknown
	Memory     Memory        // of one idle connection, in rows of kind Idle
}

// Cost returns the CPU time of one message in microseconds, the bytes of one idle
// connection, or the share of a core that silent connections take, in percent.
func (r Result) Cost() float64 {
	switch r.Kind {
	case Idle:
		return float64(r.Memory.Heap + r.Memory.Stack)
	case Quiet:
		return r.SubjectCPU.Seconds() * 100 / r.Wall.Seconds()
	default:
		return r.SubjectCPU.Seconds() * 1e6 / float64(r.Messages)
	}
}

// PerSecond returns the number of messages per second.
func (r Result) PerSecond() float64 { return float64(r.Messages) / r.Wall.Seconds() }

// LoadBound reports whether the load, not the subject, was the bottleneck.
func (r Result) LoadBound() bool {
	return r.LoadCPU > r.Wall*9/10 && r.SubjectCPU < r.Wall*9/10
}

// A load drives a subject from one thread, with epoll.
type load struct {
	spec   loadSpec
	batch  *batch
	epoll  int
	links  []*link
	events [256]unix.EpollEvent
	buf    []byte

	messages int
	latency  *histogram
}

// A readable is called for each link that has something to read.
type readable func(l *link) error

// newLoad returns a load without connections.
func newLoad(spec loadSpec) (*load, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	row := spec.Row
	b := newBatch(row.Size, max(row.InFlight, 1), row.Kind == EchoClient, spec.Floor)
	if row.Compression.deflates() {
		b, err = newDeflated(row.Size)
	}
	return &load{
		spec:    spec,
		batch:   b,
		epoll:   epoll,
		buf:     make([]byte, 256<<10),
		latency: new(histogram),
	}, err
}

// watch adds l to the links that epoll reports.
func (ld *load) watch(l *link) error {
	l.index = len(ld.links)
	ld.links = append(ld.links, l)
	return ld.control(unix.EPOLL_CTL_ADD, l, unix.EPOLLIN)
}

// control tells epoll which events of l to report.
func (ld *load) control(op int, l *link, events uint32) error {
	return unix.EpollCtl(ld.epoll, op, l.fd, &unix.EpollEvent{Events: events, Fd: int32(l.index)})
}

// turn waits for events once and handles them.
func (ld *load) turn(f readable) error {
	n, err := unix.EpollWait(ld.epoll, ld.events[:], 100)
	if err == unix.EINTR {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range ld.events[:max(n, 0)] {
		l := ld.links[e.Fd]
		if e.Events&unix.EPOLLOUT != 0 {
			if err := l.flush(); err != nil {
				return err
			}
		}
		if e.Events&^unix.EPOLLOUT != 0 {
			if err := f(l); err != nil {
				return err
			}
		}
		if err := ld.pollWrites(l); err != nil {
			return err
		}
	}
	return nil
}

// pollWrites makes epoll report that l is writable as long as bytes are unsent.
func (ld *load) pollWrites(l *link) error {
	wanted := len(l.unsent) > 0
	if wanted == l.polls {
		return nil
	}
	l.polls = wanted
	events := uint32(unix.EPOLLIN)
	if wanted {
		events |= unix.EPOLLOUT
	}
	return ld.control(unix.EPOLL_CTL_MOD, l, events)
}

// patience is how long the first message may take beyond the measured time.
const patience = 5 * time.Second

// run calls turn for the warm-up time and for the measured time, in which there
// must be a message.
func (ld *load) run(f readable) (Result, error) {
	if err := ld.turnFor(ld.spec.Warm, f); err != nil {
		return Result{}, err
	}
	ld.messages, ld.latency = 0, new(histogram)
	r, err := ld.measure(f)
	if err == nil && r.Messages == 0 {
		err = errors.New("measure: nothing came back in the measured time")
	}
	return r, err
}

// measure calls turn for the measured time.
func (ld *load) measure(f readable) (Result, error) {
	start := time.Now()
	subject, own, err := ld.usages()
	if err != nil {
		return Result{}, err
	}
	if err := ld.turnFor(ld.spec.Measured, f); err != nil {
		return Result{}, err
	}
	// On a busy machine, wait for at least one message.
	for ld.messages == 0 && ld.spec.Row.Kind != Quiet && time.Since(start) < ld.spec.Measured+patience {
		if err := ld.turn(f); err != nil {
			return Result{}, err
		}
	}
	subjectAfter, ownAfter, err := ld.usages()
	used := subjectAfter.since(subject)
	return Result{
		Kind: ld.spec.Row.Kind, Messages: ld.messages, Wall: time.Since(start),
		SubjectCPU: used.cpu, LoadCPU: ownAfter.since(own).cpu,
		Reads: used.reads, Writes: used.writes,
		P50: ld.latency.quantile(0.5), P99: ld.latency.quantile(0.99),
	}, err
}

// turnFor calls turn until d is over.
func (ld *load) turnFor(d time.Duration, f readable) error {
	for end := time.Now().Add(d); time.Now().Before(end); {
		if err := ld.turn(f); err != nil {
			return err
		}
	}
	return nil
}

// usages returns the usages of the subject and of this process.
func (ld *load) usages() (subject, own usage, err error) {
	if subject, err = usageOf(ld.spec.PID); err != nil {
		return subject, own, err
	}
	own, err = usageOf(os.Getpid())
	return subject, own, err
}

// read passes the bytes received on l to take, in pieces.
func (ld *load) read(l *link, take func(l *link, p []byte) error) error {
	for {
		n, err := l.stream.Read(ld.buf)
		switch {
		case errors.Is(err, errAgain):
			return nil
		case err != nil:
			return fmt.Errorf("measure: the subject ended a connection: %w", err)
		}
		if err := take(l, ld.buf[:n]); err != nil {
			return err
		}
		if l.stream == io.ReadWriter(l.socket) && n < len(ld.buf) {
			return nil
		}
	}
}

// errEcho says that the subject is broken.
var errEcho = errors.New("measure: what came back is not what was sent")

// take compares p with the next bytes of the reply, and reports whether they
// complete the batch.
func (ld *load) take(l *link, p []byte) (complete bool, err error) {
	if ld.batch.masked {
		return ld.takeMasked(l, p)
	}
	if !ld.batch.matches(p, l.pos) {
		return false, errEcho
	}
	l.pos += len(p)
	return ld.complete(l), nil
}

// takeMany is like take for bytes that may belong to several batches. It returns
// how many batches they complete.
func (ld *load) takeMany(l *link, p []byte) (complete int, err error) {
	for len(p) > 0 {
		piece := p[:min(len(p), len(ld.batch.reply)-l.pos)]
		last, err := ld.take(l, piece)
		if err != nil {
			return complete, err
		}
		if last {
			complete++
		}
		p = p[len(piece):]
	}
	return complete, nil
}

// takeMasked is like take for the frames of a client.
func (ld *load) takeMasked(l *link, p []byte) (complete bool, err error) {
	l.reply = append(l.reply, p...)
	rest := l.reply
	for {
		f, after, whole := wire.TakeFrame(rest)
		if !whole {
			break
		}
		if !ld.batch.matchesFrame(f, l.pos) {
			return false, errEcho
		}
		l.pos, rest = l.pos+len(f.Payload), after
	}
	l.reply = l.reply[:copy(l.reply, rest)]
	return ld.complete(l), nil
}

// complete reports whether l has the whole reply, and starts the next if so.
func (ld *load) complete(l *link) bool {
	if l.pos < len(ld.batch.reply) {
		return false
	}
	l.pos = 0
	return true
}

// send sends the batch on l.
func (ld *load) send(l *link) error {
	l.sentAt = time.Now()
	_, err := l.stream.Write(ld.batch.request)
	return err
}

// exchange sends b on l and waits for the reply.
func exchange(l *link, b *batch) error {
	l.waits = true
	defer func() { l.waits = false }()
	if _, err := l.stream.Write(b.request); err != nil {
		return err
	}
	if b.deflated {
		return receiveDeflated(l, b.reply)
	}
	p := make([]byte, len(b.reply))
	for got := 0; got < len(p); {
		n, err := l.stream.Read(p[got:])
		if err != nil {
			return err
		}
		if !b.matches(p[got:got+n], got) {
			return errEcho
		}
		got += n
	}
	return nil
}

// open opens the row's connections to the subject, from several loopback
// addresses so that there are enough ports, and exchanges first on each.
func (ld *load) open(first *batch) error {
	addr, err := netip.ParseAddrPort(ld.spec.Addr)
	if err != nil {
		return err
	}
	config, err := trust(ld.spec.Cert)
	if err != nil {
		return err
	}
	for i := range ld.spec.Row.Conns {
		if err := ld.openOne(addr, source(i), config, first); err != nil {
			return fmt.Errorf("measure: connection %d: %w", i, err)
		}
	}
	return nil
}

func (ld *load) openOne(addr netip.AddrPort, from [4]byte, config *tls.Config, first *batch) error {
	l, err := openLink(addr, from, config, ld.spec.Row.Compression == NoTakeover)
	if err != nil {
		return err
	}
	if first != nil {
		if err := exchange(l, first); err != nil {
			return err
		}
	}
	return ld.watch(l)
}

// source returns the loopback address that connection i comes from.
func source(i int) [4]byte {
	return [4]byte{127, 0, byte(i / 250 % 250), byte(i%250 + 1)}
}
