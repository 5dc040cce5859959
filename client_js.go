package websocket

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"syscall/js"
	"time"
)

// A browser has no sockets, only its own WebSocket, which sends and receives
// whole messages. This file joins it to a Conn by a pipe: the frames that the
// Conn writes become calls of the browser's WebSocket, and the events of that
// become the frames that the Conn reads. So a Conn in a browser is the same as
// elsewhere, and everything above frames works.
//
//	Conn ◄──── net.Pipe ────► forward: frames to calls ───► the browser's
//	                     ◄─── deliver: events to frames ◄── WebSocket

// init has Dial use the browser.
func init() { dialBrowser = (*dialer).dialBrowser }

// refusedOptions are the fields of DialOptions that a browser does not let a
// page set.
var refusedOptions = []string{
	"Compression", "HTTPClient", "Header", "Host", "Jar", "NetDial", "NetDialTLS", "OnClose", "OnPing", "OnPong", "Proxy", "ProxyHeader", "Redirects", "SkipUTF8Check", "TLS",
}

// checkBrowserOptions returns an error if o sets what a page cannot set.
func checkBrowserOptions(o *DialOptions) error {
	v := reflect.ValueOf(o).Elem()
	for _, name := range refusedOptions {
		if f := v.FieldByName(name); f.IsValid() && !f.IsZero() {
			return fmt.Errorf("%s cannot be set in a browser", name)
		}
	}
	if o.PingInterval > 0 {
		return errors.New("PingInterval cannot be set in a browser, which sends no Pings")
	}
	return nil
}

// browserURL returns the URL to give to the browser for u.
func browserURL(u *wsURI) (string, error) {
	switch {
	case u.network != "tcp":
		return "", errors.New("a browser has no Unix sockets")
	case u.user != nil:
		return "", errors.New("userinfo cannot be sent from a browser")
	case u.secure:
		return "wss://" + u.hostField + u.resourceName, nil
	default:
		return "ws://" + u.hostField + u.resourceName, nil
	}
}

// dialBrowser is Dial through the browser.
func (d *dialer) dialBrowser(ctx context.Context) (c *Conn, r *http.Response, err error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, d.cfg.HandshakeTimeout)
	defer cancel()
	var agreed agreement
	s, err := d.openBrowser(ctx)
	if err != nil {
		err = asHandshakeError(ctx, err, nil)
	} else {
		agreed = s.agreement()
		c, r = d.joinBrowser(s, agreed), s.response(d.request)
	}
	d.cfg.traceHandshake(c, d.request, agreed, began, err)
	return c, r, err
}

// openBrowser checks the options and waits until the browser's WebSocket is
// open, or ctx ends.
func (d *dialer) openBrowser(ctx context.Context) (*browserSocket, error) {
	if err := checkBrowserOptions(d.opts); err != nil {
		return nil, invalidRequestError(err)
	}
	url, err := browserURL(d.uri)
	if err != nil {
		return nil, invalidRequestError(err)
	}
	s, err := newBrowserSocket(url, d.cfg.Subprotocols)
	if err != nil {
		return nil, err
	}
	select {
	case <-s.opened:
		return s, nil
	case <-s.closed:
		return nil, &HandshakeError{Reason: "browser did not connect, and says why on its console only"}
	case <-ctx.Done():
		s.ws.Call("close")
		return nil, ctx.Err()
	}
}

// joinBrowser returns a Conn over s.
func (d *dialer) joinBrowser(s *browserSocket, agreed agreement) *Conn {
	cfg := *d.cfg
	cfg.PingInterval = 0
	near, far := net.Pipe()
	go s.forward(far)
	go s.deliver(far)
	return newConn(browserConn{near, browserAddr(d.uri.addr), agreed.deflate != nil}, client, &cfg, agreed, nil)
}

// A browserConn is the net.Conn of a Conn in a browser: one end of the pipe.
type browserConn struct {
	net.Conn
	remote  browserAddr
	deflate bool // the browser agreed on permessage-deflate
}

// RemoteAddr returns the address in the URL. A browser does not tell what it
// resolves to.
func (c browserConn) RemoteAddr() net.Addr { return c.remote }

// mayPing returns an error: it is limitedConn.mayPing.
func (browserConn) mayPing() error {
	return errors.New("websocket: a browser sends no Pings")
}

// mayClose returns an error if a page may not close with code: it is
// limitedConn.mayClose.
func (browserConn) mayClose(code CloseCode) error {
	if code == 0 || browserSends(code) {
		return nil
	}
	return fmt.Errorf("websocket: a browser cannot close with %v, only with 1000 and 3000 to 4999", code)
}

// compresses reports whether the browser may compress messages: it is
// limitedConn.compresses.
func (c browserConn) compresses() bool { return c.deflate }

