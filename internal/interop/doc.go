// Package interop tests the library against WebSocket implementations that
// have nothing in common with it: ws, of Node.js, whose compression is zlib's.
//
// Its tests need node, and what npm ci installs in this directory; they are
// skipped without.
package interop
