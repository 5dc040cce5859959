package http2stream

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A testWriter keeps what is written. A Write waits while it is shut.
type testWriter struct {
	mu      sync.Mutex
	changed sync.Cond
	shut    bool
	aborted bool
	closed  int
	written []byte // and not flushed
	sent    []byte
	panics  any
}

// errAborted is what an aborted testWriter returns.
var errAborted = errors.New("aborted")

// Write keeps p.
func (w *testWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.panics != nil {
		panic(w.panics)
	}
	for w.shut && !w.aborted {
		w.changed.Wait()
	}
	if w.aborted {
		return 0, errAborted
	}
	w.written = append(w.written, p...)
	return len(p), nil
}

// FlushError sends what was written.
func (w *testWriter) FlushError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, w.written...)
	w.written = nil
	return nil
}

// Abort makes Write fail.
func (w *testWriter) Abort() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.aborted = true
	w.changed.Broadcast()
}

// Close counts.
func (w *testWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed++
	return nil
}

// open lets Write go on.
func (w *testWriter) open() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shut = false
	w.changed.Broadcast()
}

// inBubble runs f in a bubble with a Conn whose Receive runs, its Writer, and the
// other end of its body.
func inBubble(t *testing.T, f func(t *testing.T, c *Conn, w *testWriter, body *io.PipeWriter)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r, body := io.Pipe()
		w := new(testWriter)
		w.changed.L = &w.mu
		c := New(Options{Body: r, Writer: w, Linger: time.Minute, Local: &net.TCPAddr{Port: 1}, Remote: &net.TCPAddr{Port: 2}})
		received := make(chan struct{})
		go func() {
			defer close(received)
			c.Receive()
		}()
		f(t, c, w, body)
		c.Close()
		<-received
		<-c.Done()
		require.Equal(t, 1, w.closed)
	})
}

// TestRead reads what comes in pieces of all sizes, up to the end and its error.
func TestRead(t *testing.T) {
	for _, end := range []error{io.EOF, errors.New("reset")} {
		inBubble(t, func(t *testing.T, c *Conn, _ *testWriter, body *io.PipeWriter) {
			var want []byte
			go func() {
				for size := range 3000 {
					p := bytes.Repeat([]byte{byte(size)}, size)
					want = append(want, p...)
					body.Write(p)
				}
				body.Write(make([]byte, 200_000))
				want = append(want, make([]byte, 200_000)...)
				body.CloseWithError(end)
			}()
			var got []byte
			var err error
			for size := 1; err == nil; size = size*2%10_007 + 1 {
				p := make([]byte, size)
				var n int
				n, err = c.Read(p)
				got = append(got, p[:n]...)
			}
			require.Equal(t, end, err)
			require.True(t, bytes.Equal(want, got))
			_, err = c.Read(make([]byte, 1))
			require.Equal(t, end, err)
		})
	}
}

// TestReadDeadline interrupts a Read by a deadline that was set before or is set
// while it waits; another Read goes on.
func TestReadDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Conn, _ *testWriter, body *io.PipeWriter) {
		p := make([]byte, 10)
		began := time.Now()
		require.NoError(t, c.SetReadDeadline(began.Add(time.Second)))
		_, err := c.Read(p)
		require.Equal(t, os.ErrDeadlineExceeded, err)
		require.Equal(t, time.Second, time.Since(began))
		_, err = c.Read(p)
		require.Equal(t, os.ErrDeadlineExceeded, err)

		require.NoError(t, c.SetDeadline(time.Time{}))
		failed := make(chan error)
		go func() {
			_, err := c.Read(p)
			failed <- err
		}()
		synctest.Wait()
		require.NoError(t, c.SetReadDeadline(time.Unix(1, 0)))
		require.Equal(t, os.ErrDeadlineExceeded, <-failed)

		require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Hour)))
		go body.Write([]byte("after"))
		n, err := c.Read(p)
		require.NoError(t, err)
		require.Equal(t, "after", string(p[:n]))
		n, err = c.Read(nil)
		require.NoError(t, err)
		require.Zero(t, n)
	})
}

