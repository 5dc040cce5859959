// Package websocket has the exported API of github.com/gorilla/websocket v1.5.3
// over github.com/fullduplex-go/websocket. A program moves by changing an import
// path, and goes on file by file: [Conn.Unwrap] returns the connection of the
// other API, and [Wrap] does the opposite.
//
// What the documentation of the original promises holds here, and Pings, Pongs
// and Close frames are the application's business as they are there. The
// connection has no limits and no timeouts but those that the application sets.
//
// # What is different
//
// Calls at the same time do no harm. Writers take turns instead of panicking,
// and send whole messages; a reader that goes on after an error is told that
// error again, however often. The writer that NextWriter has returned is closed
// by every method that sends a message, so it should not be shared.
//
// Buffers belong to a connection only while there is something in them, so
// WriteBufferSize and WriteBufferPool have no effect, and ReadBufferSize little.
// A message leaves in one frame, whatever its length, if it is written by one
// call, or has up to 32 KiB.
//
// While no call reads, the connection does so up to the next data message. So
// Pings are answered, and a Close frame, unless the application has set a
// handler. Handlers of the application are called by the reads, never beside the
// code around them; for them the connection keeps the last 16 Pings and Pongs
// that have come meanwhile.
//
// The answer to the peer's Close frame is the connection's, after the handler
// has returned: what the handler gives to WriteControl, otherwise the peer's
// code. A Close frame that must not be sent, such as one with code 1006, is an
// error, and is not sent. After one that is sent, the peer has 30 seconds to
// answer before reading ends.
//
// WriteControl does not wait for the network, and its deadline matters only once
// it has passed. A Ping that WriteMessage sends does wait, up to the deadline of
// SetWriteDeadline.
//
// SetReadLimit counts bytes after decompression, so a small message cannot
// become a large one. The peer's messages must not have more frames than 1,024
// and one for each 16 bytes.
//
// Messages of less than 128 bytes are not compressed. SetCompressionLevel checks
// its argument and has no other effect, but that flate.NoCompression sends
// messages as they are.
//
// Opening handshakes are checked as RFC 6455 says, and so are answers to them.
// Upgrade refuses requests that name a subprotocol twice, are not HTTP/1.1 or
// have a body, and chooses no subprotocol that was not offered. A ResponseWriter
// need not be an http.Hijacker itself, if it has a method Unwrap. Frames that
// arrive right behind the request are read. Dialing knows proxies of the schemes
// http, https, socks5 and socks5h.
//
// IsCloseError and IsUnexpectedCloseError also find a CloseError that is wrapped.
// WriteJSON sends nothing if it returns an error of encoding/json.
package websocket
