package websocket

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// A halfBody is a Body that can shut its sending half, or says that it cannot.
type halfBody struct {
	io.ReadWriteCloser
	err error
}

// CloseWrite returns the error.
func (b halfBody) CloseWrite() error { return b.err }

// TestBodyConnBelow has deadlines and addresses of the net.Conn below, if there
// is one.
func TestBodyConnBelow(t *testing.T) {
	near, far := tcpPair(t)
	hidden := struct{ io.ReadWriteCloser }{near}
	for name, c := range map[string]*bodyConn{
		"told of":  newBodyConn(hidden, near, "h:80"),
		"the Body": newBodyConn(near, nil, "h:80"),
	} {
		if c.NetConn() != near || c.LocalAddr() != near.LocalAddr() || c.RemoteAddr() != near.RemoteAddr() {
			t.Errorf("%s: got %v, %v", name, c.LocalAddr(), c.RemoteAddr())
		}
		for _, set := range []func(time.Time) error{c.SetDeadline, c.SetReadDeadline} {
			if err := set(time.Now().Add(-time.Second)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: got %v", name, err)
			}
		}
		if err := c.SetWriteDeadline(time.Now().Add(-time.Second)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := c.Write(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: got %v", name, err)
		}
		if err := c.SetDeadline(time.Time{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := c.CloseWrite(); err != nil && name == "told of" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the sending half is open: %v", err)
	}
}

// TestBodyConnAlone has a Body of which nothing else is known.
func TestBodyConnAlone(t *testing.T) {
	near, _ := faultnet.Pipe()
	c := newBodyConn(struct{ io.ReadWriteCloser }{near}, nil, "h:80")
	if c.NetConn() != nil || c.RemoteAddr().String() != "h:80" || c.LocalAddr().String() != "unknown" || c.LocalAddr().Network() != "http" {
		t.Errorf("addresses %v, %v", c.LocalAddr(), c.RemoteAddr())
	}
	for _, set := range []func(time.Time) error{c.SetDeadline, c.SetReadDeadline, c.SetWriteDeadline} {
		if err := set(time.Time{}); err != os.ErrNoDeadline {
			t.Errorf("got %v", err)
		}
	}
	if err := c.CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
	for _, want := range []error{nil, errFault} {
		if err := newBodyConn(halfBody{near, want}, near, "").CloseWrite(); err != want {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

// TestBodyConnCloses closes the Body once, and returns the same error each time.
func TestBodyConnCloses(t *testing.T) {
	near, far := net.Pipe()
	closed := 0
	body := struct {
		io.ReadWriter
		io.Closer
	}{near, closerFunc(func() error { closed++; return errFault })}
	c := newBodyConn(body, near, "")
	for range 2 {
		if err := c.Close(); err != errFault || closed != 1 {
			t.Errorf("got %v, closed %d times", err, closed)
		}
	}
	closeNow(c)
	if _, err := far.Read(make([]byte, 1)); err != io.EOF || closed != 1 {
		t.Errorf("got %v, closed %d times", err, closed)
	}
}
