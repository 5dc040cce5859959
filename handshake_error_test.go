package websocket

import (
	"errors"
	"testing"
)

func TestHandshakeErrorText(t *testing.T) {
	cause := errors.New("websocket: why")
	e := &HandshakeError{Status: 403, Reason: "origin is not allowed", Err: cause}
	if got, want := e.Error(), "websocket: opening handshake: origin is not allowed (HTTP status 403): why"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(e, cause) {
		t.Error("cause is lost")
	}
}
