package main

import (
	"bytes"
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket"
)

func TestEcho(t *testing.T) {
	s := httptest.NewServer(websocket.HandlerFunc(nil, echo))
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, _, err := websocket.Dial(ctx, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	for _, sent := range []websocket.Message{
		{Type: websocket.Text, Data: []byte("hello")},
		{Type: websocket.Binary, Data: []byte{0, 1, 2}},
		{Type: websocket.Text, Data: nil},
	} {
		if err := c.Write(ctx, sent.Type, sent.Data); err != nil {
			t.Fatal(err)
		}
		kind, data, err := c.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if kind != sent.Type || !bytes.Equal(data, sent.Data) {
			t.Errorf("sent %v %q, got %v %q", sent.Type, sent.Data, kind, data)
		}
	}
	if err := c.Close(websocket.CloseNormal, ""); err != nil {
		t.Error(err)
	}
}
