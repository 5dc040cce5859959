package websocket_test

import (
	"encoding/json"
	"io"
	"strings"
	"testing"

	websocket "github.com/fullduplex-go/websocket/compat/gorilla"
	gorilla "github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// A record is some JSON.
type record struct {
	Name string
	Raw  json.RawMessage
	Any  any
}

func TestJSON(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		for _, n := range []int{0, 100, 30_000} {
			want := record{strings.Repeat("<n>", n), json.RawMessage(`[1,2]`), "x"}
			var ours, theirs record
			wrote := make(chan error, 1)
			go func() { wrote <- c.WriteJSON(want) }()
			require.NoError(t, peer.ReadJSON(&theirs))
			require.Equal(t, want, theirs)
			require.NoError(t, receive(t, wrote))
			go func() { wrote <- peer.WriteJSON(want) }()
			require.NoError(t, c.ReadJSON(&ours))
			require.Equal(t, want, ours)
			require.NoError(t, receive(t, wrote))
		}
		require.NoError(t, websocket.WriteJSON(c, "<&>"))
		_, p, err := peer.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, "\"\\u003c\\u0026\\u003e\"\n", string(p))
		require.NoError(t, peer.WriteJSON("deprecated"))
		var s string
		require.NoError(t, websocket.ReadJSON(c, &s))
		require.Equal(t, "deprecated", s)
	})
}

// TestReadJSONAsTheOriginal proves that odd messages have the same result as
// with the original, and leave the connection open.
func TestReadJSONAsTheOriginal(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		for _, text := range []string{
			``, ` `, `{"Name":"x"} trailing`, `{"Name":"x"}{"Name":"y"}`, `{"Name":`, `{`, `}`, `nonsense`, `"string"`, `{"Name":1}`, `{"Name":"x"},`, "null", "[]\x00",
		} {
			require.NoError(t, c.WriteMessage(websocket.TextMessage, []byte(text)))
			require.NoError(t, peer.WriteMessage(gorilla.TextMessage, []byte(text)))
			var ours, theirs record
			want, got := peer.ReadJSON(&theirs), c.ReadJSON(&ours)
			require.Equal(t, theirs, ours, text)
			if want == nil {
				require.NoError(t, got, text)
			} else {
				require.EqualError(t, got, want.Error(), text)
			}
			if want == io.ErrUnexpectedEOF {
				require.True(t, got == want, text)
			}
		}
	})
}

// TestWriteJSONError proves that what has no form in JSON is not sent.
func TestWriteJSONError(t *testing.T) {
	eachRole(t, func(t *testing.T, c *websocket.Conn, peer *gorilla.Conn) {
		require.Error(t, c.WriteJSON(func() {}))
		require.NoError(t, c.WriteJSON("next"))
		_, p, err := peer.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, "\"next\"\n", string(p))
	})
}
