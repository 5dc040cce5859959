package websocket

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
)

// countingEntropy yields the bytes 0, 1, 2, and so on.
type countingEntropy struct{ next byte }

// Read fills p with the next bytes.
func (e *countingEntropy) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e.next
		e.next++
	}
	return len(p), nil
}

// TestKeysAreTheEntropy checks that keys are the bytes of the source, each
// used once, whether the source gives them at once or one by one.
func TestKeysAreTheEntropy(t *testing.T) {
	covers(t, "K01")
	for _, source := range []io.Reader{&countingEntropy{}, iotest.OneByteReader(&countingEntropy{})} {
		var keys keySource
		for i := range 3000 {
			key, err := keys.next(source)
			got := binary.LittleEndian.AppendUint32(nil, key)
			want := []byte{byte(4 * i), byte(4*i + 1), byte(4*i + 2), byte(4*i + 3)}
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("key %d is % x, %v; want % x", i, got, err, want)
			}
		}
	}
}

// TestNoKeyWithoutEntropy checks that a source that fails, at once or in the
// middle of a block, gives an error and no key.
func TestNoKeyWithoutEntropy(t *testing.T) {
	covers(t, "K06", "Q.J10")
	broken := errors.New("no entropy")
	var s keySource
	if _, err := s.next(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("next: %v, want %v", err, broken)
	}
	short := iotest.TimeoutReader(iotest.OneByteReader(&countingEntropy{}))
	if _, err := s.next(short); !errors.Is(err, iotest.ErrTimeout) {
		t.Errorf("next: %v, want %v", err, iotest.ErrTimeout)
	}
	if _, err := s.next(&countingEntropy{}); err != nil {
		t.Errorf("next from a good source: %v", err)
	}
}

// TestNoWeakRandomness looks for math/rand in what is built.
func TestNoWeakRandomness(t *testing.T) {
	covers(t, "K01", "Q.J10")
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no source files: %v", err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range file.Imports {
			if strings.Contains(spec.Path.Value, "math/rand") {
				t.Errorf("%s imports %s", name, spec.Path.Value)
			}
		}
	}
}

// TestKeysOnTheWire sends many frames and looks at their keys: fresh for each
// frame, with every byte value about equally often at each place.
func TestKeysOnTheWire(t *testing.T) {
	covers(t, "F01", "K01", "Q.J03")
	const frames = 20000
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint(t, endpointSetup{role: client, config: Config{PingInterval: -1}})
		for range frames {
			if err := e.conn.Write(context.Background(), Binary, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		_, sent := e.seen()
		got, _, err := modelFrames(client, sent)
		if err != nil || len(got) != frames {
			t.Fatalf("%d frames were sent, %v; want %d", len(got), err, frames)
		}
		checkKeys(t, got)
		e.abandon()
	})
}

// checkKeys fails with a probability below one in a million if the keys are
// random.
func checkKeys(t *testing.T, frames []modelFrame) {
	t.Helper()
	var count [4][256]int
	for i, frame := range frames {
		if i > 0 && i%2 == 0 && bytes.Equal(frame.key, frames[i-1].key) && bytes.Equal(frame.key, frames[i-2].key) {
			t.Errorf("the key % x is used again and again", frame.key)
		}
		for place, octet := range frame.key {
			count[place][octet]++
		}
	}
	mean := float64(len(frames)) / 256
	for place := range count {
		chiSquare := 0.0
		for _, n := range count[place] {
			chiSquare += (float64(n) - mean) * (float64(n) - mean) / mean
		}
		// 255 degrees of freedom: mean 255, standard deviation 22.6.
		if chiSquare > 255+8*22.6 {
			t.Errorf("chi-square of key byte %d is %.0f", place, chiSquare)
		}
	}
}

// TestMaskingKeys proves that keys come from the random source and differ.
func TestMaskingKeys(t *testing.T) {
	covers(t, "K01", "K06")
	var s keySource
	entropy := ramp(4096)
	r := bytes.NewReader(entropy)
	for at := 0; at < len(entropy); at += 4 {
		if key, err := s.next(r); err != nil || key != keyOf([4]byte(entropy[at:])) {
			t.Fatalf("key %08x, %v; want that of % x", key, err, entropy[at:at+4])
		}
	}
	if _, err := s.next(r); !errors.Is(err, io.EOF) {
		t.Errorf("next: %v, want %v", err, io.EOF)
	}
	seen := make(map[uint32]bool)
	for range 10000 {
		key, err := newKey()
		if err != nil {
			t.Fatal(err)
		}
		seen[key] = true
	}
	if len(seen) <= 9990 {
		t.Errorf("10000 keys have %d values", len(seen))
	}
}
