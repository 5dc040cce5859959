package websocket

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket/wstest"
)

func TestReaderInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := rawClient(t)
		go func() {
			peer.SendFrame(wstest.TextFrame("one ").Fragment())
			peer.SendFrame(wstest.PingFrame("between"))
			peer.SendFrame(wstest.Frame{Opcode: wstest.OpContinuation, FIN: true, Payload: []byte("two")})
		}()
		typ, r, err := c.Reader(background)
		require.NoError(t, err)
		require.Equal(t, MessageText, typ)
		p, err := io.ReadAll(iotest.OneByteReader(r))
		require.NoError(t, err)
		require.Equal(t, "one two", string(p))
	})
}

// TestReaderIsDropped: the next message comes, whatever was read of the last.
func TestReaderIsDropped(t *testing.T) {
	for _, next := range []string{"Reader", "Read"} {
		synctest.Test(t, func(t *testing.T) {
			s, c := pipe(t)
			go func() {
				offers(s, strings.Repeat("long ", 5000))
				offers(s, "short")
			}()
			_, old, err := c.Reader(background)
			require.NoError(t, err)
			io.ReadFull(old, make([]byte, 3))
			if next == "Read" {
				receives(t, c, "short")
			} else {
				_, r, err := c.Reader(background)
				require.NoError(t, err)
				defer func() {
					p, err := io.ReadAll(r)
					require.NoError(t, err)
					require.Equal(t, "short", string(p))
				}()
			}
			n, err := old.Read(make([]byte, 3))
			require.Zero(t, n)
			require.ErrorContains(t, err, "another message")
		})
	}
}

// TestReaderIsFinished: a reader that has returned io.EOF goes on to do so.
func TestReaderIsFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		var old []io.Reader
		for range 2*batchSize + 1 {
			go offers(s, "x")
			_, r, err := c.Reader(background)
			require.NoError(t, err)
			p, err := io.ReadAll(r)
			require.NoError(t, err)
			require.Equal(t, "x", string(p))
			old = append(old, r)
			for _, r := range old {
				_, err := r.Read(make([]byte, 1))
				require.Equal(t, io.EOF, err)
				n, err := r.(io.WriterTo).WriteTo(io.Discard)
				require.NoError(t, errors.Join(err, map[bool]error{true: errors.New("written")}[n > 0]))
			}
		}
	})
}

func TestReaderWriteTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		want := string(pattern(30_000))
		go offers(s, want)
		_, r, err := c.Reader(background)
		require.NoError(t, err)
		var b bytes.Buffer
		n, err := io.Copy(&b, r)
		require.NoError(t, err)
		require.EqualValues(t, 30_000, n)
		require.Equal(t, want, b.String())
	})
}

// TestReaderWriteToFails: an error of the destination is returned as it is, and
// leaves the connection open.
func TestReaderWriteToFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		go offers(s, "hello")
		_, r, err := c.Reader(background)
		require.NoError(t, err)
		_, err = io.Copy(failingWriter{}, r)
		require.Equal(t, errWrite, err)
		require.False(t, hasEnded(c))
	})
}

// errWrite is the error of a failingWriter.
var errWrite = errors.New("disk full")

// A failingWriter takes nothing.
type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errWrite }

func TestReaderWriteToSeesTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := rawClient(t)
		go func() {
			peer.SendFrame(wstest.TextFrame("begin").Fragment())
			peer.SendFrame(wstest.CloseFrame(1001, "leaving"))
			peer.NextFrame()
			peer.Close()
		}()
		_, r, err := c.Reader(background)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, r)
		require.Equal(t, StatusGoingAway, CloseStatus(err))
	})
}

// TestReadLimitBeforeReading: a limit that is set after a message has come, and
// before it is read, applies to it.
func TestReadLimitBeforeReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		go s.Write(background, MessageBinary, make([]byte, 100_000))
		time.Sleep(time.Minute) // the header has come
		synctest.Wait()
		c.SetReadLimit(-1)
		_, p, err := c.Read(background)
		require.NoError(t, err)
		require.Len(t, p, 100_000)
	})
}

func TestReadLimitOfZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		c.SetReadLimit(0)
		go func() {
			s.Write(background, MessageBinary, nil)
			s.Write(background, MessageBinary, make([]byte, 2))
		}()
		_, p, err := c.Read(background)
		require.NoError(t, err)
		require.Empty(t, p)
		_, _, err = c.Read(background)
		require.ErrorIs(t, err, ErrMessageTooBig)
	})
}

// TestHostilePeers breaks rules, and looks at what both sides are told.
func TestHostilePeers(t *testing.T) {
	masked := func(b byte, rest ...byte) []byte { return append([]byte{b}, rest...) }
	for name, test := range map[string]struct {
		send []byte
		code StatusCode
	}{
		"reserved bit":       {masked(0xc1, 0x80, 0, 0, 0, 0), StatusProtocolError},
		"reserved opcode":    {masked(0x83, 0x80, 0, 0, 0, 0), StatusProtocolError},
		"no mask":            {masked(0x81, 0x00), StatusProtocolError},
		"continuation alone": {masked(0x80, 0x80, 0, 0, 0, 0), StatusProtocolError},
		"long Ping":          {masked(0x89, 0xfe, 0, 126, 0, 0, 0, 0), StatusProtocolError},
		"not UTF-8":          {masked(0x81, 0x81, 0, 0, 0, 0, 0xff), StatusInvalidFramePayloadData},
		"huge":               {masked(0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0), StatusMessageTooBig},
		"Close of one byte":  {masked(0x88, 0x81, 0, 0, 0, 0, 3), StatusProtocolError},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, peer := rawClient(t)
				go peer.Send(test.send)
				_, _, err := c.Read(background)
				require.Error(t, err)
				require.Equal(t, StatusCode(-1), CloseStatus(err))
				require.Equal(t, test.code == StatusMessageTooBig, errors.Is(err, ErrMessageTooBig))
				code, _ := peer.ReadFrame().CloseCode()
				require.EqualValues(t, test.code, code)
			})
		})
	}
}
