package websocket

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// A recorder is a Receiver that keeps what it is told, and answers each message
// with answer, if that is set.
type recorder struct {
	opened func(c *Conn) error
	answer func(c *Conn, m Message) error

	mu     sync.Mutex
	told   []string
	closed chan *CloseError // gets the end; has room for one
}

// newRecorder returns a recorder that answers with answer, which may be nil.
func newRecorder(answer func(c *Conn, m Message) error) *recorder {
	return &recorder{answer: answer, closed: make(chan *CloseError, 1)}
}

// note keeps what happened.
func (r *recorder) note(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, what)
}

// history returns what happened, in order.
func (r *recorder) history() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.told, " ")
}

func (r *recorder) Opened(c *Conn) error {
	r.note("opened")
	if r.opened != nil {
		return r.opened(c)
	}
	return nil
}

func (r *recorder) Receive(c *Conn, m Message) error {
	r.note(string(m.Data))
	if r.answer != nil {
		return r.answer(c, m)
	}
	return nil
}

func (r *recorder) Closed(c *Conn, end *CloseError) {
	r.note("closed")
	r.closed <- end
}

// echoMessage is an answer that sends the message back.
func echoMessage(c *Conn, m Message) error { return c.Write(context.Background(), m.Type, m.Data) }

// deliverTo starts a server whose connections are handed over to r, and returns
// a client of it.
func deliverTo(t *testing.T, opts *AcceptOptions, r Receiver) *Conn {
	t.Helper()
	srv := httptest.NewServer(ReceiverHandler(opts, func(*http.Request) (Receiver, error) { return r, nil }))
	t.Cleanup(srv.Close)
	c, _, err := Dial(t.Context(), srv.URL, nil)
	require.NoError(t, err)
	t.Cleanup(func() { c.CloseNow() })
	return c
}

// TestDeliverTellsInOrder proves that a Receiver is told of the beginning, of
// each message and of the end, in this order and once.
func TestDeliverTellsInOrder(t *testing.T) {
	r := newRecorder(echoMessage)
	c := deliverTo(t, nil, r)
	for _, text := range []string{"one", "two", "three"} {
		require.NoError(t, c.WriteString(t.Context(), text))
		_, p, err := c.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, text, string(p))
	}
	require.NoError(t, c.Close(CloseGoingAway, "bye"))
	end := <-r.closed
	require.Equal(t, CloseGoingAway, end.Code)
	require.Equal(t, "bye", end.Reason)
	require.Equal(t, "opened one two three closed", r.history())
}

// TestDeliverError proves what a connection is closed with by an error of its
// Receiver, and that no message follows.
func TestDeliverError(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		code CloseCode
	}{
		{"code", ClosePolicyViolation, ClosePolicyViolation},
		{"CloseError", &CloseError{Code: 4001, Reason: "no"}, 4001},
		{"other", io.ErrNoProgress, CloseInternalError},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, from := range []string{"Opened", "Receive"} {
				r := newRecorder(func(c *Conn, m Message) error { return test.err })
				told := "opened first closed"
				if from == "Opened" {
					r.opened = func(*Conn) error { return test.err }
					told = "opened closed"
				}
				c := deliverTo(t, nil, r)
				c.WriteString(t.Context(), "first")
				c.WriteString(t.Context(), "second")
				_, _, err := c.Read(t.Context())
				require.ErrorIs(t, err, test.code)
				<-r.closed
				require.Equal(t, told, r.history())
			}
		})
	}
}

// TestDeliverTakesReadingOver proves that nobody else reads after Deliver, and
// that a second one is refused.
func TestDeliverTakesReadingOver(t *testing.T) {
	client, server := connPair(t, nil)
	r := newRecorder(nil)
	require.NoError(t, server.Deliver(r))
	require.ErrorIs(t, server.Deliver(r), errDelivered)
	require.ErrorIs(t, client.Deliver(nil), errNoReceiver)
	_, _, err := server.Read(t.Context())
	require.ErrorIs(t, err, errDelivered)
	_, _, err = server.ReadInto(t.Context(), nil)
	require.ErrorIs(t, err, errDelivered)
	_, _, err = server.Reader(t.Context())
	require.ErrorIs(t, err, errDelivered)
	for _, err := range server.Messages(t.Context()) {
		require.ErrorIs(t, err, errDelivered)
	}
	require.NoError(t, client.CloseNow())
	end := <-r.closed
	require.ErrorIs(t, end, net.ErrClosed)
	require.ErrorIs(t, server.Deliver(r), end.Code)
	_, _, err = server.Read(t.Context())
	require.True(t, errors.Is(err, end))
}
