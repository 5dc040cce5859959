package faultnet

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestReadsOf(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Conn) {
		mustWrite(t, a, "hello")
		k := ReadsOf(b, 2)
		for _, want := range []string{"he", "ll", "o"} {
			wantRead(t, k, want, nil)
		}
	})
}

func TestSplitAt(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Conn) {
		mustWrite(t, a, "hello")
		s := SplitAt(b, 2)
		wantRead(t, s, "he", nil)
		wantRead(t, s, "llo", nil)
	})
}

func TestTruncateAt(t *testing.T) {
	for _, end := range []error{io.EOF, syscall.ECONNRESET} {
		bubble(t, func(t *testing.T, a, b *Conn) {
			mustWrite(t, a, "hello")
			c := TruncateAt(b, 3, end)
			wantRead(t, c, "hel", nil)
			wantRead(t, c, "", end)
			wantRead(t, c, "", end)
		})
	}
}

func TestTruncateAtHangs(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Conn) {
		mustWrite(t, a, "hello")
		c := TruncateAt(b, 3, nil)
		wantRead(t, c, "hel", nil)
		c.SetReadDeadline(time.Now().Add(time.Hour))
		wantRead(t, c, "", os.ErrDeadlineExceeded)
		c.SetReadDeadline(time.Time{})
		go func() {
			synctest.Wait()
			c.Close()
		}()
		wantRead(t, c, "", net.ErrClosed)
	})
}

func TestEndWithData(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Conn) {
		mustWrite(t, a, "hello")
		c := EndWithData(b, 3, io.EOF)
		wantRead(t, c, "hel", io.EOF)
		wantRead(t, c, "", io.EOF)
	})
}

func TestEmptyReads(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Conn) {
		mustWrite(t, a, "hello")
		c := EmptyReads(b, 3, 2)
		for _, want := range []string{"hel", "", "", "lo"} {
			wantRead(t, c, want, nil)
		}
		mustWrite(t, a, "x")
		c = EmptyReads(b, 0, -1)
		for range 100 {
			wantRead(t, c, "", nil)
		}
	})
}

func TestMutateAt(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Conn) {
		mustWrite(t, a, "hello")
		c := MutateAt(ReadsOf(b, 2), 3, func(byte) byte { return 'L' })
		for _, want := range []string{"he", "lL", "o"} {
			wantRead(t, c, want, nil)
		}
	})
}

func TestShortWrite(t *testing.T) {
	for _, werr := range []error{nil, syscall.EPIPE} {
		bubble(t, func(t *testing.T, a, b *Conn) {
			c := ShortWrite(a, 4, werr)
			mustWrite(t, c, "abc")
			if n, err := c.Write([]byte("def")); n != 1 || err != werr {
				t.Errorf("short write = %d, %v; want 1, %v", n, err, werr)
			}
			mustWrite(t, c, "ghi")
			wantRead(t, b, "abcdghi", nil)
		})
	}
}

func TestOnWrite(t *testing.T) {
	bubble(t, func(t *testing.T, a, _ *Conn) {
		c := OnWrite(a, func(p []byte) (int, error) { return len(p) + 1, nil })
		if n, _ := c.Write([]byte("x")); n != 2 {
			t.Errorf("Write = %d, want 2", n)
		}
	})
}

func TestErrAt(t *testing.T) {
	calls := []func(c *ErrConn) error{
		func(c *ErrConn) error { _, err := c.Write([]byte("x")); return err },
		func(c *ErrConn) error { _, err := c.Read(make([]byte, 1)); return err },
		func(c *ErrConn) error { return c.SetDeadline(time.Time{}) },
		func(c *ErrConn) error { return c.SetReadDeadline(time.Time{}) },
		func(c *ErrConn) error { return c.SetWriteDeadline(time.Time{}) },
		func(c *ErrConn) error { return c.CloseWrite() },
	}
	for n := range len(calls) + 1 {
		bubble(t, func(t *testing.T, a, b *Conn) {
			c := ErrAt(a, n, syscall.ECONNRESET)
			mustWrite(t, b, "y")
			for i, call := range calls {
				if err := call(c); errors.Is(err, syscall.ECONNRESET) != (i == n) {
					t.Errorf("call %d: %v; the fault is at %d", i, err, n)
				}
			}
			if c.Fired() != (n < len(calls)) {
				t.Errorf("Fired = %v with the fault at %d of %d calls", c.Fired(), n, len(calls))
			}
		})
	}
}

func TestUsedAfterFailure(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Conn) {
		mustWrite(t, b, "y")
		c := ErrAt(a, 0, syscall.ECONNRESET)
		c.Read(make([]byte, 1))
		c.Write([]byte("x"))
		if c.UsedAfterFailure() {
			t.Error("the other half counts as reuse")
		}
		c.Read(make([]byte, 1))
		if !c.UsedAfterFailure() {
			t.Error("a read after a failed read is not noticed")
		}
	})
}

func TestTimeoutIsNoFailure(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Conn) {
		c := ErrAt(a, 0, os.ErrDeadlineExceeded)
		wantRead(t, c, "", os.ErrDeadlineExceeded)
		mustWrite(t, b, "x")
		wantRead(t, c, "x", nil)
		if c.UsedAfterFailure() {
			t.Error("reading on after a timeout counts as reuse")
		}
	})
}

func TestCloseWriteWithoutHalfClose(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	c := ReadsOf(a, 1).(interface{ CloseWrite() error })
	if err := c.CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("CloseWrite = %v, want errors.ErrUnsupported", err)
	}
}
