package websocket

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
)

// A clientTrace calls the hooks of net/http/httptrace that a context has when
// net/http's client would. Those for resolving a name and for connecting are
// called by package net.
type clientTrace struct{ hooks *httptrace.ClientTrace } // never nil

// noHooks are the hooks of a context that has none.
var noHooks httptrace.ClientTrace

// clientTraceOf returns the clientTrace of ctx.
func clientTraceOf(ctx context.Context) clientTrace {
	if hooks := httptrace.ContextClientTrace(ctx); hooks != nil {
		return clientTrace{hooks}
	}
	return clientTrace{&noHooks}
}

// getConn is called before addr, the server's or the proxy's, is dialed.
func (t clientTrace) getConn(addr string) {
	if t.hooks.GetConn != nil {
		t.hooks.GetConn(addr)
	}
}

// gotConn is called before the request is sent on nc.
func (t clientTrace) gotConn(nc net.Conn) {
	if t.hooks.GotConn != nil {
		t.hooks.GotConn(httptrace.GotConnInfo{Conn: nc})
	}
}

// startTLS is called before the TLS handshake of nc. The hooks are for those of
// crypto/tls.
func (t clientTrace) startTLS(nc handshaker) {
	if _, ok := nc.(*tls.Conn); ok && t.hooks.TLSHandshakeStart != nil {
		t.hooks.TLSHandshakeStart()
	}
}

// doneTLS is called after the TLS handshake of nc, which ended with err.
func (t clientTrace) doneTLS(nc handshaker, err error) {
	c, ok := nc.(*tls.Conn)
	if !ok || t.hooks.TLSHandshakeDone == nil {
		return
	}
	var state tls.ConnectionState
	if err == nil {
		state = c.ConnectionState()
	}
	t.hooks.TLSHandshakeDone(state, err)
}

// wroteRequest is called after the write of a request's head, which ended with
// err.
func (t clientTrace) wroteRequest(head []byte, err error) {
	if err == nil {
		t.wroteFields(head)
		if t.hooks.WroteHeaders != nil {
			t.hooks.WroteHeaders()
		}
	}
	if t.hooks.WroteRequest != nil {
		t.hooks.WroteRequest(httptrace.WroteRequestInfo{Err: err})
	}
}

// wroteFields tells of the fields in head, with one call for lines of the same
// name.
func (t clientTrace) wroteFields(head []byte) {
	if t.hooks.WroteHeaderField == nil {
		return
	}
	lines := bytes.Split(bytes.TrimSuffix(head, []byte("\r\n\r\n")), []byte("\r\n"))
	var name string
	var values []string
	for _, line := range lines[1:] {
		key, value, _ := bytes.Cut(line, []byte(": "))
		if values != nil && name != string(key) {
			t.hooks.WroteHeaderField(name, values)
			values = nil
		}
		name, values = string(key), append(values, string(value))
	}
	t.hooks.WroteHeaderField(name, values)
}

// gotFirstByte is called when the response begins to arrive.
func (t clientTrace) gotFirstByte() {
	if t.hooks.GotFirstResponseByte != nil {
		t.hooks.GotFirstResponseByte()
	}
}

// gotInterim is called for each interim response. Its error is a reason to give
// up.
func (t clientTrace) gotInterim(r *http.Response) error {
	if t.hooks.Got1xxResponse == nil {
		return nil
	}
	return t.hooks.Got1xxResponse(r.StatusCode, textproto.MIMEHeader(r.Header))
}
