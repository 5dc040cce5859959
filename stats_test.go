package websocket

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"
)

// TestStats proves what Stats counts on both sides of a short conversation.
func TestStats(t *testing.T) {
	c, s := connPair(t, nil)
	require.NoError(t, c.WriteString(t.Context(), "hello"))
	_, _, err := s.Read(t.Context())
	require.NoError(t, err)
	w, err := s.Writer(t.Context(), Binary)
	require.NoError(t, err)
	w.Write([]byte("two "))
	w.Flush()
	w.Write([]byte("frames"))
	require.NoError(t, w.Close())
	_, _, err = c.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, Stats{MessagesIn: 1, FramesIn: 1, BytesIn: 11, MessagesOut: 1, FramesOut: 2, BytesOut: 14, Flushes: 2}, s.Stats())
	require.Equal(t, Stats{MessagesIn: 1, FramesIn: 2, BytesIn: 14, MessagesOut: 1, FramesOut: 1, BytesOut: 11, Flushes: 1}, c.Stats())
	go c.Read(context.Background())
	require.NoError(t, s.Close(CloseNormal, ""))
	require.EqualValues(t, 2, s.Stats().FramesIn)
	require.EqualValues(t, 3, s.Stats().FramesOut)
}

// TestTraceHooks proves that each hook is called once for each event that it
// reports.
func TestTraceHooks(t *testing.T) {
	covers(t, "X15")
	var in, out []FrameTrace
	flushed := 0
	var rtt time.Duration
	var ends []*CloseError
	nc, ns := tcpPair(t)
	c := newConn(nc, client, (&Config{}).withDefaults(), agreement{}, nil)
	s := newConn(ns, server, (&Config{Trace: &Trace{
		FrameIn:  func(_ *Conn, f FrameTrace) { in = append(in, f) },
		FrameOut: func(_ *Conn, f FrameTrace) { out = append(out, f) },
		Flush:    func(_ *Conn, f FlushTrace) { flushed += f.Bytes },
		Pong:     func(_ *Conn, d time.Duration) { rtt = d },
		Closed:   func(_ *Conn, e *CloseError) { ends = append(ends, e) },
	}}).withDefaults(), agreement{}, nil)
	go echo(c)
	ctx := t.Context()
	require.NoError(t, s.WriteString(ctx, "hello"))
	_, _, err := s.Read(ctx)
	require.NoError(t, err)
	d, err := s.Ping(ctx)
	require.NoError(t, err)
	require.NoError(t, s.Close(CloseNormal, "done"))
	require.Equal(t, d, rtt)
	frames := []FrameTrace{
		{Opcode: byte(opText), FIN: true, Length: 5},
		{Opcode: byte(opPing), FIN: true, Length: 8},
		{Opcode: byte(opClose), FIN: true, Length: 6},
	}
	require.Equal(t, frames, out)
	frames[1].Opcode = byte(opPong)
	require.Equal(t, frames, in)
	require.Equal(t, 7+10+8, flushed)
	require.Len(t, ends, 1)
	require.Same(t, s.terminal(), ends[0])
}

// lines collects log records as a terminal would show them raw.
type lines struct{ bytes.Buffer }

// Enabled reports true.
func (l *lines) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs returns l.
func (l *lines) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup returns l.
func (l *lines) WithGroup(string) slog.Handler { return l }

// Handle appends the record.
func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		l.WriteString(" " + a.Key + "=" + a.Value.String())
		return true
	})
	return nil
}

// TestLogQuotesAndShowsNoPayload proves that neither the log nor an error shows
// a payload or a control character.
func TestLogQuotesAndShowsNoPayload(t *testing.T) {
	covers(t, "X21", "Q.D14", "Q.F02")
	for _, test := range []struct {
		name  string
		bytes []byte // received by a client
		want  string
	}{
		{"bad text", []byte("\x81\x08secret\xff\xff"), "1007"},
		{"bad code with a reason", []byte("\x88\x0a\x03\xedse\ncret\x1b"), "1002"},
		{"cut message", []byte("\x81\x0asecret"), "1006"},
		{"good end", []byte("\x88\x09\x03\xf3\x1b[31mno"), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log lines
			nc, peer := tcpPair(t)
			c := newConn(nc, client, (&Config{Logger: slog.New(&log)}).withDefaults(), agreement{}, nil)
			peer.Write(test.bytes)
			peer.(interface{ CloseWrite() error }).CloseWrite()
			err := readToEnd(c)
			<-c.transportClosedChan()
			require.NotContains(t, log.String(), "secret")
			require.Contains(t, log.String(), test.want)
			require.Equal(t, test.want == "", log.Len() == 0)
			for _, r := range log.String() + err.Error() {
				require.True(t, unicode.IsPrint(r), "%q", r)
			}
		})
	}
}

// BenchmarkTrace counts a frame without hooks and with one.
func BenchmarkTrace(b *testing.B) {
	seen := 0
	for name, trace := range map[string]*Trace{
		"nil":   nil,
		"empty": {},
		"hook":  {FrameIn: func(*Conn, FrameTrace) { seen++ }},
	} {
		b.Run(name, func(b *testing.B) {
			c := &Conn{cfg: &Config{Trace: trace}}
			h := header{byte0: bitFIN | byte(opText), length: 5}
			for b.Loop() {
				c.countFrame(h)
			}
		})
	}
}
