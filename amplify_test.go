//go:build unix && !race

package websocket

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket/internal/attack"
	"github.com/stretchr/testify/require"
)

// A hostilePeer is a descriptor of a hostile client, which costs the Go heap
// nothing.
type hostilePeer int

func (fd hostilePeer) Read(p []byte) (int, error) {
	n, err := syscall.Read(int(fd), p)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return max(n, 0), err
}

func (fd hostilePeer) Write(p []byte) (n int, err error) {
	for n < len(p) {
		m, err := syscall.Write(int(fd), p[n:])
		if err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}

// A victim is a server that echoes, under attack.
type victim struct {
	addr  *net.TCPAddr
	mu    sync.Mutex
	conns []*Conn // all that were accepted
}

// add notes a connection.
func (v *victim) add(c *Conn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.conns = append(v.conns, c)
}

// A victimReceiver echoes by a Receiver, and tells the victim of its connections.
type victimReceiver struct {
	echoUntil
	victim *victim
}

func (r victimReceiver) Opened(c *Conn) error { r.victim.add(c); return nil }

// A plainConn is a net.Conn of a kind that this package does not know.
type plainConn struct{ net.Conn }

// victims start servers: one whose connections have a goroutine and a raw
// socket, one that parks them, and one on a net.Conn that cannot be asked whether
// anything has come.
var victims = map[string]func(t *testing.T, v *victim, opts *AcceptOptions) *net.TCPAddr{
	"raw": func(t *testing.T, v *victim, opts *AcceptOptions) *net.TCPAddr {
		return startHandler(t, opts, func(c *Conn) error { v.add(c); return echo(c) })
	},
	"parked": func(t *testing.T, v *victim, opts *AcceptOptions) *net.TCPAddr {
		h := httptest.NewServer(ReceiverHandler(opts, func(*http.Request) (Receiver, error) {
			return victimReceiver{over, v}, nil
		}))
		t.Cleanup(h.Close)
		return h.Listener.Addr().(*net.TCPAddr)
	},
	"other": func(t *testing.T, v *victim, opts *AcceptOptions) *net.TCPAddr {
		return listenFor(t, func(nc net.Conn) {
			acceptAndServe(plainConn{nc}, opts, func(c *Conn) error { v.add(c); return echo(c) })
		})
	},
}

// startVictim starts a victim of a kind, with the default Config but for
// compression, and for times that must not pass while memory is measured.
func startVictim(t *testing.T, kind string) *victim {
	v := new(victim)
	v.addr = victims[kind](t, v, &AcceptOptions{Config: Config{
		Compression: &Compression{}, CloseTimeout: time.Hour, PingInterval: -1, WriteTimeout: -1,
	}})
	return v
}

// hasRead reports whether everything of n connections has been read that their
// peers sent, size bytes each, or that they have ended.
func (v *victim) hasRead(n, size int) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.conns) < n {
		return false
	}
	for _, c := range v.conns {
		if c.life.ending() == nil && c.terminal() == nil && c.Stats().BytesIn < uint64(size) {
			return false
		}
	}
	return true
}

// dialNarrow is rawDial with little room in the kernel for what comes.
func dialNarrow(t *testing.T, addr *net.TCPAddr) hostilePeer {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	require.NoError(t, syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10))
	require.NoError(t, syscall.Connect(fd, &syscall.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())}))
	return hostilePeer(fd)
}

// assail opens n connections and attacks with each.
func (v *victim) assail(t *testing.T, a attack.Attack, n int) (peers []hostilePeer) {
	v.mu.Lock()
	before := len(v.conns)
	v.mu.Unlock()
	for range n {
		fd := dialNarrow(t, v.addr)
		require.NoError(t, a.Begin(fd))
		peers = append(peers, fd)
	}
	require.Eventually(t, func() bool { return v.hasRead(before+n, a.Sent()) }, time.Minute, time.Millisecond)
	if len(a.Flood) > 0 {
		flood(peers, a.Flood)
	}
	return peers
}

// patience is for how long a peer that sends without end waits for the server to
// take something.
var patience = syscall.Timeval{Usec: 400_000}

// flood sends without end to all, a few at a time, until none of them takes any
// more.
func flood(peers []hostilePeer, p []byte) {
	for few := range slices.Chunk(peers, attacked/2) {
		var sending sync.WaitGroup
		for _, fd := range few {
			sending.Go(func() {
				syscall.SetsockoptTimeval(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &patience)
				for {
					if _, err := fd.Write(p); err != nil {
						return
					}
				}
			})
		}
		sending.Wait()
	}
}

// A holding is what the server holds for each connection.
type holding struct {
	bytes      int64 // of heap and stacks
	stacks     int64 // part of that
	goroutines int64
}

// holds returns what the process holds now.
func holds() holding {
	heap, stack := inUse()
	return holding{heap + stack, stack, int64(runtime.NumGoroutine())}
}

