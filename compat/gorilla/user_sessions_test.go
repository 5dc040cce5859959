package websocket_test

import (
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	websocket "github.com/fullduplex-go/websocket/compat/gorilla"
	gorilla "github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// sessions are a library of the kind that hides connections behind callbacks:
// each session has a queue, and messages go to those that a filter chooses.
type sessions struct {
	up        websocket.Upgrader
	onMessage func(s *session, text []byte)
	onEnd     func(s *session, code int, text string)

	mu  sync.Mutex
	all map[*session]bool
}

// A session is one connection with what the application knows of it.
type session struct {
	conn  *websocket.Conn
	queue chan envelope
	keys  map[string]string
}

// An envelope is a message of any type.
type envelope struct {
	messageType int
	data        []byte
}

// errFull is returned for a session that takes nothing.
var errFull = errors.New("queue is full")

// handle serves a request as a session, until that ends.
func (l *sessions) handle(w http.ResponseWriter, r *http.Request, keys map[string]string) error {
	conn, err := l.up.Upgrade(w, r, w.Header())
	if err != nil {
		return err
	}
	s := &session{conn, make(chan envelope, 16), keys}
	l.mu.Lock()
	if l.all == nil {
		l.all = make(map[*session]bool)
	}
	l.all[s] = true
	l.mu.Unlock()
	go s.writeLoop()
	s.readLoop(l)
	l.mu.Lock()
	delete(l.all, s)
	l.mu.Unlock()
	close(s.queue)
	return conn.Close()
}

// readLoop calls back with what comes.
func (s *session) readLoop(l *sessions) {
	s.conn.SetCloseHandler(func(code int, text string) error {
		l.onEnd(s, code, text)
		return s.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, "seen"), time.Now().Add(time.Second))
	})
	for {
		_, text, err := s.conn.ReadMessage()
		if err != nil {
			return
		}
		l.onMessage(s, text)
	}
}

// writeLoop sends what is queued.
func (s *session) writeLoop() {
	for e := range s.queue {
		s.conn.SetWriteDeadline(time.Now().Add(patience))
		if s.conn.WriteMessage(e.messageType, e.data) != nil {
			s.conn.Close()
		}
	}
}

// write queues a message.
func (s *session) write(e envelope) error {
	select {
	case s.queue <- e:
		return nil
	default:
		return errFull
	}
}

// broadcast queues a message for the sessions that a filter chooses.
func (l *sessions) broadcast(text string, chosen func(*session) bool) (failed error) {
	return l.each(envelope{websocket.TextMessage, []byte(text)}, chosen)
}

// closeAll closes all sessions with a code and a text.
func (l *sessions) closeAll(code int, text string) error {
	return l.each(envelope{websocket.CloseMessage, websocket.FormatCloseMessage(code, text)}, func(*session) bool { return true })
}

// each queues e for the sessions that a filter chooses.
func (l *sessions) each(e envelope, chosen func(*session) bool) (failed error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.all {
		if chosen(s) {
			failed = errors.Join(failed, s.write(e))
		}
	}
	return failed
}

// count returns how many sessions there are.
func (l *sessions) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all)
}

// TestSessions proves that messages reach those that a filter chooses, and that
// ends of both sides have their code and text.
func TestSessions(t *testing.T) {
	ends := make(chan string, 10)
	var l sessions
	l.onEnd = func(s *session, code int, text string) { ends <- s.keys["name"] + " " + text }
	l.onMessage = func(from *session, text []byte) {
		l.broadcast(from.keys["name"]+": "+string(text), func(s *session) bool { return s.keys["room"] == from.keys["room"] })
	}
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		l.handle(w, r, map[string]string{"name": r.FormValue("name"), "room": r.FormValue("room")})
	})
	awaitCount := func(n int) {
		require.Eventually(t, func() bool { return l.count() == n }, patience, time.Millisecond)
	}
	conns := make(map[string]*gorilla.Conn)
	for i, name := range []string{"anna", "bert", "carl"} {
		c, _, err := gorilla.DefaultDialer.Dial(url+"/?name="+name+"&room="+name[:1], nil)
		require.NoError(t, err)
		if name == "carl" {
			awaitCount(i + 1)
			c.Close()
			awaitCount(i)
			c, _, err = gorilla.DefaultDialer.Dial(url+"/?name=carl&room=a", nil)
		}
		require.NoError(t, err)
		defer c.Close()
		c.SetReadDeadline(soon())
		conns[name] = c
		awaitCount(i + 1)
	}
	require.NoError(t, conns["anna"].WriteMessage(gorilla.TextMessage, []byte("hello")))
	for _, name := range []string{"anna", "carl"} {
		_, text, err := conns[name].ReadMessage()
		require.NoError(t, err)
		require.Equal(t, "anna: hello", string(text))
	}
	conns["carl"].WriteControl(gorilla.CloseMessage, gorilla.FormatCloseMessage(4100, "I leave"), soon())
	require.Equal(t, "carl I leave", receive(t, ends))
	_, _, err := conns["carl"].ReadMessage()
	require.Equal(t, &gorilla.CloseError{Code: 4100, Text: "seen"}, err)
	require.NoError(t, l.closeAll(1012, "restart"))
	for _, name := range []string{"anna", "bert"} {
		_, _, err := conns[name].ReadMessage()
		require.Equal(t, &gorilla.CloseError{Code: 1012, Text: "restart"}, err)
	}
	awaitCount(0)
}
