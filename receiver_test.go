package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// serveReceivers starts a server whose connections are handed over to r.
func serveReceivers(t *testing.T, opts *AcceptOptions, r Receiver) *httptest.Server {
	t.Helper()
	srv := newQuietServer(ReceiverHandler(opts, func(*http.Request) (Receiver, error) { return r, nil }))
	srv.Start()
	t.Cleanup(srv.Close)
	return srv
}

// deliverTo starts a server whose connections are handed over to r, and returns
// a client of it.
func deliverTo(t *testing.T, opts *AcceptOptions, r Receiver) *Conn {
	t.Helper()
	return dial(t, serveReceivers(t, opts, r))
}

// A echoReceiver echoes on any number of connections.
type echoReceiver struct{}

// Opened does nothing.
func (echoReceiver) Opened(*Conn) error { return nil }

// Receive sends the message back.
func (echoReceiver) Receive(c *Conn, m Message) error { return echoMessage(c, m) }

// Closed does nothing.
func (echoReceiver) Closed(*Conn, *CloseError) {}

// TestReceiverIsToldInOrder proves that a Receiver is told of the beginning, of
// each message and of the end, in this order and once.
func TestReceiverIsToldInOrder(t *testing.T) {
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

// TestReceiverError proves what a connection is closed with by an error of its
// Receiver, and that no message follows.
func TestReceiverError(t *testing.T) {
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

// TestReceiverEnds lets the methods of a Receiver end in every way, and looks at
// what the peer and the logs are told: the same as of a function given to
// Handler.
func TestReceiverEnds(t *testing.T) {
	for _, c := range endings {
		for _, from := range []string{"Opened", "Receive"} {
			for _, withLogger := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s in %s, Logger %t", c.name, from, withLogger), func(t *testing.T) {
					if c.name == "nil" {
						t.Skip("nil does not end a delivery")
					}
					r := newRecorder(func(*Conn, Message) error { return c.end() })
					if from == "Opened" {
						r.opened = func(*Conn) error { return c.end() }
					}
					var logged, serverLogged sink
					opts := new(AcceptOptions)
					if withLogger {
						opts.Logger = logged.logger()
					}
					h := ReceiverHandler(opts, func(*http.Request) (Receiver, error) { return r, nil })
					_, nc := rawTo(t, h, &serverLogged, request())
					io.WriteString(nc, maskedHello)
					c.readClose(t, nc)
					nc.Close()
					require.NotNil(t, <-r.closed)
					c.checkLogs(t, withLogger, &logged, &serverLogged, nc.LocalAddr().String())
				})
			}
		}
	}
}

// TestClosedEnds lets Closed panic, and end its goroutine: nobody else notices,
// and the Registry is told all the same.
func TestClosedEnds(t *testing.T) {
	for _, c := range endings {
		t.Run(c.name, func(t *testing.T) {
			var registry Registry
			var logged sink
			r := newRecorder(nil)
			r.ended = func(*Conn, *CloseError) { c.end() }
			srv := serveReceivers(t, &AcceptOptions{Registry: &registry, Config: Config{Logger: logged.logger()}}, r)
			require.NoError(t, dial(t, srv).Close(CloseNormal, ""))
			<-r.closed
			mustShutDown(t, &registry)
			require.Equal(t, strings.HasPrefix(c.name, "panic"), strings.Contains(logged.String(), "handler panicked"), logged.String())
		})
	}
}

// TestReceiverHandlerAsks is about what the function given to ReceiverHandler
// returns.
func TestReceiverHandlerAsks(t *testing.T) {
	require.PanicsWithValue(t, "websocket: ReceiverHandler without a function", func() { ReceiverHandler(nil, nil) })
	for _, c := range []struct {
		name   string
		to     Receiver
		err    error
		status int
	}{
		{"a Receiver", echoReceiver{}, nil, 101},
		{"an error", nil, io.EOF, 403},
		{"both", echoReceiver{}, io.EOF, 403},
		{"a HandshakeError", nil, &HandshakeError{Status: 401, Reason: "who are you"}, 401},
		{"nothing", nil, nil, 500},
	} {
		t.Run(c.name, func(t *testing.T) {
			var registry Registry
			h := ReceiverHandler(&AcceptOptions{Registry: &registry}, func(r *http.Request) (Receiver, error) {
				require.Equal(t, "/chat", r.URL.Path)
				return c.to, c.err
			})
			response, nc := rawTo(t, h, io.Discard, request())
			require.Equal(t, c.status, response.StatusCode)
			if c.status == 101 {
				io.WriteString(nc, maskedHello)
				wantHello(t, nc)
			}
			nc.Close()
			mustShutDown(t, &registry)
		})
	}
}

