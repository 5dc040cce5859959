package websocket

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
)

// TestOwnContextAfterTheEnd calls everything under the connection's own
// context, or one derived from it, once that has ended: the error is still the
// terminal one.
func TestOwnContextAfterTheEnd(t *testing.T) {
	covers(t, "R11", "Q.F13")
	for i := range 40 {
		synctest.Test(t, func(t *testing.T) {
			e := newEndpoint(t, endpointSetup{role: server, config: Config{PingInterval: -1}, loop: noLoop})
			ctx := e.conn.Context()
			if i%2 == 1 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithCancel(ctx)
				defer cancel()
			}
			waiting := callsUnder(e.conn, ctx)
			e.conn.CloseNow()
			waiting(t, e.conn)
			callsUnder(e.conn, ctx)(t, e.conn)
			e.abandon()
		})
	}
}

// callsUnder makes all calls that take a context, each on a goroutine, and
// returns a function that waits for them and checks their errors.
func callsUnder(c *Conn, ctx context.Context) func(t *testing.T, c *Conn) {
	calls := map[string]func() error{
		"Read":     func() error { _, _, err := c.Read(ctx); return err },
		"ReadInto": func() error { _, _, err := c.ReadInto(ctx, nil); return err },
		"Reader":   func() error { _, _, err := c.Reader(ctx); return err },
		"Ping":     func() error { _, err := c.Ping(ctx); return err },
	}
	if c.terminal() != nil {
		calls["Write"] = func() error { return c.Write(ctx, Text, nil) }
		calls["WritePlain"] = func() error { return c.WritePlain(ctx, Text, nil) }
		calls["Writer"] = func() error { _, err := c.Writer(ctx, Text); return err }
		calls["WriterPlain"] = func() error { _, err := c.WriterPlain(ctx, Text); return err }
	}
	type outcome struct {
		name string
		err  error
	}
	outcomes := make(chan outcome, len(calls))
	for name, call := range calls {
		go func() { outcomes <- outcome{name, call()} }()
	}
	synctest.Wait()
	return func(t *testing.T, c *Conn) {
		t.Helper()
		for range calls {
			if o := <-outcomes; o.err == nil || o.err != c.terminal() {
				t.Errorf("%s: %v, want %v", o.name, o.err, c.terminal())
			}
		}
	}
}

// TestWriteOnceEnded proves that a write that begins when the end is known fails
// with it, at any moment.
func TestWriteOnceEnded(t *testing.T) {
	for range 3000 {
		near, far := net.Pipe()
		c := newConn(near, server, silent.withDefaults(), agreement{}, nil)
		go io.Copy(io.Discard, far)
		wrote := make(chan error)
		ended := c.Context()
		go func() {
			for ended.Err() == nil {
			}
			wrote <- c.Write(context.Background(), Text, nil)
		}()
		c.CloseNow()
		if err := <-wrote; err != c.terminal() {
			t.Fatalf("Write: %v", err)
		}
		far.Close()
	}
}
