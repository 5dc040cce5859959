package websocket

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	original "github.com/coder/websocket"
)

// TestNames compares the names of codes and types with the original's.
func TestNames(t *testing.T) {
	for code := StatusCode(-1); code < 5001; code++ {
		if code != 1004 { // reserved, and without a constant
			require.Equal(t, original.StatusCode(code).String(), code.String())
		}
	}
	for typ := MessageType(-1); typ < 20; typ++ {
		require.Equal(t, original.MessageType(typ).String(), typ.String())
	}
}

func TestCloseStatus(t *testing.T) {
	closed := CloseError{Code: StatusGoingAway, Reason: `say "bye"`}
	require.Equal(t, StatusGoingAway, CloseStatus(closed))
	require.Equal(t, StatusGoingAway, CloseStatus(fmt.Errorf("reading: %w", closed)))
	require.Equal(t, StatusCode(-1), CloseStatus(nil))
	require.Equal(t, StatusCode(-1), CloseStatus(errors.New("other")))
	require.Equal(t, `status = StatusGoingAway, reason = "say \"bye\""`, closed.Error())
}
