package websocket_test

import (
	"bytes"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	fullduplex "github.com/fullduplex-go/websocket"
	websocket "github.com/fullduplex-go/websocket/compat/gorilla"
)

// The first two steps of docs/gorilla-chat.md. The third is in
// example_chat_test.go of the library.

const (
	writeWait  = 10 * time.Second  // for one message to a member
	pongWait   = 60 * time.Second  // for a sign of life from a member
	pingPeriod = pongWait * 9 / 10 // less than pongWait
	maxMessage = 512               // bytes
)

// A hub owns the members of a chat, on one goroutine.
type hub struct {
	members              map[*member]bool
	register, unregister chan *member
	broadcast            chan []byte
}

// run lets members in and out, and passes messages on. A member that does not
// keep up is dropped.
func (h *hub) run() {
	for {
		select {
		case m := <-h.register:
			h.members[m] = true
		case m := <-h.unregister:
			h.drop(m)
		case text := <-h.broadcast:
			for m := range h.members {
				select {
				case m.send <- text:
				default:
					h.drop(m)
				}
			}
		}
	}
}

// drop ends the goroutine that writes to m.
func (h *hub) drop(m *member) {
	if h.members[m] {
		delete(h.members, m)
		close(m.send)
	}
}

// A member is a connection, with the messages that wait to be written to it.
type member struct {
	hub  *hub
	conn *websocket.Conn
	send chan []byte
}

// readPump passes on what a member says. It is the only one that reads.
func (m *member) readPump() {
	defer func() {
		m.hub.unregister <- m
		m.conn.Close()
	}()
	m.conn.SetReadLimit(maxMessage)
	m.conn.SetReadDeadline(time.Now().Add(pongWait))
	m.conn.SetPongHandler(func(string) error {
		return m.conn.SetReadDeadline(time.Now().Add(pongWait))
	})
	for {
		_, text, err := m.conn.ReadMessage()
		if err != nil {
			if websocket.IsUnexpectedCloseError(err, websocket.CloseGoingAway, websocket.CloseAbnormalClosure) {
				log.Print(err)
			}
			return
		}
		m.hub.broadcast <- oneLine(text)
	}
}

// writePump writes to a member, and sends it Pings. It is the only one that
// writes.
func (m *member) writePump() {
	ticker := time.NewTicker(pingPeriod)
	defer func() {
		ticker.Stop()
		m.conn.Close()
	}()
	for {
		select {
		case text, ok := <-m.send:
			m.conn.SetWriteDeadline(time.Now().Add(writeWait))
			if !ok {
				m.conn.WriteMessage(websocket.CloseMessage, nil)
				return
			}
			if err := m.conn.WriteMessage(websocket.TextMessage, text); err != nil {
				return
			}
		case <-ticker.C:
			m.conn.SetWriteDeadline(time.Now().Add(writeWait))
			if err := m.conn.WriteMessage(websocket.PingMessage, nil); err != nil {
				return
			}
		}
	}
}

// ServeHTTP lets a client in.
func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	upgrader := websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		log.Print(err)
		return
	}
	m := &member{hub: h, conn: conn, send: make(chan []byte, 256)}
	h.register <- m
	go m.writePump()
	go m.readPump()
}

// oneLine returns text without line breaks.
func oneLine(text []byte) []byte {
	return bytes.TrimSpace(bytes.ReplaceAll(text, []byte("\n"), []byte(" ")))
}

// everyone takes the hub's place.
var everyone fullduplex.Group

// halfway is the chat without the hub and without the goroutines that write,
// but with the loop that reads.
func halfway() http.Handler {
	opts := &fullduplex.AcceptOptions{Config: fullduplex.Config{
		MaxMessageSize: maxMessage,
		SlowConsumer:   fullduplex.CloseSlow,
	}}
	return fullduplex.HandlerFunc(opts, func(c *fullduplex.Conn) error {
		defer everyone.Add(c)()
		readAll(websocket.Wrap(c))
		return nil
	})
}

// readAll passes on what a member says.
func readAll(conn *websocket.Conn) {
	for {
		_, text, err := conn.ReadMessage()
		if err != nil {
			return
		}
		everyone.Send(fullduplex.Prepare(fullduplex.Text, oneLine(text)))
	}
}

// Two people talk, in the chat as it was and in the one that is half ported.
func ExampleWrap_chat() {
	h := &hub{
		members:    make(map[*member]bool),
		register:   make(chan *member),
		unregister: make(chan *member),
		broadcast:  make(chan []byte),
	}
	go h.run()
	talk(h)
	talk(halfway())
	// Output:
	// Ali hears: I am here
	// Kasim hears: hello, Kasim
	// Ali hears: I am here
	// Kasim hears: hello, Kasim
}

// talk prints what two people hear of each other.
func talk(chat http.Handler) {
	server := httptest.NewServer(chat)
	defer server.Close()
	url := "ws" + strings.TrimPrefix(server.URL, "http")
	ali, kasim := enter(url), enter(url)
	defer ali.Close()
	defer kasim.Close()
	fmt.Println("Ali hears:", hear(ali))
	if err := ali.WriteMessage(websocket.TextMessage, []byte("hello,\nKasim")); err != nil {
		log.Fatal(err)
	}
	fmt.Println("Kasim hears:", hear(kasim))
}

// enter opens a connection, and returns it once it has heard itself.
func enter(url string) *websocket.Conn {
	c, _, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := c.WriteMessage(websocket.TextMessage, []byte("I am here")); err != nil {
		log.Fatal(err)
	}
	hear(c)
	return c
}

// hear returns the next message.
func hear(c *websocket.Conn) string {
	_, text, err := c.ReadMessage()
	if err != nil {
		log.Fatal(err)
	}
	return string(text)
}
