package websocket_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"

	websocket "github.com/fullduplex-go/websocket/compat/gorilla"
	gorilla "github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// An objectStream carries objects of JSON, one in each message, as libraries for
// JSON-RPC want it: the end of the peer is io.EOF.
type objectStream struct{ conn *websocket.Conn }

// write sends an object.
func (s objectStream) write(v any) error { return s.conn.WriteJSON(v) }

// read returns the next object in v.
func (s objectStream) read(v any) error {
	err := s.conn.ReadJSON(v)
	if e, ok := err.(*websocket.CloseError); ok && e.Code == websocket.CloseAbnormalClosure && e.Text == io.ErrUnexpectedEOF.Error() {
		return io.ErrUnexpectedEOF
	}
	if websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		return io.EOF
	}
	return err
}

// A call is a request with a number, or the answer to it.
type call struct {
	ID     int             `json:"id"`
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// A caller sends calls over an objectStream and waits for their answers, in any
// order.
type caller struct {
	stream objectStream

	mu      sync.Mutex
	last    int
	waiting map[int]chan json.RawMessage
}

// call calls a method and returns its result.
func (c *caller) call(method string, params any) (json.RawMessage, error) {
	p, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.last++
	id, answer := c.last, make(chan json.RawMessage, 1)
	c.waiting[id] = answer
	err = c.stream.write(call{ID: id, Method: method, Params: p})
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	result, ok := <-answer
	if !ok {
		return nil, errors.New("no answer")
	}
	return result, nil
}

// run hands answers to those that wait, and returns how the stream ended.
func (c *caller) run() error {
	for {
		var answer call
		if err := c.stream.read(&answer); err != nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			for _, ch := range c.waiting {
				close(ch)
			}
			return err
		}
		c.mu.Lock()
		c.waiting[answer.ID] <- answer.Result
		delete(c.waiting, answer.ID)
		c.mu.Unlock()
	}
}

// TestObjectStream proves that many calls at once get their answers from a
// server of the original, and how the stream ends.
func TestObjectStream(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		conn, err := new(gorilla.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		for {
			var c call
			if conn.ReadJSON(&c) != nil {
				return
			}
			if c.Method == "bye" {
				conn.WriteMessage(gorilla.CloseMessage, gorilla.FormatCloseMessage(1000, ""))
				conn.ReadMessage()
				return
			}
			conn.WriteJSON(call{ID: c.ID, Result: c.Params})
		}
	})
	conn, _, err := websocket.DefaultDialer.Dial(url, nil)
	require.NoError(t, err)
	defer conn.Close()
	c := caller{stream: objectStream{conn}, waiting: make(map[int]chan json.RawMessage)}
	ended := make(chan error, 1)
	go func() { ended <- c.run() }()
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			for range 50 {
				result, err := c.call("echo", i)
				if err != nil || string(result) != string(must(json.Marshal(i))) {
					panic(err)
				}
			}
		})
	}
	all.Wait()
	_, err = c.call("bye", nil)
	require.Error(t, err)
	require.Equal(t, io.EOF, receive(t, ended))
}

// must returns v.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
