package wsjson

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/wstest"
)

type point struct {
	X int    `json:"x"`
	S string `json:"s,omitempty"`
}

func TestReadAndWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := wstest.Pipe(t, nil, nil)
		for _, want := range []point{{X: 1}, {X: -2, S: "<b>\u2028 🙂"}, {S: strings.Repeat("long ", 50_000)}} {
			go Write(t.Context(), s, want)
			got, err := Read[point](t.Context(), c)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		require.NoError(t, Write(t.Context(), c, nil))
		null, err := Read[*point](t.Context(), s)
		require.NoError(t, err)
		require.Nil(t, null)
	})
}

func TestWriteIsOneTextMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := wstest.ServerConn(t, nil)
		for _, v := range []any{point{X: 1}, "<a&b>", []int{}, json.RawMessage("[ 1 ]")} {
			require.NoError(t, Write(t.Context(), s, v))
			want, err := json.Marshal(v)
			require.NoError(t, err)
			p.Expect(wstest.TextFrame(string(want)))
		}
	})
}

func TestWriteOfWhatCannotBeEncoded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := wstest.Pipe(t, nil, nil)
		for _, v := range []any{make(chan int), math.NaN(), []any{"begun", math.Inf(1)}} {
			err := Write(t.Context(), s, v)
			require.ErrorContains(t, err, "wsjson: json: unsupported")
		}
		require.NoError(t, Write(t.Context(), s, 1))
		n, err := Read[int](t.Context(), c)
		require.NoError(t, err)
		require.Equal(t, 1, n)
	})
}

// picky decodes nothing.
type picky struct{}

var errPicky = errors.New("picky")

func (*picky) UnmarshalJSON([]byte) error { return errPicky }

// wrong are messages that are not JSON for the wanted type.
var wrong = []struct {
	name   string
	frame  wstest.Frame
	read   func(context.Context, *websocket.Conn) error
	offset int64
	text   string
}{
	{"empty", wstest.TextFrame(""), read[point], 0, "unexpected end of JSON input"},
	{"not JSON", wstest.TextFrame(`{"x":?}`), read[point], 6, "invalid character '?'"},
	{"cut", wstest.TextFrame(`{"x":1`), read[point], 6, "unexpected end of JSON input"},
	{"two values", wstest.TextFrame(`{} {}`), read[point], 4, "after top-level value"},
	{"another type", wstest.TextFrame(`{"x":"1"}`), read[point], 8, "into Go struct field point.x of type int"},
	{"a number too large", wstest.TextFrame(`300`), read[uint8], 3, "number 300"},
	{"error of an UnmarshalJSON", wstest.TextFrame(`{}`), read[picky], -1, "picky"},
	{"not UTF-8", wstest.BinaryFrame([]byte("\"\u00e9\xff\"")), read[string], 3, "invalid UTF-8"},
}

// read calls Read and returns its error. The value must be zero.
func read[T comparable](ctx context.Context, c *websocket.Conn) error {
	v, err := Read[T](ctx, c)
	var zero T
	if v != zero {
		return errors.New("a value came with the error")
	}
	return err
}

func TestReadOfWhatIsNotWanted(t *testing.T) {
	for _, w := range wrong {
		t.Run(w.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := wstest.ServerConn(t, nil)
				p.SendFrame(w.frame, wstest.TextFrame(`"next"`))
				err := w.read(t.Context(), s)
				var invalid *DecodeError
				require.ErrorAs(t, err, &invalid)
				require.Equal(t, w.offset, invalid.Offset)
				require.ErrorContains(t, err, "wsjson: unwanted JSON")
				require.ErrorContains(t, err, w.text)
				next, err := Read[string](t.Context(), s)
				require.NoError(t, err)
				require.Equal(t, "next", next)
			})
		})
	}
}

func TestDecodeErrorUnwraps(t *testing.T) {
	var v point
	var syntax *json.SyntaxError
	require.ErrorAs(t, decode(websocket.Text, []byte("?"), &v), &syntax)
	var mismatch *json.UnmarshalTypeError
	require.ErrorAs(t, decode(websocket.Text, []byte(`{"x":{}}`), &v), &mismatch)
	require.Equal(t, "x", mismatch.Field)
	require.ErrorIs(t, decode(websocket.Text, []byte(`{}`), new(picky)), errPicky)
}

func TestReadOfBinary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := wstest.ServerConn(t, nil)
		p.SendFrame(wstest.BinaryFrame([]byte(`{"x":1}`)))
		v, err := Read[point](t.Context(), s)
		require.NoError(t, err)
		require.Equal(t, point{X: 1}, v)
	})
}

func TestReject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := wstest.ServerConn(t, nil)
		p.SendFrame(wstest.TextFrame(`{"x":"secret"}`))
		_, err := Read[point](t.Context(), s)
		rejected := make(chan error, 1)
		go func() { rejected <- Reject(s, err) }()
		require.Equal(t, "unwanted JSON at byte 13", p.ExpectClose(websocket.CloseInvalidPayload))
		p.SendFrame(wstest.CloseFrame(websocket.CloseInvalidPayload, ""))
		p.CloseWrite()
		require.Equal(t, err, <-rejected)
	})
}

func TestRejectOfOtherErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := wstest.Pipe(t, nil, nil)
		require.NoError(t, Reject(s, nil))
		require.Equal(t, context.Canceled, Reject(s, context.Canceled))
		require.NoError(t, s.Context().Err())
	})
}

func TestReadIsResumable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := wstest.ServerConn(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		b := p.Encode(wstest.TextFrame(`{"x":1}`))
		p.Send(b[:8])
		go func() {
			synctest.Wait()
			cancel()
		}()
		_, err := Read[point](ctx, s)
		require.ErrorIs(t, err, context.Canceled)
		p.Send(b[8:])
		v, err := Read[point](t.Context(), s)
		require.NoError(t, err)
		require.Equal(t, 1, v.X)
	})
}

func TestMessages(t *testing.T) {
	for name, end := range map[string]struct {
		close func(p *wstest.RawPeer)
		err   error
	}{
		"normal":     {func(p *wstest.RawPeer) { p.SendFrame(wstest.CloseFrame(1000, "")) }, nil},
		"going away": {func(p *wstest.RawPeer) { p.SendFrame(wstest.CloseFrame(1001, "")) }, nil},
		"no code":    {func(p *wstest.RawPeer) { p.SendFrame(wstest.CloseFrame(0, "")) }, nil},
		"error":      {func(p *wstest.RawPeer) { p.SendFrame(wstest.CloseFrame(1011, "")) }, websocket.CloseInternalError},
		"cut":        {func(p *wstest.RawPeer) { p.CloseWrite() }, websocket.CloseAbnormal},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := wstest.ServerConn(t, nil)
				p.SendFrame(wstest.TextFrame(`1`), wstest.TextFrame(`"two"`), wstest.TextFrame(`3`))
				end.close(p)
				var got []int
				var errs []error
				for v, err := range Messages[int](t.Context(), s) {
					if err != nil {
						errs = append(errs, err)
						continue
					}
					got = append(got, v)
				}
				require.Equal(t, []int{1, 3}, got)
				var invalid *DecodeError
				require.ErrorAs(t, errs[0], &invalid)
				if end.err == nil {
					require.Len(t, errs, 1)
				} else {
					require.Len(t, errs, 2)
					require.ErrorIs(t, errs[1], end.err)
				}
			})
		})
	}
}

func TestMessagesCanBeLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := wstest.ServerConn(t, nil)
		p.SendFrame(wstest.TextFrame(`1`), wstest.TextFrame(`2`))
		for want := 1; want <= 2; want++ {
			for got, err := range Messages[int](t.Context(), s) {
				require.NoError(t, err)
				require.Equal(t, want, got)
				break
			}
		}
	})
}

// TestReadFromManyGoroutines is for the race detector: no two readers may share
// a buffer while a message is decoded.
func TestReadFromManyGoroutines(t *testing.T) {
	const readers, each = 4, 200
	s, c := wstest.Pipe(t, nil, nil)
	want := point{S: strings.Repeat("abc", 50)}
	go func() {
		for range readers * each {
			Write(t.Context(), c, want)
		}
	}()
	var group sync.WaitGroup
	for range readers {
		group.Go(func() {
			for range each {
				got, err := Read[point](t.Context(), s)
				if err != nil || got != want {
					t.Errorf("read %v, %v", got, err)
				}
			}
		})
	}
	group.Wait()
}

// TestReadCopiesNothing compares the allocations of Read with those of
// encoding/json alone.
func TestReadCopiesNothing(t *testing.T) {
	s, p := wstest.ServerConn(t, nil)
	text := `"` + strings.Repeat("a", 2000) + `"`
	frame := p.Encode(wstest.TextFrame(text))
	var b []byte
	for range 101 {
		b = append(b, frame...)
	}
	go p.Send(b)
	alone := testing.AllocsPerRun(100, func() {
		var v json.RawMessage
		json.Unmarshal([]byte(text), &v)
	})
	read := testing.AllocsPerRun(100, func() {
		if _, err := Read[json.RawMessage](context.Background(), s); err != nil {
			t.Error(err)
		}
	})
	require.LessOrEqual(t, read, alone+2)
}

func TestEncodersForgetLargeBuffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := wstest.Pipe(t, nil, nil)
		large := strings.Repeat("x", 2*maxKept)
		go Write(t.Context(), s, large)
		got, err := Read[string](t.Context(), c)
		require.NoError(t, err)
		require.Equal(t, large, got)
		for range 100 {
			e := encoders.Get().(*encoder)
			require.LessOrEqual(t, e.text.Cap(), maxKept)
			require.Zero(t, e.text.Len())
		}
	})
}
