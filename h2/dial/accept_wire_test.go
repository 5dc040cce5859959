package dial_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/fullduplex-go/websocket"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

// connectWired returns a client that the test plays, connected to a server of h.
func connectWired(t testing.TB, h http.Handler) *wire {
	nc, err := net.Dial("tcp", withoutTLS(t, h).Listener.Addr().String())
	require.NoError(t, err)
	w := newWire(t, nc)
	_, err = io.WriteString(nc, http2.ClientPreface)
	require.NoError(t, err)
	require.NoError(t, w.WriteSettings())
	f, err := w.ReadFrame()
	require.NoError(t, err)
	settings, ok := f.(*http2.SettingsFrame)
	require.True(t, ok)
	offered, _ := settings.Value(http2.SettingEnableConnectProtocol)
	require.Equal(t, uint32(1), offered)
	require.NoError(t, w.WriteSettingsAck())
	return w
}

// connect returns the fields of an extended CONNECT for a WebSocket, except those
// that changes has with the value "". It has the others instead or in addition.
func connect(changes ...[2]string) (head fields) {
	changed := make(map[string]string)
	for _, c := range changes {
		changed[c[0]] = c[1]
	}
	for _, f := range (fields{
		{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "http"}, {":path", "/chat"},
		{":authority", "server.example.com"}, {"sec-websocket-version", "13"},
	}) {
		if _, ok := changed[f[0]]; !ok {
			head = append(head, f)
		} else if changed[f[0]] != "" {
			head = append(head, [2]string{f[0], changed[f[0]]})
		}
		delete(changed, f[0])
	}
	for _, c := range changes {
		if changed[c[0]] != "" {
			head = append(head, c)
		}
	}
	return head
}

// TestResponseOnWire has what was agreed on and what the handler adds, and nothing
// of HTTP/1.1.
func TestResponseOnWire(t *testing.T) {
	accept := echoing(&websocket.AcceptOptions{
		Config: websocket.Config{Subprotocols: []string{"superchat"}, Compression: new(websocket.Compression)},
		Header: http.Header{"X-Room": {"7"}},
	})
	w := connectWired(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "seat", Value: "12"})
		accept.ServeHTTP(w, r)
	}))
	w.sendHead(1, false, connect(
		[2]string{"sec-websocket-protocol", "chat, superchat"},
		[2]string{"sec-websocket-extensions", "permessage-deflate"},
		[2]string{"sec-websocket-key", "ignored"},
		[2]string{"origin", "http://server.example.com"},
	))
	_, end, head := w.nextHead()
	require.False(t, end)
	require.True(t, strings.HasPrefix(head["sec-websocket-extensions"], "permessage-deflate"))
	delete(head, "sec-websocket-extensions")
	delete(head, "date")
	require.Equal(t, map[string]string{
		":status":                "200",
		"sec-websocket-protocol": "superchat",
		"x-room":                 "7",
		"set-cookie":             "seat=12",
	}, head)

	for _, octet := range []byte("\x81\x82\x00\x00\x00\x00Hi") {
		require.NoError(t, w.WriteData(1, false, []byte{octet}))
	}
	require.Equal(t, "\x81\x02Hi", readUntil(w, 4))
	require.NoError(t, w.WriteData(1, false, []byte("\x88\x82\x00\x00\x00\x00"+closeOf(websocket.CloseNormal))))
	require.Equal(t, "\x88\x02"+closeOf(websocket.CloseNormal), readUntil(w, 4))
	p, end := w.nextData()
	require.Empty(t, p)
	require.True(t, end)
}

// readUntil returns n octets of DATA.
func readUntil(w *wire, n int) (got string) {
	for len(got) < n {
		p, _ := w.nextData()
		got += string(p)
	}
	return got
}

// TestRefusalsOnWire answers requests that open no WebSocket with a status, and
// keeps the connection.
func TestRefusalsOnWire(t *testing.T) {
	for _, test := range []struct {
		name   string
		change [2]string
		status string
		header [2]string
	}{
		{"protocol unknown", [2]string{":protocol", "foo"}, "501", [2]string{}},
		{"version missing", [2]string{"sec-websocket-version", ""}, "400", [2]string{"sec-websocket-version", "13"}},
		{"version 8", [2]string{"sec-websocket-version", "8"}, "400", [2]string{"sec-websocket-version", "13"}},
		{"foreign origin", [2]string{"origin", "https://elsewhere.example"}, "403", [2]string{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := connectWired(t, echoing(nil))
			w.sendHead(1, false, connect(test.change))
			_, _, head := w.nextHead()
			require.Equal(t, test.status, head[":status"])
			if test.header[0] != "" {
				require.Equal(t, test.header[1], head[test.header[0]])
			}
			require.NotContains(t, head, "connection")
			require.NotContains(t, head, "upgrade")
			body, end := w.nextData()
			require.NotEmpty(t, body)
			for !end {
				_, end = w.nextData()
			}
			require.Equal(t, http2.ErrCodeNo, w.nextReset())
			w.sendHead(3, false, connect())
			_, _, head = w.nextHead()
			require.Equal(t, "200", head[":status"])
		})
	}
}

// TestMalformedOnWire resets the stream of a request with a field that HTTP/2 does
// not have (RFC 9113, Section 8.2.2), or refuses it without what an extended CONNECT
// must have (RFC 8441, Section 4).
func TestMalformedOnWire(t *testing.T) {
	for name, change := range map[string][2]string{
		"connection":         {"connection", "upgrade"},
		"path missing":       {":path", ""},
		"protocol on GET":    {":method", "GET"},
		"upper case in name": {"Sec-WebSocket-Key", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			w := connectWired(t, echoing(nil))
			w.sendHead(1, false, connect(change))
			switch f := w.next().(type) {
			case *http2.RSTStreamFrame:
				require.Equal(t, http2.ErrCodeProtocol, f.ErrCode)
			case *http2.MetaHeadersFrame:
				require.GreaterOrEqual(t, f.PseudoValue("status"), "400")
			default:
				require.Fail(t, "unexpected", "%v", f)
			}
		})
	}
}

// TestEndStreamOnHeaders opens a WebSocket that ends at once, with 1006.
func TestEndStreamOnHeaders(t *testing.T) {
	e := newEnding(1)
	w := connectWired(t, e)
	w.sendHead(1, true, connect())
	_, _, head := w.nextHead()
	require.Equal(t, "200", head[":status"])
	require.Equal(t, websocket.CloseAbnormal, e.next(t).Code)
	for end := false; !end; {
		_, end = w.nextData()
	}
}

// TestCancelledStream ends with 1006.
func TestCancelledStream(t *testing.T) {
	e := newEnding(1)
	w := connectWired(t, e)
	w.sendHead(1, false, connect())
	w.nextHead()
	require.NoError(t, w.WriteRSTStream(1, http2.ErrCodeCancel))
	require.Equal(t, websocket.CloseAbnormal, e.next(t).Code)
}