// receiverStarts are the ways to a connection that is handed over at a server,
// for the requests that reach it.
var receiverStarts = map[string]func(opts *AcceptOptions, to func() Receiver) http.Handler{
	"ReceiverHandler": func(opts *AcceptOptions, to func() Receiver) http.Handler {
		return ReceiverHandler(opts, func(*http.Request) (Receiver, error) { return to(), nil })
	},
	"Handler": func(opts *AcceptOptions, to func() Receiver) http.Handler {
		return Handler(opts, func(*http.Request) (func(c *Conn) error, error) {
			return func(c *Conn) error { return c.Deliver(to()) }, nil
		})
	},
	"Accept": func(opts *AcceptOptions, to func() Receiver) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c, err := Accept(w, r, opts); err == nil {
				c.Deliver(to())
			}
		})
	},
}

// TestReceiverGetsEarlyMessages sends messages in the segment of the request, and
// cut anywhere in it: they are delivered.
func TestReceiverGetsEarlyMessages(t *testing.T) {
	early := bytes.Repeat(clientFrame(0x82, string(noise(500, 1))), 3)
	wire := request() + string(early)
	for name, start := range receiverStarts {
		for _, cut := range []int{len(wire), len(request()) + 1, len(request()) + 700, len(request())} {
			t.Run(fmt.Sprint(name, ", cut at ", cut), func(t *testing.T) {
				srv := newQuietServer(start(nil, func() Receiver { return echoReceiver{} }))
				srv.Start()
				defer srv.Close()
				nc, err := net.Dial("tcp", srv.Listener.Addr().String())
				require.NoError(t, err)
				_, nc = roundTrip(t, nc, wire[:cut])
				io.WriteString(nc, wire[cut:])
				mustEchoEarly(t, nc)
			})
		}
	}
	for _, e := range rawEntryPoints {
		if e.role == client || e.isHTTP2() {
			continue
		}
		for _, cut := range []int{len(wire), len(request()) + 1} {
			near, far := tcpPair(t)
			go e.open(near, Config{}, func(c *Conn, err error) {
				if err == nil {
					c.Deliver(echoReceiver{})
				}
			})
			_, nc := roundTrip(t, far, wire[:cut])
			io.WriteString(nc, wire[cut:])
			mustEchoEarly(t, nc)
		}
	}
}

// mustEchoEarly reads the echo of three frames with noise.
func mustEchoEarly(t *testing.T, nc net.Conn) {
	t.Helper()
	want := bytes.Repeat(append([]byte{0x82, 126, 0x01, 0xf4}, noise(500, 1)...), 3)
	got := make([]byte, len(want))
	_, err := io.ReadFull(nc, got)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
}

