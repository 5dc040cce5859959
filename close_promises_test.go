package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// answerClose has the peer answer a Close frame and end, and returns the frame's
// payload, and the end of what came.
func (p *rawPeer) answerClose() (payload string, err error) {
	if payload, _, err = p.readClose(); err != nil {
		return "", err
	}
	if err = p.send(0x88, payload); err == nil {
		p.closeWrite()
		err = p.readEnd()
	}
	p.nc.Close()
	return payload, err
}

// TestSentIsTrueOnlyIfHandedOver ends connections on which nothing can be
// written any more (V02): no error says that our Close frame was sent, and each
// call returns within CloseTimeout (V01).
func TestSentIsTrueOnlyIfHandedOver(t *testing.T) {
	covers(t, "V01", "V02")
	obstacles := map[string]func(near net.Conn, far *faultnet.Conn) net.Conn{
		"writes wait": func(near net.Conn, far *faultnet.Conn) net.Conn {
			far.SetWindow(0)
			return near
		},
		"one byte leaves": func(near net.Conn, far *faultnet.Conn) net.Conn {
			far.SetWindow(1)
			return near
		},
		"writes fail": func(near net.Conn, _ *faultnet.Conn) net.Conn {
			return faultnet.OnWrite(near, func([]byte) (int, error) { return 0, errors.New("broken") })
		},
	}
	for name, obstacle := range obstacles {
		for _, r := range roles {
			for _, k := range causes {
				t.Run(fmt.Sprint(name, ", ", r, ", ", k.name), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { neverSent(t, r, k, obstacle) })
				})
			}
		}
	}
}

// neverSent is one case of TestSentIsTrueOnlyIfHandedOver.
func neverSent(t *testing.T, r role, k cause, obstacle func(net.Conn, *faultnet.Conn) net.Conn) {
	near, far := faultnet.Pipe()
	defer far.Close()
	cfg := k.config
	cfg.PingInterval = -1
	c := newConn(obstacle(near, far), r, cfg.withDefaults(), agreement{}, nil)
	defer c.CloseNow()
	began := time.Now()
	if k.closes {
		go c.Close(4001, "ours")
		synctest.Wait()
		told := asCloseError(c.Write(context.Background(), Text, []byte("after Close")))
		if told == nil || told.Sent {
			t.Errorf("Write after Close returns %+v, want a *CloseError that does not claim that it was sent", told)
		}
	}
	if k.first != 0 {
		newRawPeer(far, r).send(k.first, k.payload)
	}
	_, _, err := c.Read(context.Background())
	end := asCloseError(err)
	switch {
	case end == nil:
		t.Errorf("Read returns %v", err)
	case end.Sent:
		t.Errorf("Sent is true in %+v, and nothing was handed over", end)
	case k.first == 0x88 && end.Received && end.Code != CloseNoStatus && rawClose(uint16(end.Code), end.Reason) != k.payload:
		t.Errorf("the end is %+v, the peer said %q", end, k.payload)
	}
	if took := time.Since(began); took > cfg.withDefaults().CloseTimeout {
		t.Errorf("the end came after %v", took)
	}
}

// TestFirstCloseFrameCounts breaks the protocol after our Close frame has left
// (V02): the end has the code that the peer was told.
func TestFirstCloseFrameCounts(t *testing.T) {
	covers(t, "V02")
	for _, k := range causes[2:5] {
		t.Run(k.name, func(t *testing.T) {
			cfg := k.config
			cfg.PingInterval = -1
			eachEnd(t, cfg, []rawNetwork{memoryNetwork, pipeNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
				closed := make(chan error, 1)
				go func() { closed <- c.Close(CloseNormal, "said first") }()
				payload, _, err := peer.readClose()
				if err != nil || payload != rawClose(1000, "said first") {
					t.Fatalf("the peer received %q, %v", payload, err)
				}
				go func() {
					peer.send(0x03, "a reserved opcode")
					peer.closeWrite()
				}()
				if err := peer.readEnd(); err != nil {
					t.Error(err)
				}
				peer.nc.Close()
				end := asCloseError(<-closed)
				if end == nil || end.Code != CloseNormal || end.Reason != "said first" || !end.Sent || end.Received {
					t.Errorf("Close returns %+v, want 1000, sent and not received", end)
				}
			})
		})
	}
}

