//go:build linux

package measure

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"time"

	"golang.org/x/sys/unix"

	"github.com/fullduplex-go/websocket/bench/wire"
)

// joinSize and triggerSize are the lengths of the two messages in a row of kind
// Broadcast: one that a connection gets back once it is in the group, and one
// that makes the subject send to the group.
const (
	joinSize    = 8
	triggerSize = 4
)

// An asker tells the orchestrator that the load is ready: to accept, at addr, or
// to go on with the connections it has opened. It returns the subject's process
// ID.
type asker func(addr string) (pid int, err error)

// drive runs the load of a row. It calls ask before it accepts, before silence is
// measured, and before messages are counted.
func drive(spec loadSpec, ask asker) (Result, error) {
	ld, err := newLoad(spec)
	if err != nil {
		return Result{}, err
	}
	switch spec.Row.Kind {
	case Echo:
		if spec.Row.HTTP2 {
			return ld.driveStreams(ask)
		}
		return ld.driveEcho(ask)
	case EchoClient:
		return ld.driveClients(ask)
	case Broadcast:
		return ld.driveBroadcast()
	case Handshake:
		return ld.driveHandshakes()
	case Idle:
		return ld.driveIdle()
	case Quiet:
		return ld.driveQuiet(ask)
	default:
		return Result{}, fmt.Errorf("measure: row of kind %d", spec.Row.Kind)
	}
}

// driveEcho keeps a batch in flight on every connection.
func (ld *load) driveEcho(ask asker) (Result, error) {
	if err := ld.open(nil); err != nil {
		return Result{}, err
	}
	r, err := ld.echo()
	if err != nil {
		return r, err
	}
	return ld.count(r, ask, ld.echoAgain)
}

// count goes on for a while when all is measured, so that allocations can be
// counted that are not those of the beginning.
func (ld *load) count(r Result, ask asker, again readable) (Result, error) {
	if _, err := ask(""); err != nil {
		return r, err
	}
	ld.messages = 0
	err := ld.turnFor(ld.spec.Measured/4, again)
	r.Counted = ld.messages
	return r, err
}

// driveClients is like driveEcho for a subject that is a client.
func (ld *load) driveClients(ask asker) (Result, error) {
	ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return Result{}, err
	}
	defer ln.Close()
	if ld.spec.PID, err = ask(ln.Addr().String()); err != nil {
		return Result{}, err
	}
	for range ld.spec.Row.Conns {
		if err := ld.acceptOne(ln); err != nil {
			return Result{}, err
		}
	}
	return ld.echo()
}

// acceptOne accepts the next connection of a client.
func (ld *load) acceptOne(ln *net.TCPListener) error {
	if err := ln.SetDeadline(time.Now().Add(openingLimit)); err != nil {
		return err
	}
	nc, err := ln.AcceptTCP()
	if err != nil {
		return err
	}
	s, err := takeSocket(nc)
	if err != nil {
		return err
	}
	l, err := answerLink(s)
	if err != nil {
		return err
	}
	return ld.watch(l)
}

// echo sends the batch on each connection again whenever it has come back.
func (ld *load) echo() (Result, error) {
	for _, l := range ld.links {
		if err := ld.send(l); err != nil {
			return Result{}, err
		}
		if err := ld.pollWrites(l); err != nil {
			return Result{}, err
		}
	}
	return ld.run(ld.echoAgain)
}

// echoAgain reads what has come back on l.
func (ld *load) echoAgain(l *link) error { return ld.read(l, ld.echoed) }

// echoed takes p, and sends again if the batch is complete.
func (ld *load) echoed(l *link, p []byte) error {
	last, err := ld.take(l, p)
	if err != nil || !last {
		return err
	}
	ld.latency.add(time.Since(l.sentAt))
	ld.messages += ld.batch.messages
	return ld.send(l)
}

