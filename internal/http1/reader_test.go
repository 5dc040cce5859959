package http1

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
)

// covers marks the rows of the root's testdata/requirements.tsv that a test
// proves.
func covers(t testing.TB, ids ...string) {
	t.Helper()
	if len(ids) == 0 {
		t.Error("no IDs")
	}
}

// A readOnly is a net.Conn that can only be read.
type readOnly struct {
	net.Conn
	r io.Reader
}

func (c readOnly) Read(p []byte) (int, error) { return c.r.Read(p) }

const (
	sampleRequest  = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
	sampleResponse = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
)

// TestReaderKeepsRest reads two heads and what is behind them, whole and byte
// by byte.
func TestReaderKeepsRest(t *testing.T) {
	covers(t, "Q.A01", "Q.B01")
	const wire = sampleRequest + sampleRequest + "\x81\x02hi"
	for name, from := range map[string]io.Reader{
		"whole": strings.NewReader(wire), "byte by byte": iotest.OneByteReader(strings.NewReader(wire)),
	} {
		r := NewRequestReader(readOnly{r: from})
		for range 2 {
			if head, err := r.Next(); head != sampleRequest || err != nil {
				t.Errorf("%s: got %q, %v", name, head, err)
			}
		}
		rest, err := io.ReadAll(io.MultiReader(strings.NewReader(string(r.Rest())), from))
		if string(rest) != "\x81\x02hi" || err != nil {
			t.Errorf("%s: rest is %q, %v", name, rest, err)
		}
		r.Release()
	}
}

func TestReaderErrors(t *testing.T) {
	covers(t, "Q.A01", "Q.B01", "Q.B05")
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		from io.Reader
		want error
	}{
		"nothing":          {strings.NewReader(""), io.EOF},
		"half a head":      {strings.NewReader(sampleResponse[:40]), io.ErrUnexpectedEOF},
		"another protocol": {strings.NewReader("SSH-2.0-OpenSSH_9.2\r\n"), ErrStartLine},
		"one wrong byte":   {iotest.OneByteReader(strings.NewReader("X...")), ErrStartLine},
		"bare LF":          {strings.NewReader("HTTP/1.1 200\n"), ErrMalformed},
		"no end":           {strings.NewReader("HTTP/1.1 200\r\nA: " + strings.Repeat("x", 1<<20)), ErrTooLarge},
		"broken":           {iotest.ErrReader(broken), broken},
		"no progress":      {readerFunc(func([]byte) (int, error) { return 0, nil }), io.ErrNoProgress},
		"invalid count":    {readerFunc(func(p []byte) (int, error) { return len(p) + 1, nil }), errInvalidCount},
	} {
		r := NewResponseReader(readOnly{r: c.from})
		if head, err := r.Next(); !errors.Is(err, c.want) {
			t.Errorf("%s: got %q, %v, want %v", name, head, err, c.want)
		}
		r.Release()
	}
}

// A readerFunc is an io.Reader that is its method.
type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestReaderBudget has heads that are small each, and too large together.
func TestReaderBudget(t *testing.T) {
	r := NewRequestReader(readOnly{r: strings.NewReader(strings.Repeat(sampleRequest, MaxHeadBytes))})
	defer r.Release()
	total := 0
	for {
		head, err := r.Next()
		if total += len(head); err != nil {
			if !errors.Is(err, ErrTooLarge) || total > 2*MaxHeadBytes {
				t.Errorf("got %v after %d bytes", err, total)
			}
			return
		}
	}
}

// TestAwait waits for the first byte of a head, and reads no more once it is
// there.
func TestAwait(t *testing.T) {
	r := NewRequestReader(readOnly{r: iotest.OneByteReader(strings.NewReader(sampleRequest))})
	defer r.Release()
	for range 2 {
		if err := r.Await(); err != nil || len(r.Rest()) != 1 {
			t.Fatalf("got %v with %d bytes", err, len(r.Rest()))
		}
	}
	if head, err := r.Next(); head != sampleRequest || err != nil {
		t.Fatalf("got %q, %v", head, err)
	}
	if err := r.Await(); err != io.EOF {
		t.Errorf("got %v at the end", err)
	}
}

// TestReaderAllocates has a reader allocate a head and nothing else.
func TestReaderAllocates(t *testing.T) {
	from := strings.NewReader("")
	allocs := testing.AllocsPerRun(100, func() {
		from.Reset(sampleRequest)
		r := NewRequestReader(&readOnly{r: from})
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		r.Release()
	})
	if allocs > 3 { // the head, the net.Conn; sync.Pool drops some under the race detector
		t.Errorf("%v allocations", allocs)
	}
}

func TestCanonicalNameAllocatesNothing(t *testing.T) {
	for _, name := range []string{
		"Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Sec-WebSocket-Accept", "Host",
	} {
		if allocs := testing.AllocsPerRun(100, func() { CanonicalName(name) }); allocs > 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}

// FuzzRequest checks that a head comes out of a Reader as it went in, however
// it is cut, and that what is parsed would be written the same.
func FuzzRequest(f *testing.F) {
	covers(f, "S01", "Q.A12")
	f.Add(sampleRequest+"rest", 3)
	f.Add("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\nA:\tc\r\n\r\n", 1)
	f.Add("CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", 100)
	f.Add("X\n\r\n", 1)
	f.Fuzz(func(t *testing.T, wire string, cut int) {
		cut = min(max(cut, 0), len(wire))
		r := NewRequestReader(readOnly{r: io.MultiReader(strings.NewReader(wire[:cut]), strings.NewReader(wire[cut:]))})
		defer r.Release()
		head, err := r.Next()
		if err != nil {
			return
		}
		n, err := headLength([]byte(wire), 0)
		if n != len(head) || err != nil || head != wire[:n] {
			t.Fatalf("got %q, want %q, %v", head, wire[:n], err)
		}
		request, err := ParseRequest(context.Background(), head)
		if err != nil {
			return
		}
		b := AppendFields([]byte(request.Method+" / HTTP/1.1\r\nHost: h\r\n"), request.Header, func(string) bool { return false })
		again, err := ParseRequest(context.Background(), string(append(b, "\r\n"...)))
		if err != nil || len(again.Header) != len(request.Header) {
			t.Fatalf("got %v, %v, want %v", again, err, request.Header)
		}
	})
}
