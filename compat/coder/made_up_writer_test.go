package websocket

import (
	"bufio"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// A handlerTransport is a RoundTripper that calls a handler, without a network.
type handlerTransport struct{ http.Handler }

// RoundTrip calls the handler.
func (t handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	ours, theirs := net.Pipe()
	w := pipedRecorder{httptest.NewRecorder(), theirs}
	t.ServeHTTP(w, r)
	response := w.Result()
	if response.StatusCode == http.StatusSwitchingProtocols {
		response.Body = ours
	}
	return response, nil
}

// A pipedRecorder records a response and hands over one end of a net.Pipe.
type pipedRecorder struct {
	*httptest.ResponseRecorder
	nc net.Conn
}

// Hijack returns the end.
func (w pipedRecorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.nc, bufio.NewReadWriter(bufio.NewReader(w.nc), bufio.NewWriter(w.nc)), nil
}

// TestWithoutNetwork joins two ends by a RoundTripper that calls a handler.
func TestWithoutNetwork(t *testing.T) {
	var accepted *Conn
	client := &http.Client{Transport: handlerTransport{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "a=b")
		c, err := Accept(w, r, &AcceptOptions{Subprotocols: []string{"news"}})
		require.NoError(t, err)
		accepted = c
	})}}
	c, r, err := Dial(t.Context(), "ws://example.com", &DialOptions{HTTPClient: client, Subprotocols: []string{"news"}})
	require.NoError(t, err)
	defer c.CloseNow()
	defer accepted.CloseNow()
	require.Equal(t, "a=b", r.Header.Get("Set-Cookie"))
	require.Equal(t, "news", c.Subprotocol())
	go c.Write(t.Context(), MessageText, []byte("hello"))
	_, p, err := accepted.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, "hello", string(p))

	client.Transport = handlerTransport{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := Accept(w, r, nil)
		require.Error(t, err)
	})}
	_, r, err = Dial(t.Context(), "ws://example.com", &DialOptions{
		HTTPClient: client,
		HTTPHeader: http.Header{"Origin": {"https://evil.example"}},
	})
	require.Error(t, err)
	require.Equal(t, http.StatusForbidden, r.StatusCode)
}
