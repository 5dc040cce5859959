// Package websocket is a WebSocket library: RFC 6455 for clients and servers,
// with nothing but the standard library.
//
// A server turns requests into connections with [Handler], [HandlerFunc] or
// [Accept], a client opens one with [Dial]. A [Conn] reads and writes whole
// messages, or streams them:
//
//	for m, err := range c.Messages(ctx) {
//		if err != nil {
//			return err
//		}
//		if err := c.Write(ctx, m.Type, m.Data); err != nil {
//			return err
//		}
//	}
//
// All methods may be called by several goroutines at once. A deadline or the
// end of a context interrupts a call, and the connection lives on, except where
// [Conn] says otherwise.
//
// # Memory
//
// What Messages yields and what ReadInto fills is the caller's only until the
// next read. Slices given to Write, Send and the rest are not kept and not
// changed. An idle connection owns no buffer.
//
// # Limits
//
// The zero Config is meant for peers that are not trusted: messages up to
// 1 MiB, as many fragments as their size explains, a Ping every 30 seconds of
// silence, 30 seconds for a peer that takes nothing of what is written, 5 for
// the closing handshake. Memory grows with bytes that arrived, never with what a
// peer announces. A server accepts browsers' pages of its own origin only; that
// protects users from foreign pages and is no authentication (RFC 6455,
// Section 10).
//
// # In a browser
//
// On js/wasm [Dial] connects by the browser's own WebSocket, and the Conn has
// all its methods, with the same errors. What a browser decides by itself
// cannot be set: Dial refuses Header, Host, Jar, TLS, NetDial, Proxy,
// ProxyHeader, Redirects, Compression, SkipUTF8Check and PingInterval. Ping is
// an error, and so is Close with a code other than 0, CloseNormal and 3000 to
// 4999. When this side fails the connection, the server is told no code. A
// browser does not say why a handshake failed, and cannot be told to wait:
// messages that nobody reads pile up in memory. Trace and Stats see frames as
// if the browser had shown them.
//
// The other doors need what a browser has not, but work on any net.Conn that a
// program makes: DialConn, AcceptConn, and for them Ping and all codes.
//
// # Reading the source
//
// The package is a house whose calls go down only:
//
//	server.go · handler.go · client.go          front doors, once per connection
//	proxy.go · client_js.go                     the way to them, and the door of a browser
//	handshake.go                                requests, responses, tokens, extensions
//	conn.go · message.go · send.go · queue.go   messages: the one floor that sees both halves
//	stream.go · close.go · keepalive.go
//	compress.go                                 permessage-deflate, beside the halves
//	read.go  frameReader │ write.go frameWriter frames on a net.Conn; they do not know each other
//	                     │ flush.go
//	guard.go · turn.go · socket.go · pool.go    deadlines, turns, sockets, buffers
//	state.go  frameRules                        may this header come now?
//	frame.go                                    header to bytes and back
//	errors.go · mask.go                         ground
//	internal/flate · internal/utf8stream        cellar
//
// Start with frame.go and frame_test.go, go on with state.go, then read.go,
// write.go and flush.go, message.go, send.go and stream.go, conn.go, close.go;
// then the handshake, and compress.go last. layers_test.go keeps the floors apart.
package websocket