// browserSends reports whether a page may close with code.
func browserSends(code CloseCode) bool { return code == CloseNormal || code >= 3000 && code <= 4999 }

// A browserAddr is the host and port of a URL.
type browserAddr string

// Network returns "websocket".
func (a browserAddr) Network() string { return "websocket" }

// String returns host:port.
func (a browserAddr) String() string { return string(a) }

// A browserSocket is the browser's WebSocket. Its events are queued, because
// their handlers must not wait.
type browserSocket struct {
	ws       js.Value
	handlers []js.Func
	opened   chan struct{} // closed by the open event
	closed   chan struct{} // closed by the close event

	mu     sync.Mutex
	events []js.Value    // messages, then the close event
	wake   chan struct{} // holds a value if events were queued

	answered chan struct{} // closed when the Conn has sent its Close frame or closed the pipe
}

// newBrowserSocket returns a WebSocket that begins to connect to url.
func newBrowserSocket(url string, subprotocols []string) (s *browserSocket, err error) {
	defer func() {
		switch thrown := recover().(type) {
		case nil:
		case js.Error:
			s, err = nil, thrown
		default:
			panic(thrown)
		}
	}()
	constructor := js.Global().Get("WebSocket")
	if constructor.IsUndefined() {
		return nil, errors.New("there is no WebSocket in this JavaScript environment")
	}
	protocols := make([]any, len(subprotocols))
	for i, p := range subprotocols {
		protocols[i] = p
	}
	s = &browserSocket{
		ws:     constructor.New(url, protocols),
		opened: make(chan struct{}),
		closed: make(chan struct{}),
		wake:   make(chan struct{}, 1),

		answered: make(chan struct{}),
	}
	s.ws.Set("binaryType", "arraybuffer")
	s.onEvent("open", func(js.Value) { close(s.opened) })
	s.onEvent("message", s.queueEvent)
	s.onEvent("close", func(event js.Value) {
		s.queueEvent(event)
		close(s.closed)
		go s.release()
	})
	return s, nil
}

// onEvent has the browser call f for each event of a kind. f must not wait.
func (s *browserSocket) onEvent(kind string, f func(event js.Value)) {
	handler := js.FuncOf(func(_ js.Value, args []js.Value) any {
		f(args[0])
		return nil
	})
	s.handlers = append(s.handlers, handler)
	s.ws.Set("on"+kind, handler)
}

// release releases the event handlers. There must be no more events.
func (s *browserSocket) release() {
	for _, h := range s.handlers {
		h.Release()
	}
}

