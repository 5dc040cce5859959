// Package wsjson has the exported API of github.com/coder/websocket/wsjson
// v1.8.15, for the connections of package
// [github.com/fullduplex-go/websocket/compat/coder]. It uses encoding/json.
package wsjson

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	websocket "github.com/fullduplex-go/websocket/compat/coder"
)

// Read reads the next message, of either type, and stores the JSON in it in v.
// A message that is not JSON for v closes c with StatusInvalidFramePayloadData.
// The buffer that the message is read into is used again: an UnmarshalJSON
// method must copy what it keeps.
func Read(ctx context.Context, c *websocket.Conn, v any) error {
	_, r, err := c.Reader(ctx)
	if err != nil {
		return err
	}
	b := buffers.Get().(*bytes.Buffer)
	defer release(b)
	if _, err := io.Copy(b, r); err != nil {
		return err
	}
	if err := json.Unmarshal(b.Bytes(), v); err != nil {
		c.Close(websocket.StatusInvalidFramePayloadData, "message is not the JSON that is wanted")
		return fmt.Errorf("wsjson: %w", err)
	}
	return nil
}

// Write sends v as JSON, and a newline behind it, in one text message. If v
// cannot be encoded, nothing is sent and c stays open.
func Write(ctx context.Context, c *websocket.Conn, v any) error {
	b := buffers.Get().(*bytes.Buffer)
	defer release(b)
	if err := json.NewEncoder(b).Encode(v); err != nil {
		return fmt.Errorf("wsjson: %w", err)
	}
	return c.Write(ctx, websocket.MessageText, b.Bytes())
}

// buffers are the buffers that messages are read into and encoded in.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxKept is the size in bytes of the largest buffer that is kept.
const maxKept = 64 << 10

// release returns b to the pool, unless it has grown too large.
func release(b *bytes.Buffer) {
	if b.Cap() > maxKept {
		return
	}
	b.Reset()
	buffers.Put(b)
}
