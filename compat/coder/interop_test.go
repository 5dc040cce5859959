package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// A meeting is who serves and who dials.
type meeting struct{ server, client library }

// meetings have this package in at least one role.
var meetings = []meeting{{this, coder}, {coder, this}, {this, this}}

// name returns the name of the test.
func (m meeting) name() string { return m.server.name + " serves " + m.client.name }

// forMeetings runs f for all meetings and modes of compression.
func forMeetings(t *testing.T, f func(t *testing.T, m meeting, o options)) {
	for _, m := range meetings {
		for _, mode := range []CompressionMode{CompressionDisabled, CompressionContextTakeover, CompressionNoContextTakeover} {
			t.Run(fmt.Sprint(m.name(), " ", mode), func(t *testing.T) { f(t, m, options{mode: mode, threshold: 1}) })
		}
	}
}

// sizes are around the limits of frames, buffers and fragments.
var sizes = []int{0, 1, 125, 126, 127, 4095, 4096, 4097, 32 << 10, 65535, 65536, 1 << 20}

// TestMessages sends messages of many sizes to an end that returns them, whole
// and in parts.
func TestMessages(t *testing.T) {
	forMeetings(t, func(t *testing.T, m meeting, o options) {
		url := serve(t, m.server, o, func(c endpoint) { echo(c, 3) })
		c, err := m.client.dial(patiently(t), url, o)
		require.NoError(t, err)
		defer c.CloseNow()
		c.SetReadLimit(-1)
		for i, n := range sizes {
			typ, p := MessageText+MessageType(i%2), pattern(n)
			if i%3 == 0 {
				writeParts(t, c, typ, p)
			} else {
				require.NoError(t, c.Write(patiently(t), typ, p))
			}
			gotType, got := readEither(t, c, i%2 == 0)
			require.Equal(t, typ, gotType)
			require.Equal(t, string(p), string(got))
		}
		require.NoError(t, c.Close(StatusNormalClosure, "thank you"))
	})
}

// echo returns messages until the connection ends, one of every with Read and
// Write and the others in parts.
func echo(c endpoint, every int) error {
	c.SetReadLimit(-1)
	for i := 0; ; i++ {
		if err := echoOne(c, i%every == 0); err != nil {
			return err
		}
	}
}

// echoOne returns one message.
func echoOne(c endpoint, whole bool) error {
	if whole {
		t, p, err := c.Read(background)
		if err != nil {
			return err
		}
		return c.Write(background, t, p)
	}
	t, r, err := c.Reader(background)
	if err != nil {
		return err
	}
	w, err := c.Writer(background, t)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	return w.Close()
}

// writeParts sends a message in parts.
func writeParts(t testing.TB, c endpoint, typ MessageType, p []byte) {
	w, err := c.Writer(patiently(t), typ)
	require.NoError(t, err)
	for len(p) > 0 {
		n := min(len(p), 3001)
		written, err := w.Write(p[:n])
		require.NoError(t, err)
		require.Equal(t, n, written)
		p = p[n:]
	}
	require.NoError(t, w.Close())
}

// readEither reads a message, whole or in parts.
func readEither(t testing.TB, c endpoint, whole bool) (MessageType, []byte) {
	if whole {
		typ, p, err := c.Read(patiently(t))
		require.NoError(t, err)
		return typ, p
	}
	typ, r, err := c.Reader(patiently(t))
	require.NoError(t, err)
	var b bytes.Buffer
	_, err = b.ReadFrom(r)
	require.NoError(t, err)
	n, err := r.Read(make([]byte, 1))
	require.Zero(t, n)
	require.Equal(t, io.EOF, err)
	return typ, b.Bytes()
}

func TestSubprotocols(t *testing.T) {
	for _, m := range meetings {
		s, c := connect(t, m.server, m.client, options{subprotocols: []string{"b", "a"}}, options{subprotocols: []string{"a", "b", "c"}})
		require.Equal(t, "b", s.Subprotocol(), m.name())
		require.Equal(t, "b", c.Subprotocol(), m.name())
		s, c = connect(t, m.server, m.client, options{subprotocols: []string{"x"}}, options{subprotocols: []string{"y"}})
		require.Empty(t, s.Subprotocol()+c.Subprotocol(), m.name())
	}
}