// queueEvent adds an event to the queue. It does not wait.
func (s *browserSocket) queueEvent(event js.Value) {
	s.mu.Lock()
	s.events = append(s.events, event)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// takeEvents empties the queue and returns the events. It waits for the first.
func (s *browserSocket) takeEvents() []js.Value {
	for {
		s.mu.Lock()
		events := s.events
		s.events = nil
		s.mu.Unlock()
		if len(events) > 0 {
			return events
		}
		<-s.wake
	}
}

// deliver writes events to far as the frames of a server. After the last it
// closes far, once the Conn has answered the Close frame, if there was one.
func (s *browserSocket) deliver(far net.Conn) {
	defer far.Close()
	var frame []byte
	for {
		for _, event := range s.takeEvents() {
			if event.Get("type").String() == "close" {
				if frame := appendCloseEvent(nil, event); len(frame) > 0 {
					far.Write(frame)
					<-s.answered
				}
				return
			}
			frame = appendMessageEvent(frame[:0], event.Get("data"))
			if _, err := far.Write(frame); err != nil {
				return
			}
		}
	}
}

// appendMessageEvent appends the frame for a message event with data, which is
// a string or an ArrayBuffer.
func appendMessageEvent(b []byte, data js.Value) []byte {
	if data.Type() == js.TypeString {
		text := data.String()
		b = appendHeader(b, header{byte0: bitFIN | byte(opText), length: int64(len(text))})
		return append(b, text...)
	}
	array := js.Global().Get("Uint8Array").New(data)
	n := array.Length()
	b = appendHeader(b, header{byte0: bitFIN | byte(opBinary), length: int64(n)})
	b = slices.Grow(b, n)[:len(b)+n]
	js.CopyBytesToGo(b[len(b)-n:], array)
	return b
}

// appendCloseEvent appends the Close frame for a close event, or nothing if the
// browser received none.
func appendCloseEvent(b []byte, event js.Value) []byte {
	code := CloseCode(event.Get("code").Int())
	if code == CloseNoStatus {
		code = 0
	}
	if code != 0 && !code.onWire() || !event.Get("wasClean").Bool() {
		return b
	}
	payload := appendClosePayload(nil, code, event.Get("reason").String())
	b = appendHeader(b, header{byte0: bitFIN | byte(opClose), length: int64(len(payload))})
	return append(b, payload...)
}

// forward reads the frames of a client from far and makes the calls that they
// stand for. It returns when the Conn has closed the pipe.
func (s *browserSocket) forward(far net.Conn) {
	defer s.ws.Call("close")
	answer := sync.OnceFunc(func() { close(s.answered) })
	defer answer()
	var out frameJoiner
	chunk := make([]byte, firstBuffer)
	for {
		n, err := far.Read(chunk)
		if err != nil {
			return
		}
		out.unread = append(out.unread, chunk[:n]...)
		for {
			op, p, ok := out.next()
			if !ok {
				break
			}
			s.call(op, p)
			if op == opClose {
				answer()
			}
		}
	}
}

// A frameJoiner joins the frames that a Conn writes to messages, because a
// browser takes only whole messages.
type frameJoiner struct {
	unread   []byte // what the Conn has written
	used     int    // bytes of unread that are whole frames and were looked at
	opcode   opcode // of the message whose frames are not all there
	fragment []byte // the payloads of its frames so far
}

// next returns the next whole message or Close frame. p is valid until bytes
// are added to unread. ok is false if bytes are missing.
func (j *frameJoiner) next() (op opcode, p []byte, ok bool) {
	for {
		rest := j.unread[j.used:]
		h, size, _ := parseHeader(rest)
		if size == 0 || int64(len(rest)-size) < h.length {
			j.compact()
			return 0, nil, false
		}
		payload := rest[size:][:h.length]
		j.used += size + len(payload)
		mask(payload, h.key)
		switch op := h.opcode(); {
		case op == opClose:
			return op, payload, true
		case op.isControl():
			continue
		case h.fin() && op != opContinuation:
			return op, payload, true
		case op != opContinuation:
			j.opcode = op
		}
		j.fragment = append(j.fragment, payload...)
		if h.fin() {
			p, j.fragment = j.fragment, nil
			return j.opcode, p, true
		}
	}
}

// compact drops the bytes that are used, and their memory.
func (j *frameJoiner) compact() {
	if j.used > 0 {
		j.unread = append([]byte(nil), j.unread[j.used:]...)
		j.used = 0
	}
}

// call makes the call that a message or Close frame stands for.
func (s *browserSocket) call(op opcode, p []byte) {
	if op == opClose {
		s.close(p)
		return
	}
	s.send(op, p)
}

// maxBrowserBacklog is the number of bytes that may be buffered in the browser
// before writers wait.
const maxBrowserBacklog = 1 << 20

// backlogPoll is the interval at which the browser, which has no event for it,
// is asked how much is buffered.
const backlogPoll = 5 * time.Millisecond

// send sends a whole message, and waits before it if too much is buffered.
func (s *browserSocket) send(op opcode, p []byte) {
	for s.ws.Get("bufferedAmount").Int() > maxBrowserBacklog {
		select {
		case <-s.closed:
			return
		case <-time.After(backlogPoll):
		}
	}
	if op == opText {
		s.ws.Call("send", string(p))
		return
	}
	array := js.Global().Get("Uint8Array").New(len(p))
	js.CopyBytesToJS(array, p)
	s.ws.Call("send", array)
}

// close begins the closing handshake, without a code if a page may not close
// with that in payload.
func (s *browserSocket) close(payload []byte) {
	if len(payload) >= 2 {
		if code := CloseCode(binary.BigEndian.Uint16(payload)); browserSends(code) {
			s.ws.Call("close", int(code), string(payload[2:]))
			return
		}
	}
	s.ws.Call("close")
}

// agreement returns what the browser agreed on with the server. The parameters
// of compression are its own affair: the Conn does not compress.
func (s *browserSocket) agreement() agreement {
	a := agreement{subprotocol: s.ws.Get("protocol").String()}
	extensions, _ := parseExtensions([]string{s.ws.Get("extensions").String()})
	if slices.ContainsFunc(extensions, func(e extension) bool { return e.name == deflateName }) {
		a.deflate = new(deflateAgreement)
	}
	return a
}

// response returns what the browser tells of the server's response.
func (s *browserSocket) response(request *http.Request) *http.Response {
	h := make(http.Header)
	for name, property := range map[string]string{protocolField: "protocol", extensionsField: "extensions"} {
		if v := s.ws.Get(property).String(); v != "" {
			h[name] = []string{v}
		}
	}
	return &http.Response{
		Status:     "101 Switching Protocols",
		StatusCode: http.StatusSwitchingProtocols,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     h,
		Body:       http.NoBody,
		Request:    request,
	}
}
