//go:build linux

package measure

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime/pprof"
	"sync"

	"github.com/fullduplex-go/websocket/bench/peer"
	"github.com/fullduplex-go/websocket/bench/wire"
	_ "github.com/fullduplex-go/websocket/h2"
)

// subjectSpec holds a subject's settings.
type subjectSpec struct {
	Row     Row
	Peer    string
	Addr    string // of the load, for a client
	Profile string // file for a CPU profile, or empty
}

// A door says how to reach a subject that is ready.
type door struct {
	Addr string
	Cert []byte // in DER
}

// A subject is the part of a run that is measured.
type subject struct {
	spec    subjectSpec
	peer    peer.Peer
	options peer.Options
}

// newSubject returns the subject for spec.
func newSubject(spec subjectSpec) (*subject, error) {
	p, err := peer.Named(spec.Peer)
	row := spec.Row
	o := peer.Options{
		Lean:        row.Kind == Idle || row.Kind == Quiet || row.Kind == Handshake,
		Compress:    row.Compression != None,
		Takeover:    row.Compression == Unused || row.Compression == Held,
		NoKeepalive: row.NoPings,
	}
	return &subject{spec: spec, peer: p, options: o}, err
}

// start starts the server or the clients of the row.
func (s *subject) start() (door, error) {
	if s.spec.Row.Kind == EchoClient {
		s.dial()
		return door{}, nil
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return door{}, err
	}
	at := door{Addr: ln.Addr().String()}
	if s.spec.Row.TLS {
		cert, err := newCertificate()
		if err != nil {
			return door{}, err
		}
		at.Cert = cert.Certificate[0]
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}})
	}
	if s.spec.Row.Raw {
		return at, s.acceptRaw(ln)
	}
	server := &http.Server{
		Handler:  s.peer.Handler(s.options, s.behaviour()),
		ErrorLog: log.New(io.Discard, "", 0),
	}
	if s.spec.Row.HTTP2 {
		server.Protocols = new(http.Protocols)
		server.Protocols.SetUnencryptedHTTP2(true)
	}
	go server.Serve(ln)
	return at, nil
}

// acceptRaw serves connections without net/http.
func (s *subject) acceptRaw(ln net.Listener) error {
	serve := s.peer.ConnServer(s.options, s.behaviour())
	if serve == nil {
		return fmt.Errorf("measure: %s has no server of its own", s.peer.Name())
	}
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go serve(nc)
		}
	}()
	return nil
}

// dial opens the row's connections as clients. The load ends them, which is not
// an error; a connection that cannot be opened is.
func (s *subject) dial() {
	for range s.spec.Row.Conns {
		go func() {
			opened, echo := false, peer.Echo
			echo.Opened = func(peer.Conn) { opened = true }
			if err := s.peer.Dial(s.spec.Addr, s.options, echo); !opened {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
	}
}

// behaviour returns what the server does in this row.
func (s *subject) behaviour() peer.Behaviour {
	if s.spec.Row.Kind != Broadcast {
		return peer.Echo
	}
	group := s.peer.NewGroup()
	payload := newBatch(s.spec.Row.Size, 1, false, false).reply[wire.HeaderLen(s.spec.Row.Size, false):]
	// A load can have read the answer to its last connection, and triggered a
	// broadcast, before the write of that answer has returned; not all peers
	// allow two writes at once.
	var answering sync.RWMutex
	return peer.Behaviour{
		Opened: group.Add,
		Message: func(c peer.Conn, t byte, data []byte) error {
			n := s.triggers(len(data))
			if n == 0 {
				answering.Lock()
				defer answering.Unlock()
				return c.Write(t, data)
			}
			answering.RLock()
			defer answering.RUnlock()
			for range n {
				if err := group.Send(peer.Binary, payload); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// triggers returns how many triggers a message of size bytes is: one or none. A
// message of the floor is a read, which may hold several.
func (s *subject) triggers(size int) int {
	trigger := triggerSize
	if s.peer == peer.Floor {
		trigger += wire.HeaderLen(triggerSize, true)
		if size%trigger == 0 {
			return size / trigger
		}
	}
	if size == trigger {
		return 1
	}
	return 0
}

// profile writes a CPU profile to the file until stop is called.
func profile(file string) (stop func() error, err error) {
	if file == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}