func TestPings(t *testing.T) {
	for _, m := range meetings {
		t.Run(m.name(), func(t *testing.T) {
			s, c := connect(t, m.server, m.client, options{}, options{})
			s.CloseRead(background)
			c.CloseRead(background)
			for range 3 {
				require.NoError(t, s.Ping(patiently(t)))
				require.NoError(t, c.Ping(patiently(t)))
			}
		})
	}
}

// TestPingHooks has each end count the Pings and Pongs of the other.
func TestPingHooks(t *testing.T) {
	for _, m := range meetings {
		t.Run(m.name(), func(t *testing.T) {
			pings, pongs := make(chan string, 10), make(chan string, 10)
			o := options{
				onPing: func(_ context.Context, p []byte) bool { pings <- string(p); return true },
				onPong: func(_ context.Context, p []byte) { pongs <- string(p) },
			}
			s, c := connect(t, m.server, m.client, o, o)
			s.CloseRead(background)
			c.CloseRead(background)
			for _, e := range []endpoint{s, c} {
				require.NoError(t, e.Ping(patiently(t)))
				require.Equal(t, <-pings, <-pongs)
			}
		})
	}
}

// TestCloseCodes closes from both roles with codes and reasons, and looks at
// what the other end is told.
func TestCloseCodes(t *testing.T) {
	codes := []StatusCode{1000, 1001, 1002, 1003, 1005, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999}
	for _, m := range meetings {
		for _, code := range codes {
			t.Run(fmt.Sprint(m.name(), " ", code), func(t *testing.T) {
				s, c := connect(t, m.server, m.client, options{}, options{})
				reason := "because"
				if code == StatusNoStatusRcvd {
					reason = ""
				}
				for closer, other := range map[endpoint]endpoint{s: c} {
					closed := make(chan error, 1)
					go func() { closed <- closer.Close(code, reason) }()
					_, _, err := other.Read(patiently(t))
					require.Equal(t, code, other.CloseStatus(err))
					require.Contains(t, err.Error(), reason)
					require.NoError(t, <-closed)
				}
			})
		}
	}
}

// TestBothClose has both ends close at once, with different codes.
func TestBothClose(t *testing.T) {
	for _, m := range meetings {
		t.Run(m.name(), func(t *testing.T) {
			s, c := connect(t, m.server, m.client, options{}, options{})
			var wg sync.WaitGroup
			var ofS, ofC error
			wg.Go(func() { ofS = s.Close(4000, "s") })
			wg.Go(func() { ofC = c.Close(4001, "c") })
			wg.Wait()
			// Both may have sent a Close frame before they saw the other, or one has answered.
			if ofS != nil && s.CloseStatus(ofS) != 4001 {
				require.ErrorIs(t, ofS, net.ErrClosed)
			}
			if ofC != nil && c.CloseStatus(ofC) != 4000 {
				require.ErrorIs(t, ofC, net.ErrClosed)
			}
			require.False(t, ofS == nil && ofC == nil)
		})
	}
}

func TestPeerVanishes(t *testing.T) {
	for _, m := range meetings {
		for _, leaving := range []string{"server", "client"} {
			t.Run(m.name()+" "+leaving, func(t *testing.T) {
				s, c := connect(t, m.server, m.client, options{}, options{})
				if leaving == "client" {
					s, c = c, s
				}
				s.CloseNow()
				_, _, err := c.Read(patiently(t))
				require.ErrorIs(t, err, io.EOF)
				require.Equal(t, StatusCode(-1), c.CloseStatus(err))
				require.NotErrorIs(t, err, net.ErrClosed)
			})
		}
	}
}

