package faultnet

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// bubble runs f in a synctest bubble with a fresh pipe and closes both ends.
func bubble(t *testing.T, f func(t *testing.T, a, b *Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe()
		defer a.Close()
		defer b.Close()
		f(t, a, b)
	})
}

func mustWrite(t *testing.T, w io.Writer, p string) {
	t.Helper()
	if n, err := w.Write([]byte(p)); n != len(p) || err != nil {
		t.Fatalf("Write(%q) = %d, %v", p, n, err)
	}
}

func wantRead(t *testing.T, r io.Reader, want string, wantErr error) {
	t.Helper()
	p := make([]byte, 64)
	n, err := r.Read(p)
	if string(p[:n]) != want || !errors.Is(err, wantErr) {
		t.Fatalf("Read = %q, %v; want %q, %v", p[:n], err, want, wantErr)
	}
}

func TestBytesArriveInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Conn) {
		want := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
		var wg sync.WaitGroup
		wg.Go(func() {
			if n, err := a.Write(want); n != len(want) || err != nil {
				t.Errorf("Write = %d, %v", n, err)
			}
			a.CloseWrite()
		})
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes arrived, %v; want %d", len(got), err, len(want))
		}
		wg.Wait()
	})
}

func TestWindow(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Conn) {
		b.SetWindow(3)
		var n int
		var err error
		done := make(chan struct{})
		go func() {
			n, err = a.Write([]byte("hello"))
			close(done)
		}()
		synctest.Wait()
		if b.Unread() != 3 || isClosed(done) {
			t.Fatalf("%d bytes waiting, write returned: %v; want 3, false", b.Unread(), isClosed(done))
		}
		b.SetWindow(0)
		wantRead(t, b, "hel", nil)
		synctest.Wait()
		if b.Unread() != 0 || isClosed(done) {
			t.Fatal("a write passed a closed window")
		}
		b.SetWindow(100)
		<-done
		if n != 5 || err != nil {
			t.Errorf("Write = %d, %v; want 5, nil", n, err)
		}
		wantRead(t, b, "lo", nil)
	})
}

func TestDeadlines(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Conn) {
		start := time.Now()
		a.SetReadDeadline(start.Add(time.Second))
		wantRead(t, a, "", os.ErrDeadlineExceeded)
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("Read waited %v, want 1s", waited)
		}
		wantRead(t, a, "", os.ErrDeadlineExceeded)
		a.SetReadDeadline(time.Time{})
		mustWrite(t, b, "x")
		wantRead(t, a, "x", nil)

		b.SetWindow(2)
		a.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := a.Write([]byte("hello"))
		var ne net.Error
		if n != 2 || !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("Write = %d, %v; want 2 and a timeout", n, err)
		}
	})
}

func TestDeadlineInThePastWakesReader(t *testing.T) {
	bubble(t, func(t *testing.T, a, _ *Conn) {
		done := make(chan error)
		go func() {
			_, err := a.Read(make([]byte, 1))
			done <- err
		}()
		synctest.Wait()
		a.SetDeadline(time.Unix(1, 0))
		if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read: %v", err)
		}
	})
}

func TestMovedDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, a, _ *Conn) {
		start := time.Now()
		a.SetReadDeadline(start.Add(time.Second))
		go func() {
			<-time.After(time.Second / 2)
			a.SetReadDeadline(start.Add(time.Minute))
		}()
		wantRead(t, a, "", os.ErrDeadlineExceeded)
		if waited := time.Since(start); waited != time.Minute {
			t.Errorf("Read waited %v, want 1m", waited)
		}
	})
}

func TestHalfClose(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Conn) {
		mustWrite(t, a, "bye")
		if err := a.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		wantRead(t, b, "bye", nil)
		wantRead(t, b, "", io.EOF)
		wantRead(t, b, "", io.EOF)
		if _, err := a.Write([]byte("more")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("Write after CloseWrite: %v", err)
		}
		mustWrite(t, b, "answer")
		wantRead(t, a, "answer", nil)
	})
}

func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Conn) {
		mustWrite(t, a, "bye")
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if err := a.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
		if got := a.CloseCalls(); got != 2 {
			t.Errorf("CloseCalls = %d, want 2", got)
		}
		wantRead(t, a, "", net.ErrClosed)
		if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write after Close: %v", err)
		}
		if err := a.SetDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("SetDeadline after Close: %v", err)
		}
		if err := a.CloseWrite(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("CloseWrite after Close: %v", err)
		}
		wantRead(t, b, "bye", nil)
		wantRead(t, b, "", io.EOF)
	})
}

func TestCloseWakesBoth(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Conn) {
		b.SetWindow(0)
		results := make(chan error)
		go func() {
			_, err := a.Read(make([]byte, 1))
			results <- err
		}()
		go func() {
			_, err := a.Write([]byte("x"))
			results <- err
		}()
		synctest.Wait()
		a.Close()
		for range 2 {
			if err := <-results; !errors.Is(err, net.ErrClosed) {
				t.Errorf("woken with %v, want net.ErrClosed", err)
			}
		}
	})
}

func TestCloseWithUnreadDataResets(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Conn) {
		mustWrite(t, b, "never read")
		mustWrite(t, a, "lost")
		a.Close()
		wantRead(t, b, "", syscall.ECONNRESET)
		if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("Write to a closed end: %v", err)
		}
	})
}

func TestWriteToClosedEndResets(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Conn) {
		mustWrite(t, a, "lost")
		a.Close()
		if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("Write to a closed end: %v", err)
		}
		wantRead(t, b, "", syscall.ECONNRESET)
	})
}

func TestReset(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Conn) {
		mustWrite(t, a, "lost")
		a.Reset()
		wantRead(t, b, "", syscall.ECONNRESET)
		wantRead(t, a, "", net.ErrClosed)
	})
}

func TestAddresses(t *testing.T) {
	bubble(t, func(t *testing.T, a, b *Conn) {
		if a.LocalAddr() != b.RemoteAddr() || a.RemoteAddr() != b.LocalAddr() || a.LocalAddr() == b.LocalAddr() {
			t.Errorf("addresses %v-%v and %v-%v do not match", a.LocalAddr(), a.RemoteAddr(), b.LocalAddr(), b.RemoteAddr())
		}
		if got := a.LocalAddr().Network() + ":" + a.LocalAddr().String(); got != "mem:a" {
			t.Errorf("address is %q", got)
		}
	})
}
