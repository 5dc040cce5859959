package websocket

import (
	"context"
	"sync"

	fullduplex "github.com/fullduplex-go/websocket"
)

// wrapped has the Conn of each connection that was given to Wrap and has not
// ended.
var wrapped sync.Map // of *fullduplex.Conn to *Conn

// Wrap returns a Conn that stands on ws, for code that has this package's API in
// a program that opens its connections with the other. Calls with the same ws
// return the same Conn. Limits and timeouts are those that ws has; SetReadLimit
// and the deadlines change them.
//
// Handlers of control frames are called only if ws was made with a Config that
// Configure has prepared. Otherwise Pings are answered, and the handlers are
// not called.
func Wrap(ws *fullduplex.Conn) *Conn {
	found, known := wrapped.LoadOrStore(ws, &Conn{ws: ws})
	if !known {
		context.AfterFunc(ws.Context(), func() { wrapped.Delete(ws) })
	}
	return found.(*Conn)
}

// Configure prepares cfg, whose hooks OnPing, OnPong and OnClose it sets, for
// connections that are given to Wrap.
func Configure(cfg *fullduplex.Config) {
	cfg.OnPing = func(ws *fullduplex.Conn, payload []byte) bool { return wrappedOr(ws).onPing(payload) }
	cfg.OnPong = func(ws *fullduplex.Conn, payload []byte) { wrappedOr(ws).onPong(payload) }
	cfg.OnClose = func(ws *fullduplex.Conn, end *fullduplex.CloseError) (fullduplex.CloseCode, string) {
		return wrappedOr(ws).onClose(ws, end)
	}
}

// unwrapped stands for connections that were not given to Wrap. It has no
// handlers.
var unwrapped Conn

// wrappedOr returns the Conn of ws, or one without handlers.
func wrappedOr(ws *fullduplex.Conn) *Conn {
	if c, ok := wrapped.Load(ws); ok {
		return c.(*Conn)
	}
	return &unwrapped
}
