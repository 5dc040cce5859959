package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/fullduplex-go/websocket"
)

// A devTools is a connection that speaks the DevTools protocol, one call at a
// time. Each call has a number and its answer has the same; messages in between
// are events, which are ignored.
type devTools struct {
	c      *websocket.Conn
	number int // of the latest call
}

// dialDevTools connects to url. The connection ends with the test.
func dialDevTools(t testing.TB, url string) *devTools {
	t.Helper()
	opts := &websocket.DialOptions{Config: websocket.Config{MaxMessageSize: 64 << 20}}
	c, _, err := websocket.Dial(t.Context(), url, opts)
	if err != nil {
		t.Fatalf("DevTools: %v", err)
	}
	t.Cleanup(func() { c.CloseNow() })
	return &devTools{c: c}
}

// call runs method in a session and stores the outcome in result, unless that is
// nil. The empty session is that of the whole browser.
func (d *devTools) call(ctx context.Context, session, method string, params, result any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	d.number++
	request, err := json.Marshal(struct {
		ID        int    `json:"id"`
		SessionID string `json:"sessionId,omitempty"`
		Method    string `json:"method"`
		Params    any    `json:"params,omitempty"`
	}{d.number, session, method, params})
	if err != nil {
		return err
	}
	if err := d.c.Write(ctx, websocket.Text, request); err != nil {
		return err
	}
	return d.answer(ctx, d.number, result)
}

// answer waits for the outcome of the call with this number.
func (d *devTools) answer(ctx context.Context, number int, result any) error {
	for {
		_, data, err := d.c.Read(ctx)
		if err != nil {
			return err
		}
		var a struct {
			ID     int
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		switch err := json.Unmarshal(data, &a); {
		case err != nil:
			return err
		case a.ID != number:
			continue
		case a.Error != nil:
			return fmt.Errorf("DevTools: %s", a.Error.Message)
		case result == nil:
			return nil
		}
		return json.Unmarshal(a.Result, result)
	}
}
