// Package wstest tests programs that speak WebSocket, without a network and
// without waiting: everything it makes works inside a testing/synctest bubble,
// where minutes of keepalive pass at once.
//
// [Pipe] joins a server and a client. [NewServer] runs an http.Handler, and
// code that dials reaches it through [Server.NetDial]. A [RawPeer] speaks in
// frames and bytes, and can break every rule of the protocol: masks, reserved
// bits and opcodes, lengths, text, truncated frames, half-close, reset, one
// byte at a time, or not reading at all.
//
// All connections end with the test that made them. Whatever takes a
// testing.TB stops the test where it cannot do what it says, and so belongs on
// the test's own goroutine.
package wstest