// attacked is how many connections are measured together.
const attacked = 40

// per returns what each of n connections holds, if before was held without them.
func (h holding) per(n int64, before holding) holding {
	return holding{(h.bytes - before.bytes) / n, (h.stacks - before.stacks) / n, (h.goroutines - before.goroutines + n/2) / n}
}

// settling is how long a victim has until it holds no more than it may: where TCP
// cannot be shut, an ended connection drops what comes for a while.
const settling = time.Minute

// goroutinesFor returns how many goroutines a connection may have under attack: a
// Receiver's Write that waits does so on another than its poller's.
func goroutinesFor(kind string, a attack.Attack) int64 {
	if len(a.Flood) > 0 && kind == "parked" {
		return 2
	}
	return 1
}

// measureAttack returns what a victim of a kind holds for each connection that
// attacks it, the least of several looks: until it is within the bound, or has had its
// time.
func measureAttack(t *testing.T, kind string, a attack.Attack, bound int64) (least holding) {
	v := startVictim(t, kind)
	peers := v.assail(t, a, attacked/2)
	v.conns = append(make([]*Conn, 0, 2*attacked), v.conns...)
	before := holds()
	for range 5 {
		if h := holds(); h.bytes < before.bytes {
			before = h
		}
	}
	peers = append(peers, v.assail(t, a, attacked)...)
	least.bytes = 1 << 40
	began := time.Now()
	for looks := 0; looks < 3 || time.Since(began) < settling && (least.bytes > bound || least.goroutines > goroutinesFor(kind, a)); looks++ {
		if h := holds().per(attacked, before); h.bytes < least.bytes || h.goroutines < least.goroutines {
			least = h
		}
	}
	for _, fd := range peers {
		syscall.Close(int(fd))
	}
	return least
}

// measuredAttack is the environment variable that makes TestAttack measure an
// attack: a kind of victim, a colon, and the name of the attack.
const measuredAttack = "WEBSOCKET_TEST_ATTACK"

// TestAttack is run by heldFor.
func TestAttack(t *testing.T) {
	kind, name, ok := strings.Cut(os.Getenv(measuredAttack), ":")
	if !ok {
		t.Skip("it has something to do in a process of its own only")
	}
	for _, a := range attack.All() {
		if a.Name == name {
			held := measureAttack(t, kind, a, boundsOfSecurity(t)[name])
			fmt.Printf("attack: %d %d %d\n", held.bytes, held.stacks, held.goroutines)
		}
	}
}

// heldFor measures in a process of its own what a victim holds.
func heldFor(t *testing.T, kind string, a attack.Attack) (held holding) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAttack$")
	cmd.Env = append(os.Environ(), measuredAttack+"="+kind+":"+a.Name)
	out, err := cmd.CombinedOutput()
	_, result, _ := strings.Cut(string(out), "attack: ")
	_, missing := fmt.Sscan(result, &held.bytes, &held.stacks, &held.goroutines)
	require.NoError(t, errors.Join(err, missing), "%s", out)
	return held
}

// boundsOfSecurity returns the bounds of the table in docs/security.md: bytes, by
// the name of the attack.
func boundsOfSecurity(t *testing.T) map[string]int64 {
	bounds := make(map[string]int64)
	for line := range strings.Lines(readGuide(t, "docs/security.md")) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		bound, err := strconv.ParseInt(strings.ReplaceAll(strings.TrimSpace(cells[2]), ",", ""), 10, 64)
		if err == nil {
			bounds[strings.TrimSpace(cells[1])] = bound
		}
	}
	return bounds
}

// TestAmplification proves that no attack makes a server hold more for each
// connection than docs/security.md says, nor more than one goroutine beyond that of a
// Receiver which waits to write.
func TestAmplification(t *testing.T) {
	covers(t, "Q.M01", "Q.M02", "Q.M05", "Q.M06")
	if testing.Short() || strconv.IntSize == 32 {
		t.Skip("it takes a minute, and counts bytes of a 64-bit system")
	}
	bounds := boundsOfSecurity(t)
	attacks := attack.All()
	require.Len(t, bounds, len(attacks), "docs/security.md has a bound for each attack, and for nothing else")
	for kind := range victims {
		if kind == "parked" && !canPoll {
			continue // nothing is parked here
		}
		for _, a := range attacks {
			t.Run(kind+"/"+a.Name, func(t *testing.T) {
				bound, ok := bounds[a.Name]
				require.True(t, ok, "docs/security.md has no bound")
				held := heldFor(t, kind, a)
				t.Logf("%d bytes, of them %d of stacks, and %d goroutines", held.bytes, held.stacks, held.goroutines)
				require.LessOrEqual(t, held.bytes, bound)
				require.LessOrEqual(t, held.goroutines, goroutinesFor(kind, a))
			})
		}
	}
}
