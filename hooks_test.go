package websocket

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hookReaders are those that read when a hook is called.
var hookReaders = map[string]func(c *Conn){
	"nobody":    func(*Conn) {},
	"Read":      func(c *Conn) { go by(loopRead)(c) },
	"ReadInto":  func(c *Conn) { go by(loopReadInto)(c) },
	"Messages":  func(c *Conn) { go by(loopMessages)(c) },
	"Reader":    func(c *Conn) { go by(loopReader)(c) },
	"Deliver":   func(c *Conn) { c.Deliver(newRecorder(nil)) },
	"CloseRead": func(c *Conn) { c.CloseRead(context.Background()) },
	"Close":     func(c *Conn) { go c.Close(CloseNormal, "") },
}

// eachHookReader runs f with every reader, on every network and in each role.
func eachHookReader(t *testing.T, cfg Config, networks []rawNetwork, f func(t *testing.T, c *Conn, p *pingingPeer, reader string)) {
	for name, read := range hookReaders {
		t.Run(name, func(t *testing.T) {
			eachEnd(t, cfg, networks, func(t *testing.T, c *Conn, peer *rawPeer) {
				p := peer.listen(t, false)
				read(c)
				f(t, c, p, name)
			})
		})
	}
}

// TestOnPing proves that OnPing is called with each Ping, whoever reads, that it
// decides whether the connection answers, and that it may write.
func TestOnPing(t *testing.T) {
	cfg := Config{PingInterval: -1, OnPing: func(c *Conn, payload []byte) bool {
		if cap(payload) != len(payload) {
			t.Errorf("capacity of the payload is %d", cap(payload))
		}
		switch string(payload) {
		case "leave it":
			return false
		case "otherwise":
			if err := c.SendPong([]byte("answered")); err != nil && !c.isClosing() {
				t.Error(err)
			}
			return false
		case "write":
			c.WriteString(context.Background(), "written")
		}
		return true
	}}
	eachHookReader(t, cfg, rawNetworks, func(t *testing.T, _ *Conn, p *pingingPeer, reader string) {
		closing := reader == "Close"
		p.say(p.frame(0x81, "a message"))
		for _, payload := range []string{"leave it", "otherwise", "write", "", "last"} {
			p.say(p.frame(0x89, payload))
		}
		if reader == "nobody" {
			return // the message is in the way
		}
		if closing {
			p.say(p.frame(0x88, ""))
			require.Eventually(t, func() bool { return p.has(8, rawClose(1000, "")) }, time.Minute, time.Millisecond)
			return
		}
		hasPong(t, p, "last")
		require.True(t, p.has(0xa, "answered"))
		require.True(t, p.has(0xa, "write"))
		require.True(t, p.has(0xa, ""))
		require.False(t, p.has(0xa, "leave it"))
		require.False(t, p.has(0xa, "otherwise"))
		require.Eventually(t, func() bool { return p.has(1, "written") }, time.Minute, time.Millisecond)
	})
	eachEnd(t, cfg, rawNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
		p := peer.listen(t, false) // nobody reads
		p.say(p.frame(0x89, "otherwise"), p.frame(0x89, "leave it"), p.frame(0x89, "last"))
		hasPong(t, p, "answered")
		hasPong(t, p, "last")
		require.False(t, p.has(0xa, "leave it"))
	})
}

// TestSendPing proves that SendPing does not wait, that the Pong is seen by
// OnPong whoever reads, and that no payload is taken for the answer to Ping.
func TestSendPing(t *testing.T) {
	pongs := make(chan string, 1000)
	cfg := Config{PingInterval: -1, OnPong: func(_ *Conn, payload []byte) { pongs <- string(payload) }}
	c, s := connPair(t, &cfg)
	for i, read := range []func(c *Conn){hookReaders["nobody"], hookReaders["Messages"]} {
		read(c)
		for _, payload := range []string{"", "now", string([]byte{7: byte(i + 1)}), strings.Repeat("x", 125)} {
			require.NoError(t, c.SendPing([]byte(payload)))
			require.Equal(t, payload, <-pongs)
		}
	}
	require.NoError(t, s.SendPong([]byte{7: 1})) // nobody asked for it
	require.Equal(t, string([]byte{7: 1}), <-pongs)
	_, err := c.Ping(t.Context())
	require.NoError(t, err)
	require.Equal(t, errControlTooLong, c.SendPing(make([]byte, 126)))
	require.Equal(t, errControlTooLong, c.SendPong(make([]byte, 126)))
	require.NoError(t, c.WriteString(t.Context(), "still open"))
	c.CloseNow()
	require.ErrorIs(t, c.SendPing(nil), net.ErrClosed)
	require.ErrorIs(t, c.SendPong(nil), net.ErrClosed)
}