// TestEndThatBeganFirstCounts calls Close after the peer's Close frame came,
// while our answer cannot leave yet (V02): the end, and what writers are told
// before it, are what the peer said.
func TestEndThatBeganFirstCounts(t *testing.T) {
	covers(t, "V02")
	eachEnd(t, Config{PingInterval: -1}, []rawNetwork{pipeNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		told := func() CloseCode {
			if end := asCloseError(c.Send(Text, []byte("too late"))); end != nil {
				return end.Code
			}
			return 0
		}
		peer.send(0x88, rawClose(1012, "restart"))
		synctest.Wait()
		if before := told(); before != CloseServiceRestart {
			t.Errorf("Send says %d, want 1012", uint16(before))
		}
		closed := make(chan error, 1)
		go func() { closed <- c.Close(CloseNormal, "too late") }()
		synctest.Wait()
		if after := told(); after != CloseServiceRestart {
			t.Errorf("Send says %d after Close was called, want 1012", uint16(after))
		}
		payload, _, err := peer.readClose()
		if err != nil || payload != rawClose(1012, "restart") {
			t.Errorf("the peer received %q, %v", payload, err)
		}
		peer.nc.Close()
		if err := <-closed; err != nil {
			t.Errorf("Close returns %v", err)
		}
		if end := asCloseError(c.terminal()); end.Code != CloseServiceRestart || !end.clean() {
			t.Errorf("the end is %+v", end)
		}
	})
}

// goroutines returns how many goroutines the bubble of its caller has.
func goroutines() int {
	all := make([]byte, 1<<20)
	all = all[:runtime.Stack(all, true)]
	_, bubble, _ := bytes.Cut(all, []byte(", synctest bubble"))
	bubble, _, _ = bytes.Cut(bubble, []byte("]:"))
	return bytes.Count(all, append([]byte(", synctest bubble"), append(bubble, "]:"...)...))
}

// TestEndKeepsNothing ends connections whose peer neither reads nor closes
// (V23): at most one goroutine lingers, which is gone after CloseTimeout, as is
// every buffer.
func TestEndKeepsNothing(t *testing.T) {
	covers(t, "V23")
	for _, k := range causes {
		for _, now := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, CloseNow %v", k.name, now), func(t *testing.T) {
				eachEnd(t, k.config, []rawNetwork{memoryNetwork, pipeNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
					keepsNothing(t, k, c, peer, now)
				})
			})
		}
	}
}

// keepsNothing is one case of TestEndKeepsNothing.
func keepsNothing(t *testing.T, k cause, c *Conn, peer *rawPeer, now bool) {
	synctest.Wait()
	before := goroutines()
	if k.closes {
		go c.Close(4001, "ours")
	}
	if k.first != 0 {
		before++
		go func() {
			peer.send(k.first, k.payload)
			<-c.Context().Done()
			<-time.After(c.cfg.CloseTimeout)
		}()
	}
	c.Read(context.Background())
	if now {
		c.CloseNow()
	}
	synctest.Wait()
	if n := goroutines(); !k.closes && n > before+1 {
		t.Errorf("%d goroutines at the end, were %d", n, before)
	}
	time.Sleep(2 * c.cfg.CloseTimeout)
	synctest.Wait()
	if n := goroutines(); n >= before+1 {
		t.Errorf("%d goroutines are left, were %d", n, before)
	}
	if !c.life.closingTransport.Load() || c.in != nil {
		t.Errorf("left: net.Conn %v, reading %v", !c.life.closingTransport.Load(), c.in)
	}
	if c.lazy.Load().timer.Stop() {
		t.Error("the keepalive's timer still runs")
	}
}

// A closeUse is a use of Close and what the peer sees of it.
type closeUse struct {
	code    CloseCode
	reason  string
	payload string // of the Close frame
	no      bool   // there is none, and Close returns an error
}

