package websocket

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
)

// A madeUpWriter is a ResponseWriter that is not of a server of net/http, such as
// one that tests make of a recorder and one end of a net.Pipe: the 101 response is
// to be written to it, and not to the connection that it hands over.
type madeUpWriter struct{ http.ResponseWriter }

// writerFor returns w, or a madeUpWriter of it if no server has made r.
func writerFor(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	if r.Context().Value(http.ServerContextKey) != nil {
		return w
	}
	return madeUpWriter{w}
}

// Hijack returns a connection that has the head of the response written to w.
func (w madeUpWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, buffers, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	return &headlessConn{Conn: nc, w: w.ResponseWriter}, buffers, nil
}

// A headlessConn is a connection whose first write is the head of a response, and
// goes to a ResponseWriter.
type headlessConn struct {
	net.Conn
	w    http.ResponseWriter
	sent bool // the head
}

// Write writes frames, after the head.
func (c *headlessConn) Write(p []byte) (int, error) {
	if c.sent {
		return c.Conn.Write(p)
	}
	c.sent = true
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(p)), nil)
	if err != nil {
		return 0, err
	}
	for name, values := range r.Header {
		c.w.Header()[name] = values
	}
	c.w.WriteHeader(r.StatusCode)
	return len(p), nil
}
