package websocket_test

import (
	"errors"
	"fmt"
	"testing"

	websocket "github.com/fullduplex-go/websocket/compat/gorilla"
	gorilla "github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// TestErrorTexts proves that the texts which programs may look for are the same.
func TestErrorTexts(t *testing.T) {
	require.EqualError(t, websocket.ErrBadHandshake, gorilla.ErrBadHandshake.Error())
	require.EqualError(t, websocket.ErrCloseSent, gorilla.ErrCloseSent.Error())
	require.EqualError(t, websocket.ErrReadLimit, gorilla.ErrReadLimit.Error())
	for code := 990; code < 5010; code++ {
		for _, text := range []string{"", "why"} {
			ours := &websocket.CloseError{Code: code, Text: text}
			theirs := &gorilla.CloseError{Code: code, Text: text}
			require.EqualError(t, ours, theirs.Error())
		}
	}
}

func TestIsCloseError(t *testing.T) {
	end := &websocket.CloseError{Code: websocket.CloseGoingAway}
	for err, is := range map[error]bool{end: true, fmt.Errorf("wrapped: %w", end): true, errors.New("other"): false} {
		require.Equal(t, is, websocket.IsCloseError(err, 1000, 1001))
		require.False(t, websocket.IsCloseError(err, 1000, 1002))
		require.False(t, websocket.IsCloseError(err))
		require.Equal(t, is, websocket.IsUnexpectedCloseError(err, 1000, 1002))
		require.Equal(t, is, websocket.IsUnexpectedCloseError(err))
		require.False(t, websocket.IsUnexpectedCloseError(err, 1000, 1001))
	}
	require.False(t, websocket.IsCloseError(nil, 1000))
	require.False(t, websocket.IsUnexpectedCloseError(nil, 1000))
}