// closeUses has each class of codes and of reasons (P13).
func closeUses() (uses []closeUse) {
	for _, code := range []CloseCode{1000, 1001, 1003, 1007, 1014, 3000, 3999, 4000, 4999} {
		uses = append(uses, closeUse{code: code, reason: "why", payload: rawClose(uint16(code), "why")})
	}
	for _, code := range []CloseCode{0, CloseNoStatus} {
		uses = append(uses, closeUse{code: code}, closeUse{code: code, reason: "has no place"})
	}
	for _, code := range []CloseCode{1, 999, 1004, CloseAbnormal, CloseTLSHandshake, 1016, 2999, 5000, 65535} {
		uses = append(uses, closeUse{code: code, reason: "cannot travel", no: true})
	}
	for reason, sent := range map[string]string{
		"caf\xe9":                                     "caf\uFFFD",
		"\xff\xfe":                                    "\uFFFD",
		"a\xe2\x82":                                   "a\uFFFD",
		strings.Repeat("x", 123) + "€":                strings.Repeat("x", 123),
		strings.Repeat("x", 122) + "€":                strings.Repeat("x", 122),
		strings.Repeat("€", 42):                       strings.Repeat("€", 41),
		"\xff" + strings.Repeat("x", 119) + "\xff":    "\uFFFD" + strings.Repeat("x", 119),
		strings.Repeat("x", 120) + "\xff" + " and on": strings.Repeat("x", 120) + "\uFFFD",
	} {
		uses = append(uses, closeUse{code: 1000, reason: reason, payload: rawClose(1000, sent)})
	}
	return uses
}

// TestCloseAlwaysEnds closes with codes and reasons of every class (V15, P13).
func TestCloseAlwaysEnds(t *testing.T) {
	covers(t, "V15", "P13")
	for _, use := range closeUses() {
		t.Run(fmt.Sprintf("%d %.8q of %d", uint16(use.code), use.reason, len(use.reason)), func(t *testing.T) {
			eachEnd(t, silent, []rawNetwork{memoryNetwork, pipeNetwork}, use.check)
		})
	}
}

// check closes c and looks at what the peer sees.
func (u closeUse) check(t *testing.T, c *Conn, peer *rawPeer) {
	began := time.Now()
	closed := make(chan error, 1)
	go func() { closed <- c.Close(u.code, u.reason) }()
	defer time.AfterFunc(time.Minute, func() { peer.nc.Close() }).Stop() // for a Close that does nothing
	payload, err := peer.answerClose()
	switch {
	case u.no && (payload != "" || err == nil || !errors.Is(err, io.EOF)):
		t.Errorf("the peer received %q, %v; want EOF alone", payload, err)
	case !u.no && (err != nil || payload != u.payload):
		t.Errorf("the peer received %q, %v; want %q", payload, err, u.payload)
	case !utf8.ValidString(payload[min(2, len(payload)):]):
		t.Errorf("the reason in %q is not UTF-8", payload)
	}
	switch err := <-closed; {
	case u.no != (err != nil):
		t.Errorf("Close returns %v", err)
	case c.terminal() == nil:
		t.Errorf("Close returns %v, and the connection lives", err)
	case u.no && time.Since(began) > 0:
		t.Errorf("Close took %v", time.Since(began))
	}
}

// TestRelayedClose closes one connection with the end of another, as a proxy does
// (V15, P13): it ends too, with the same code if that can travel.
func TestRelayedClose(t *testing.T) {
	covers(t, "V15", "P13")
	type ended struct {
		name    string
		end     func(peer *rawPeer) // of the upstream connection
		payload string
		no      bool
	}
	tests := []ended{
		{name: "1000", end: func(p *rawPeer) { p.send(0x88, rawClose(1000, "bye")) }, payload: rawClose(1000, "bye")},
		{name: "4321", end: func(p *rawPeer) { p.send(0x88, rawClose(4321, "")) }, payload: rawClose(4321, "")},
		{name: "no code", end: func(p *rawPeer) { p.send(0x88, "") }},
		{name: "EOF", end: func(p *rawPeer) { p.nc.Close() }, no: true},
		{name: "reset", end: func(p *rawPeer) { p.nc.(*faultnet.Conn).Reset() }, no: true},
		{name: "bad frame", end: func(p *rawPeer) { p.send(0x83, "") }, payload: rawClose(1002, reservedOpcode.err().Text)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			eachEnd(t, silent, []rawNetwork{memoryNetwork, pipeNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
				near, far := faultnet.Pipe()
				defer far.Close()
				upstream := newConn(near, client, silent.withDefaults(), agreement{}, nil)
				defer upstream.CloseNow()
				go test.end(newRawPeer(far, client))
				_, _, err := upstream.Read(context.Background())
				e := asCloseError(err)
				if e == nil {
					t.Fatalf("the upstream connection ended with %v", err)
				}
				closeUse{e.Code, e.Reason, test.payload, test.no}.check(t, c, peer)
			})
		})
	}
}

// queuedMessages is how many messages the tests of Close queue.
const queuedMessages = 500