// TestClientsGetEarlyMessages sends messages to clients together with the
// response of the handshake, and takes them over after each way to dial.
func TestClientsGetEarlyMessages(t *testing.T) {
	opened := map[string]func(t *testing.T, nc net.Conn) *Conn{
		"Dial": func(t *testing.T, nc net.Conn) *Conn {
			c, _, err := Dial(t.Context(), "ws://server.example.com/", &DialOptions{NetDial: func(context.Context, string, string) (net.Conn, error) { return nc, nil }})
			require.NoError(t, err)
			return c
		},
		"DialConn": func(t *testing.T, nc net.Conn) *Conn {
			c, _, err := DialConn(t.Context(), nc, "ws://server.example.com/", nil)
			require.NoError(t, err)
			return c
		},
		"NewConn": func(t *testing.T, nc net.Conn) *Conn {
			other := &rawPeer{nc: nc, role: client}
			require.NoError(t, other.shakeHands())
			c, err := NewConn(nc, &ConnOptions{Client: true, Buffered: other.in})
			require.NoError(t, err)
			return c
		},
		"Redial": func(t *testing.T, nc net.Conn) *Conn {
			opts := &DialOptions{NetDial: func(context.Context, string, string) (net.Conn, error) { return nc, nil }}
			for c, err := range Redial(t.Context(), "ws://server.example.com/", opts, Backoff{}) {
				require.NoError(t, err)
				return c
			}
			return nil
		},
	}
	for name, open := range opened {
		t.Run(name, func(t *testing.T) {
			near, far := tcpPair(t)
			go func() {
				newRawPeer(far, client).respond("\x81\x03one\x81\x03two\x81\x05thr")
				io.WriteString(far, "ee\x88\x02\x03\xe8")
			}()
			r := newRecorder(nil)
			require.NoError(t, open(t, near).Deliver(r))
			eventually(t, "the messages", func() bool { return strings.HasPrefix(r.history(), "opened one two three") })
			far.Close()
			require.Equal(t, CloseNormal, (<-r.closed).Code)
			require.Equal(t, "opened one two three closed", r.history())
		})
	}
}

// TestReceiverBehindRedial hands the connections of Redial over, one after the
// other: the body waits for their ends.
func TestReceiverBehindRedial(t *testing.T) {
	srv := serveReceivers(t, nil, echoReceiver{})
	n := 0
	for c, err := range Redial(t.Context(), srv.URL, nil, Backoff{Min: time.Millisecond, Max: time.Millisecond}) {
		if err != nil {
			require.ErrorIs(t, err, CloseGoingAway)
			continue
		}
		r := newRecorder(func(c *Conn, m Message) error { return CloseGoingAway })
		r.opened = func(c *Conn) error { return c.WriteString(context.Background(), "hello") }
		require.NoError(t, c.Deliver(r))
		<-r.closed
		require.Equal(t, "opened hello closed", r.history())
		if n++; n == 3 {
			break
		}
	}
}

// TestReceiverOverTLS serves Receivers over TLS, at both ends.
func TestReceiverOverTLS(t *testing.T) {
	srv := newQuietServer(ReceiverHandler(nil, func(*http.Request) (Receiver, error) { return echoReceiver{}, nil }))
	srv.StartTLS()
	defer srv.Close()
	c, _, err := Dial(t.Context(), "wss"+srv.URL[len("https"):], &DialOptions{TLS: trust(srv)})
	require.NoError(t, err)
	n := 0
	r := newRecorder(func(c *Conn, m Message) error {
		if n++; n == 100 || len(m.Data) != 100*n {
			return &CloseError{Code: 4000, Reason: fmt.Sprint(n)}
		}
		return c.Write(context.Background(), Binary, make([]byte, 100*(n+1)))
	})
	require.NoError(t, c.Deliver(r))
	require.NoError(t, c.Write(t.Context(), Binary, make([]byte, 100)))
	require.Equal(t, "100", (<-r.closed).Reason)
}

// A blocking is a Receiver of any number of connections, which works on a
// message "work" until it may go on, and echoes.
type blocking struct {
	echoReceiver
	at     atomic.Int32 // calls that wait
	closed atomic.Int32 // calls of Closed
	goOn   chan struct{}
}

// Receive waits if it is to work.
func (b *blocking) Receive(c *Conn, m Message) error {
	if string(m.Data) == "work" {
		b.at.Add(1)
		<-b.goOn
		b.at.Add(-1)
	}
	return echoMessage(c, m)
}

// Closed counts.
func (b *blocking) Closed(*Conn, *CloseError) { b.closed.Add(1) }

