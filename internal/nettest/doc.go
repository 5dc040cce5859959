// Package nettest has the tests of [websocket.AsNetConn] that need more than
// the standard library.
package nettest
