package websocket

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// A trap goes off at the n-th call of hit.
type trap struct {
	n      int64
	hits   atomic.Int64
	sprung func()
}

// hit counts a call, and springs the trap at the n-th.
func (k *trap) hit() {
	if k.hits.Add(1) == k.n {
		k.sprung()
	}
}

// A trappedConn has traps in its methods; nil ones are none.
type trappedConn struct {
	net.Conn
	read, write, deadline *trap
}

// Read may spring a trap.
func (c trappedConn) Read(p []byte) (int, error) {
	if c.read != nil {
		c.read.hit()
	}
	return c.Conn.Read(p)
}

// Write may spring a trap.
func (c trappedConn) Write(p []byte) (int, error) {
	if c.write != nil {
		c.write.hit()
	}
	return c.Conn.Write(p)
}

// SetReadDeadline may spring a trap.
func (c trappedConn) SetReadDeadline(t time.Time) error {
	if c.deadline != nil {
		c.deadline.hit()
	}
	return c.Conn.SetReadDeadline(t)
}

// places are where code of the user's is called.
var places = map[string]func(k *trap, nc net.Conn, cfg *Config) net.Conn{
	"Read":            func(k *trap, nc net.Conn, _ *Config) net.Conn { return trappedConn{Conn: nc, read: k} },
	"Write":           func(k *trap, nc net.Conn, _ *Config) net.Conn { return trappedConn{Conn: nc, write: k} },
	"SetReadDeadline": func(k *trap, nc net.Conn, _ *Config) net.Conn { return trappedConn{Conn: nc, deadline: k} },
	"FrameIn": func(k *trap, nc net.Conn, cfg *Config) net.Conn {
		cfg.Trace = &Trace{FrameIn: func(*Conn, FrameTrace) { k.hit() }}
		return nc
	},
	"FrameOut": func(k *trap, nc net.Conn, cfg *Config) net.Conn {
		cfg.Trace = &Trace{FrameOut: func(*Conn, FrameTrace) { k.hit() }}
		return nc
	},
	"Flush": func(k *trap, nc net.Conn, cfg *Config) net.Conn {
		cfg.Trace = &Trace{Flush: func(*Conn, FlushTrace) { k.hit() }}
		return nc
	},
	"OnPing": func(k *trap, nc net.Conn, cfg *Config) net.Conn {
		cfg.OnPing = func(*Conn, []byte) bool { k.hit(); return true }
		return nc
	},
	"OnPong": func(k *trap, nc net.Conn, cfg *Config) net.Conn {
		cfg.OnPong = func(*Conn, []byte) { k.hit() }
		return nc
	},
	"OnClose": func(k *trap, nc net.Conn, cfg *Config) net.Conn {
		cfg.OnClose = func(*Conn, *CloseError) (CloseCode, string) { k.hit(); return 0, "" }
		return nc
	},
	"Pong": func(k *trap, nc net.Conn, cfg *Config) net.Conn {
		cfg.Trace = &Trace{Pong: func(*Conn, time.Duration) { k.hit() }}
		return nc
	},
}

// application uses c in several goroutines, which end with the connection, or
// by the trap that one of them springs.
func application(c *Conn, loop readLoop) *sync.WaitGroup {
	var wg sync.WaitGroup
	start := func(f func()) {
		wg.Go(func() {
			defer func() { recover() }()
			f()
		})
	}
	ctx := context.Background()
	start(func() { loop(c, func(MessageType, []byte) {}) })
	start(func() {
		for range 3 {
			if c.WriteString(ctx, "Hello") != nil {
				return
			}
		}
	})
	start(func() {
		w, err := c.Writer(ctx, Text)
		if err != nil {
			return
		}
		w.Write(make([]byte, 5000))
		w.Flush()
		w.Close()
	})
	start(func() { c.SetReadDeadline(time.Now().Add(time.Hour)) })
	start(func() { c.Ping(ctx) })
	start(func() { c.Send(Text, []byte("Hello")) })
	return &wg
}

// panicInApplication panics if a goroutine of the application calls it. On a
// goroutine of the connection that would end the test, as it would any program.
func panicInApplication() {
	stack := make([]byte, 16<<10)
	if bytes.Contains(stack[:runtime.Stack(stack, false)], []byte("application.func")) {
		panic("the trap")
	}
}

// TestPanicInUserCode proves that CloseNow still ends the connection, and every
// call, after code of the user's panicked, or ended its goroutine, in the
// middle of one.
func TestPanicInUserCode(t *testing.T) {
	covers(t, "Q.H07", "Q.H08", "Q.H12")
	ways := map[string]func(){"panic": panicInApplication, "Goexit": runtime.Goexit}
	for how, sprung := range ways {
		for place, lay := range places {
			for _, reading := range readLoops {
				for n := range int64(4) {
					t.Run(fmt.Sprintf("%s in %s, call %d, %s", how, place, n+1, reading.name), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							springTrap(t, &trap{n: n + 1, sprung: sprung}, lay, reading.loop)
						})
					})
				}
			}
		}
	}
}

// springTrap runs an application into a trap, and ends the connection.
func springTrap(t *testing.T, k *trap, lay func(*trap, net.Conn, *Config) net.Conn, loop readLoop) {
	ours, peer := faultnet.Pipe()
	cfg := Config{PingInterval: -1}
	nc := lay(k, ours, &cfg)
	c := newConn(nc, client, cfg.withDefaults(), agreement{}, nil)
	ended := application(c, loop)
	var peers sync.WaitGroup
	peers.Go(func() { io.Copy(io.Discard, peer) })
	peer.Write([]byte{0x89, 0, 0x81, 1, 'x', 0x01, 1, 'y', 0x8a, 0, 0x80, 1, 'z'})
	synctest.Wait()
	peer.Write(binary.BigEndian.AppendUint64([]byte{0x8a, 8}, 1^pingMask))
	synctest.Wait()
	if cfg.OnClose != nil {
		peer.Write([]byte{0x88, 0})
		synctest.Wait()
	}
	c.CloseNow()
	ended.Wait()
	<-c.Context().Done()
	peer.Close()
	peers.Wait()
	synctest.Wait()
	if k.hits.Load() == 0 && c.delivery.Load() == nil { // after Deliver, SetReadDeadline does nothing
		t.Error("nobody came to the trap")
	}
	if got := ours.CloseCalls(); got != 1 {
		t.Errorf("the connection below was closed %d times", got)
	}
}
