// Package flate compresses and inflates the messages of permessage-deflate
// (RFC 7692), in the format of RFC 1951.
//
// It is made for many connections that carry small messages: a [Compressor]
// or [Decompressor] is the state of one direction of one connection and holds
// only what that direction's window needs. Everything that is needed only
// while a message is processed is scratch: it comes from a pool and goes back
// before the call returns, or, for a message in parts, when the message ends.
//
// # Inflating
//
//	decompressor.go  Decompressor: messages whole or in parts, limits, errors
//	inflater.go      the scratch of a message: where its input comes from
//	inflate.go       blocks and codes
//	match.go         what matches copy
//	header.go        headers of blocks
//	table.go         decoding tables
//	history.go       the ring of what was received
//
// The fast loop (inflater.fastCodes) decodes without checking for the end of
// the input or of the room: it runs only while both have some to spare. The
// last bytes of the input are copied to a buffer of their own and padded with
// zeros; a code that runs into the padding is undone. So one decoder serves
// messages in memory and parts that are cut anywhere, and between calls its
// position is after the last whole code.
//
// Invariants: out[start:op] is what this call has produced, a distance up to
// op-start leads into it and a longer one into the history, which ends where
// out[start:op] begins; no distance is longer than the window; op <= max.
//
// # Compressing
//
//	compressor.go  Compressor: messages whole or in parts, the window
//	matcher.go     the ring and the table of one connection
//	fast.go        the search of level 1
//	large.go       the search of level 1 in a large message without context
//	lazy.go        the search of levels 2 to 9
//	sequence.go    what a search finds
//	block.go       the form of a block, chosen by exact cost
//	huffman.go     Huffman codes
//	bitwriter.go   bits
//
// An entry of the table is only a hint: it is used if it points into the
// window and at known bytes, and those are equal. So a stale table is harmless,
// nothing is cleared between small messages, and the output depends only on the
// parameters and the messages of one Compressor.
//
// Only messages that are sent compressed enter the windows of both sides
// (RFC 7692, Section 7.2.1).
package flate
