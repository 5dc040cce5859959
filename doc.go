// Package websocket is a WebSocket library: RFC 6455 for clients and servers,
// with nothing but the standard library.
//
// A server turns requests into connections with [Handler], [HandlerFunc] or
// [Accept], a client opens one with [Dial]. Where others do the opening
// handshake, such as a server that is not of net/http, [NewConn] goes on behind
// it. A [Conn] reads and writes whole messages, or streams them:
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
// Programs that import package h2 take WebSockets over HTTP/2 too (RFC 8441).
//
// All methods may be called by several goroutines at once. A deadline or the end
// of a context interrupts a call, and the connection stays open, except where
// [Conn] says otherwise.
//
// # Memory
//
// A message that Messages yields is lent: it belongs to the loop only until the
// next read. What Read and ReadInto return belongs to the caller. Slices given to
// Write, Send and other methods are neither retained nor changed. An idle
// connection owns no buffer.
//
// # Limits
//
// The zero Config is made for peers that are not trusted: messages of up to 1 MiB,
// as many fragments as their size explains, a Ping after 30 seconds of silence,
// 30 seconds for a peer that takes nothing of what is written, 5 seconds for the
// closing handshake. Memory grows with bytes that have arrived, never with what a
// peer announces. A server accepts only pages of its own origin; that protects
// users from foreign pages and is not authentication (RFC 6455, Section 10).
//
// # In a browser
//
// On js/wasm [Dial] connects with the browser's own WebSocket, and the Conn has
// all its methods, with the same errors. What a browser decides by itself cannot
// be set: Dial refuses Header, Host, Jar, TLS, NetDial, NetDialTLS, HTTPClient,
// Proxy, ProxyHeader, Redirects, Compression, SkipUTF8Check, PingInterval, OnPing,
// OnPong and OnClose. Ping, SendPing and SendPong are errors, and so is Close with
// a code other than 0, CloseNormal and 3000 to 4999. When this side fails the
// connection, the server is sent no code. A browser does not say why a handshake
// failed. It also has no backpressure: messages that nobody reads accumulate in
// memory. A browser offers compression and, if the server accepts, compresses as
// it likes, also what WritePlain and its relatives send: Conn.CompressionAgreed
// tells. Trace and Stats count frames as if the browser had shown them.
//
// DialConn, AcceptConn and NewConn work on any net.Conn that the program supplies,
// also in a browser, and there Ping and all close codes work too.
//
// # Reading the source
//
// Calls go down only: a file uses what its own floor and those below declare,
// and layers_test.go keeps it so. From the top:
//
//	server.go · accept_conn.go · hijack.go · handler.go     a server's ways in, behind which middleware,
//	middleware.go · http2.go · receiver.go · origin.go      over HTTP/2, and for which pages
//	new_conn.go                                             a connection whose handshake others have done
//	client.go · client_js.go · transport.go · proxy.go      a client's way to the server
//	redirect.go · http_client.go · body_conn.go
//	client_trace.go · redial.go
//	handshake_timer.go · handshake_trace.go                 a handshake's time and outcome, on both sides
//	registry.go · group.go · netconn.go                     many connections; one as a net.Conn
//
//	conn.go · inbound.go · read_state.go · read.go          messages: the one floor that sees
//	write.go · stream.go · send.go · send_queue.go          both directions
//	prepared.go · ping.go · hooks.go · delivery.go · parked.go
//	application.go · background_read.go · background_poll.go
//	close_read.go
//	keepalive.go · close.go · last_words.go · lifetime.go · stats.go
//
//	handshake.go · handshake_response.go · extension.go     requests and responses, without I/O;
//	handshake_error.go · uri.go · compress.go               permessage-deflate
//
//	frame_reader.go · read_buffer.go                        frames on a net.Conn: two directions
//	frame_writer.go · write_state.go · flush.go · work.go   that do not know each other
//	withdraw.go
//
//	poller.go · descriptor.go · descriptor_table.go         sockets without a goroutine, on Linux
//	deadlines.go · fifo_lock.go · socket.go · clock.go      what both directions stand on
//	wheel.go · flags.go · buffer.go · masking_key.go
//	config.go · trace.go
//
//	frame_rules.go                                          may this header come now?
//
//	frame.go                                                a header to bytes and back
//
//	errors.go · mask.go                                     ground
//
// internal/http1, internal/proxy and internal/hostport serve the handshake,
// internal/flate and internal/utf8stream the messages, internal/http2stream is the
// net.Conn of a stream of HTTP/2; none of them knows this package. docs/design.md
// has the reasons.
//
// Start with frame.go and frame_test.go, go on with frame_rules.go, then
// frame_reader.go, frame_writer.go and flush.go, inbound.go, read.go and
// write.go, conn.go, close.go and lifetime.go; then the handshake, and
// compress.go last.
package websocket
