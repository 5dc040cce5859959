package wsjson

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	websocket "github.com/fullduplex-go/websocket/compat/coder"
	"github.com/fullduplex-go/websocket/wstest"
)

// background bounds nothing.
var background = context.Background()

// pipe returns both ends of a connection in memory.
func pipe(t *testing.T) (s, c *websocket.Conn) {
	server, client := wstest.Pipe(t, nil, nil)
	return websocket.Wrap(server), websocket.Wrap(client)
}

func TestWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		for _, v := range []any{1, "<é>", nil, map[string]int{"a": 1}, strings.Repeat("long", 50_000)} {
			failed := make(chan error, 1)
			go func() { failed <- Write(background, c, v) }()
			typ, p, err := s.Read(background)
			require.NoError(t, err)
			require.Equal(t, websocket.MessageText, typ)
			var want bytes.Buffer
			require.NoError(t, json.NewEncoder(&want).Encode(v))
			require.Equal(t, want.String(), string(p))
			require.NoError(t, <-failed)
		}
	})
}

func TestWriteWhatIsNoJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		var unsupported *json.UnsupportedTypeError
		require.ErrorAs(t, Write(background, c, make(chan int)), &unsupported)
		require.NoError(t, Write(background, c, "next"))
		var v string
		require.NoError(t, Read(background, s, &v))
		require.Equal(t, "next", v)
	})
}

func TestReadBothTypes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		for _, typ := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
			require.NoError(t, c.Write(background, typ, []byte(` {"A": [1, 2]} `)))
			var v struct{ A []int }
			require.NoError(t, Read(background, s, &v))
			require.Equal(t, []int{1, 2}, v.A)
		}
	})
}

func TestReadWhatIsNotWanted(t *testing.T) {
	for _, message := range []string{``, `{`, `"text"`, `1 2`} {
		synctest.Test(t, func(t *testing.T) {
			s, c := pipe(t)
			go c.Write(background, websocket.MessageText, []byte(message))
			failed := make(chan error, 1)
			go func() {
				var v int
				failed <- Read(background, s, &v)
			}()
			_, _, err := c.Read(background)
			require.Equal(t, websocket.StatusInvalidFramePayloadData, websocket.CloseStatus(err))
			err = <-failed
			var syntax *json.SyntaxError
			var mismatch *json.UnmarshalTypeError
			require.True(t, errors.As(err, &syntax) || errors.As(err, &mismatch), err)
		})
	}
}

func TestReadAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pipe(t)
		require.NoError(t, c.Close(websocket.StatusGoingAway, ""))
		var v any
		err := Read(background, s, &v)
		require.Equal(t, websocket.StatusGoingAway, websocket.CloseStatus(err))
		require.Error(t, Write(background, s, v))
	})
}