// TestSendPingCallsNoHook proves that a program may hold a lock that OnPong takes
// while it sends Pings, also while a Receiver is busy.
func TestSendPingCallsNoHook(t *testing.T) {
	var mu sync.Mutex
	pongs := 0
	cfg := Config{PingInterval: -1, OnPong: func(*Conn, []byte) {
		mu.Lock()
		defer mu.Unlock()
		pongs++
	}}
	c, s := connPair(t, &cfg)
	busy, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	require.NoError(t, s.Deliver(newRecorder(func(*Conn, Message) error {
		close(busy)
		<-release
		return nil
	})))
	require.NoError(t, c.WriteString(t.Context(), "work"))
	<-busy
	require.Eventually(t, s.read.lock.tryLock, time.Minute, time.Millisecond) // nobody reads the first Pong
	require.NoError(t, s.SendPing([]byte("first")))
	require.Eventually(t, func() bool { return c.Stats().FramesOut == 2 }, time.Minute, time.Millisecond)
	s.read.lock.unlock()
	mu.Lock()
	require.NoError(t, s.SendPing([]byte("second")))
	mu.Unlock()
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return pongs == 2
	}, time.Minute, time.Millisecond)
}

// TestPongIsNotTakenForAnother proves that a Pong with a small number as its
// payload does not answer Ping.
func TestPongIsNotTakenForAnother(t *testing.T) {
	eachEnd(t, silent, []rawNetwork{memoryNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		p := peer.listen(t, false)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() {
			for n := range byte(10) {
				p.say(p.frame(0x8a, string([]byte{7: n})))
			}
		}()
		_, err := c.Ping(ctx)
		require.Equal(t, context.DeadlineExceeded, err)
	})
}

// TestSendPingIsBounded proves that a peer that does not read cannot make the
// application's Pings pile up.
func TestSendPingIsBounded(t *testing.T) {
	eachEnd(t, silent, rawNetworks, func(t *testing.T, c *Conn, _ *rawPeer) {
		for _, send := range []func([]byte) error{c.SendPing, c.SendPong} {
			var err error
			sent := 0
			for ; err == nil; sent++ {
				err = send(make([]byte, 125))
			}
			require.Equal(t, ErrQueueFull, err)
			require.Less(t, sent, 100_000)
		}
	})
}

// TestRelayOfControlFrames proves that a proxy can pass on Pings, Pongs and Close
// frames as they are.
func TestRelayOfControlFrames(t *testing.T) {
	var ends [2]atomic.Pointer[Conn] // of the proxy: towards the client, and the server
	other := func(c *Conn) *Conn {
		if c == ends[0].Load() {
			return ends[1].Load()
		}
		return ends[0].Load()
	}
	relay := Config{
		PingInterval: -1,
		OnPing:       func(c *Conn, payload []byte) bool { other(c).SendPing(payload); return false },
		OnPong:       func(c *Conn, payload []byte) { other(c).SendPong(payload) },
	}
	pongs := make(chan string, 1)
	cfg := Config{
		PingInterval: -1,
		OnPing:       func(c *Conn, payload []byte) bool { c.SendPong([]byte("from " + string(payload))); return false },
		OnPong:       func(_ *Conn, payload []byte) { pongs <- string(payload) },
	}
	nc, np := tcpPair(t)
	ns, nq := tcpPair(t)
	c := newConn(nc, client, cfg.withDefaults(), agreement{}, nil)
	s := newConn(nq, server, cfg.withDefaults(), agreement{}, nil)
	defer c.CloseNow()
	defer s.CloseNow()
	ends[1].Store(newConn(ns, client, relay.withDefaults(), agreement{}, nil))
	ends[0].Store(newConn(np, server, relay.withDefaults(), agreement{}, nil))
	defer ends[0].Load().CloseNow()
	defer ends[1].Load().CloseNow()
	require.NoError(t, c.SendPing([]byte("the client")))
	require.Equal(t, "from the client", <-pongs)
	require.NoError(t, s.SendPing([]byte("the server")))
	require.Equal(t, "from the server", <-pongs)
}