// queuedMessage returns the message with a number. All of them together are more
// than the network of c holds.
func queuedMessage(c *Conn, n int) string {
	size := 4 << 10
	if c.LocalAddr().Network() != "tcp" {
		size = 1 << 10
	}
	return fmt.Sprintf("%06d", n) + strings.Repeat(".", size-6)
}

// queueing has room for all the messages.
var queueing = Config{PingInterval: -1, MaxQueuedBytes: 16 << 20, CloseTimeout: time.Minute}

// TestCloseEmptiesTheQueue closes with answers in the queue for a peer that
// reads none before it has sent twice as much (V14): the peer gets every
// answer, because Close reads meanwhile, and Close returns nil.
func TestCloseEmptiesTheQueue(t *testing.T) {
	covers(t, "V14")
	serverTLS()
	eachEnd(t, queueing, slices.Concat(independentNetworks, memoryNetworks[2:]), func(t *testing.T, c *Conn, peer *rawPeer) {
		closed := make(chan error, 1)
		go func() { closed <- echoAndClose(t, c) }()
		for n := range 2 * queuedMessages {
			if err := peer.send(0x82, queuedMessage(c, n)); err != nil {
				t.Errorf("message %d was not taken: %v", n, err)
				break
			}
		}
		payload, before, err := peer.readClose()
		for n, f := range before {
			if n >= queuedMessages || f.payload != queuedMessage(c, n) {
				t.Fatalf("answer %d is %.10q", n, f.payload)
			}
		}
		if len(before) != queuedMessages || err != nil || payload != rawClose(1000, "done") {
			t.Errorf("%d of %d answers came, then the Close frame %q, %v", len(before), queuedMessages, payload, err)
		}
		peer.send(0x88, payload)
		peer.closeWrite()
		go func() {
			peer.readEnd()
			peer.nc.Close()
		}()
		if err := <-closed; err != nil {
			t.Errorf("Close returns %v", err)
		}
	})
}

// echoAndClose queues answers to the first messages and closes.
func echoAndClose(t *testing.T, c *Conn) error {
	for n := range queuedMessages {
		kind, p, err := c.Read(context.Background())
		if err == nil {
			err = c.Send(kind, p)
		}
		if err != nil {
			t.Errorf("echo of message %d: %v", n, err)
			break
		}
	}
	return c.Close(CloseNormal, "done")
}

// TestCloseSaysWhatWasGivenUp closes with a queue in front of a peer that reads
// nothing (V14): Close returns within CloseTimeout, on any net.Conn, and says that
// messages were given up.
func TestCloseSaysWhatWasGivenUp(t *testing.T) {
	covers(t, "V14")
	eachEnd(t, queueing, memoryNetworks, func(t *testing.T, c *Conn, _ *rawPeer) {
		for n := range queuedMessages {
			if err := c.Send(Binary, []byte(queuedMessage(c, n))); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		err := c.Close(CloseNormal, "done")
		if err == nil || !strings.Contains(err.Error(), "given up") || asCloseError(err) == nil {
			t.Errorf("Close returns %v, want a *CloseError with the words given up", err)
		}
		if took := time.Since(began); took > c.cfg.CloseTimeout {
			t.Errorf("Close took %v", took)
		}
	})
}

// TestCloseIsBounded closes on any net.Conn in front of a peer that does
// nothing, with a reader and a writer under way or without, and of one that
// answers and then does nothing (V14).
func TestCloseIsBounded(t *testing.T) {
	covers(t, "V14")
	befores := map[string]func(c *Conn, peer *rawPeer){
		"silence": func(*Conn, *rawPeer) {},
		"a reader and a writer": func(c *Conn, _ *rawPeer) {
			go by(loopRead)(c)
			go c.Write(context.Background(), Binary, make([]byte, 1<<20))
			synctest.Wait()
		},
		"an answer, and silence": func(_ *Conn, peer *rawPeer) {
			go func() {
				payload, _, _ := peer.readClose()
				peer.send(0x88, payload)
			}()
		},
	}
	for name, before := range befores {
		t.Run(name, func(t *testing.T) {
			eachEnd(t, silent, memoryNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
				before(c, peer)
				began := time.Now()
				err := c.Close(CloseNormal, "")
				if took := time.Since(began); took > c.cfg.CloseTimeout {
					t.Errorf("Close took %v and returns %v", took, err)
				}
			})
		})
	}
}

