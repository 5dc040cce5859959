package websocket_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/fullduplex-go/websocket"
)

// The last step of docs/gorilla-chat.md. The others are in
// compat/gorilla/example_chat_test.go.

// everyone has the members of the chat.
var everyone websocket.Group

// chatOptions bound what a member may send, and what may wait for it.
var chatOptions = &websocket.AcceptOptions{Config: websocket.Config{
	MaxMessageSize: 512,
	MaxQueuedBytes: 256 * 512,
	SlowConsumer:   websocket.CloseSlow,
}}

// serveMember passes on what a member says.
func serveMember(c *websocket.Conn) error {
	defer everyone.Add(c)()
	for m, err := range c.Messages(c.Context()) {
		switch {
		case err != nil:
			return err
		case m.Type != websocket.Text:
			return websocket.CloseUnsupportedData
		}
		text := bytes.TrimSpace(bytes.ReplaceAll(m.Data, []byte("\n"), []byte(" ")))
		everyone.Send(websocket.Prepare(websocket.Text, text))
	}
	return nil
}

// newChat returns the server of the chat.
func newChat() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/ws", websocket.HandlerFunc(chatOptions, serveMember))
	return mux
}

// A chatter is serveMember for connections of which no goroutine waits.
type chatter struct{}

// Opened lets c in. The Group removes it when it ends.
func (chatter) Opened(c *websocket.Conn) error {
	everyone.Add(c)
	return nil
}

// Receive passes on what c says.
func (chatter) Receive(_ *websocket.Conn, m websocket.Message) error {
	if m.Type != websocket.Text {
		return websocket.CloseUnsupportedData
	}
	everyone.Send(websocket.Prepare(websocket.Text, m.Data))
	return nil
}

// Closed has nothing to do.
func (chatter) Closed(*websocket.Conn, *websocket.CloseError) {}

// enterAny lets everybody in.
func enterAny(*http.Request) (websocket.Receiver, error) { return chatter{}, nil }

// A hub with its pumps, ported: two people talk, with a goroutine for each and
// without.
func ExampleGroup_chat() {
	for _, chat := range []http.Handler{newChat(), websocket.ReceiverHandler(chatOptions, enterAny)} {
		server := httptest.NewServer(chat)
		ali, kasim := enterChat(server.URL), enterChat(server.URL)
		fmt.Println("Ali hears:", hear(ali))
		if err := ali.WriteString(context.Background(), "hello, Kasim"); err != nil {
			log.Fatal(err)
		}
		fmt.Println("Kasim hears:", hear(kasim))
		ali.CloseNow()
		kasim.CloseNow()
		server.Close()
	}
	// Output:
	// Ali hears: I am here
	// Kasim hears: hello, Kasim
	// Ali hears: I am here
	// Kasim hears: hello, Kasim
}

// enterChat opens a connection, and returns it once it has heard itself.
func enterChat(url string) *websocket.Conn {
	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, url+"/ws", nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := c.WriteString(ctx, "I am here"); err != nil {
		log.Fatal(err)
	}
	hear(c)
	return c
}

// hear returns the next message.
func hear(c *websocket.Conn) string {
	_, text, err := c.Read(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	return string(text)
}
