// Package websocket has the exported API of github.com/coder/websocket v1.8.15,
// over the connections of package [github.com/fullduplex-go/websocket]. To use
// it, change the import path:
//
//	import websocket "github.com/fullduplex-go/websocket/compat/coder"
//
// [Conn.Unwrap] returns the connection below and [Wrap] does the reverse, so that
// a program can go on to the other API one function at a time.
//
// All names and types are the original's, and what its documentation promises
// holds. What differs:
//
// # Safer
//
//   - All methods may be called by several goroutines at once; only Reader, and
//     a reader while it is used, are for one goroutine.
//   - A reader or writer that is used too late returns an error. It does not
//     touch the message of the next one.
//   - A message that was not read to its end is dropped by the next call of
//     Reader or Read.
//   - Fragments of a message are bounded in number, and nothing is allocated
//     because a peer announced it.
//   - A Read that fails returns no part of a message.
//
// # Stricter
//
//   - Text must be UTF-8, in both directions. A peer that sends other text is
//     told StatusInvalidFramePayloadData.
//   - Write and Writer refuse a type that is neither text nor binary.
//   - Subprotocols must be tokens, and none may be listed twice.
//   - Dial ignores fields of the handshake in HTTPHeader.
//
// # More forgiving
//
//   - Control frames are handled while nobody reads, up to the next data
//     message, so that Ping and Close need no reader and a connection that only
//     writes notices its end. CloseRead is still what forbids messages. It needs
//     no goroutine on Linux.
//   - A context that had ended before the call, and one that ends Ping, leaves
//     the connection open. One that ends Read, Reader, Write or Writer while
//     they wait closes it, as the original's documentation says, also if the
//     wait was for another writer.
//   - Read after CloseRead returns an error and does not wait.
//   - A goroutine that reads while Close is called gets the messages that come
//     before the peer's Close frame; there they are dropped in any case.
//   - A reason of more than 123 bytes is cut, and the closing handshake done.
//   - CloseNow returns nil also if the connection has ended.
//   - Close returns nil also if the peer answers without a code.
//   - A deadline of [NetConn] that passes between calls leaves the connection
//     open in every case, and errors of deadlines are net.Errors with Timeout.
//     Read of no bytes returns at once, and empty messages are skipped.
//
// # Errors
//
// Every call after the end returns how the connection ended. After a Close frame
// of the peer that is an error in which errors.As finds a [CloseError], and
// which is net.ErrClosed as well; there, only the first read has the
// CloseError. After an end by the network it is io.EOF, or another error of the
// network. errors.As also finds the *CloseError of the connection below. The
// texts of errors differ.
//
// # Limits
//
// The closing handshake takes at most five seconds as a whole, not five for each
// half. As there, nothing is sent to keep idle connections alive, the read limit
// is 32768 bytes, writes are bounded by contexts alone, and Dial by its context
// and the Timeout of its client. SetReadLimit(0) admits one byte.
//
// The context that OnPingReceived and OnPongReceived get ends with the
// connection, and not with a read.
//
// The addresses of a NetConn are the real ones also for a client.
//
// # In a browser
//
// On js/wasm Dial uses the browser's WebSocket, and ignores HTTPClient,
// HTTPHeader, Host and CompressionMode. Ping does nothing.
package websocket