// TestCloseOfNetConnIsBounded closes what AsNetConn returned, in front of peers
// that do nothing, with a write deadline that is near or over (V14).
func TestCloseOfNetConnIsBounded(t *testing.T) {
	covers(t, "V14")
	for _, left := range []time.Duration{-time.Second, 0, time.Second} {
		t.Run(fmt.Sprint("left ", left), func(t *testing.T) {
			eachEnd(t, silent, memoryNetworks, func(t *testing.T, c *Conn, _ *rawPeer) {
				nc := AsNetConn(c, Binary)
				began := time.Now()
				if err := nc.SetWriteDeadline(began.Add(left)); err != nil && !errors.Is(err, errNoDeadlines) {
					t.Fatal(err)
				}
				err := nc.Close()
				if took := time.Since(began); took > max(left, 0) || err == nil && !c.out.closeSent() {
					t.Errorf("Close took %v and returns %v", took, err)
				}
			})
		})
	}
}

// TestHeldReplyArrives proves that a reply that is corked, because the next
// request is here, arrives when the connection ends (V03).
func TestHeldReplyArrives(t *testing.T) {
	covers(t, "V03")
	serverTLS()
	ends := map[string]struct {
		cut  int  // octets of the second request that do not come
		half bool // the peer sends no more
		end  func(c *Conn)
	}{
		"CloseNow":                              {end: func(c *Conn) { c.CloseNow() }},
		"Close":                                 {end: func(c *Conn) { c.Close(CloseNormal, "") }},
		"CloseNow inside the next frame":        {cut: 10, end: func(c *Conn) { c.CloseNow() }},
		"the peer's FIN inside the next frame":  {cut: 10, half: true, end: func(c *Conn) { c.Read(context.Background()); c.CloseNow() }},
		"the peer's FIN inside the next header": {cut: 10 + len(longPayload) - 9, half: true, end: func(c *Conn) { c.Read(context.Background()); c.CloseNow() }},
	}
	cfg := Config{PingInterval: -1, HoldReplies: time.Hour}
	for name, test := range ends {
		t.Run(name, func(t *testing.T) {
			eachEnd(t, cfg, rawNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
				requests := append(peer.frame(0x81, longPayload), peer.frame(0x81, longPayload)...)
				go func() {
					peer.nc.Write(requests[:len(requests)-test.cut])
					if test.half {
						peer.closeWrite()
					}
				}()
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					if kind, p, err := c.Read(context.Background()); err != nil || c.Write(context.Background(), kind, p[:20]) != nil {
						t.Errorf("the first request was not answered: %v", err)
					}
					test.end(c)
				}()
				if f, err := peer.read(); err != nil || f.payload != longPayload[:20] {
					t.Errorf("the peer received %v, %v; want the reply", f, err)
				}
				peer.nc.Close()
				<-ended
			})
		})
	}
}

// A failingDeadlines is a net.Conn that takes some read deadlines, and then none.
type failingDeadlines struct {
	net.Conn
	left atomic.Int32
}

// SetReadDeadline fails once none is left.
func (f *failingDeadlines) SetReadDeadline(t time.Time) error {
	if f.left.Add(-1) < 0 {
		return errFault
	}
	return f.Conn.SetReadDeadline(t)
}

// TestDeadlinesThatStopWorking proves that a connection ends with the error of
// a net.Conn that refuses deadlines from some call on (V16), as soon as it
// needs one. Only a net.Conn that never had any is used without.
func TestDeadlinesThatStopWorking(t *testing.T) {
	covers(t, "V16")
	for taken := range int32(10) {
		synctest.Test(t, func(t *testing.T) {
			near, far := faultnet.Pipe()
			defer far.Close()
			nc := &failingDeadlines{Conn: near}
			nc.left.Store(taken)
			c := newConn(nc, server, (&Config{PingInterval: -1}).withDefaults(), agreement{}, nil)
			defer c.CloseNow()
			synctest.Wait()
			peer := newRawPeer(far, server)
			for range 5 {
				peer.send(0x81, "waits")
			}
			synctest.Wait()
			if taken == 0 {
				if err := c.terminal(); err != nil {
					t.Errorf("without deadlines it ends: %v", err)
				}
				return
			}
			for c.terminal() == nil {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				c.Read(ctx) // needs deadlines to interrupt the background reader, and to return
				cancel()
				time.Sleep(time.Second)
			}
			if end := c.terminal(); !errors.Is(end, errFault) {
				t.Errorf("after %d deadlines the end is %v", taken, end)
			}
		})
	}
}