// TestOnClose proves that OnClose chooses what our Close frame says, and can send
// a last message, whoever reads, and that the terminal error stays the peer's.
func TestOnClose(t *testing.T) {
	answers := []struct {
		code   CloseCode
		reason string
		want   string
	}{
		{0, "", rawClose(3001, "bye")},
		{0, "ignored", rawClose(3001, "bye")},
		{4001, "see you", rawClose(4001, "see you")},
		{CloseNoStatus, "", ""},
		{4001, "\xff", rawClose(4001, "\uFFFD")},
		{CloseAbnormal, "", rawClose(1011, "")},
		{999, "", rawClose(1011, "")},
	}
	for _, answer := range answers {
		t.Run(fmt.Sprint(uint16(answer.code), answer.reason), func(t *testing.T) {
			cfg := Config{PingInterval: -1, OnClose: func(c *Conn, end *CloseError) (CloseCode, string) {
				if end.Code != 3001 || end.Reason != "bye" {
					t.Errorf("OnClose was called with %v", end)
				}
				if err := c.Send(Text, []byte("a last word")); err != nil {
					t.Error(err)
				}
				return answer.code, answer.reason
			}}
			eachHookReader(t, cfg, []rawNetwork{rawNetworks[0], memoryNetwork}, func(t *testing.T, c *Conn, p *pingingPeer, reader string) {
				if reader == "Close" {
					return
				}
				p.say(p.frame(0x88, rawClose(3001, "bye")))
				require.Eventually(t, func() bool { return p.has(8, answer.want) }, time.Minute, time.Millisecond)
				require.True(t, p.has(1, "a last word"))
				<-c.endedChan()
				require.ErrorIs(t, c.terminal(), CloseCode(3001))
				end := asCloseError(c.terminal())
				require.Equal(t, "bye", end.Reason)
				require.True(t, end.clean())
			})
		})
	}
}

// TestOnCloseAfterOurs proves that OnClose is not called with the answer to our
// Close frame.
func TestOnCloseAfterOurs(t *testing.T) {
	cfg := Config{PingInterval: -1, OnClose: func(*Conn, *CloseError) (CloseCode, string) {
		t.Error("OnClose was called")
		return 0, ""
	}}
	eachEnd(t, cfg, rawNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
		go func() {
			if payload, _, err := peer.readClose(); err == nil {
				peer.send(0x88, payload)
				if peer.role == client {
					peer.readEnd() // the server closes first
				}
				peer.nc.Close()
			}
		}()
		require.NoError(t, c.Close(4000, ""))
	})
}

// TestHookThatPanics proves that a panic of a hook, with the connection reading,
// is logged and ends it with 1011, and that with the application reading it is
// the application's.
func TestHookThatPanics(t *testing.T) {
	hooks := map[string]Config{
		"OnPing":  {OnPing: func(*Conn, []byte) bool { panic("the hook") }},
		"OnPong":  {OnPong: func(*Conn, []byte) { panic("the hook") }},
		"OnClose": {OnClose: func(*Conn, *CloseError) (CloseCode, string) { panic("the hook") }},
	}
	frames := map[string]byte{"OnPing": 0x89, "OnPong": 0x8a, "OnClose": 0x88}
	for name, cfg := range hooks {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			cfg.PingInterval, cfg.Logger = -1, slog.New(slog.NewTextHandler(&log, nil))
			eachHookReader(t, cfg, []rawNetwork{rawNetworks[0], memoryNetwork}, func(t *testing.T, c *Conn, p *pingingPeer, reader string) {
				switch reader {
				case "Read", "ReadInto", "Messages", "Reader", "Close":
					return
				}
				p.say(p.frame(frames[name], ""))
				require.Eventually(t, func() bool { return p.has(8, rawClose(1011, "")) }, time.Minute, time.Millisecond)
				p.say(p.frame(0x88, rawClose(1011, "")))
				<-c.Context().Done()
			})
			require.Contains(t, log.String(), "the hook")
			eachEnd(t, cfg, []rawNetwork{rawNetworks[0], memoryNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
				go func() {
					for !c.read.lock.isLocked() || c.read.background.state.Load() == backgroundReadOn {
						runtime.Gosched() // until Read has the lock
					}
					peer.send(frames[name], "")
				}()
				func() {
					defer func() {
						if recover() != "the hook" {
							t.Error("Read did not panic")
						}
					}()
					c.Read(context.Background())
				}()
				c.CloseNow()
				<-c.Context().Done()
			})
		})
	}
}

