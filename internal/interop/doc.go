// Package interop tests the library against an unrelated implementation: ws for
// Node.js, whose compression is zlib's.
//
// The tests need node and the packages that npm ci installs in this directory;
// they are skipped without these.
package interop
