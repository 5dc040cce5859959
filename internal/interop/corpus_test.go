package interop

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/fullduplex-go/websocket"
)

// longest is the length in bytes of the longest message of a corpus.
const longest = 1 << 20

// A corpus is a list of messages that both ends of a connection know: slices of one
// text and of one run of noise, which programs in other languages read from files.
type corpus struct {
	directory string // with the files data and messages
	messages  []message
}

// newCorpus writes a corpus of count messages to a directory of its own. Their
// lengths are from 0 to longest, most of them short: one in 200 is longer than
// 8 KiB.
func newCorpus(t *testing.T, count int) corpus {
	t.Helper()
	text := bytes.Repeat([]byte("Grüße, 世界. How many roads? "), 2*longest/34)
	r := rand.New(rand.NewPCG(uint64(count), 2))
	data := bytes.Clone(text)
	for range 2 * longest {
		data = append(data, byte(r.Uint32()))
	}
	c := corpus{directory: t.TempDir()}
	var lines bytes.Buffer
	for i := range count {
		length := corpusLength(r, i)
		offset, kind := r.IntN(longest), websocket.Text
		if i%2 != 0 {
			offset, kind = len(text)+offset, websocket.Binary
			if i%4 == 1 {
				offset -= length / 2 // some of it may be text
			}
		} else {
			offset, length = wholeRunes(data, offset, length)
		}
		c.messages = append(c.messages, message{kind, data[offset : offset+length]})
		name := map[websocket.MessageType]string{websocket.Text: "text", websocket.Binary: "binary"}[kind]
		fmt.Fprintln(&lines, name, offset, length)
	}
	for name, content := range map[string][]byte{"data": data, "messages": lines.Bytes()} {
		if err := os.WriteFile(filepath.Join(c.directory, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// corpusLength returns the length of message i: those at which the form of a frame's
// header changes, then others at random.
func corpusLength(r *rand.Rand, i int) int {
	fixed := []int{0, 0, 1, 1, 125, 125, 126, 126, 127, 127, 65535, 65535, 65536, 65536, longest, longest}
	if i < len(fixed) {
		return fixed[i]
	}
	if i%200 < 2 {
		return r.IntN(longest)
	}
	return int(math.Pow(8192, r.Float64()))
}

// wholeRunes moves the ends of a slice to where characters begin.
func wholeRunes(data []byte, offset, length int) (int, int) {
	inside := func(i int) bool { return data[i]&0xc0 == 0x80 }
	end := offset + length
	for inside(offset) {
		offset--
	}
	for inside(end) {
		end--
	}
	return offset, end - offset
}

// TestCorpus checks that a corpus has what the tests need: both kinds, the shortest
// and the longest message, and contents that differ.
func TestCorpus(t *testing.T) {
	kinds := map[websocket.MessageType]int{}
	shortest, most := longest, 0
	contents := map[string]bool{}
	all := newCorpus(t, 400).messages
	for _, m := range all {
		kinds[m.kind]++
		shortest, most = min(shortest, len(m.content)), max(most, len(m.content))
		contents[string(m.content)] = true
	}
	if kinds[websocket.Text] != 200 || kinds[websocket.Binary] != 200 || shortest != 0 || most != longest {
		t.Errorf("%v, of %d to %d bytes", kinds, shortest, most)
	}
	if len(contents) < len(all)/2 {
		t.Errorf("%d of %d contents differ", len(contents), len(all))
	}
}