func TestReadLimits(t *testing.T) {
	for _, m := range meetings {
		for _, o := range []options{{}, {mode: CompressionContextTakeover, threshold: 1}} {
			t.Run(fmt.Sprint(m.name(), " ", o.mode), func(t *testing.T) {
				s, c := connect(t, m.server, m.client, o, o)
				exchange := func(n int) error {
					go s.Write(background, MessageText, pattern(n))
					_, _, err := c.Read(patiently(t))
					return err
				}
				require.NoError(t, exchange(32768))
				c.SetReadLimit(-1)
				require.NoError(t, exchange(100_000))
				c.SetReadLimit(1000)
				require.NoError(t, exchange(1000))
				err := exchange(1001)
				require.Contains(t, err.Error(), "too big")
				_, _, err = s.Read(patiently(t))
				require.Equal(t, StatusMessageTooBig, s.CloseStatus(err))
			})
		}
	}
}

func TestDefaultReadLimit(t *testing.T) {
	s, c := connect(t, coder, this, options{}, options{})
	go s.Write(background, MessageBinary, make([]byte, 32769))
	_, p, err := c.Read(patiently(t))
	require.ErrorIs(t, err, ErrMessageTooBig)
	require.Nil(t, p)
	require.Equal(t, StatusCode(-1), CloseStatus(err))
}

func TestJSON(t *testing.T) {
	type person struct {
		Name string `json:"name"`
		Tags []int  `json:"tags"`
	}
	forMeetings(t, func(t *testing.T, m meeting, o options) {
		s, c := connect(t, m.server, m.client, o, o)
		for range 3 {
			require.NoError(t, s.WriteJSON(patiently(t), person{"Ada <>", []int{1, 2}}))
			var p person
			require.NoError(t, c.ReadJSON(patiently(t), &p))
			require.Equal(t, person{"Ada <>", []int{1, 2}}, p)
			require.NoError(t, c.WriteJSON(patiently(t), p.Tags))
			var tags []int
			require.NoError(t, s.ReadJSON(patiently(t), &tags))
			require.Equal(t, []int{1, 2}, tags)
		}
	})
}

// TestConcurrentUse has many goroutines write, ping and read at once.
func TestConcurrentUse(t *testing.T) {
	forMeetings(t, func(t *testing.T, m meeting, o options) {
		const writers, each = 4, 25
		s, c := connect(t, m.server, m.client, o, o)
		go echo(s, 2)
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				for i := range each {
					if i%2 == 0 {
						writeParts(t, c, MessageText, pattern(i*100))
					} else {
						c.Write(patiently(t), MessageText, pattern(i*100))
					}
				}
			})
		}
		wg.Go(func() { c.Ping(patiently(t)) })
		got := map[int]int{}
		for range writers * each {
			_, p, err := c.Read(patiently(t))
			require.NoError(t, err)
			require.Equal(t, string(pattern(len(p))), string(p))
			got[len(p)]++
		}
		wg.Wait()
		for i := range each {
			require.Equal(t, writers, got[i*100])
		}
	})
}

func TestAcceptOverHTTP(t *testing.T) {
	url := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		_, err := Accept(w, r, nil)
		if err == nil {
			t.Error("accepted")
		}
	})
	r, err := http.Get(url)
	require.NoError(t, err)
	defer r.Body.Close()
	require.Equal(t, http.StatusUpgradeRequired, r.StatusCode)
}

func TestUseAfterClose(t *testing.T) {
	for _, m := range meetings {
		s, c := connect(t, m.server, m.client, options{}, options{})
		go s.Read(background)
		require.NoError(t, c.Close(StatusNormalClosure, ""))
		_, _, read := c.Read(background)
		_, _, reader := c.Reader(background)
		_, writer := c.Writer(background, MessageText)
		for _, err := range []error{read, reader, writer, c.Write(background, MessageText, nil), c.Ping(background), c.Close(StatusGoingAway, "")} {
			require.True(t, errors.Is(err, net.ErrClosed), "%s: %v", m.name(), err)
		}
	}
}
