package flate

// Sizes of the alphabets of RFC 1951, Section 3.2.
const (
	endOfBlock    = 256
	maxLitLenSyms = 286 // literals, the end of block and 29 lengths
	maxDistSyms   = 30
	maxMatch      = 258
	maxCodeLen    = 15 // bits, literal/length and distance codes
	maxPreCodeLen = 7  // bits, codes of code lengths
	preCodeSyms   = 19
)

// Block types of RFC 1951, Section 3.2.3.
const (
	storedBlock  = 0
	fixedBlock   = 1
	dynamicBlock = 2
)

// tail ends a message: the lengths of an empty stored block, which the sender
// leaves out and the receiver puts back (RFC 7692, Sections 7.2.1 and 7.2.2).
var tail = [4]byte{0x00, 0x00, 0xff, 0xff}

// preCodeOrder is the order in which the lengths of the codes of code lengths
// are sent (RFC 1951, Section 3.2.7).
var preCodeOrder = [preCodeSyms]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// The smallest length of each of the symbols 257 to 285, and the number of
// extra bits that follow it (RFC 1951, Section 3.2.5).
var (
	lengthBase  = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
)

// The smallest distance of each of the symbols 0 to 29, and the number of
// extra bits that follow it.
var (
	distBase  = [maxDistSyms]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distExtra = [maxDistSyms]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)
