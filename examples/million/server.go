package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/fullduplex-go/websocket"
)

// An echo sends every message back. It is the Receiver of all connections: while
// they are silent there is no goroutine for them, and nothing of ours.
type echo struct{ conns atomic.Int64 }

// Opened counts the connection.
func (e *echo) Opened(*websocket.Conn) error {
	e.conns.Add(1)
	return nil
}

// Receive sends m back.
func (e *echo) Receive(c *websocket.Conn, m websocket.Message) error {
	return c.Write(context.Background(), m.Type, m.Data)
}

// Closed counts the connection no more.
func (e *echo) Closed(*websocket.Conn, *websocket.CloseError) { e.conns.Add(-1) }

// serve serves connections on l until l is closed.
func (e *echo) serve(l net.Listener) error {
	return http.Serve(l, websocket.ReceiverHandler(nil, func(*http.Request) (websocket.Receiver, error) { return e, nil }))
}

// The questions to a server.
const (
	askURL    = "url"    // a string
	askWeight = "weight" // a weight
	askUsage  = "usage"  // a usage
)

// A usage is what a server has used so far.
type usage struct {
	Conns int
	CPU   time.Duration
}

// A weight is what a server takes, in bytes. Zero is unknown.
type weight struct {
	Conns      int
	Goroutines int
	Resident   int64 // memory, as the system sees it
	Live       int64 // heap and stacks, after a collection
	Kernel     int64 // memory of all sockets of this machine
}

// playServer serves on a port of its own, and answers questions.
func playServer(in io.Reader, out io.Writer) error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	e := new(echo)
	go e.serve(l)
	return answer(in, out, func(question string) (any, error) {
		switch question {
		case askURL:
			return fmt.Sprintf("ws://%s/", l.Addr()), nil
		case askWeight:
			return e.weigh()
		case askUsage:
			return usage{int(e.conns.Load()), cpuTime()}, nil
		default:
			return nil, fmt.Errorf("no question is called %q", question)
		}
	})
}

// weigh waits until the server is at rest, and weighs it.
func (e *echo) weigh() (w weight, err error) {
	if err := rest(); err != nil {
		return w, err
	}
	w.Conns, w.Goroutines = int(e.conns.Load()), runtime.NumGoroutine()
	w.Resident, w.Kernel = residentBytes(), kernelBytes()
	runtime.GC()
	runtime.GC() // what the first has taken out of pools is free after the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	w.Live = int64(m.HeapAlloc + m.StackInuse)
	return w, nil
}

// rest waits until goroutines neither come nor go: those of handshakes are gone.
func rest() error {
	for range 100 {
		before := runtime.NumGoroutine()
		time.Sleep(200 * time.Millisecond)
		if runtime.NumGoroutine() == before {
			return nil
		}
	}
	return errors.New("the server does not come to rest")
}
