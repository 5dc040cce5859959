// Package nettest holds the tests of [websocket.AsNetConn] that need
// golang.org/x/net. It is a module of its own so that the library does not.
package nettest
