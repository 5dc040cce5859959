package websocket

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// These are programs as users of the API write them.

// A board publishes notices to its subscribers, who send nothing. It keeps few
// notices for each, and parts with those who do not keep up.
type board struct {
	mu   sync.Mutex
	subs map[chan []byte]func()
	gone chan struct{} // gets a value for each subscriber that has left
}

// newBoard returns a board without subscribers.
func newBoard() *board {
	return &board{subs: map[chan []byte]func(){}, gone: make(chan struct{}, 10)}
}

// ServeHTTP subscribes a client until it leaves.
func (b *board) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := Accept(w, r, &AcceptOptions{OriginPatterns: []string{"*.example"}})
	if err != nil {
		return
	}
	defer c.CloseNow()
	b.subscribe(c)
	b.gone <- struct{}{}
}

// subscribe hands notices on until c ends.
func (b *board) subscribe(c *Conn) error {
	ctx := c.CloseRead(context.Background())
	notices := make(chan []byte, 4)
	b.add(notices, func() { c.Close(StatusPolicyViolation, "too slow") })
	defer b.remove(notices)
	for {
		select {
		case n := <-notices:
			if err := writeWithin(ctx, time.Second, c, n); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// writeWithin gives a write that long.
func writeWithin(ctx context.Context, d time.Duration, c *Conn, p []byte) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return c.Write(ctx, MessageText, p)
}

func (b *board) add(notices chan []byte, tooSlow func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subs[notices] = tooSlow
}

func (b *board) remove(notices chan []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.subs, notices)
}

// publish sends a notice to all subscribers, and waits for none.
func (b *board) publish(p []byte) (subscribers int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for notices, tooSlow := range b.subs {
		select {
		case notices <- p:
		default:
			go tooSlow()
		}
	}
	return len(b.subs)
}

// awaitSubscribers waits until there are n.
func (b *board) awaitSubscribers(t *testing.T, n int) {
	require.Eventually(t, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.subs) == n
	}, patience, time.Millisecond)
}

// TestBoard: subscribers of both libraries get the notices, and those that
// leave, politely or not, are noticed at once, while nobody writes to them.
func TestBoard(t *testing.T) {
	for _, lib := range []library{this, coder} {
		t.Run(lib.name, func(t *testing.T) {
			b := newBoard()
			url := startServer(t, b.ServeHTTP)
			var clients []endpoint
			for range 3 {
				c, err := lib.dial(patiently(t), url, options{header: http.Header{"Origin": {"https://page.example"}}})
				require.NoError(t, err)
				defer c.CloseNow()
				clients = append(clients, c)
			}
			b.awaitSubscribers(t, 3)
			require.Equal(t, 3, b.publish([]byte("first")))
			for _, c := range clients {
				receives(t, c, "first")
			}
			require.NoError(t, clients[0].Close(StatusNormalClosure, "enough"))
			<-b.gone
			clients[1].CloseNow()
			<-b.gone
			b.awaitSubscribers(t, 1)
			b.publish([]byte("second"))
			receives(t, clients[2], "second")
			sends(t, clients[2], "may I speak?")
			_, _, err := clients[2].Read(patiently(t))
			require.Equal(t, StatusPolicyViolation, clients[2].CloseStatus(err))
			<-b.gone
		})
	}
}

// TestBoardDropsTheSlow: a subscriber that reads nothing is told so.
func TestBoardDropsTheSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		s, c := pipe(t)
		left := make(chan error, 1)
		go func() { left <- b.subscribe(s) }()
		synctest.Wait()
		for !hasEnded(s) {
			b.publish(make([]byte, 30_000))
			time.Sleep(time.Millisecond)
		}
		require.Error(t, <-left)
		require.Zero(t, b.publish(nil))
		c.CloseNow()
	})
}

// A throttledEcho returns messages, but no more than one in interval after a
// burst.
type throttledEcho struct {
	interval time.Duration
	burst    int
}

// serve returns messages until c ends.
func (e *throttledEcho) serve(c *Conn) error {
	allowance, last := e.burst, time.Now()
	for {
		for allowance <= 0 {
			time.Sleep(e.interval - time.Since(last)%e.interval)
			gained := int(time.Since(last) / e.interval)
			allowance, last = allowance+gained, last.Add(time.Duration(gained)*e.interval)
		}
		allowance--
		err := e.echo(c)
		if CloseStatus(err) == StatusNormalClosure {
			return nil
		}
		if err != nil {
			return fmt.Errorf("echo: %w", err)
		}
	}
}

// echo returns one message, for which it has ten seconds.
func (e *throttledEcho) echo(c *Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	typ, r, err := c.Reader(ctx)
	if err != nil {
		return err
	}
	w, err := c.Writer(ctx, typ)
	if err != nil {
		return err
	}
	if _, err = io.Copy(w, r); err != nil {
		return err
	}
	return w.Close()
}

func TestThrottledEcho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		served := make(chan error, 1)
		go func() { served <- (&throttledEcho{time.Second, 3}).serve(s) }()
		begin := time.Now()
		for i := range 10 {
			sends(t, c, fmt.Sprint(i))
			receives(t, c, fmt.Sprint(i))
		}
		require.Equal(t, 7*time.Second, time.Since(begin).Truncate(time.Millisecond))
		require.NoError(t, c.Close(StatusNormalClosure, ""))
		require.NoError(t, <-served)
	})
}

func TestThrottledEchoGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := pipe(t)
		err := (&throttledEcho{time.Second, 3}).serve(s)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.True(t, hasEnded(s))
	})
}

