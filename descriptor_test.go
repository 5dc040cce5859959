//go:build linux

package websocket

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// descriptorPair returns a descriptor that nobody serves, and its peer.
func descriptorPair(t *testing.T) (*descriptor, net.Conn) {
	t.Helper()
	near, far := tcpPair(t)
	return descriptorOf(t, far), near
}

// descriptorOf returns the descriptor that a parked connection would have
// instead of nc, which it closes.
func descriptorOf(t *testing.T, nc net.Conn) *descriptor {
	t.Helper()
	require.True(t, startPollers())
	fd, err := duplicate(rawConn(nc))
	require.NoError(t, err)
	require.NoError(t, nc.Close())
	d := &descriptor{owner: &polledFunc{serve: func() bool { return false }}, fd: fd}
	require.NoError(t, d.register())
	t.Cleanup(func() { d.Close() })
	return d
}

// TestDescriptorReadsAndWrites proves that a descriptor is a net.Conn: it waits
// for what comes and for room, and shows the peer's end.
func TestDescriptorReadsAndWrites(t *testing.T) {
	d, peer := descriptorPair(t)
	const size = 8 << 20 // more than the buffers of the system
	var wg sync.WaitGroup
	wg.Go(func() {
		n, err := d.Write(make([]byte, size))
		if n != size || err != nil {
			t.Errorf("Write returned %d, %v", n, err)
		}
		if err := d.CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		n, err := io.Copy(io.Discard, d)
		if n != size || err != nil {
			t.Errorf("%d bytes were read, %v", n, err)
		}
	})
	wg.Go(func() {
		peer.Write(make([]byte, size))
		peer.(*net.TCPConn).CloseWrite()
	})
	n, err := io.Copy(io.Discard, peer)
	require.NoError(t, err)
	require.EqualValues(t, size, n)
	wg.Wait()
}

// TestDescriptorDeadlines proves that deadlines end calls, those that wait as
// well as later ones, and that others follow.
func TestDescriptorDeadlines(t *testing.T) {
	d, peer := descriptorPair(t)
	waits := make(chan error, 1)
	go func() {
		_, err := d.Read(make([]byte, 1))
		waits <- err
	}()
	require.NoError(t, d.SetReadDeadline(time.Now().Add(time.Millisecond)))
	require.ErrorIs(t, <-waits, os.ErrDeadlineExceeded)
	require.NoError(t, d.SetDeadline(time.Now().Add(-time.Second)))
	_, err := d.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	_, err = d.Write(make([]byte, 64<<20))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, d.SetDeadline(time.Time{}))
	peer.Write([]byte{1})
	n, err := d.Read(make([]byte, 1))
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// TestDescriptorClose proves that closing wakes those that wait, and that calls
// fail afterwards, while the addresses stay.
func TestDescriptorClose(t *testing.T) {
	d, peer := descriptorPair(t)
	waits := make(chan error, 2)
	go func() {
		_, err := d.Read(make([]byte, 1))
		waits <- err
	}()
	go func() {
		_, err := d.Write(make([]byte, 64<<20))
		waits <- err
	}()
	io.ReadFull(peer, make([]byte, 1))
	require.NoError(t, d.Close())
	require.ErrorIs(t, <-waits, net.ErrClosed)
	require.ErrorIs(t, <-waits, net.ErrClosed)
	require.ErrorIs(t, d.Close(), net.ErrClosed)
	require.ErrorIs(t, d.SetDeadline(time.Now()), net.ErrClosed)
	require.ErrorIs(t, d.CloseWrite(), net.ErrClosed)
	_, err := d.Write([]byte{1})
	require.ErrorIs(t, err, net.ErrClosed)
	require.Equal(t, peer.RemoteAddr(), d.LocalAddr())
	require.Equal(t, peer.LocalAddr(), d.RemoteAddr())
	io.Copy(io.Discard, peer) // ends
}

// TestDescriptorAddrs proves that a descriptor has the addresses of its net.Conn,
// of each family.
func TestDescriptorAddrs(t *testing.T) {
	for network, address := range map[string]string{
		"tcp4": "127.0.0.1:0",
		"tcp6": "[::1]:0",
		"unix": filepath.Join(t.TempDir(), "s"),
	} {
		t.Run(network, func(t *testing.T) {
			l, err := net.Listen(network, address)
			if err != nil {
				t.Skip(err)
			}
			defer l.Close()
			near, err := net.Dial(network, l.Addr().String())
			require.NoError(t, err)
			defer near.Close()
			far, err := l.Accept()
			require.NoError(t, err)
			local, remote := far.LocalAddr(), far.RemoteAddr()
			d := descriptorOf(t, far)
			require.Equal(t, local.Network(), d.LocalAddr().Network())
			require.Equal(t, local.String(), d.LocalAddr().String())
			require.Equal(t, remote.String(), d.RemoteAddr().String())
		})
	}
}
