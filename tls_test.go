package websocket

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEchoOverTLS(t *testing.T) {
	c, s := tlsPair(t, nil)
	go echo(s)
	for size := range 300 {
		p := bytes.Repeat([]byte("x"), size*7)
		require.NoError(t, c.Write(context.Background(), Text, p))
		_, got, err := c.Read(context.Background())
		require.NoError(t, err)
		require.Equal(t, len(p), len(got))
	}
	require.NoError(t, c.Close(CloseNormal, ""))
}

func TestHandlerOverTLS(t *testing.T) {
	h := httptest.NewTLSServer(HandlerFunc(nil, echo))
	defer h.Close()
	c, _, err := Dial(t.Context(), "wss"+h.URL[len("https"):], &DialOptions{TLS: &tls.Config{InsecureSkipVerify: true}})
	require.NoError(t, err)
	for i := range 100 {
		require.NoError(t, c.Write(t.Context(), Text, bytes.Repeat([]byte("x"), i)))
		_, p, err := c.Read(t.Context())
		require.NoError(t, err)
		require.Len(t, p, i)
	}
}
