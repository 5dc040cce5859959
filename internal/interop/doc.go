// Package interop tests the library against unrelated implementations, live.
//
// TestLibraries has a table of them, in Go, Python and JavaScript: each has a small
// program in the directory peers, which is a client or a server and does what the
// path of a URL asks for. The other tests are about ws for Node.js, whose
// compression is zlib's, also over HTTP/2.
//
// install.sh installs what Debian and npm have of them. Libraries that are not
// installed are skipped.
//
//	go test .                                  # 100 messages, one kind of compression
//	go test -v -timeout 1h . -interop.full     # 2,000 messages, asks for every window
package interop