// TestHookThatPanicsBesideAReceiver proves the same of a hook that is called while
// a Receiver is busy.
func TestHookThatPanicsBesideAReceiver(t *testing.T) {
	var log bytes.Buffer
	cfg := Config{PingInterval: -1, OnPing: func(*Conn, []byte) bool { panic("the hook") }, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	eachEnd(t, cfg, rawNetworks[:1], func(t *testing.T, c *Conn, peer *rawPeer) {
		busy, goOn := make(chan struct{}), make(chan struct{})
		require.NoError(t, c.Deliver(newRecorder(func(*Conn, Message) error { close(busy); <-goOn; return nil })))
		p := peer.listen(t, false)
		p.say(p.frame(0x81, "a message"))
		<-busy
		p.say(p.frame(0x89, ""))
		if canPoll {
			require.Eventually(t, func() bool { return p.has(8, rawClose(1011, "")) }, time.Minute, time.Millisecond)
		}
		close(goOn)
		require.Eventually(t, func() bool { return p.has(8, rawClose(1011, "")) }, time.Minute, time.Millisecond)
		p.say(p.frame(0x88, rawClose(1011, "")))
		<-c.Context().Done()
	})
	require.Contains(t, log.String(), "the hook")
}

// TestDeadlineInHook proves that a hook can move the deadline of the very read
// that calls it.
func TestDeadlineInHook(t *testing.T) {
	cfg := Config{PingInterval: -1, OnPong: func(c *Conn, payload []byte) {
		switch string(payload) {
		case "later":
			c.SetReadDeadline(time.Now().Add(time.Hour))
		case "now":
			c.SetReadDeadline(time.Now())
		}
	}}
	eachEnd(t, cfg, []rawNetwork{rawNetworks[0], rawNetworks[1], rawNetworks[2], pipeNetwork, memoryNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		p := peer.listen(t, false)
		c.SetReadDeadline(time.Now().Add(time.Hour))
		p.say(p.frame(0x8a, "later"), p.frame(0x8a, "now"))
		_, _, err := c.Read(context.Background())
		require.Equal(t, os.ErrDeadlineExceeded, err)
		c.SetReadDeadline(time.Time{})
		p.say(p.frame(0x8a, "later"), p.frame(0x81, "a message"))
		_, m, err := c.Read(context.Background())
		require.NoError(t, err)
		require.Equal(t, "a message", string(m))
	})
}

// TestHooksAreOfTheirConfig proves that options that differ in a hook alone are
// told apart.
func TestHooksAreOfTheirConfig(t *testing.T) {
	hook := func(n int) func(*Conn, []byte) { return func(*Conn, []byte) { _ = n } }
	first, second := hook(1), hook(2)
	a := (&Config{OnPong: first}).withDefaults()
	require.Same(t, a, (&Config{OnPong: first}).withDefaults())
	require.NotSame(t, a, (&Config{OnPong: second}).withDefaults())
	require.NotSame(t, a, (&Config{}).withDefaults())
}

// TestTraceNamesTheConn proves that every hook is told its connection, and may
// ask it what it is.
func TestTraceNamesTheConn(t *testing.T) {
	calls := make(chan string, 1000)
	var want atomic.Pointer[Conn]
	note := func(c *Conn, what string) {
		if c != want.Load() || c.LocalAddr() == nil || c.RemoteAddr() == nil || c.NetConn() == nil || c.Subprotocol() != "" {
			t.Errorf("%s was called with another connection", what)
		}
		calls <- what
	}
	cfg := Config{PingInterval: -1, MaxQueuedBytes: 1 << 10, SlowConsumer: DropNewest, Trace: &Trace{
		FrameIn:  func(c *Conn, _ FrameTrace) { note(c, "FrameIn") },
		FrameOut: func(c *Conn, _ FrameTrace) { note(c, "FrameOut") },
		Flush:    func(c *Conn, _ FlushTrace) { note(c, "Flush") },
		Pong:     func(c *Conn, _ time.Duration) { note(c, "Pong") },
		Dropped: func(c *Conn, messages, bytes int) {
			note(c, "Dropped")
			if messages != 1 || bytes != 2000 || c.Stats().Dropped == 0 {
				t.Errorf("Dropped was called with %d, %d", messages, bytes)
			}
		},
		Closed: func(c *Conn, end *CloseError) {
			note(c, "Closed")
			if end == nil || c.Stats().FramesOut == 0 {
				t.Error("Closed was called with nothing")
			}
		},
	}}
	nc, ns := tcpPair(t)
	c := newConn(nc, client, cfg.withDefaults(), agreement{}, nil)
	want.Store(c)
	s := newConn(ns, server, (&silent).withDefaults(), agreement{}, nil)
	defer s.CloseNow()
	go echo(s)
	_, err := c.Ping(t.Context())
	require.NoError(t, err)
	c.lockSending(t.Context()) // as an open MessageWriter does
	for err == nil {
		err = c.Send(Binary, make([]byte, 2000))
	}
	require.Equal(t, ErrQueueFull, err)
	c.send.lock.unlock()
	c.CloseNow()
	seen := make(map[string]bool)
	for len(seen) < 6 {
		seen[<-calls] = true
	}
}

// hookCalls are what a hook may call: all but what reads, Ping, and waiting for
// Close.
var hookCalls = map[string]func(t *testing.T, c *Conn){
	"what leaves the connection open": func(t *testing.T, c *Conn) {
		ctx := context.Background()
		m := Prepare(Text, []byte("prepared"))
		w, err := c.Writer(ctx, Text)
		if err == nil {
			w.WriteString("streamed")
			w.Flush()
			err = w.Close()
		}
		plain, err2 := c.WriterPlain(ctx, Binary)
		if err2 == nil {
			err2 = plain.Close()
		}
		c.SetMaxMessageSize(1 << 20)
		c.Stats()
		c.Queued()
		c.CompressionAgreed()
		for i, err := range []error{
			err, err2, c.Write(ctx, Text, []byte("written")), c.WriteString(ctx, "written"), c.WritePlain(ctx, Text, nil),
			c.WritePrepared(ctx, m), c.Send(Text, nil), c.SendPlain(Text, nil), c.SendPrepared(m), c.Flush(), c.Drain(ctx),
			c.SendPing([]byte("ping")), c.SendPong([]byte("pong")),
			c.SetReadDeadline(time.Now().Add(time.Hour)), c.SetWriteDeadline(time.Now().Add(time.Hour)),
			c.Context().Err(),
		} {
			if err != nil {
				t.Errorf("call %d: %v", i, err)
			}
		}
	},
	"CloseRead": func(_ *testing.T, c *Conn) { c.CloseRead(context.Background()) },
	"Deliver":   func(_ *testing.T, c *Conn) { c.Deliver(newRecorder(nil)) },
	"SendClose": func(t *testing.T, c *Conn) {
		if err := c.SendClose(CloseGoingAway, "hook"); err != nil {
			t.Error(err)
		}
	},
	"Close":    func(_ *testing.T, c *Conn) { go c.Close(CloseGoingAway, "hook") },
	"CloseNow": func(_ *testing.T, c *Conn) { c.CloseNow() },
}

// TestHooksMayCall proves that a hook may call everything that Config allows,
// whoever reads, and that afterwards the peer's Pings are answered and its Close
// frame is seen.
func TestHooksMayCall(t *testing.T) {
	for name, call := range hookCalls {
		for hook, opcode := range map[string]byte{"OnPing": 0x89, "OnPong": 0x8a, "OnClose": 0x88} {
			t.Run(name+" in "+hook, func(t *testing.T) {
				for _, reader := range []string{"nobody", "Messages", "Deliver", "CloseRead"} {
					called := make(map[*Conn]bool) // a hook is called by one reader at a time
					do := func(c *Conn) {
						if !called[c] {
							called[c] = true
							call(t, c)
						}
					}
					cfg := Config{PingInterval: -1}
					switch hook {
					case "OnPing":
						cfg.OnPing = func(c *Conn, _ []byte) bool { do(c); return true }
					case "OnPong":
						cfg.OnPong = func(c *Conn, _ []byte) { do(c) }
					case "OnClose":
						cfg.OnClose = func(c *Conn, _ *CloseError) (CloseCode, string) { do(c); return 0, "" }
					}
					eachEnd(t, cfg, rawNetworks, func(t *testing.T, c *Conn, peer *rawPeer) {
						p := peer.listen(t, false)
						hookReaders[reader](c)
						p.say(p.frame(opcode, ""))
						if opcode != 0x88 && name != "CloseNow" {
							p.say(p.frame(0x89, "after"))
							hasClose := func() bool { return p.count(8) > 0 }
							require.Eventually(t, func() bool { return p.has(0xa, "after") || hasClose() }, time.Minute, time.Millisecond)
							p.say(p.frame(0x88, rawClose(1000, "")))
						}
						<-c.endedChan()
						if end := asCloseError(c.terminal()); name != "CloseNow" && !end.clean() {
							t.Errorf("with %s reading: %v", reader, end)
						}
					})
				}
			})
		}
	}
}
