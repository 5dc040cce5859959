package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A deliveryEnd is how a connection that was handed over comes to its end: what
// the methods of its Receiver do, somebody else, or the peer.
type deliveryEnd struct {
	name    string
	opened  func(c *Conn) error
	receive func(c *Conn) error            // gets the peer's message
	outside func(c *Conn)                  // once the message is received
	peer    func(t *testing.T, p *rawPeer) // instead
	config  Config

	closes string    // payload of the Close frame that the peer sees; "none": it sees none
	code   CloseCode // of the end; 0: that of closes
	before string    // what the Receiver is told before closed; "": opened and end
}

// noClose says that the peer sees no Close frame.
const noClose = "none"

// workUntilTheEnd is what a Receiver does that works until the connection has ended.
func workUntilTheEnd(c *Conn) error {
	<-c.Context().Done()
	return nil
}

// peerCloses sends a Close frame.
func peerCloses(payload string) func(t *testing.T, p *rawPeer) {
	return func(_ *testing.T, p *rawPeer) { go p.send(0x88, payload) }
}

// deliveryEnds returns all of them.
func deliveryEnds() []deliveryEnd {
	ours := rawClose(4001, "ours")
	closeIt := func(c *Conn) error { return c.Close(4001, "ours") }
	dropIt := func(c *Conn) error { return c.CloseNow() }
	ends := []deliveryEnd{
		{name: "Close from Receive", receive: closeIt, closes: ours},
		{name: "Close from Opened", opened: closeIt, closes: ours, before: "opened"},
		{name: "Close from outside", outside: func(c *Conn) { closeIt(c) }, closes: ours},
		{name: "Close from outside, Receive waits", receive: workUntilTheEnd, outside: func(c *Conn) { closeIt(c) }, closes: ours},
		{name: "Close and an error", receive: func(c *Conn) error {
			go closeIt(c)
			workUntilTheEnd(c)
			return errFault
		}, closes: ours},
		{name: "CloseNow from Receive", receive: dropIt, closes: noClose, code: CloseAbnormal},
		{name: "CloseNow from Opened", opened: dropIt, closes: noClose, code: CloseAbnormal, before: "opened"},
		{name: "CloseNow from outside", outside: func(c *Conn) { dropIt(c) }, closes: noClose, code: CloseAbnormal},
		{name: "CloseNow from outside, Receive waits", receive: workUntilTheEnd, outside: func(c *Conn) { dropIt(c) }, closes: noClose, code: CloseAbnormal},
		{name: "CloseNow and an error", receive: func(c *Conn) error { dropIt(c); return errFault }, closes: noClose, code: CloseAbnormal},
		{name: "peer closes", peer: peerCloses(rawClose(4002, "theirs")), closes: rawClose(4002, "theirs")},
		{name: "peer closes without a code", peer: peerCloses(""), closes: "", code: CloseNoStatus},
		{name: "peer closes, Receive waits", receive: workUntilTheEnd, peer: peerCloses(rawClose(4002, "theirs")), closes: rawClose(4002, "theirs")},
		{name: "peer closes, Receive fails", receive: func(c *Conn) error { workUntilTheEnd(c); return errFault }, peer: peerCloses(rawClose(4002, "theirs")), closes: rawClose(4002, "theirs")},
		{name: "peer ends", peer: func(_ *testing.T, p *rawPeer) { p.nc.Close() }, closes: noClose, code: CloseAbnormal},
		{name: "peer ends, Receive waits", receive: workUntilTheEnd, peer: func(_ *testing.T, p *rawPeer) { p.nc.Close() }, closes: noClose, code: CloseAbnormal},
		{name: "peer resets", peer: peerResets, closes: noClose, code: CloseAbnormal},
		{name: "peer resets, Receive waits", receive: workUntilTheEnd, peer: peerResets, closes: noClose, code: CloseAbnormal},
		{name: "peer ends in a message", peer: func(_ *testing.T, p *rawPeer) {
			go func() { p.nc.Write(p.frame(0x81, "a message")[:5]); p.nc.Close() }()
		}, closes: noClose, code: CloseAbnormal},
		{name: "peer breaks the protocol", peer: func(_ *testing.T, p *rawPeer) { go p.send(0x83, "") }, closes: "\x03\xea", code: CloseProtocolError},
		{name: "message is too big", config: Config{MaxMessageSize: 10}, peer: func(_ *testing.T, p *rawPeer) { go p.send(0x82, longPayload) }, closes: "\x03\xf1", code: CloseMessageTooBig},
	}
	for _, k := range endings {
		if k.name == "nil" {
			continue
		}
		end := func(*Conn) error { return k.end() }
		ends = append(ends,
			deliveryEnd{name: k.name + " in Receive", receive: end, closes: k.want},
			deliveryEnd{name: k.name + " in Opened", opened: end, closes: k.want, before: "opened"})
	}
	return ends
}

