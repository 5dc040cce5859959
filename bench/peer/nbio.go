package peer

import (
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	llib "github.com/lesismal/llib/std/crypto/tls"
	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	lib "github.com/lesismal/nbio/nbhttp/websocket"
)

// nbio is github.com/lesismal/nbio: its own poller, which serves connections
// without a goroutine each. Behind net/http they are transferred to the poller
// after the handshake; those over TLS cannot be, and keep a goroutine.
type nbio struct{}

// nbioConn is a connection as a Behaviour sees it.
type nbioConn struct{ *lib.Conn }

func (c nbioConn) Write(t byte, data []byte) error {
	return c.WriteMessage(lib.MessageType(t), data)
}

func (nbio) Name() string { return "nbio" }

// nbioEngine starts a poller whose HTTP server, which has no address, uses h.
// The settings are those of the library's servers for a million connections:
// payloads go back to a pool, and nothing blocks.
func nbioEngine(h http.Handler) (*nbhttp.Engine, error) {
	logging.SetLevel(logging.LevelNone)
	e := nbhttp.NewEngine(nbhttp.Config{
		Handler:                      h,
		IOMod:                        nbhttp.IOModNonBlocking,
		ReleaseWebsocketPayload:      true,
		ReadLimit:                    2 * readLimit,
		MaxWebsocketFramePayloadSize: readLimit,
	})
	return e, e.Start()
}

// nbioUpgrader returns the settings of a connection. The library's server for a
// million connections switches the read deadline off, which spares a timer.
func nbioUpgrader(o Options, b Behaviour) *lib.Upgrader {
	u := lib.NewUpgrader()
	u.MessageLengthLimit = readLimit
	if o.Lean {
		u.KeepaliveTime = 0
	}
	u.EnableCompression(o.Compress)
	u.BlockingModAsyncWrite = false
	u.OnOpen(func(c *lib.Conn) { b.opened(nbioConn{c}) })
	u.OnMessage(func(c *lib.Conn, t lib.MessageType, data []byte) {
		if err := b.Message(nbioConn{c}, byte(t), data); err != nil {
			c.CloseWithError(err)
		}
	})
	return u
}

// nbioPoller is the poller of connections whose handshake it does not answer.
var nbioPoller = sync.OnceValues(func() (*nbhttp.Engine, error) { return nbioEngine(nil) })

func (nbio) Handler(o Options, b Behaviour) http.Handler {
	u := nbioUpgrader(o, b)
	e, err := nbioPoller()
	u.Engine = e
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		u.UpgradeAndTransferConnToPoller(w, r, nil)
	})
}

// ConnServer uses the library's own HTTP server on the poller.
func (nbio) ConnServer(o Options, b Behaviour) func(net.Conn) error {
	u := nbioUpgrader(o, b)
	e, err := nbioEngine(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { u.Upgrade(w, r, nil) }))
	return func(nc net.Conn) error {
		if err != nil {
			nc.Close()
			return err
		}
		e.AddConnNonTLSNonBlocking(&nbhttp.Conn{Conn: nc}, nil, func() {})
		return nil
	}
}

func (nbio) Dial(addr string, o Options, b Behaviour) error {
	e, err := nbioPoller()
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	u := nbioUpgrader(o, b)
	u.Engine = e
	u.OnClose(func(_ *lib.Conn, err error) { ended <- err })
	d := lib.Dialer{Engine: e, Options: u, EnableCompression: o.Compress, DialTimeout: 10 * time.Second}
	if o.TLS != nil {
		d.TLSClientConfig = &llib.Config{RootCAs: o.TLS.RootCAs, ServerName: o.TLS.ServerName, NextProtos: o.TLS.NextProtos}
	}
	if _, _, err := d.Dial(o.url(addr), nil); err != nil {
		return err
	}
	return errors.Join(net.ErrClosed, <-ended)
}

// nbioGroup writes to each connection in turn.
type nbioGroup struct {
	mu    sync.Mutex
	conns []nbioConn
}

func (nbio) NewGroup() Group { return new(nbioGroup) }

func (g *nbioGroup) Add(c Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns = append(g.conns, c.(nbioConn))
}

func (g *nbioGroup) Send(t byte, data []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.conns {
		if err := c.Write(t, data); err != nil {
			return err
		}
	}
	return nil
}