// driveBroadcast keeps the row's number of broadcasts in flight: when all
// connections together have received as much as one broadcast sends, the next
// connection triggers another.
func (ld *load) driveBroadcast() (Result, error) {
	if err := ld.open(newBatch(joinSize, 1, false, ld.spec.Floor)); err != nil {
		return Result{}, err
	}
	ld.batch = newBatch(ld.spec.Row.Size, 1, false, false)
	var asked []time.Time
	trigger, next, received := newBatch(triggerSize, 1, false, false), 0, 0
	ask := func() error {
		asked = append(asked, time.Now())
		next = (next + 1) % len(ld.links)
		_, err := ld.links[next].Write(trigger.request)
		return err
	}
	for range ld.spec.Row.InFlight {
		if err := ask(); err != nil {
			return Result{}, err
		}
	}
	take := func(l *link, p []byte) error {
		n, err := ld.takeMany(l, p)
		ld.messages += n
		for received += n; received >= len(ld.links); received -= len(ld.links) {
			ld.latency.add(time.Since(asked[0]))
			asked = asked[1:]
			err = errors.Join(err, ask())
		}
		return err
	}
	return ld.run(func(l *link) error { return ld.read(l, take) })
}

// driveHandshakes opens a new connection for each one that was accepted.
func (ld *load) driveHandshakes() (Result, error) {
	addr, err := netip.ParseAddrPort(ld.spec.Addr)
	if err != nil {
		return Result{}, err
	}
	hello := wire.Request("http", ld.spec.Addr, false)
	for range ld.spec.Row.Conns {
		l := new(link)
		if err := l.knock(addr, hello); err != nil {
			return Result{}, err
		}
		if err := ld.watch(l); err != nil {
			return Result{}, err
		}
	}
	return ld.run(func(l *link) error { return ld.answered(l, addr, hello) })
}

// knock connects l and sends the request.
func (l *link) knock(addr netip.AddrPort, hello []byte) error {
	s, err := connect(addr, source(l.index))
	if err != nil {
		return err
	}
	s.waits = false
	l.socket, l.stream, l.pos, l.sentAt = s, s, 0, time.Now()
	_, err = s.Write(hello)
	return err
}

// answered checks the response, ends the connection and opens the next.
func (ld *load) answered(l *link, addr netip.AddrPort, hello []byte) error {
	n, err := l.Read(ld.buf)
	if err != nil {
		return err
	}
	if err := wire.CheckResponse(ld.buf[:n]); err != nil {
		return err
	}
	ld.latency.add(time.Since(l.sentAt))
	ld.messages++
	if err := l.Close(); err != nil {
		return err
	}
	if err := l.knock(addr, hello); err != nil {
		return err
	}
	return ld.control(unix.EPOLL_CTL_ADD, l, unix.EPOLLIN)
}

// driveIdle opens the connections, exchanges one message on each, and leaves
// them idle.
func (ld *load) driveIdle() (Result, error) {
	return Result{Kind: Idle}, ld.open(ld.batch)
}

// driveQuiet is like driveIdle, and answers Pings for the measured time.
func (ld *load) driveQuiet(ask asker) (Result, error) {
	if err := ld.open(ld.batch); err != nil {
		return Result{}, err
	}
	if _, err := ask(""); err != nil {
		return Result{}, err
	}
	return ld.measure(func(l *link) error { return ld.read(l, ld.pong) })
}

// pongKey is the masking key of every Pong.
var pongKey = []byte{0x37, 0xfa, 0x21, 0x3d}

// pong answers the Pings in p, which has nothing else.
func (ld *load) pong(l *link, p []byte) error {
	l.reply = append(l.reply, p...)
	rest := l.reply
	for {
		f, after, whole := wire.TakeFrame(rest)
		if !whole {
			l.reply = l.reply[:copy(l.reply, rest)]
			return nil
		}
		if f.First != wire.FIN|wire.Ping {
			return errEcho
		}
		if _, err := l.stream.Write(wire.AppendFrame(nil, wire.FIN|wire.Pong, f.Payload, pongKey)); err != nil {
			return err
		}
		ld.messages++
		rest = after
	}
}

// takeSocket takes the descriptor of nc from Go's poller.
func takeSocket(nc *net.TCPConn) (*socket, error) {
	defer nc.Close()
	f, err := nc.File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, err
	}
	return &socket{fd: fd, waits: true}, nil
}
