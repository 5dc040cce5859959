package websocket_test

import (
	"context"
	"expvar"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"

	"github.com/fullduplex-go/websocket"
)

// metrics are sums over all connections that there were.
type metrics struct {
	handshakes, refused, dropped, ended atomic.Uint64
	received, sent                      atomic.Uint64 // bytes, of connections that have ended
}

// trace returns hooks that count.
func (m *metrics) trace() *websocket.Trace {
	return &websocket.Trace{
		Handshake: func(_ *websocket.Conn, h websocket.HandshakeTrace) {
			m.handshakes.Add(1)
			if h.Err != nil {
				m.refused.Add(1)
			}
		},
		Dropped: func(_ *websocket.Conn, messages, _ int) { m.dropped.Add(uint64(messages)) },
		Closed: func(c *websocket.Conn, _ *websocket.CloseError) {
			s := c.Stats()
			m.received.Add(s.BytesIn)
			m.sent.Add(s.BytesOut)
			m.ended.Add(1)
		},
	}
}

// bytes returns the bytes received and sent, also by connections that live.
func (m *metrics) bytes(registry *websocket.Registry) (received, sent uint64) {
	received, sent = m.received.Load(), m.sent.Load()
	for c := range registry.Conns() {
		if c.Context().Err() == nil { // otherwise Closed has counted it, or is about to
			s := c.Stats()
			received += s.BytesIn
			sent += s.BytesOut
		}
	}
	return received, sent
}

// Numbers for Prometheus, in its text format and without its library.
func ExampleTrace_prometheus() {
	var m metrics
	var registry websocket.Registry
	mux := http.NewServeMux()
	written := make(chan struct{})
	mux.Handle("/ws", websocket.HandlerFunc(&websocket.AcceptOptions{
		Config:   websocket.Config{Trace: m.trace()},
		Registry: &registry,
	}, func(c *websocket.Conn) error {
		if err := c.WriteString(c.Context(), "ready"); err != nil {
			return err
		}
		close(written)
		_, _, err := c.Read(c.Context())
		return err
	}))
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintf(w, "# TYPE websocket_connections gauge\nwebsocket_connections %d\n", registry.Len())
		received, sent := m.bytes(&registry)
		for _, c := range []struct {
			name  string
			value uint64
		}{
			{"handshakes", m.handshakes.Load()},
			{"handshakes_refused", m.refused.Load()},
			{"received_bytes", received},
			{"sent_bytes", sent},
			{"messages_dropped", m.dropped.Load()},
			{"connections_ended", m.ended.Load()},
		} {
			fmt.Fprintf(w, "# TYPE websocket_%s_total counter\nwebsocket_%s_total %d\n", c.name, c.name, c.value)
		}
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()

	c, _, err := websocket.Dial(context.Background(), srv.URL+"/ws", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	if _, _, err := c.Read(context.Background()); err != nil {
		log.Fatal(err)
	}
	<-written // what was read may not be counted as written yet
	resp, err := http.Get(srv.URL + "/metrics")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			fmt.Print(line)
		}
	}
	// Output:
	// websocket_connections 1
	// websocket_handshakes_total 1
	// websocket_handshakes_refused_total 0
	// websocket_received_bytes_total 0
	// websocket_sent_bytes_total 7
	// websocket_messages_dropped_total 0
	// websocket_connections_ended_total 0
}

// The sums of the open connections' counts at /debug/vars.
func ExampleConn_Stats_expvar() {
	var registry websocket.Registry
	expvar.Publish("websocket", expvar.Func(func() any {
		var sum websocket.Stats
		for c := range registry.Conns() {
			s := c.Stats()
			sum.MessagesIn += s.MessagesIn
			sum.MessagesOut += s.MessagesOut
			sum.Dropped += s.Dropped
		}
		return map[string]any{
			"connections": registry.Len(),
			"received":    sum.MessagesIn,
			"sent":        sum.MessagesOut,
			"dropped":     sum.Dropped,
		}
	}))
	fmt.Println(expvar.Get("websocket"))
	// Output: {"connections":0,"dropped":0,"received":0,"sent":0}
}
