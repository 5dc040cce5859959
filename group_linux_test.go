package websocket

import (
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkGroupSend compares the sender's CPU time of a group with that of
// bare writes to the same number of sockets.
func BenchmarkGroupSend(b *testing.B) {
	const members = 200
	m := Prepare(Text, make([]byte, 128))
	b.Run("group", func(b *testing.B) {
		var g Group
		for _, nc := range drainedSockets(b, members) {
			s := newConn(nc, server, (&Config{}).withDefaults(), agreement{}, nil)
			defer s.CloseNow()
			g.Add(s)
		}
		perMember(b, members, func() { g.Send(m) })
	})
	b.Run("bare", func(b *testing.B) {
		sockets := drainedSockets(b, members)
		frame := make([]byte, 132)
		perMember(b, members, func() {
			for _, nc := range sockets {
				nc.Write(frame)
			}
		})
	})
}

// drainedSockets returns sockets whose peers read everything.
func drainedSockets(b *testing.B, n int) []net.Conn {
	var sockets []net.Conn
	for range n {
		nc, peer := tcpPair(b)
		go io.Copy(io.Discard, peer)
		sockets = append(sockets, nc)
	}
	return sockets
}

// perMember runs send and reports its cost per member on the calling thread.
func perMember(b *testing.B, members int, send func()) {
	b.ReportAllocs()
	before := threadTime(b)
	for b.Loop() {
		send()
	}
	spent := threadTime(b) - before
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N*members), "cpu-ns/member")
	b.ReportMetric(0, "ns/op")
}

// threadTime returns the CPU time of the calling thread, to which it ties the
// goroutine.
func threadTime(b *testing.B) time.Duration {
	const rusageThread = 1
	runtime.LockOSThread()
	var spent syscall.Rusage
	require.NoError(b, syscall.Getrusage(rusageThread, &spent))
	return time.Duration(spent.Utime.Nano() + spent.Stime.Nano())
}
