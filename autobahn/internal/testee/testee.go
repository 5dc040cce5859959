// Package testee holds the echo server and the echo client of the library, for
// the Autobahn|Testsuite and the judge of this directory.
package testee

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/fullduplex-go/websocket"
)

// maxMessageSize is larger than the longest message of the suite, 16 MiB.
const maxMessageSize = 32 << 20

// Config returns the settings of both testees: the defaults, except that
// messages may be longer and every message is compressed with the largest window
// that the peer allows.
func Config() websocket.Config {
	return websocket.Config{
		MaxMessageSize: maxMessageSize,
		Compression:    &websocket.Compression{Threshold: -1, WindowBits: 15},
	}
}

// An Echo answers every message of a connection with itself, until the
// connection ends.
type Echo func(c *websocket.Conn) error

// Messages echoes each message when it is complete.
func Messages(c *websocket.Conn) error {
	ctx := c.Context()
	for m, err := range c.Messages(ctx) {
		if err != nil {
			return err
		}
		if err := c.Write(ctx, m.Type, m.Data); err != nil {
			return err
		}
	}
	return nil
}

// Streams echoes each message while it arrives, with its own fragmentation.
func Streams(c *websocket.Conn) error {
	ctx := c.Context()
	for {
		t, r, err := c.Reader(ctx)
		if err != nil {
			return err
		}
		w, err := c.Writer(ctx, t)
		if err != nil {
			return err
		}
		if _, err := io.Copy(w, r); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
	}
}

// Receives echoes from a Receiver.
func Receives(c *websocket.Conn) error {
	return Deliver(c, func(m websocket.Message) error { return c.Write(context.Background(), m.Type, m.Data) })
}

// Deliver hands c over to a Receiver that calls receive with each message, and
// returns the end of the connection.
func Deliver(c *websocket.Conn, receive func(m websocket.Message) error) error {
	d := delivery{receive, make(chan error, 1)}
	if err := c.Deliver(d); err != nil {
		return err
	}
	return <-d.end
}

// A delivery is the Receiver of one connection.
type delivery struct {
	receive func(m websocket.Message) error
	end     chan error // gets the end
}

func (delivery) Opened(*websocket.Conn) error                           { return nil }
func (d delivery) Receive(_ *websocket.Conn, m websocket.Message) error { return d.receive(m) }
func (d delivery) Closed(_ *websocket.Conn, end *websocket.CloseError)  { d.end <- end }

// ReceiverHandler returns the echo server whose connections have a Receiver and
// no goroutine.
func ReceiverHandler(config websocket.Config) http.Handler {
	return websocket.ReceiverHandler(&websocket.AcceptOptions{Config: config}, func(*http.Request) (websocket.Receiver, error) {
		return echoing{}, nil
	})
}

// An echoing is the Receiver of all connections of that server.
type echoing struct{}

func (echoing) Opened(*websocket.Conn) error { return nil }
func (echoing) Receive(c *websocket.Conn, m websocket.Message) error {
	return c.Write(context.Background(), m.Type, m.Data)
}
func (echoing) Closed(*websocket.Conn, *websocket.CloseError) {}

// AcceptHandler returns the echo server whose connections are opened by Accept, and
// closed as in the examples: defer c.CloseNow().
func AcceptHandler(config websocket.Config, echo Echo) http.Handler {
	opts := &websocket.AcceptOptions{Config: config}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := websocket.Accept(w, r, opts); err == nil {
			defer c.CloseNow()
			echo(c)
		}
	})
}

// Handler returns the echo server.
func Handler(config websocket.Config, echo Echo) http.Handler {
	return websocket.HandlerFunc(&websocket.AcceptOptions{Config: config}, echo)
}

// A Client is the echo client. It follows the suite's URL protocol.
type Client struct {
	URL   string // of the judge, such as ws://127.0.0.1:9001
	Agent string // its name in the reports
	Dial  websocket.DialOptions
	Echo  Echo
}

// Run echoes in all cases of the judge, and then asks it to write its reports.
// progress is called before each case; it may be nil.
func (c *Client) Run(ctx context.Context, progress func(number, count int)) error {
	count, err := c.CaseCount(ctx)
	if err != nil {
		return err
	}
	for number := 1; number <= count; number++ {
		if progress != nil {
			progress(number, count)
		}
		if err := c.RunCase(ctx, "case", strconv.Itoa(number)); err != nil {
			return err
		}
	}
	return c.UpdateReports(ctx)
}

// CaseCount asks how many cases there are.
func (c *Client) CaseCount(ctx context.Context) (int, error) {
	conn, err := c.dial(ctx, "/getCaseCount", nil)
	if err != nil {
		return 0, err
	}
	defer conn.Close(websocket.CloseNormal, "")
	_, text, err := conn.Read(ctx)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(text))
}

// RunCase echoes in one case. The key says what value is: case a number,
// casetuple an ID. The judge judges how the connection ends: only a failed
// handshake is an error.
func (c *Client) RunCase(ctx context.Context, key, value string) error {
	conn, err := c.dial(ctx, "/runCase", url.Values{key: {value}, "agent": {c.Agent}})
	if err != nil {
		return fmt.Errorf("testee: %s %s: %w", key, value, err)
	}
	c.Echo(conn)
	conn.Close(websocket.CloseNormal, "")
	return nil
}

// UpdateReports asks the judge to write its reports.
func (c *Client) UpdateReports(ctx context.Context) error {
	conn, err := c.dial(ctx, "/updateReports", url.Values{"agent": {c.Agent}})
	if err != nil {
		return err
	}
	return conn.Close(websocket.CloseNormal, "")
}

// dial connects to a path of the judge.
func (c *Client) dial(ctx context.Context, path string, query url.Values) (*websocket.Conn, error) {
	conn, _, err := websocket.Dial(ctx, c.URL+path+"?"+query.Encode(), &c.Dial)
	return conn, err
}