// TestReadAhead reads no more of the body than one buffer before that is taken.
func TestReadAhead(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Conn, _ *testWriter, body *io.PipeWriter) {
		wrote := false
		go func() {
			body.Write(make([]byte, firstSize+1))
			wrote = true
		}()
		synctest.Wait()
		require.False(t, wrote)
		_, err := io.ReadFull(c, make([]byte, firstSize))
		require.NoError(t, err)
		synctest.Wait()
		require.True(t, wrote)
	})
}

// TestDirect reads the body in Read: short ones share a read of the body, long ones
// have their own, and only Close interrupts one that waits.
func TestDirect(t *testing.T) {
	for _, end := range []error{io.EOF, errors.New("reset")} {
		synctest.Test(t, func(t *testing.T) {
			r, body := io.Pipe()
			w := new(testWriter)
			w.changed.L = &w.mu
			c := New(Options{Body: r, Writer: w, Direct: true})
			require.True(t, c.IsDirect())
			require.Equal(t, os.ErrNoDeadline, c.SetReadDeadline(time.Time{}))
			require.Equal(t, os.ErrNoDeadline, c.SetDeadline(time.Time{}))
			require.NoError(t, c.SetWriteDeadline(time.Time{}))
			go func() {
				body.Write([]byte("short"))
				body.Write(make([]byte, 10_000))
				body.CloseWithError(end)
			}()
			n, err := c.Read(nil)
			require.NoError(t, err)
			require.Zero(t, n)
			p := make([]byte, 20_000)
			n, err = c.Read(p[:2])
			require.NoError(t, err)
			require.Equal(t, "sh", string(p[:n]))
			n, err = c.Read(p)
			require.NoError(t, err)
			require.Equal(t, "ort", string(p[:n]))
			n, err = c.Read(p)
			require.NoError(t, err)
			require.Equal(t, 10_000, n, "one read of the body")
			for _, size := range []int{1, firstSize} {
				_, err = c.Read(p[:size])
				require.Equal(t, end, err)
			}
			require.NoError(t, c.Close())
			_, err = c.Read(p)
			require.Equal(t, net.ErrClosed, err)
			<-c.Done()
		})
	}
	synctest.Test(t, func(t *testing.T) {
		r, _ := io.Pipe()
		c := New(Options{Body: r, Writer: new(testWriter), Direct: true})
		failed := make(chan error)
		go func() {
			_, err := c.Read(make([]byte, 1))
			failed <- err
		}()
		synctest.Wait()
		require.NoError(t, c.Close())
		require.Equal(t, net.ErrClosed, <-failed)
	})
}

// TestBufferSizes grows the buffer while reads fill it, and gives it back.
func TestBufferSizes(t *testing.T) {
	var b readBuffer
	for _, test := range []struct{ n, want int }{
		{1, 512}, {512, 512}, {4096, 4096}, {32 << 10, 32 << 10}, {32 << 10, 32 << 10}, {5000, 32 << 10}, {4096, 32 << 10}, {4095, 4096}, {512, 4096}, {1, 512},
	} {
		require.Len(t, b.room(), test.want)
		b.resize(test.n)
	}
	b.resize(firstSize)
	b.room()
	b.release()
	require.Nil(t, b.later)
}

// TestWrite sends what is written before Write returns, also a long p.
func TestWrite(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Conn, w *testWriter, _ *io.PipeWriter) {
		p := bytes.Repeat([]byte("0123456789"), 20_000)
		n, err := c.Write(p)
		require.NoError(t, err)
		require.Equal(t, len(p), n)
		require.True(t, bytes.Equal(p, w.sent))
		n, err = c.Write(nil)
		require.NoError(t, err)
		require.Zero(t, n)
	})
}