// TestThousandReceiversAtWork has a thousand connections whose Receive waits.
// While all of them do, others are served, and their own Pings answered; then
// each goes on.
func TestThousandReceiversAtWork(t *testing.T) {
	const busy, quick, echoes = 1000, 20, 50
	var registry Registry
	r := &blocking{goOn: make(chan struct{})}
	srv := serveReceivers(t, &AcceptOptions{Registry: &registry}, r)
	var slow []net.Conn
	for range busy {
		nc, err := net.Dial("tcp", srv.Listener.Addr().String())
		require.NoError(t, err)
		_, nc = roundTrip(t, nc, request())
		nc.SetDeadline(time.Now().Add(time.Minute))
		nc.Write(clientFrame(0x81, "work"))
		slow = append(slow, nc)
	}
	eventually(t, "all are at work", func() bool { return r.at.Load() == busy })
	var clients sync.WaitGroup
	for range quick {
		clients.Go(func() {
			c, _, err := Dial(t.Context(), srv.URL, nil)
			if !assert.NoError(t, err) {
				return
			}
			for range echoes {
				mustEcho(t, c)
			}
			assert.NoError(t, c.Close(CloseNormal, ""))
		})
	}
	clients.Wait()
	require.EqualValues(t, busy, r.at.Load())
	for _, nc := range slow {
		nc.Write(append(clientFrame(0x89, "ping"), clientFrame(0x81, "next")...))
	}
	for _, nc := range slow {
		wantFrame(t, nc, "\x8a\x04ping")
	}
	require.EqualValues(t, busy, r.at.Load())
	close(r.goOn)
	for _, nc := range slow {
		wantFrame(t, nc, "\x81\x04work\x81\x04next")
		nc.Close()
	}
	mustShutDown(t, &registry)
	require.EqualValues(t, busy+quick, r.closed.Load())
}

// wantFrame reads these bytes.
func wantFrame(t *testing.T, nc net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	_, err := io.ReadFull(nc, got)
	require.NoError(t, err)
	require.Equal(t, want, string(got))
}

// TestReceiversAtOnce proves that connections are served at once: each Receive
// waits for all others.
func TestReceiversAtOnce(t *testing.T) {
	const all = 100
	r := &blocking{goOn: make(chan struct{})}
	srv := serveReceivers(t, nil, r)
	var clients []*Conn
	for range all {
		c := dial(t, srv)
		require.NoError(t, c.WriteString(t.Context(), "work"))
		clients = append(clients, c)
	}
	eventually(t, "all at once", func() bool { return r.at.Load() == all })
	close(r.goOn)
	for _, c := range clients {
		_, p, err := c.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, "work", string(p))
	}
}

// TestRegistryWaitsForClosed proves that Shutdown of the Registry does not return
// before Closed has, however the connection was handed over.
func TestRegistryWaitsForClosed(t *testing.T) {
	starts := map[string]func(opts *AcceptOptions, to func() Receiver) http.Handler{
		"ReceiverHandler": receiverStarts["ReceiverHandler"],
		"Handler":         receiverStarts["Handler"],
		"Handler, error": func(opts *AcceptOptions, to func() Receiver) http.Handler {
			return HandlerFunc(opts, func(c *Conn) error { return errors.Join(c.Deliver(to()), CloseGoingAway) })
		},
		"Handler, panic": func(opts *AcceptOptions, to func() Receiver) http.Handler {
			return HandlerFunc(opts, func(c *Conn) error { c.Deliver(to()); panic("after Deliver") })
		},
	}
	for name, start := range starts {
		t.Run(name, func(t *testing.T) {
			var registry Registry
			closing, goOn := make(chan bool), make(chan bool)
			r := newRecorder(nil)
			r.ended = func(*Conn, *CloseError) {
				closing <- true
				<-goOn
			}
			srv := newQuietServer(start(&AcceptOptions{Registry: &registry}, func() Receiver { return r }))
			srv.Start()
			defer srv.Close()
			c := dial(t, srv)
			go readToEnd(c)
			eventually(t, "the delivery", func() bool { return strings.HasPrefix(r.history(), "opened") })
			down := make(chan error, 1)
			go func() { down <- registry.Shutdown(context.Background(), CloseServiceRestart, "") }()
			<-closing
			eventually(t, "no connection", func() bool { return registry.Len() == 0 })
			select {
			case err := <-down:
				t.Fatalf("Shutdown has returned before Closed: %v", err)
			case <-time.After(20 * time.Millisecond):
			}
			close(goOn)
			require.NoError(t, <-down)
			require.Equal(t, "opened closed", r.history())
		})
	}
}

