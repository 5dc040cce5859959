package websocket

import (
	"errors"
	"net/http"
	"time"
)

// traceHandshake reports the outcome of a handshake, which began at began, to
// the hook of c.Trace. conn is nil if err is not. If the hook does not return,
// conn, which the caller then does not return either, is closed.
func (c *Config) traceHandshake(conn *Conn, r *http.Request, agreed agreement, began time.Time, err error) {
	if c.Trace == nil || c.Trace.Handshake == nil {
		return
	}
	status := http.StatusSwitchingProtocols
	if isExtendedConnect(r) {
		status = http.StatusOK
	}
	var e *HandshakeError
	if errors.As(err, &e) {
		status = e.Status
	}
	returned := false
	defer func() {
		if !returned && conn != nil {
			conn.closeNow()
		}
	}()
	c.Trace.Handshake(conn, HandshakeTrace{
		Request:     r,
		Status:      status,
		Subprotocol: agreed.subprotocol,
		Compression: agreed.deflate != nil,
		Duration:    time.Since(began),
		Err:         err,
	})
	returned = true
}