// A call is a request or a response of a protocol in the manner of JSON-RPC, on
// a stream of bytes: one value after another.
type call struct {
	ID     int             `json:"id"`
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// A rpcConn sends calls and serves those of its peer over one net.Conn.
type rpcConn struct {
	nc      net.Conn
	serve   func(method string, params json.RawMessage) (any, error)
	writeMu sync.Mutex
	mu      sync.Mutex
	waiting map[int]chan call
	last    atomic.Int64
	over    chan struct{}
	err     error // why it is over
}

// newRPCConn returns a connection that is served until nc ends.
func newRPCConn(nc net.Conn, serve func(string, json.RawMessage) (any, error)) *rpcConn {
	c := &rpcConn{nc: nc, serve: serve, waiting: map[int]chan call{}, over: make(chan struct{})}
	go c.run()
	return c
}

// run reads until the stream ends.
func (c *rpcConn) run() {
	defer close(c.over)
	d := json.NewDecoder(bufio.NewReader(c.nc))
	for {
		var m call
		if c.err = d.Decode(&m); c.err != nil {
			return
		}
		if m.Method != "" {
			go c.answer(m)
			continue
		}
		c.mu.Lock()
		c.waiting[m.ID] <- m
		delete(c.waiting, m.ID)
		c.mu.Unlock()
	}
}

// answer serves a request.
func (c *rpcConn) answer(m call) {
	result, err := c.serve(m.Method, m.Params)
	response := call{ID: m.ID}
	if err != nil {
		response.Error = err.Error()
	} else {
		response.Result, _ = json.Marshal(result)
	}
	c.send(response)
}

// send writes a value in two pieces, as a buffered writer may.
func (c *rpcConn) send(m call) error {
	p, err := json.Marshal(m)
	if err != nil {
		return err
	}
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if _, err := c.nc.Write(p[:len(p)/2]); err != nil {
		return err
	}
	_, err = c.nc.Write(p[len(p)/2:])
	return err
}

// call sends a request and waits for its response.
func (c *rpcConn) call(method string, params, result any) error {
	m := call{ID: int(c.last.Add(1)), Method: method}
	m.Params, _ = json.Marshal(params)
	response := make(chan call, 1)
	c.mu.Lock()
	c.waiting[m.ID] = response
	c.mu.Unlock()
	if err := c.send(m); err != nil {
		return err
	}
	select {
	case r := <-response:
		if r.Error != "" {
			return errors.New(r.Error)
		}
		return json.Unmarshal(r.Result, result)
	case <-c.over:
		return c.err
	}
}

// reverse is the method that both sides serve.
func reverse(method string, params json.RawMessage) (any, error) {
	var s string
	if err := json.Unmarshal(params, &s); err != nil || method != "reverse" {
		return nil, fmt.Errorf("no such call: %s", method)
	}
	p := []byte(s)
	for i, j := 0, len(p)-1; i < j; i, j = i+1, j-1 {
		p[i], p[j] = p[j], p[i]
	}
	return string(p), nil
}

// TestRPC calls in both directions at once, and ends with io.EOF.
func TestRPC(t *testing.T) {
	for _, m := range meetings {
		t.Run(m.name(), func(t *testing.T) {
			a, b := connect(t, m.server, m.client, options{}, options{})
			s := newRPCConn(a.NetConn(background, MessageText), reverse)
			c := newRPCConn(b.NetConn(background, MessageText), reverse)
			var wg sync.WaitGroup
			for i := range 20 {
				from := []*rpcConn{s, c}[i%2]
				wg.Go(func() {
					var got string
					if err := from.call("reverse", fmt.Sprint("abc", i), &got); err != nil || got[len(got)-3:] != "cba" {
						t.Error(got, err)
					}
				})
			}
			wg.Wait()
			require.EqualError(t, c.call("forward", "x", nil), "no such call: forward")
			if m.server.name == this.name { // the original's Close may cut off a Read of its own
				s, c = c, s
			}
			require.NoError(t, c.nc.Close())
			<-s.over
			require.Equal(t, io.EOF, s.err)
			<-c.over
		})
	}
}

// A tokenTransport adds a token to requests, and gets another one when the
// server says that it has expired.
type tokenTransport struct {
	mu     sync.Mutex
	token  string
	renew  func() string
	below  http.RoundTripper
	events []string
}

// RoundTrip sends r once, and once more with a new token.
func (t *tokenTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token == "" {
		t.token = t.renew()
	}
	response, err := t.send(r)
	if err == nil && response.StatusCode == http.StatusUnauthorized {
		response.Body.Close()
		t.token = t.renew()
		response, err = t.send(r)
	}
	return response, err
}

// send sends r with the token.
func (t *tokenTransport) send(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+t.token)
	response, err := t.below.RoundTrip(r)
	if err == nil {
		t.events = append(t.events, response.Status)
	}
	return response, err
}

func TestTokenTransport(t *testing.T) {
	const valid = "token-2"
	for _, lib := range []library{this, coder} {
		guarded := func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer "+valid {
				http.Error(w, "token has expired", http.StatusUnauthorized)
				return
			}
			if c, err := lib.accept(w, r, options{}); err == nil {
				echo(c, 2)
			}
		}
		issued := 0
		transport := &tokenTransport{below: http.DefaultTransport, renew: func() string {
			issued++
			return fmt.Sprint("token-", issued)
		}}
		c, r, err := Dial(patiently(t), startServer(t, guarded), &DialOptions{HTTPClient: &http.Client{Transport: transport}})
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, r.StatusCode)
		require.Equal(t, []string{"401 Unauthorized", "101 Switching Protocols"}, transport.events)
		sends(t, c, "hello")
		receives(t, c, "hello")
		require.NoError(t, c.Close(StatusNormalClosure, ""))
	}
}
