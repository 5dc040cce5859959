package nettest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http/httptest"
	"sync"
	"testing"

	"golang.org/x/net/nettest"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// TestConn runs the tests for a net.Conn of golang.org/x/net/nettest.
func TestConn(t *testing.T) {
	for name, transport := range map[string]func() (client, server net.Conn, err error){
		"TCP":    tcpPair,
		"TLS":    tlsPair,
		"memory": memoryPair,
		"pipe":   pipePair,
	} {
		for _, options := range [][]websocket.NetConnOption{nil, {websocket.MessagePerWrite, websocket.AnyType}} {
			t.Run(fmt.Sprintf("%s, options %v", name, options), func(t *testing.T) {
				nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
					return join(transport, options)
				})
				nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
					c2, c1, stop, err = join(transport, options)
					return c1, c2, stop, err
				})
			})
		}
	}
}

// join returns the two ends of a WebSocket connection as streams.
func join(transport func() (client, server net.Conn, err error), options []websocket.NetConnOption) (c1, c2 net.Conn, stop func(), err error) {
	nc, ns, err := transport()
	if err != nil {
		return nil, nil, nil, err
	}
	accepted := make(chan *websocket.Conn, 1)
	go func() {
		s, _, _ := websocket.AcceptConn(context.Background(), ns, nil)
		accepted <- s
	}()
	c, _, err := websocket.DialConn(context.Background(), nc, "ws://test/", nil)
	s := <-accepted
	if err != nil {
		return nil, nil, nil, err
	}
	c1, c2 = websocket.AsNetConn(c, websocket.Binary, options...), websocket.AsNetConn(s, websocket.Binary, options...)
	// A test may still be in the middle of its own Close.
	stop = func() {
		var closing sync.WaitGroup
		closing.Go(func() { c1.Close() })
		closing.Go(func() { c2.Close() })
		closing.Wait()
	}
	return c1, c2, stop, nil
}

// tcpPair returns the two ends of a TCP connection on the loopback interface.
func tcpPair() (client, server net.Conn, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		nc, _ := l.Accept()
		accepted <- nc
	}()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		return nil, nil, err
	}
	return client, <-accepted, nil
}

// tlsPair returns the two ends of a TLS connection on the loopback interface.
func tlsPair() (client, server net.Conn, err error) {
	nc, ns, err := tcpPair()
	if err != nil {
		return nil, nil, err
	}
	own := httptest.NewUnstartedServer(nil)
	own.StartTLS()
	defer own.Close()
	roots := x509.NewCertPool()
	roots.AddCert(own.Certificate())
	return tls.Client(nc, &tls.Config{RootCAs: roots, ServerName: "example.com"}),
		tls.Server(ns, &tls.Config{Certificates: own.TLS.Certificates}), nil
}

// memoryPair returns the two ends of a connection with a bounded buffer.
func memoryPair() (client, server net.Conn, err error) {
	client, server = faultnet.Pipe()
	return client, server, nil
}

// pipePair returns the two ends of a connection without a buffer.
func pipePair() (client, server net.Conn, err error) {
	client, server = net.Pipe()
	return client, server, nil
}
