package websocket_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	websocket "github.com/fullduplex-go/websocket/compat/gorilla"
	gorilla "github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// A chatRoom is the pattern of most servers that were written for the original:
// one goroutine owns the members, and each member has one that reads and one
// that writes. Pings keep a member in the room, and their Pongs move the
// deadline of its reads.
type chatRoom struct {
	pingEvery, pongWait time.Duration

	join, leave chan *chatMember
	say         chan []byte
	joined      chan int // how many are in the room, after each change
}

// A chatMember is one connection.
type chatMember struct {
	room *chatRoom
	conn *websocket.Conn
	send chan []byte
}

// run owns the members until the test ends.
func (r *chatRoom) run(done <-chan struct{}) {
	members := make(map[*chatMember]bool)
	drop := func(m *chatMember) {
		if members[m] {
			delete(members, m)
			close(m.send)
			r.joined <- len(members)
		}
	}
	for {
		select {
		case <-done:
			return
		case m := <-r.join:
			members[m] = true
			r.joined <- len(members)
		case m := <-r.leave:
			drop(m)
		case text := <-r.say:
			for m := range members {
				select {
				case m.send <- text:
				default:
					drop(m)
				}
			}
		}
	}
}

// ServeHTTP lets a client in.
func (r *chatRoom) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	up := websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}
	conn, err := up.Upgrade(w, req, nil)
	if err != nil {
		return
	}
	m := &chatMember{r, conn, make(chan []byte, 256)}
	r.join <- m
	go m.writePump()
	go m.readPump()
}

// readPump says what the member says.
func (m *chatMember) readPump() {
	defer func() {
		m.room.leave <- m
		m.conn.Close()
	}()
	m.conn.SetReadLimit(512)
	m.conn.SetReadDeadline(time.Now().Add(m.room.pongWait))
	m.conn.SetPongHandler(func(string) error {
		return m.conn.SetReadDeadline(time.Now().Add(m.room.pongWait))
	})
	for {
		_, text, err := m.conn.ReadMessage()
		if err != nil {
			return
		}
		m.room.say <- text
	}
}

// writePump sends what is said, what waits in one message, and Pings.
func (m *chatMember) writePump() {
	ticker := time.NewTicker(m.room.pingEvery)
	defer func() {
		ticker.Stop()
		m.conn.Close()
	}()
	for {
		select {
		case text, ok := <-m.send:
			m.conn.SetWriteDeadline(time.Now().Add(patience))
			if !ok {
				m.conn.WriteMessage(websocket.CloseMessage, []byte{})
				return
			}
			w, err := m.conn.NextWriter(websocket.TextMessage)
			if err != nil {
				return
			}
			w.Write(text)
			for range len(m.send) {
				w.Write([]byte{'\n'})
				w.Write(<-m.send)
			}
			if err := w.Close(); err != nil {
				return
			}
		case <-ticker.C:
			m.conn.SetWriteDeadline(time.Now().Add(patience))
			if err := m.conn.WriteMessage(websocket.PingMessage, nil); err != nil {
				return
			}
		}
	}
}

// startChat serves a room.
func startChat(t *testing.T, pingEvery, pongWait time.Duration) (*chatRoom, string) {
	room := &chatRoom{
		pingEvery: pingEvery, pongWait: pongWait,
		join: make(chan *chatMember), leave: make(chan *chatMember), say: make(chan []byte), joined: make(chan int, 100),
	}
	done := make(chan struct{})
	go room.run(done)
	t.Cleanup(func() { close(done) })
	return room, serve(t, room.ServeHTTP)
}

// TestChat proves that members of a room hear each other, and leave it.
func TestChat(t *testing.T) {
	room, url := startChat(t, time.Hour, time.Hour)
	var members []*gorilla.Conn
	for i := range 5 {
		c, _, err := gorilla.DefaultDialer.Dial(url, nil)
		require.NoError(t, err)
		defer c.Close()
		c.SetReadDeadline(soon())
		require.Equal(t, i+1, receive(t, room.joined))
		members = append(members, c)
	}
	for i, speaker := range members {
		require.NoError(t, speaker.WriteMessage(gorilla.TextMessage, fmt.Append(nil, i)))
		for _, listener := range members {
			_, text, err := listener.ReadMessage()
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(i), string(text))
		}
	}
	members[0].WriteControl(gorilla.CloseMessage, gorilla.FormatCloseMessage(1000, ""), soon())
	members[1].Close()
	members[2].WriteMessage(gorilla.TextMessage, make([]byte, 513))
	for left := 4; left >= 2; left-- {
		require.Equal(t, left, receive(t, room.joined))
	}
	_, _, err := members[2].ReadMessage()
	require.True(t, gorilla.IsCloseError(err, gorilla.CloseMessageTooBig), err)
	require.NoError(t, members[3].WriteMessage(gorilla.TextMessage, []byte("still here")))
	_, text, err := members[4].ReadMessage()
	require.NoError(t, err)
	require.Equal(t, "still here", string(text))
}

// TestChatKeepsThePresent proves that a member that answers Pings outlives many
// deadlines, and that one that does not is dropped.
func TestChatKeepsThePresent(t *testing.T) {
	room, url := startChat(t, 100*time.Millisecond, 2*time.Second)
	present, _, err := gorilla.DefaultDialer.Dial(url, nil)
	require.NoError(t, err)
	defer present.Close()
	require.Equal(t, 1, receive(t, room.joined))
	silent, _, err := gorilla.DefaultDialer.Dial(url, nil)
	require.NoError(t, err)
	defer silent.Close()
	require.Equal(t, 2, receive(t, room.joined))
	silent.SetPingHandler(func(string) error { return nil })
	pinged := make(chan bool, 100)
	answer := present.PingHandler()
	present.SetPingHandler(func(s string) error { pinged <- true; return answer(s) })
	go present.ReadMessage()
	_, _, err = silent.ReadMessage()
	require.Error(t, err)
	require.Equal(t, 1, receive(t, room.joined))
	for len(pinged) > 0 {
		<-pinged
	}
	receive(t, pinged)
	require.Empty(t, room.joined)
}
