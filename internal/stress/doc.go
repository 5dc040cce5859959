// Package stress lets two ends of this library talk to each other at random,
// and checks what the library promises about messages, errors and the end.
//
// A round opens one connection over one kind of transport. Each end has
// writers, readers and a meddler, each a goroutine that picks one action after
// another with a seeded generator: all ways to read and to write, contexts and
// deadlines that end, slices that are used again, loops that are left, readers
// that are given up. Then the connection ends, in one of the ways that it can.
// A round knows what it may expect:
//
//   - A message whose write returned nil arrives once, whole, of its type, and
//     in the order of its writer's calls, if the end came in peace.
//   - A message whose write gave up may arrive, once and whole; one whose
//     context had ended before the call never does.
//   - A read that gives up loses nothing. A [websocket.MessageReader] that is
//     given up loses the message it read, and no other.
//   - What was lent or returned is damaged by nobody but its owner.
//   - When Close returns nil, all that was written before it was called has
//     arrived, unless the peer closed as well.
//   - Every call after the end returns the terminal error, which is one.
//   - All calls return, and no goroutine or descriptor is left behind.
//
// # What a round may do
//
// A connection ends when it is told to, and for no other reason, but:
//
//	interrupted                  what may come of it
//	a read                       nothing; without deadlines below, the end
//	a write, Drain or Flush      the message may arrive all the same; over TLS
//	                             and without deadlines below, the end
//	a MessageWriter              nothing before its first fragment, else the end
//	Send on a full queue         nothing, or a message lost and counted, or the
//	                             end: what SlowConsumer says
//
// A round in which one of these has happened is excused for ending early, and
// still checked for everything else. CloseNow promises the arrival of what
// Write reported only where the peer is silent and the socket takes all of it:
// on TCP and Unix sockets, and elsewhere if replies are never held. A
// transport that is cut promises nothing but whole messages, once.
//
// All choices of a round come from its seed; how goroutines meet does not. So
// a failure is repeated with its seed alone, many times over:
//
//	go test -race ./internal/stress -run '^TestStress$' -stress.seed=N -stress.repeat -stress.time=1m
package stress
