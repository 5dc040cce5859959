package websocket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// memoryPair returns two joined connections in memory, for use in a bubble.
func memoryPair(t *testing.T, config Config) (c, s *Conn) {
	a, b := faultnet.Pipe()
	c = newConn(a, client, config.withDefaults(), agreement{}, nil)
	s = newConn(b, server, config.withDefaults(), agreement{}, nil)
	t.Cleanup(func() {
		c.CloseNow()
		s.CloseNow()
	})
	return c, s
}

// TestPingAtAnyTime pings an endpoint with nobody reading on our side, with a
// reader, while a message is streamed, and several times at once.
func TestPingAtAnyTime(t *testing.T) {
	covers(t, "O03", "O07", "O08")
	synctest.Test(t, func(t *testing.T) {
		c, s := memoryPair(t, Config{PingInterval: -1})
		var wg sync.WaitGroup
		wg.Go(func() { loopRead(s, func(MessageType, []byte) {}) })
		ping := func(when string) {
			if _, err := c.Ping(context.Background()); err != nil {
				t.Errorf("Ping %s: %v", when, err)
			}
		}
		ping("with nobody reading")
		wg.Go(func() { loopRead(c, func(MessageType, []byte) {}) })
		ping("with a reader")
		w, err := c.Writer(context.Background(), Text)
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte("Hel"))
		ping("inside a streamed message")
		w.Write([]byte("lo"))
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		var pings sync.WaitGroup
		for range 20 {
			pings.Go(func() { ping("many at once") })
		}
		pings.Wait()
		if err := c.Close(CloseNormal, ""); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
}

// TestPingLeavesDataAlone pings while a message waits and nobody reads: the
// Pong behind it is not seen, and nothing of the message is lost.
func TestPingLeavesDataAlone(t *testing.T) {
	covers(t, "O07", "Q.H06")
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint(t, endpointSetup{role: server, config: Config{PingInterval: -1}, loop: func(*Conn, func(MessageType, []byte)) error { return nil }})
		script{e, server}.peerSays(0x81, "Hello")
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := e.conn.Ping(ctx); err != context.DeadlineExceeded {
			t.Errorf("Ping: %v, want that its context ended", err)
		}
		kind, p, err := e.conn.Read(context.Background())
		if kind != Text || string(p) != "Hello" || err != nil {
			t.Errorf("Read: %v %q, %v", kind, p, err)
		}
	})
}

// TestPongsOfNobody answers a Ping with other payloads, twice, and never.
func TestPongsOfNobody(t *testing.T) {
	covers(t, "O06", "Q.D08", "Q.D13")
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint(t, endpointSetup{role: client, config: Config{PingInterval: -1}})
		peer := script{e, client}
		var wg sync.WaitGroup
		wg.Go(func() {
			if rtt, err := e.conn.Ping(context.Background()); err != nil || rtt != time.Second {
				t.Errorf("Ping: %v, %v; want 1s", rtt, err)
			}
		})
		_, sent := e.seen()
		frames, _, err := modelFrames(client, sent)
		if err != nil || len(frames) != 1 || frames[0].opcode != 9 {
			t.Fatalf("% x was sent, want a Ping (%v)", sent, err)
		}
		peer.peerSays(0x8a, "")
		peer.peerSays(0x8a, "another")
		<-time.After(time.Second)
		for range 3 {
			peer.peerSays(0x8a, string(frames[0].payload))
		}
		wg.Wait()
		peer.peerSays(0x81, "still here")
		messages, _ := e.seen()
		if len(messages) != 1 || messages[0].payload != "still here" {
			t.Errorf("delivered\n%s", describe(messages))
		}
		e.abandon()
	})
}

// TestIdleConnectionStaysOpen leaves two endpoints alone for a week: nobody
// closes, whether the client's application reads or not, because every Ping of
// the keepalives is answered.
func TestIdleConnectionStaysOpen(t *testing.T) {
	covers(t, "X17", "O03", "Q.G11")
	for _, reading := range []bool{true, false} {
		t.Run(fmt.Sprintf("client reads %v", reading), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { stayOpen(t, reading) })
		})
	}
}

func stayOpen(t *testing.T, clientReads bool) {
	c, s := memoryPair(t, Config{})
	got := make(chan string, 1)
	var wg sync.WaitGroup
	wg.Go(func() { loopRead(s, func(_ MessageType, p []byte) { got <- string(p) }) })
	if clientReads {
		wg.Go(func() { loopRead(c, func(MessageType, []byte) {}) })
	}
	select {
	case <-c.Context().Done():
		t.Fatalf("the client has ended: %v", context.Cause(c.Context()))
	case <-s.Context().Done():
		t.Fatalf("the server has ended: %v", context.Cause(s.Context()))
	case <-time.After(7 * 24 * time.Hour):
	}
	if err := c.Write(context.Background(), Text, []byte("awake")); err != nil {
		t.Error(err)
	}
	if message := <-got; message != "awake" {
		t.Errorf("%q arrived", message)
	}
	c.CloseNow()
	wg.Wait()
}

// TestSilentPeer finds out that the peer is gone in PingInterval and
// PongTimeout, with a reader and with nobody reading.
func TestSilentPeer(t *testing.T) {
	covers(t, "X18", "Q.D06", "Q.G11", "Q.G12")
	for _, loop := range []readLoop{loopRead, func(c *Conn, _ func(MessageType, []byte)) error {
		<-c.Context().Done()
		_, _, err := c.Read(context.Background())
		return err
	}} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			e := newEndpoint(t, endpointSetup{role: server, config: Config{PingInterval: 30 * time.Second, PongTimeout: 20 * time.Second}, loop: loop})
			end := e.finish()
			if waited := time.Since(start); waited != 50*time.Second {
				t.Errorf("the end came after %v, want 50s", waited)
			}
			if !errors.Is(end, ErrPongTimeout) || !errors.Is(end, net.ErrClosed) || end.Received {
				t.Errorf("the end is %v, want %v", end, ErrPongTimeout)
			}
		})
	}
}
