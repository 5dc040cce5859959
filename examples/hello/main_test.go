package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket"
)

func TestHello(t *testing.T) {
	s := httptest.NewServer(websocket.HandlerFunc(nil, func(c *websocket.Conn) error {
		_, data, err := c.Read(c.Context())
		if err != nil {
			return err
		}
		if err := c.WriteString(c.Context(), string(data)+" yourself"); err != nil {
			return err
		}
		_, _, err = c.Read(c.Context())
		return err
	}))
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	answer, err := hello(ctx, s.URL)
	if err != nil {
		t.Fatal(err)
	}
	if answer != "hello yourself" {
		t.Errorf("got %q", answer)
	}
}

func TestHelloToNobody(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	if answer, err := hello(t.Context(), s.URL); err == nil {
		t.Errorf("got %q, want an error", answer)
	}
}
