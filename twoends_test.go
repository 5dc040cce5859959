package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// An end is one of two endpoints that talk to each other, with an application
// that does what a byte string says.
type end struct {
	t      *testing.T
	name   string
	conn   *Conn
	nc     *faultnet.Conn
	begun  int             // messages begun so far, each with its number
	sent   map[string]bool // by message: the write has succeeded
	closed bool            // the application has closed before all was done

	mu       sync.Mutex
	received []string
}

// body returns the payload of a message: its number, and a filling.
func (e *end) body(size int) string {
	e.begun++
	return fmt.Sprintf("%s %06d %s", e.name, e.begun, strings.Repeat("=", size))
}

// act does what one byte says.
func (e *end) act(b byte) {
	size := int(b>>3) * 40
	switch b % 8 {
	case 0, 1:
		e.write(context.Background(), e.body(size))
	case 2:
		e.stream(e.body(size))
	case 3:
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		e.check("Ping", ctx)(e.ping(ctx))
	case 4:
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(b>>3)*time.Millisecond)
		defer cancel()
		e.write(ctx, e.body(size*20))
	case 5:
		e.nc.SetWindow(size * 4)
	case 6:
		<-time.After(time.Duration(b>>3) * time.Millisecond)
	case 7:
		e.last(b)
	}
}

// last does what ends the connection, or is rare.
func (e *end) last(b byte) {
	switch b >> 3 {
	case 0:
		e.closed = true
		e.conn.Close(CloseNormal, "enough")
	case 1:
		e.closed = true
		e.conn.CloseNow()
	default:
		e.nc.SetWindow(faultnet.DefaultWindow)
	}
}

// ping sends a Ping.
func (e *end) ping(ctx context.Context) error {
	_, err := e.conn.Ping(ctx)
	return err
}

// write sends a message with Write.
func (e *end) write(ctx context.Context, body string) {
	err := e.conn.Write(ctx, Text, []byte(body))
	e.sent[body] = err == nil
	e.check("Write", ctx)(err)
}

// stream sends a message in pieces.
func (e *end) stream(body string) {
	ctx := context.Background()
	w, err := e.conn.Writer(ctx, Text)
	if err != nil {
		e.check("Writer", ctx)(err)
		return
	}
	for piece := range slices.Chunk([]byte(body), 30) {
		w.Write(piece)
	}
	err = w.Close()
	e.sent[body] = err == nil
	e.check("Close of a message", ctx)(err)
}

// check returns a judge of errors: of a live connection only that of ctx is
// fine, of one that is ending a *CloseError.
func (e *end) check(call string, ctx context.Context) func(error) {
	return func(err error) {
		var ce *CloseError
		if err == nil || err == ctx.Err() || errors.As(err, &ce) {
			return
		}
		e.t.Errorf("%s: %s returns %v", e.name, call, err)
	}
}

// deliver takes a message of the other end.
func (e *end) deliver(_ MessageType, p []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.received = append(e.received, string(p))
}

// FuzzTwoEnds lets two endpoints do what the two strings say, at the same
// time, over a network with changing windows. Messages arrive whole, in order
// and once; none that was sent is missing if the connection ended cleanly;
// every call returns. The third string is what is wrong with the network: see
// faulty.
func FuzzTwoEnds(f *testing.F) {
	for _, faults := range []string{"", "\x80\x00\x01\x02", "\x02\x30\x83\x21", "\x04\x60\x05\x11", "\x06\x09", "\x07\x32\x08\x20", "\x0a\x14\x81\x02", "\x0c\x07\x0d\x33"} {
		f.Add([]byte("\x00\x08\x10\x02\x03\x0b"), []byte("\x01\x0a\x03\x06"), []byte(faults))
		f.Add([]byte("\x05\xf8\xf8\xf8\x04"), []byte("\x36\xf4\xff\x03\x07"), []byte(faults))
		f.Add([]byte("\xfa\xfa\xfa\x07"), []byte("\x07"), []byte(faults))
		f.Add([]byte("\xfc\x24\x24\xf8"), []byte("\x0d\xfe\xff\xf8\x0f"), []byte(faults))
	}
	f.Fuzz(func(t *testing.T, does, answers, faults []byte) {
		if len(does)+len(answers) > 200 || len(faults) > 8 {
			t.Skip("longer than it needs to be")
		}
		for _, loops := range [][2]readLoop{{loopRead, loopRead}, {loopRead, loopReceiver}, {loopReceiver, loopReceiver}} {
			synctest.Test(t, func(t *testing.T) { twoEnds(t, does, answers, faults, loops) })
		}
	})
}

