//go:build unix && !race

package websocket

import (
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// rawDial connects to a server on loopback with a descriptor of its own, which
// costs the Go heap nothing.
func rawDial(t *testing.T, addr *net.TCPAddr) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	require.NoError(t, syscall.Connect(fd, &syscall.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())}))
	return fd
}

// rawExchange writes to fd and reads the answer, which has n bytes or more.
func rawExchange(t *testing.T, fd int, p []byte, n int) {
	t.Helper()
	_, err := syscall.Write(fd, p)
	require.NoError(t, err)
	buf := make([]byte, 1024)
	for got := 0; got < n; {
		m, err := syscall.Read(fd, buf)
		require.NoError(t, err)
		require.NotZero(t, m)
		got += m
	}
}

// inUse returns how many bytes of heap and of stacks are in use.
func inUse() (heap, stack int64) {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), int64(m.StackInuse)
}

func TestMemoryOfAnIdleConnection(t *testing.T) {
	covers(t, "Q.D12")
	const conns, limit = 2000, 4 << 10
	var open sync.WaitGroup
	h := httptest.NewServer(Handler(nil, func(c *Conn, _ *http.Request) error {
		defer open.Done()
		return echo(c)
	}))
	defer h.Close()
	addr := h.Listener.Addr().(*net.TCPAddr)
	request := []byte("GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	frame := clientFrame(0x82, string(ramp(128)))
	fds := make([]int, 0, conns)
	connect := func() {
		open.Add(1)
		fd := rawDial(t, addr)
		fds = append(fds, fd)
		rawExchange(t, fd, request, 129)
		rawExchange(t, fd, frame, 130)
	}
	for range 100 {
		connect()
	}
	heapBefore, stackBefore := inUse()
	for len(fds) < conns {
		connect()
	}
	heap, stack := inUse()
	heap = (heap - heapBefore) / (conns - 100)
	stack = (stack - stackBefore) / (conns - 100)
	t.Logf("an idle connection holds %d bytes of heap and %d of stack", heap, stack)
	require.LessOrEqual(t, heap+stack, int64(limit))
	for _, fd := range fds {
		syscall.Close(fd)
	}
	open.Wait()
}
