package stress

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket"
)

// TestNeighbours opens many streams on one connection of HTTP/2, again and again,
// which end in all ways. What happens on one is not felt on the others, and nothing
// is left behind.
func TestNeighbours(t *testing.T) {
	if *flagTime == 0 {
		t.Skip("it has no time")
	}
	before := takeInventory()
	a, b, err := tcp()
	require.NoError(t, err)
	var running sync.WaitGroup
	srv := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: neighbours(&running), Protocols: new(http.Protocols)}
	srv.Protocols.SetUnencryptedHTTP2(true)
	go srv.Serve(&onceListener{nc: b, closed: make(chan struct{})})
	client, err := newClient(a, nil)
	require.NoError(t, err)

	var visiting sync.WaitGroup
	var visits atomic.Int32
	until := time.Now().Add(*flagTime / 2)
	for i := range 40 {
		r := rand.New(rand.NewPCG(*flagSeed, uint64(i)))
		visiting.Go(func() {
			for time.Now().Before(until) {
				if err := visit(client, r); err != nil {
					t.Error(err)
					return
				}
				visits.Add(1)
			}
		})
	}
	visiting.Wait()
	running.Wait() // all handlers return, although the connection is open
	client.Close()
	srv.Close()
	before.compare(t.Errorf)
	t.Logf("%d streams", visits.Load())
}

// neighbours returns a handler of streams whose servers echo, in all ways to open
// one, and of some that break off.
func neighbours(running *sync.WaitGroup) http.Handler {
	opts := &websocket.AcceptOptions{Config: websocket.Config{Compression: new(websocket.Compression), CloseTimeout: timeout}}
	mux := http.NewServeMux()
	mux.Handle("/Handler", websocket.HandlerFunc(opts, echo))
	mux.Handle("/ReceiverHandler", websocket.ReceiverHandler(opts, func(*http.Request) (websocket.Receiver, error) { return echoing{}, nil }))
	accept := func(serve func(c *websocket.Conn) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if c, err := websocket.Accept(w, r, opts); err == nil {
				defer c.CloseNow()
				serve(c)
			}
		}
	}
	mux.Handle("/Accept", accept(echo))
	mux.Handle("/rude", accept(beRude))
	mux.Handle("/rude/Handler", websocket.HandlerFunc(opts, beRude))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		running.Add(1)
		defer running.Done()
		mux.ServeHTTP(w, r)
	})
}

// echo answers each message with itself.
func echo(c *websocket.Conn) error {
	for m, err := range c.Messages(c.Context()) {
		if err == nil {
			err = c.Write(c.Context(), m.Type, m.Data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// beRude answers one message with many, and returns while they are on their way.
func beRude(c *websocket.Conn) error {
	_, p, err := c.Read(c.Context())
	for range 20 {
		if err == nil {
			err = c.Send(websocket.Binary, p)
		}
	}
	return err
}

// An echoing is a Receiver that answers each message with itself.
type echoing struct{}

func (echoing) Opened(*websocket.Conn) error { return nil }
func (echoing) Receive(c *websocket.Conn, m websocket.Message) error {
	return c.Write(context.Background(), m.Type, m.Data)
}
func (echoing) Closed(*websocket.Conn, *websocket.CloseError) {}

// The paths of servers that echo, and of those that break off.
var (
	politePaths = []string{"/Handler", "/ReceiverHandler", "/Accept"}
	rudePaths   = []string{"/rude", "/rude/Handler"}
)

// visit opens a stream and ends it. It returns an error if something went wrong that
// is neither its own fault nor the server's.
func visit(t http.RoundTripper, r *rand.Rand) error {
	path := politePaths[r.IntN(len(politePaths))]
	rude := r.IntN(4) == 0
	if rude {
		path = rudePaths[r.IntN(len(rudePaths))]
	}
	cfg := websocket.Config{CloseTimeout: timeout}
	if r.IntN(2) == 0 {
		cfg.Compression = new(websocket.Compression)
	}
	c, nc, err := openOn(t, path, cfg)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer c.CloseNow()
	if rude {
		return beBrief(c, r)
	}
	for range r.IntN(20) {
		if err := exchange(c, r); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	switch r.IntN(4) {
	case 0: // CloseNow
	case 1:
		c.Write(context.Background(), websocket.Binary, noise[:r.IntN(50000)])
		nc.Reset()
	case 2:
		c.Write(context.Background(), websocket.Binary, noise[:r.IntN(50000)])
	default:
		if err := c.Close(websocket.CloseNormal, ""); err != nil {
			return fmt.Errorf("%s: Close: %w", path, err)
		}
	}
	return nil
}

// exchange sends a message and awaits its echo.
func exchange(c *websocket.Conn, r *rand.Rand) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	size := r.IntN(1 + r.IntN(100000))
	want := words[size : size+r.IntN(1+size)]
	if err := c.Write(ctx, websocket.Text, want); err != nil {
		return fmt.Errorf("Write: %w", err)
	}
	_, got, err := c.Read(ctx)
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("%d bytes came back as others", len(want))
	}
	return err
}

// beBrief sends a message to a server that breaks off, and reads some answers or
// none.
func beBrief(c *websocket.Conn, r *rand.Rand) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := c.Write(ctx, websocket.Binary, noise[:r.IntN(50000)])
	for range r.IntN(30) {
		if err == nil {
			_, _, err = c.Read(ctx)
		}
	}
	return ctx.Err()
}