// peerResets lets the peer's end of the network break, as far as it can.
func peerResets(_ *testing.T, p *rawPeer) {
	switch nc := p.nc.(type) {
	case *net.TCPConn:
		nc.SetLinger(0)
	case interface{ Reset() error }:
		nc.Reset()
	}
	p.nc.Close()
}

// TestDeliverEnds ends connections in every way on every network: the peer sees
// one Close frame, if any, and the Receiver is told of the end once, last, and
// with the error that all calls return.
func TestDeliverEnds(t *testing.T) {
	for _, k := range deliveryEnds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			k.config.PingInterval = -1
			k.config.Logger = slog.New(slog.DiscardHandler)
			networks := deliveryNetworks
			if k.peer != nil && k.receive != nil { // it takes a moment until somebody else reads
				networks = append(socketNetworks(), memoryNetwork, pipeNetwork)
			}
			eachEnd(t, k.config, networks, k.play)
		})
	}
}

// play is one case of TestDeliverEnds.
func (k deliveryEnd) play(t *testing.T, c *Conn, peer *rawPeer) {
	received := make(chan bool, 1)
	r := newRecorder(func(c *Conn, m Message) error {
		received <- true
		if k.receive != nil {
			return k.receive(c)
		}
		return nil
	})
	r.opened = k.opened
	r.ended = func(c *Conn, end *CloseError) {
		require.Same(t, end, context.Cause(c.Context()))
		require.Same(t, end, c.Write(context.Background(), Text, nil))
		c.Close(CloseNormal, "")
		c.CloseNow()
	}
	require.NoError(t, c.Deliver(r))
	go peer.send(0x81, "end")
	if k.opened == nil {
		<-received
	}
	if k.outside != nil {
		go k.outside(c)
	}
	if k.peer != nil {
		k.peer(t, peer)
	}
	k.watch(t, peer)
	end := <-r.closed
	k.judge(t, c, end, r.history())
}

// watch is the peer's part.
func (k deliveryEnd) watch(t *testing.T, peer *rawPeer) {
	payload, before, err := peer.readClose()
	require.Empty(t, before)
	if k.closes == noClose {
		require.Error(t, err, "the peer sees a Close frame: %q", payload)
		return
	}
	require.NoError(t, err)
	if k.code == 0 {
		require.Equal(t, k.closes, payload)
	} else {
		require.Truef(t, strings.HasPrefix(payload, k.closes), "%q, want %q", payload, k.closes)
	}
	go func() {
		if k.peer == nil {
			peer.send(0x88, payload)
		}
		peer.nc.Close()
	}()
}

// judge checks what our side was told.
func (k deliveryEnd) judge(t *testing.T, c *Conn, end *CloseError, history string) {
	want := k.code
	if want == 0 {
		want = CloseCode(k.closes[0])<<8 + CloseCode(k.closes[1])
	}
	require.Equal(t, want, end.Code, "%v", end)
	require.ErrorIs(t, end, net.ErrClosed)
	before := k.before
	if before == "" {
		before = "opened end"
	}
	require.Equal(t, before+" closed", history)
	for call, err := range laterCalls(c) {
		require.Same(t, end, err, call)
	}
	require.Same(t, end, c.Deliver(newRecorder(nil)))
}

