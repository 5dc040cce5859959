package peer

import (
	"bufio"
	"net"
	"net/http"
	"sync"

	lib "github.com/lxzan/gws"
)

// gws is github.com/lxzan/gws: its event loop with pooled message buffers,
// WriteMessage, and Broadcaster for groups.
type gws struct{}

// gwsConn is a connection as a Behaviour sees it.
type gwsConn struct{ *lib.Conn }

func (c gwsConn) Write(t byte, data []byte) error {
	return c.WriteMessage(lib.Opcode(t), data)
}

// gwsEvents passes the library's events on to a Behaviour.
type gwsEvents struct {
	lib.BuiltinEventHandler
	b Behaviour
}

func (e gwsEvents) OnOpen(c *lib.Conn) { e.b.opened(gwsConn{c}) }

func (e gwsEvents) OnMessage(c *lib.Conn, m *lib.Message) {
	defer m.Close()
	if err := e.b.Message(gwsConn{c}, byte(m.Opcode), m.Bytes()); err != nil {
		c.NetConn().Close()
	}
}

func (gws) Name() string { return "gws" }

// gwsOptions are the server's settings for o.
func gwsOptions(o Options) *lib.ServerOption {
	opts := &lib.ServerOption{
		CheckUtf8Enabled:   true,
		ReadMaxPayloadSize: readLimit, WriteMaxPayloadSize: readLimit,
		ReadBufferSize:    4096,
		PermessageDeflate: lib.PermessageDeflate{Enabled: o.Compress},
	}
	if o.Lean {
		opts.ReadBufferSize = 1024
	}
	return opts
}

func (gws) Handler(o Options, b Behaviour) http.Handler {
	u := lib.NewUpgrader(gwsEvents{b: b}, gwsOptions(o))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := u.Upgrade(w, r)
		if err != nil {
			return
		}
		go c.ReadLoop()
	})
}

func (gws) ConnServer(o Options, b Behaviour) func(net.Conn) error {
	opts := gwsOptions(o)
	u := lib.NewUpgrader(gwsEvents{b: b}, opts)
	return func(nc net.Conn) error {
		br := bufio.NewReaderSize(nc, opts.ReadBufferSize)
		r, err := http.ReadRequest(br)
		if err != nil {
			nc.Close()
			return err
		}
		c, err := u.UpgradeFromConn(nc, br, r)
		if err != nil {
			return err
		}
		c.ReadLoop()
		return net.ErrClosed
	}
}

func (gws) Dial(addr string, o Options, b Behaviour) error {
	c, _, err := lib.NewClient(gwsEvents{b: b}, &lib.ClientOption{
		Addr: o.url(addr), TlsConfig: o.TLS, CheckUtf8Enabled: true,
		ReadMaxPayloadSize: readLimit, WriteMaxPayloadSize: readLimit,
		PermessageDeflate: lib.PermessageDeflate{Enabled: o.Compress},
	})
	if err != nil {
		return err
	}
	c.ReadLoop()
	return net.ErrClosed
}

// gwsGroup uses the library's Broadcaster.
type gwsGroup struct {
	mu    sync.Mutex
	conns []*lib.Conn
}

func (gws) NewGroup() Group { return new(gwsGroup) }

func (g *gwsGroup) Add(c Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns = append(g.conns, c.(gwsConn).Conn)
}

func (g *gwsGroup) Send(t byte, data []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := lib.NewBroadcaster(lib.Opcode(t), data)
	defer m.Close()
	for _, c := range g.conns {
		if err := m.Broadcast(c, nil); err != nil {
			return err
		}
	}
	return nil
}
