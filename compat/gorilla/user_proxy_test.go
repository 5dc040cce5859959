package websocket_test

import (
	"net/http"
	"testing"
	"time"

	websocket "github.com/fullduplex-go/websocket/compat/gorilla"
	gorilla "github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// relay serves a request by connecting to a backend and passing on everything
// that comes on one side to the other: messages, Pings, Pongs and Close frames.
func relay(w http.ResponseWriter, r *http.Request, backend string) {
	out, response, err := websocket.DefaultDialer.Dial(backend+r.URL.Path, nil)
	if err != nil {
		if response != nil {
			http.Error(w, "backend refused", response.StatusCode)
		}
		return
	}
	defer out.Close()
	in, err := new(websocket.Upgrader).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer in.Close()
	done := make(chan error, 2)
	go pass(in, out, done)
	go pass(out, in, done)
	<-done
	<-done
}

// pass passes on what comes from one side until that ends.
func pass(from, to *websocket.Conn, done chan<- error) {
	passControl := func(messageType int) func(string) error {
		return func(data string) error {
			return to.WriteControl(messageType, []byte(data), time.Now().Add(time.Second))
		}
	}
	from.SetPingHandler(passControl(websocket.PingMessage))
	from.SetPongHandler(passControl(websocket.PongMessage))
	from.SetCloseHandler(func(code int, text string) error {
		to.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, text), time.Now().Add(time.Second))
		return nil
	})
	for {
		messageType, p, err := from.ReadMessage()
		if err == nil {
			err = to.WriteMessage(messageType, p)
		}
		if err != nil {
			if _, ok := err.(*websocket.CloseError); !ok {
				to.Close()
			}
			done <- err
			return
		}
	}
}

// TestRelay proves that both ends of a relay see each other's frames, in order,
// and each other's end.
func TestRelay(t *testing.T) {
	backends := make(chan *gorilla.Conn, 1)
	backend := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refused" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		if c, err := new(gorilla.Upgrader).Upgrade(w, r, nil); err == nil {
			backends <- c
		}
	})
	front := serve(t, func(w http.ResponseWriter, r *http.Request) { relay(w, r, backend) })
	_, response, err := gorilla.DefaultDialer.Dial(front+"/refused", nil)
	require.Error(t, err)
	require.Equal(t, http.StatusForbidden, response.StatusCode)

	client, _, err := gorilla.DefaultDialer.Dial(front, nil)
	require.NoError(t, err)
	defer client.Close()
	server := receive(t, backends)
	defer server.Close()
	for name, ends := range map[string][2]*gorilla.Conn{"forth": {client, server}, "back": {server, client}} {
		pinged, ponged, said := make(chan string, 1), make(chan string, 1), make(chan string, 1)
		ends[0].SetPongHandler(func(s string) error { ponged <- s; return nil })
		answer := ends[1].PingHandler()
		ends[1].SetPingHandler(func(s string) error { pinged <- s; return answer(s) })
		require.NoError(t, ends[0].WriteControl(gorilla.PingMessage, []byte(name), soon()))
		require.NoError(t, ends[0].WriteMessage(gorilla.TextMessage, []byte(name)))
		go func() {
			_, p, _ := ends[1].ReadMessage()
			said <- string(p)
		}()
		require.Equal(t, name, receive(t, pinged))
		require.Equal(t, name, receive(t, said))
		require.NoError(t, ends[1].WriteMessage(gorilla.TextMessage, []byte("done")))
		_, _, err := ends[0].ReadMessage()
		require.NoError(t, err)
		require.Equal(t, name, receive(t, ponged))
	}
	client.WriteControl(gorilla.CloseMessage, gorilla.FormatCloseMessage(4321, "enough"), soon())
	_, _, err = server.ReadMessage()
	require.Equal(t, &gorilla.CloseError{Code: 4321, Text: "enough"}, err)
	_, _, err = client.ReadMessage()
	require.True(t, gorilla.IsCloseError(err, 4321), err)
}