// TestDeliverCloseInReceive proves that Close returns in Receive, with the result
// that it has elsewhere, before Closed is called.
func TestDeliverCloseInReceive(t *testing.T) {
	eachEnd(t, silent, deliveryNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
		var r *recorder
		r = newRecorder(func(c *Conn, _ Message) error {
			err := c.Close(4001, "ours")
			time.Sleep(10 * time.Millisecond) // Closed could be called
			r.note(fmt.Sprint("Close: ", err))
			return err
		})
		require.NoError(t, c.Deliver(r))
		go peer.send(0x81, "end")
		payload, _, err := peer.readClose()
		require.NoError(t, err)
		go func() { peer.send(0x88, payload); peer.nc.Close() }()
		<-r.closed
		require.Equal(t, "opened end Close: <nil> closed", r.history())
	})
}

// TestDeliverNothingAfterTheEnd ends a connection while more messages wait that
// came together: none is delivered.
func TestDeliverNothingAfterTheEnd(t *testing.T) {
	ways := map[string]func(c *Conn) error{
		"error":    func(*Conn) error { return CloseGoingAway },
		"CloseNow": func(c *Conn) error { return c.CloseNow() },
		"Close":    func(c *Conn) error { go c.Close(CloseGoingAway, ""); return workUntilTheEnd(c) },
	}
	for name, end := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachEnd(t, Config{PingInterval: -1, CloseTimeout: 100 * time.Millisecond}, deliveryNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
				p := peer.listen(t, true)
				r := newRecorder(func(c *Conn, m Message) error {
					if string(m.Data) == "end" {
						return end(c)
					}
					return nil
				})
				p.say(bytes.Join([][]byte{p.frame(0x81, "one"), p.frame(0x81, "end"), p.frame(0x81, "two"), p.frame(0x88, rawClose(1000, "")), p.frame(0x81, "three")}, nil))
				require.NoError(t, c.Deliver(r))
				require.NotNil(t, <-r.closed)
				require.Equal(t, "opened one end closed", r.history())
			})
		})
	}
}

// TestDeliverLogsOnce proves that the end of a connection is logged once, and an
// error of its Receiver, which no other end causes, once too.
func TestDeliverLogsOnce(t *testing.T) {
	for name, k := range map[string]struct {
		receive func(c *Conn) error
		logs    []string
	}{
		"the peer ends": {func(c *Conn) error { return nil }, []string{"connection failed"}},
		"an error":      {func(c *Conn) error { return errors.New("secret") }, []string{"handler failed", "connection failed"}},
		"a failed call": {func(c *Conn) error { c.CloseNow(); return c.WriteString(context.Background(), "") }, []string{"connection failed"}},
	} {
		t.Run(name, func(t *testing.T) {
			var logged sink
			cfg := Config{PingInterval: -1, Logger: logged.logger(), CloseTimeout: 10 * time.Millisecond}
			eachEnd(t, cfg, []rawNetwork{deliveryNetworks[0]}, func(t *testing.T, c *Conn, peer *rawPeer) {
				before := logged.String()
				r := newRecorder(func(c *Conn, _ Message) error { return k.receive(c) })
				require.NoError(t, c.Deliver(r))
				require.NoError(t, peer.send(0x81, "end"))
				eventually(t, "the message", func() bool { return strings.HasPrefix(r.history(), "opened end") })
				eventually(t, "the log of what came before the end", func() bool {
					return strings.Count(strings.TrimPrefix(logged.String(), before), "\n") >= len(k.logs)-1
				})
				peer.nc.Close()
				<-r.closed
				var lines []string
				eventually(t, "the log, which may come after Closed", func() bool {
					lines = strings.Split(strings.TrimSpace(strings.TrimPrefix(logged.String(), before)), "\n")
					return len(lines) >= len(k.logs)
				})
				require.Len(t, lines, len(k.logs), "%q", lines)
				for i, want := range k.logs {
					require.Contains(t, lines[i], want)
				}
			})
		})
	}
}