// faulty returns the net.Conn of an end, 0 or 1, with the faults that are meant
// for it. Each is two bytes: the lowest bit of the first is the end, the bits above
// say what happens, and the second says where. The faults of one connection are
// those that a network may have, or a wrapper: what arrives is cut into pieces, or
// stops; a call fails; a write takes a part.
func faulty(nc net.Conn, end byte, faults []byte) net.Conn {
	for pair := range slices.Chunk(faults, 2) {
		if len(pair) < 2 || pair[0]&1 != end {
			continue
		}
		at := int(pair[1]) * 4
		switch pair[0] >> 1 % 8 {
		case 0:
			nc = faultnet.ReadsOf(nc, 1+int(pair[1]))
		case 1:
			nc = faultnet.TruncateAt(nc, at, io.EOF)
		case 2:
			nc = faultnet.TruncateAt(nc, at, syscall.ECONNRESET)
		case 3:
			nc = faultnet.TruncateAt(nc, at, nil)
		case 4:
			nc = faultnet.EmptyReads(nc, at, 1+int(pair[1]%200))
		case 5:
			nc = faultnet.ErrAt(nc, int(pair[1]), syscall.ECONNRESET)
		case 6:
			nc = faultnet.ShortWrite(nc, at, syscall.EPIPE)
		case 7:
			nc = faultnet.ShortWrite(nc, at, nil)
		}
	}
	return nc
}

// agreedAnyhow returns what two ends agree on that compress if any of the bytes
// has its highest bit set.
func agreedAnyhow(bytes []byte) (*Compression, [2]agreement) {
	for _, b := range bytes {
		if b >= 0x80 {
			c := &Compression{}
			return c, [2]agreement{agreedFor(client, c), agreedFor(server, c)}
		}
	}
	return nil, [2]agreement{}
}

// twoEnds is one run of FuzzTwoEnds, in which the client and the server read by
// these loops.
func twoEnds(t *testing.T, does, answers, faults []byte, loops [2]readLoop) {
	covers(t, "G06", "G07", "G08", "X07", "Q.F10", "Q.H01", "Q.H03")
	config := Config{WriteTimeout: 5 * time.Second, CloseTimeout: 2 * time.Second}
	compression, agreed := agreedAnyhow(faults)
	config.Compression = compression
	na, nb := faultnet.Pipe()
	a := &end{t: t, name: "client", nc: na, sent: map[string]bool{}, conn: newConn(faulty(na, 0, faults), client, config.withDefaults(), agreed[0], nil)}
	b := &end{t: t, name: "server", nc: nb, sent: map[string]bool{}, conn: newConn(faulty(nb, 1, faults), server, config.withDefaults(), agreed[1], nil)}
	var reading, acting sync.WaitGroup
	for _, run := range []struct {
		end  *end
		does []byte
		loop readLoop
	}{{a, does, loops[0]}, {b, answers, loops[1]}} {
		reading.Go(func() { run.loop(run.end.conn, run.end.deliver) })
		acting.Go(func() {
			for _, b := range run.does {
				run.end.act(b)
			}
		})
	}
	acting.Wait()
	na.SetWindow(1 << 20)
	nb.SetWindow(1 << 20)
	synctest.Wait()
	a.conn.Close(CloseNormal, "")
	b.conn.Close(CloseNormal, "")
	reading.Wait()
	compareEnds(t, a, b)
	compareEnds(t, b, a)
	if na.CloseCalls() != 1 || nb.CloseCalls() != 1 {
		t.Errorf("the connections below were closed %d and %d times", na.CloseCalls(), nb.CloseCalls())
	}
}

// compareEnds compares what one end received with what the other sent.
func compareEnds(t *testing.T, from, to *end) {
	t.Helper()
	if !slices.IsSorted(to.received) {
		t.Errorf("%s received out of order: %.200q", to.name, to.received)
	}
	for i, body := range to.received {
		if _, known := from.sent[body]; !known || i > 0 && body == to.received[i-1] {
			t.Errorf("%s received %.80q, which was not sent, or came twice", to.name, body)
		}
	}
	var ce *CloseError
	errors.As(context.Cause(to.conn.Context()), &ce)
	if ce == nil || !ce.Received || !ce.Sent || to.closed {
		return
	}
	for body, sent := range from.sent {
		if sent && !slices.Contains(to.received, body) {
			t.Errorf("%s never received %.40q, and the end is %v", to.name, body, ce)
		}
	}
}
