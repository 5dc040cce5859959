// Package http2 plays the conversations of the Autobahn|Testsuite with the
// library's server over streams of HTTP/2 (RFC 8441). It is a module of its own, as
// the judge's end of a stream is golang.org/x/net/http2's.
package http2
