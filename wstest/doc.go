// Package wstest helps to test programs that speak WebSocket, without a network
// and without waiting: except for [ListenTCP], it works inside a
// testing/synctest bubble, where minutes of keepalive pass at once.
//
// [Pipe] joins a server and a client. [NewServer] runs an http.Handler, and
// code that dials reaches it through [Server.NetDial]. A [RawPeer] speaks in
// frames and bytes, and can break every rule of the protocol: wrong masking,
// reserved bits and opcodes, wrong lengths, invalid text, truncated frames. It
// can also close one direction, reset the connection, send one byte at a time,
// or not read at all.
//
// All connections end with the test that made them. Functions that take a
// testing.TB, and methods that return no error, stop the test when they cannot
// do what they say, and therefore must be called on the test's own goroutine.
package wstest
