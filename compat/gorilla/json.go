package websocket

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"sync"
)

// ReadJSON reads the next message and stores the JSON value that it begins with
// in what v points to. A message without one is io.ErrUnexpectedEOF. An error
// of JSON leaves the connection as it is.
func (c *Conn) ReadJSON(v any) error {
	b := newBuffer()
	defer b.free()
	p, err := c.readInto(b.b)
	if err != nil {
		return err
	}
	b.b = p
	return decode(p, v)
}

// decode stores the JSON value that p begins with in what v points to. Few
// messages have more than one value, so those are decoded on their own.
func decode(p []byte, v any) error {
	err := json.Unmarshal(p, v)
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return err
	}
	if err = json.NewDecoder(bytes.NewReader(p)).Decode(v); err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// WriteJSON sends v in JSON, with a newline behind it, as a text message. If v
// has no form in JSON, nothing is sent.
func (c *Conn) WriteJSON(v any) error {
	e := encoders.Get().(*encoder)
	defer e.free()
	if err := e.json.Encode(v); err != nil {
		return err
	}
	return c.WriteMessage(TextMessage, e.text.Bytes())
}

// An encoder writes JSON to memory of its own.
type encoder struct {
	text bytes.Buffer
	json *json.Encoder
}

// encoders are those that nobody uses.
var encoders = sync.Pool{New: func() any {
	e := new(encoder)
	e.json = json.NewEncoder(&e.text)
	return e
}}

// free gives e back.
func (e *encoder) free() {
	if e.text.Cap() <= maxPooledSize {
		e.text.Reset()
		encoders.Put(e)
	}
}

// ReadJSON does what the method of c does.
//
// Deprecated: Use c.ReadJSON.
func ReadJSON(c *Conn, v any) error { return c.ReadJSON(v) }

// WriteJSON does what the method of c does.
//
// Deprecated: Use c.WriteJSON.
func WriteJSON(c *Conn, v any) error { return c.WriteJSON(v) }