// TestReceiverIsToldOfConnectionThatEndedBefore ends a connection before its
// delivery begins: its Receiver, which was made for it, is told of both ends, and
// the Registry has nothing left.
func TestReceiverIsToldOfConnectionThatEndedBefore(t *testing.T) {
	var registry Registry
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	r := newRecorder(nil)
	opts := &AcceptOptions{Registry: &registry}
	opts.Trace = &Trace{Handshake: func(*Conn, HandshakeTrace) { registry.Shutdown(ended, CloseGoingAway, "") }}
	c := deliverTo(t, opts, r)
	require.Error(t, readToEnd(c))
	require.NotNil(t, <-r.closed)
	require.Equal(t, "opened closed", r.history())
	mustShutDown(t, &registry)
}

// TestDeliverInHandler hands connections over in functions given to Handler that
// then end in every way: nil leaves the connection to the Receiver, anything else
// closes it.
func TestDeliverInHandler(t *testing.T) {
	for _, c := range endings {
		t.Run(c.name, func(t *testing.T) {
			var registry Registry
			r := newRecorder(echoMessage)
			var logged sink
			srv := httptest.NewUnstartedServer(HandlerFunc(&AcceptOptions{Registry: &registry}, func(conn *Conn) error {
				if err := conn.Deliver(r); err != nil {
					return err
				}
				return c.end()
			}))
			srv.Config.ErrorLog = log.New(&logged, "", 0)
			srv.Start()
			defer srv.Close()
			client := dial(t, srv)
			if c.name == "nil" {
				mustEcho(t, client)
				require.NoError(t, client.Close(4000, "bye"))
				require.Equal(t, CloseCode(4000), (<-r.closed).Code)
				require.Equal(t, "opened Hello closed", r.history())
				mustShutDown(t, &registry)
				return
			}
			end := asCloseError(readToEnd(client))
			require.Equal(t, c.want[:2], string([]byte{byte(end.Code >> 8), byte(end.Code)}))
			require.NotNil(t, <-r.closed)
			require.Equal(t, "opened closed", r.history())
			require.Equal(t, strings.HasPrefix(c.name, "panic"), strings.Contains(logged.String(), "panic serving"))
			mustShutDown(t, &registry)
		})
	}
}

// TestGroupOfBothKinds sends to a group of connections of which some were handed
// over, while members come and go: all messages of one sender come in order.
func TestGroupOfBothKinds(t *testing.T) {
	const members, messages = 20, 100
	var group Group
	var ends []*Conn
	var others []*orders
	for i := range members {
		c, s := connPair(t, nil)
		o := newOrders(t)
		take := func(_ MessageType, p []byte) { o.take(p) }
		if i%2 == 0 {
			require.NoError(t, s.Deliver(echoReceiver{}))
			require.NoError(t, c.Deliver(newRecorder(func(_ *Conn, m Message) error { take(m.Type, m.Data); return nil })))
		} else {
			go by(loopMessages)(s)
			go loopRead(c, take)
		}
		group.Add(s)
		ends, others = append(ends, c), append(others, o)
	}
	var senders sync.WaitGroup
	for w := range 4 {
		senders.Go(func() {
			for n := range messages {
				queued, dropped := group.Send(Prepare(Text, fmt.Appendf(nil, "%d %d", w, n)))
				assert.GreaterOrEqual(t, queued+dropped, members)
			}
		})
	}
	senders.Go(func() {
		for range messages {
			c, s := connPair(t, nil)
			s.Deliver(echoReceiver{})
			remove := group.Add(s)
			remove()
			c.CloseNow()
		}
	})
	senders.Wait()
	for _, o := range others {
		eventually(t, "all messages", func() bool { return o.count() == 4*messages })
	}
	for _, c := range slices.Backward(ends) {
		c.CloseNow()
	}
}
