// Package nettest holds the tests of [websocket.AsNetConn] that need modules of
// golang.org/x: those for any net.Conn, and SSH through a tunnel. It is a module
// of its own so that the library needs none.
package nettest
