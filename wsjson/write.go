package wsjson

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/fullduplex-go/websocket"
)

// Write sends v in one text message, encoded as by json.Marshal. If v cannot
// be encoded, nothing is sent.
func Write(ctx context.Context, c *websocket.Conn, v any) error {
	e := encoders.Get().(*encoder)
	defer e.release()
	if err := e.json.Encode(v); err != nil {
		return fmt.Errorf("wsjson: %w", err)
	}
	return c.Write(ctx, websocket.Text, bytes.TrimSuffix(e.text.Bytes(), []byte("\n")))
}

// An encoder encodes one value at a time into a buffer that it keeps.
type encoder struct {
	text bytes.Buffer
	json *json.Encoder
}

var encoders = sync.Pool{New: func() any {
	e := new(encoder)
	e.json = json.NewEncoder(&e.text)
	return e
}}

// maxKept is the size in bytes of the largest buffer that is kept.
const maxKept = 64 << 10

// release returns e to the pool, unless its buffer has grown too large. The
// text must not be used afterwards.
func (e *encoder) release() {
	if e.text.Cap() > maxKept {
		return
	}
	e.text.Reset()
	encoders.Put(e)
}