// TestWriteDeadline interrupts writes: what they count is sent, and nothing else.
func TestWriteDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Conn, w *testWriter, _ *io.PipeWriter) {
		w.shut = true
		long := bytes.Repeat([]byte("x"), maxTaken+1)
		began := time.Now()
		require.NoError(t, c.SetWriteDeadline(began.Add(time.Second)))
		n, err := c.Write(long)
		require.Equal(t, os.ErrDeadlineExceeded, err)
		require.Equal(t, maxTaken, n)
		require.Equal(t, time.Second, time.Since(began))
		n, err = c.Write([]byte("y"))
		require.Equal(t, os.ErrDeadlineExceeded, err)
		require.Zero(t, n)
		require.NoError(t, c.SetWriteDeadline(time.Now().Add(time.Second)))
		n, err = c.Write([]byte("y"))
		require.Equal(t, os.ErrDeadlineExceeded, err)
		require.Zero(t, n, "something is in flight")

		c.AwaitSent(time.Second)
		require.Equal(t, 3*time.Second, time.Since(began))
		w.open()
		c.AwaitSent(time.Hour)
		require.Equal(t, 3*time.Second, time.Since(began))
		require.True(t, bytes.Equal(long[:maxTaken], w.sent))

		w.shut = true
		n, err = c.Write([]byte("y"))
		require.Equal(t, os.ErrDeadlineExceeded, err)
		require.Zero(t, n)
		require.NoError(t, c.SetWriteDeadline(time.Now().Add(time.Second)))
		n, err = c.Write([]byte("z"))
		require.NoError(t, err, "all of it was taken over")
		require.Equal(t, 1, n)
		w.open()
		c.AwaitSent(time.Hour)
		require.Equal(t, byte('z'), w.sent[maxTaken])
		require.Len(t, w.sent, maxTaken+1)
	})
}

// TestClose makes calls that wait return, lets what is in flight leave, and says
// so when it has.
func TestClose(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Conn, w *testWriter, body *io.PipeWriter) {
		w.shut = true
		failed := make(chan error, 2)
		go func() {
			_, err := c.Read(make([]byte, 1))
			failed <- err
		}()
		go func() {
			_, err := c.Write([]byte("last words"))
			failed <- err
		}()
		synctest.Wait()
		require.NoError(t, c.Close())
		require.Equal(t, net.ErrClosed, <-failed)
		require.Equal(t, net.ErrClosed, <-failed)
		require.NoError(t, c.Close())
		require.Equal(t, net.ErrClosed, c.SetDeadline(time.Time{}))
		require.Equal(t, net.ErrClosed, c.SetWriteDeadline(time.Time{}))
		_, err := body.Write([]byte("x"))
		require.Error(t, err, "the body is closed")
		synctest.Wait()
		select {
		case <-c.Done():
			t.Error("Done is closed while something is in flight")
		default:
		}
		w.open()
		<-c.Done()
		require.Equal(t, "last words", string(w.sent))
		require.False(t, w.aborted)
	})
}

// TestLinger gives up what does not leave: after Linger, or when AwaitDone has
// waited for long enough.
func TestLinger(t *testing.T) {
	for name, wait := range map[string]struct {
		on   func(c *Conn)
		want time.Duration
	}{
		"Linger":    {func(c *Conn) { <-c.Done() }, time.Minute},
		"AwaitDone": {func(c *Conn) { c.AwaitDone(time.Second) }, time.Second},
	} {
		inBubble(t, func(t *testing.T, c *Conn, w *testWriter, _ *io.PipeWriter) {
			w.shut = true
			go c.Write([]byte("stuck"))
			synctest.Wait()
			began := time.Now()
			c.Close()
			wait.on(c)
			require.Equal(t, wait.want, time.Since(began), name)
			require.True(t, w.aborted)
			require.Empty(t, w.sent)
		})
	}
}

// TestWriteFails returns the error of the Writer, for good, and makes an error of
// its panic.
func TestWriteFails(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Conn, w *testWriter, _ *io.PipeWriter) {
		w.Abort()
		for range 2 {
			_, err := c.Write([]byte("x"))
			require.Equal(t, errAborted, err)
		}
	})
	inBubble(t, func(t *testing.T, c *Conn, w *testWriter, _ *io.PipeWriter) {
		w.panics = "the handler has gone"
		for range 2 {
			_, err := c.Write([]byte("x"))
			require.ErrorIs(t, err, errLeft)
			require.ErrorContains(t, err, "the handler has gone")
		}
	})
}

// TestAddresses returns those that New was given.
func TestAddresses(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Conn, _ *testWriter, _ *io.PipeWriter) {
		require.Equal(t, &net.TCPAddr{Port: 1}, c.LocalAddr())
		require.Equal(t, &net.TCPAddr{Port: 2}, c.RemoteAddr())
	})
}
