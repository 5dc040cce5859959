// Package http1 reads and writes the heads of HTTP/1 messages: the start line,
// the header fields and the blank line (RFC 9112, Section 2.1).
//
// A [Reader] reads heads from a net.Conn and keeps what arrives behind them. It
// waits only in the Read of that net.Conn: deadlines and contexts are left to
// the caller. Everything else works on strings and does no I/O.
//
// The package is stricter than net/http: a bare LF, a folded line, a space
// before a colon and a control character are errors, because a sender can play
// off two readers that read the same head differently (RFC 9112, Section 11.2).
// Heads are bounded in bytes and in fields.
package http1
