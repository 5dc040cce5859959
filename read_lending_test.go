package websocket

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLentMessageIsTheBorrowers appends to what was lent and writes over it
// (V08): the messages behind it in the buffer stay what they are.
func TestLentMessageIsTheBorrowers(t *testing.T) {
	covers(t, "V08")
	for _, cfg := range []Compression{{}, {NoContextTakeover: true}} {
		synctest.Test(t, func(t *testing.T) {
			c, far := memPair(t, server, nil)
			if cfg.NoContextTakeover {
				c, far = memPairWith(t, cfg)
			}
			for _, s := range []string{"one", "two", "three"} {
				far.Write(clientFrame(0x81, s))
			}
			var got []string
			for m, err := range c.Messages(t.Context()) {
				require.NoError(t, err)
				got = append(got, string(m.Data))
				for i := range m.Data {
					m.Data[i] = '#'
				}
				longer := append(m.Data, bytes.Repeat([]byte("x"), 100)...)
				require.Len(t, longer, len(m.Data)+100)
				if len(got) == 3 {
					break
				}
			}
			require.Equal(t, []string{"one", "two", "three"}, got)
			c.CloseNow()
		})
	}
}

// TestLentMessageStays proves that a loop's message stays as it is while others
// read (V08).
func TestLentMessageStays(t *testing.T) {
	covers(t, "V08")
	others := map[string]func(c *Conn) error{
		"Read": func(c *Conn) error { _, _, err := c.Read(context.Background()); return err },
		"another loop": func(c *Conn) error {
			for _, err := range c.Messages(context.Background()) {
				return err
			}
			return nil
		},
		"Reader": func(c *Conn) error {
			_, r, err := c.Reader(context.Background())
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			return err
		},
	}
	for name, other := range others {
		for _, payload := range []string{"small", string(bytes.Repeat([]byte("large "), 2000))} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, far := memPair(t, server, nil)
					go func() {
						for range 8 {
							far.Write(clientFrame(0x81, payload))
						}
					}()
					seen := 0
					for m, err := range c.Messages(t.Context()) {
						require.NoError(t, err)
						for range 3 {
							require.NoError(t, other(c))
						}
						require.Equal(t, payload, string(m.Data), "the loop's message")
						if seen++; seen == 2 {
							break
						}
					}
					c.CloseNow()
				})
			})
		}
	}
}

// TestStaleReaderTakesNothing proves that a MessageReader whose message was
// given up returns an error, and does not touch the message that a loop looks
// at (V08).
func TestStaleReaderTakesNothing(t *testing.T) {
	covers(t, "V08")
	synctest.Test(t, func(t *testing.T) {
		c, far := memPair(t, server, nil)
		go func() {
			for _, s := range []string{"given up", "lent one", "lent two", "lent three"} {
				far.Write(clientFrame(0x81, s))
			}
		}()
		_, stale, err := c.Reader(t.Context())
		require.NoError(t, err)
		var got []string
		for m, err := range c.Messages(t.Context()) {
			require.NoError(t, err)
			_, err = stale.Read(make([]byte, 8))
			require.ErrorIs(t, err, errStaleReader)
			acquireBuffer(4096).free() // what was given back is used again
			got = append(got, string(m.Data))
			if len(got) == 3 {
				break
			}
		}
		require.Equal(t, []string{"lent one", "lent two", "lent three"}, got)
		c.CloseNow()
	})
}

// TestLoopsOfSeveralGoroutines proves that each of several loops over one
// connection sees its messages unchanged to the end of its body (V08).
func TestLoopsOfSeveralGoroutines(t *testing.T) {
	covers(t, "V08")
	client, served := tcpPair(t)
	c := newConn(served, server, (&Config{}).withDefaults(), agreement{}, nil)
	defer c.CloseNow()
	const messages = 400
	go func() {
		for i := range messages {
			client.Write(clientFrame(0x82, string(bytes.Repeat([]byte{byte(i)}, 100+i))))
		}
		client.Write(clientFrame(0x88, "\x03\xe8"))
		io.Copy(io.Discard, client)
	}()
	var loops sync.WaitGroup
	var mu sync.Mutex
	seen := 0
	for range 4 {
		loops.Go(func() {
			for m, err := range c.Messages(context.Background()) {
				if !assert.NoError(t, err) {
					return
				}
				first := m.Data[0]
				for range 20 {
					if !assert.Equal(t, len(m.Data), bytes.Count(m.Data, []byte{first}), "what is left of a lent message") {
						return
					}
				}
				mu.Lock()
				seen++
				mu.Unlock()
			}
		})
	}
	loops.Wait()
	require.Equal(t, messages, seen)
}
