package stress

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/fullduplex-go/websocket"
)

// A name identifies a message of one direction: its writer, and its number among
// the messages of that writer, from 0.
type name struct{ writer, number int }

func (n name) String() string { return fmt.Sprintf("%d of writer %d", n.number, n.writer) }

// nameSize is the size in bytes of what precedes the content of a message: its
// name, its size and its checksum, in ASCII.
//
//	c02 0000001f 00000123 89abcdef\n
//
// The first letter is the end that sent it.
const nameSize = 31

// checksummed is the number of these bytes that the checksum covers, in addition
// to the content.
const checksummed = 21

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// compose appends a message of size bytes, at least nameSize, to b.
func compose(b []byte, from byte, n name, size int, content []byte) []byte {
	start := len(b)
	b = append(b, from)
	b = appendHex(b, n.writer, 2)
	b = appendHex(append(b, ' '), n.number, 8)
	b = appendHex(append(b, ' '), size, 8)
	sum := crc32.Update(crc32.Checksum(b[start:], castagnoli), castagnoli, content)
	b = appendHex(append(b, ' '), int(sum), 8)
	b = append(b, '\n')
	return append(b, content...)
}

// appendHex appends v as the given number of hexadecimal digits.
func appendHex(b []byte, v, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[uint32(v)>>shift&15])
	}
	return b
}

// parseName returns the name at the start of p, if p has all of it.
func parseName(p []byte, from byte) (name, bool) {
	if len(p) < nameSize || p[0] != from || p[3] != ' ' || p[12] != ' ' || p[21] != ' ' {
		return name{}, false
	}
	writer, err1 := strconv.ParseUint(string(p[1:3]), 16, 8)
	number, err2 := strconv.ParseUint(string(p[4:12]), 16, 31)
	return name{int(writer), int(number)}, err1 == nil && err2 == nil
}

// parse returns the name of p, a whole message. The error says what is wrong
// with it.
func parse(p []byte, from byte) (name, error) {
	n, ok := parseName(p, from)
	if !ok {
		return n, fmt.Errorf("is not of the peer: %.60q", p)
	}
	if size, err := strconv.ParseUint(string(p[13:21]), 16, 31); err != nil || int(size) != len(p) {
		return n, fmt.Errorf("has %d bytes instead of %d", len(p), size)
	}
	sum := crc32.Update(crc32.Checksum(p[:checksummed], castagnoli), castagnoli, p[nameSize:])
	if !bytes.Equal(p[22:30], appendHex(nil, int(sum), 8)) {
		return n, fmt.Errorf("was damaged")
	}
	return n, nil
}

// corpusSize is the number of bytes of each corpus, and the largest content.
const corpusSize = 9 << 16

// Corpora that contents are taken from: words compress well, noise does not,
// and runes have characters of two, three and four bytes.
var (
	words = []byte(strings.Repeat("the quick brown fox jumps over the lazy dog, ", corpusSize/45+1)[:corpusSize])
	runes = []byte(strings.Repeat("é€😀", corpusSize/9))
	noise = makeNoise()
)

func makeNoise() []byte {
	b := make([]byte, corpusSize)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// content returns size bytes that are valid in a message of type t. They are
// shared and must not be changed.
func content(r *rand.Rand, t websocket.MessageType, size int) []byte {
	switch kind := r.IntN(3); {
	case kind == 0 && t == websocket.Binary:
		at := r.IntN(corpusSize - size + 1)
		return noise[at : at+size]
	case kind == 1:
		return append(runes[:size-size%9:size-size%9], words[:size%9]...)
	default:
		at := r.IntN(corpusSize - size + 1)
		return words[at : at+size]
	}
}
