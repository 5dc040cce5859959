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
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// countingEntropy yields the bytes 0, 1, 2, and so on.
type countingEntropy struct{ next byte }

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

// TestWriteLeavesSliceAlone writes slices of all the ways a payload can take
// out, and compares them afterwards.
func TestWriteLeavesSliceAlone(t *testing.T) {
	covers(t, "K04", "Q.H09")
	for _, r := range []role{client, server} {
		synctest.Test(t, func(t *testing.T) {
			e := newEndpoint(t, endpointSetup{role: r, config: Config{PingInterval: -1}})
			ctx := context.Background()
			for _, size := range []int{1, 7, 64, 125, 4096, 65536, 300000} {
				p := bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
				was := slices.Clone(p)
				if err := e.conn.Write(ctx, Binary, p); err != nil {
					t.Fatal(err)
				}
				w, err := e.conn.Writer(ctx, Binary)
				if err != nil {
					t.Fatal(err)
				}
				w.Write(p)
				w.Close()
				e.conn.Send(Binary, p)
				synctest.Wait()
				if !bytes.Equal(p, was) {
					t.Errorf("%s: a slice of %d bytes was changed", roleName(r), size)
				}
			}
			e.abandon()
		})
	}
}

// TestSliceReusedAfterWrite changes a slice as soon as its write has returned,
// while the peer takes none of it: what is sent is what was written.
func TestSliceReusedAfterWrite(t *testing.T) {
	covers(t, "K03", "Q.G03", "Q.H09", "Q.J03")
	for _, r := range []role{client, server} {
		for _, size := range []int{100, 100000, 300000} {
			synctest.Test(t, func(t *testing.T) {
				e := newEndpoint(t, endpointSetup{role: r, config: Config{PingInterval: -1}})
				e.peer.SetWindow(10)
				reuse(e, size)
				e.peer.SetWindow(1 << 20)
				_, sent := e.seen()
				frames, rest, err := modelFrames(r, sent)
				if err != nil {
					t.Errorf("%s, %d bytes: %v", roleName(r), size, err)
				}
				for _, frame := range frames {
					if len(bytes.Trim(frame.payload, string(frame.payload[:1]))) > 0 {
						t.Errorf("%s, %d bytes: the payload of a frame changed on the way", roleName(r), size)
					}
				}
				if len(rest) > 0 && e.conn.Context().Err() == nil {
					t.Errorf("%s: a frame of %d bytes stays unfinished", roleName(r), size)
				}
				e.abandon()
			})
		}
	}
}

// reuse writes and queues a slice, overwriting it each time a call returns.
func reuse(e *endpoint, size int) {
	p := bytes.Repeat([]byte("a"), size)
	e.conn.Send(Binary, p)
	fill(p, 'b')
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	e.conn.Write(ctx, Binary, p)
	fill(p, 'c')
	synctest.Wait()
}

func fill(p []byte, b byte) {
	for i := range p {
		p[i] = b
	}
}
