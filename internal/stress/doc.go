// Package stress lets two ends of this library exchange random messages, and
// checks what the library promises about messages, errors and the end.
//
// A round opens one connection over one kind of transport. Each end has
// writers, readers and a meddler, each a goroutine that picks one action after
// another with a seeded generator: all ways to read and to write, contexts and
// deadlines that end, slices that are reused, loops that break, readers that are
// abandoned. An end may hand its reading over to a [websocket.Receiver], at once
// or later. Then the connection ends, in one of the possible ways. A round checks
// that:
//
//   - A message whose write returned nil arrives once, whole, with its type, and
//     in the order of its writer's calls, if the closing handshake completed.
//   - A message whose write was interrupted may arrive, once and whole; if its
//     context had ended before the call it never does.
//   - An interrupted read loses nothing. An abandoned [websocket.MessageReader]
//     loses its message, and no other.
//   - Memory that was lent or returned is changed by nobody but its owner.
//   - A Receiver is called by one goroutine at a time, and its Closed once, last,
//     with the terminal error.
//   - When Close returns nil, everything written before the call has arrived,
//     unless the peer closed as well.
//   - What was under way when SendClose was called arrives with any reader, and
//     with a Receiver also what was when Close or CloseContext was.
//   - CloseRead leaves Pings, Pongs and the peer's Close frame to be seen; each
//     Ping of SendPing has its Pong, in order, and hooks see what was sent.
//   - Every call after the end returns the same terminal error.
//   - All calls return, and no goroutine or socket is left behind.
//
// # What a round may do
//
// A connection ends only when it is told to, with these exceptions:
//
//	interrupted                  possible effects
//	a read                       none; the end if the transport has no deadlines
//	a write, Drain or Flush      the message may arrive nevertheless; the end
//	                             over TLS or if the transport has no deadlines
//	a MessageWriter              none before its first fragment, else the end
//	Send on a full queue         none, or a message lost and counted, or the
//	                             end, as SlowConsumer says
//
// A round in which one of these has happened may end early, and is still checked
// for everything else. CloseNow promises that what Write reported arrives only
// if the peer is silent and the socket takes all of it: on TCP and Unix sockets,
// and elsewhere if replies are never held. If the transport breaks, only whole
// messages arrive, each at most once.
//
// All choices of a round come from its seed; the scheduling of goroutines does
// not. So a failure is reproduced by repeating its seed many times, in this
// directory, which is a module of its own as golang.org/x/net/http2 is the client's
// side of HTTP/2:
//
//	go test -race . -run '^TestStress$' -stress.seed=N -stress.repeat -stress.time=1m
package stress
