// Package corpus holds the data for the compressed conversations. The files are
// generated, always the same, and have the kinds, sizes and compressibility of
// the suite's own.
package corpus

import (
	"math/rand/v2"
	"sync"
	"unicode/utf8"
)

// A Kind names a data file.
type Kind uint8

// The files. JSON and HTML are text, cut between characters.
const (
	JSON   Kind = iota // pretty-printed test results; ASCII
	Bitmap             // an uncompressed gray picture
	Prose              // German sentences with a byte order mark; sent as binary
	HTML               // a report with large tables
	PDF                // a document whose streams are compressed
)

var kinds = [...]struct {
	name string
	make func() []byte
}{
	JSON:   {"json", makeJSON},
	Bitmap: {"bitmap", makeBitmap},
	Prose:  {"prose", makeProse},
	HTML:   {"html", makeHTML},
	PDF:    {"pdf", makePDF},
}

// String returns the name of k.
func (k Kind) String() string { return kinds[k].name }

// text reports whether a file is cut between characters, not octets.
func (k Kind) text() bool { return k == JSON || k == HTML }

// A file is the data of a Kind. starts are the offsets of its characters and
// its end, for text only.
type file struct {
	data   []byte
	starts []int
}

var files [len(kinds)]struct {
	once sync.Once
	file file
}

// load returns the file of k, generated at the first call.
func load(k Kind) *file {
	slot := &files[k]
	slot.once.Do(func() {
		slot.file.data = kinds[k].make()
		if k.text() {
			slot.file.starts = characterStarts(slot.file.data)
		}
	})
	return &slot.file
}

// Data returns the whole file. It is shared and read only.
func (k Kind) Data() []byte { return load(k).data }

// characterStarts returns the offset of each character of p, and its length.
func characterStarts(p []byte) []int {
	starts := make([]int, 0, len(p)+1)
	for i := 0; i < len(p); {
		starts = append(starts, i)
		_, n := utf8.DecodeRune(p[i:])
		i += n
	}
	return append(starts, len(p))
}

// A Ring cuts messages from a file, one after the other, and starts over at its
// end.
type Ring struct {
	file *file
	next int // octet or character
}

// NewRing returns a ring that begins at the start of the file of k.
func NewRing(k Kind) *Ring { return &Ring{file: load(k)} }

// Next returns the next message of n octets, or characters of text. A message
// that does not wrap shares the file's memory.
func (r *Ring) Next(n int) []byte {
	length := r.length()
	from := r.next
	r.next = (from + n) % length
	if from+n <= length {
		return r.slice(from, from+n)
	}
	message := append([]byte(nil), r.slice(from, length)...)
	for n -= length - from; n > length; n -= length {
		message = append(message, r.file.data...)
	}
	return append(message, r.slice(0, n)...)
}

// length returns the number of units in the file.
func (r *Ring) length() int {
	if r.file.starts != nil {
		return len(r.file.starts) - 1
	}
	return len(r.file.data)
}

// slice returns the units in [from, to).
func (r *Ring) slice(from, to int) []byte {
	if r.file.starts != nil {
		from, to = r.file.starts[from], r.file.starts[to]
	}
	return r.file.data[from:to:to]
}

// source returns the random numbers of a file.
func source(k Kind) *rand.Rand { return rand.New(rand.NewPCG(uint64(k), 7692)) }
