package stress

//lint:file-ignore SA1019 net/http's own Transport refuses the field :protocol, so x/net's is used

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/fullduplex-go/websocket"
	_ "github.com/fullduplex-go/websocket/h2"
	"github.com/fullduplex-go/websocket/internal/faultnet"

	"golang.org/x/net/http2"
)

// openStream performs the opening handshake over a stream of HTTP/2 (RFC 8441) on
// j.
func (d entryPoint) openStream(j *joint, tr *transport, cc, sc websocket.Config, late *lateReceiver) (client, server *websocket.Conn, err error) {
	o := newOpening()
	j.streams = &http.Server{
		ErrorLog:  log.New(io.Discard, "", 0),
		Handler:   d.handler(o, &websocket.AcceptOptions{Config: sc}, late),
		Protocols: new(http.Protocols),
		HTTP2:     tr.streamConfig(),
	}
	j.streams.Protocols.SetUnencryptedHTTP2(true)
	go j.streams.Serve(&onceListener{nc: j.server, closed: make(chan struct{})})
	if client, err = dialStream(j.client, tr, cc); err != nil {
		o.failed <- err
	}
	server, err = o.wait()
	if err != nil {
		j.close()
	}
	return client, server, err
}

// streamConfig returns the settings of both ends of HTTP/2.
func (tr *transport) streamConfig() *http.HTTP2Config {
	return &http.HTTP2Config{MaxReceiveBufferPerStream: tr.window}
}

// dialStream opens a stream on nc, which is joined with one end of a pipe, and
// returns the connection on the other end.
func dialStream(nc net.Conn, tr *transport, cfg websocket.Config) (*websocket.Conn, error) {
	t, err := newClient(nc, tr.streamConfig())
	if err != nil {
		return nil, err
	}
	c, _, err := openOn(t, "/", cfg)
	return c, err
}

// newClient returns the client's side of HTTP/2 on nc.
func newClient(nc net.Conn, cfg *http.HTTP2Config) (*http2.ClientConn, error) {
	t, err := http2.ConfigureTransports(&http.Transport{DisableCompression: true, HTTP2: cfg})
	if err != nil {
		return nil, err
	}
	return t.NewClientConn(nc)
}

// openOn opens a stream of t with this path. It returns the connection, and the end
// of the pipe that it is on.
func openOn(t http.RoundTripper, path string, cfg websocket.Config) (*websocket.Conn, *faultnet.Conn, error) {
	near, far := faultnet.Pipe()
	response, err := connect(t, path, far, cfg.Compression)
	if err != nil {
		return nil, nil, err
	}
	c, err := websocket.NewConn(near, &websocket.ConnOptions{
		Config:     cfg,
		Client:     true,
		Extensions: response.Header.Get("Sec-WebSocket-Extensions"),
	})
	return c, near, err
}

// connect opens a WebSocket with an extended CONNECT (RFC 8441, Section 4), and
// joins nc with its stream.
func connect(t http.RoundTripper, path string, nc *faultnet.Conn, compression *websocket.Compression) (*http.Response, error) {
	ctx, cancel := context.WithCancel(context.Background())
	sent, body := io.Pipe()
	r := (&http.Request{
		Method:        http.MethodConnect,
		URL:           &url.URL{Scheme: "http", Host: host, Path: path},
		Header:        http.Header{":protocol": {"websocket"}, "Sec-Websocket-Version": {"13"}},
		Body:          sent,
		ContentLength: -1,
	}).WithContext(ctx)
	if compression != nil {
		r.Header.Set("Sec-WebSocket-Extensions", offer(compression))
	}
	response, err := t.RoundTrip(r)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("answered with %s", response.Status)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	upwards := make(chan struct{})
	go func() {
		defer close(upwards)
		sendUpwards(body, nc)
	}()
	go func() {
		defer cancel()
		sendDownwards(nc, response.Body)
		<-upwards
	}()
	return response, nil
}

// sendUpwards sends to the stream what comes from nc, and then ends or resets it.
func sendUpwards(body *io.PipeWriter, nc *faultnet.Conn) {
	_, err := io.Copy(body, nc)
	body.CloseWithError(err)
	io.Copy(io.Discard, nc) // the server may have ended the stream before
}

// sendDownwards sends to nc what comes from the stream, and then ends or resets it.
func sendDownwards(nc *faultnet.Conn, body io.ReadCloser) {
	defer body.Close()
	var failed *net.OpError
	_, err := io.Copy(nc, body)
	switch {
	case errors.As(err, &failed) && failed.Net == "mem": // nc is closed
		io.Copy(io.Discard, body)
	case err != nil:
		nc.Reset()
	default:
		nc.CloseWrite()
	}
}

// offer returns the offer of permessage-deflate that asks for what c does
// (RFC 7692, Section 7.1).
func offer(c *websocket.Compression) string {
	params := []string{"permessage-deflate", "client_max_window_bits"}
	if c.PeerWindowBits != 0 {
		params = append(params, fmt.Sprintf("server_max_window_bits=%d", c.PeerWindowBits))
	}
	if c.PeerNoContextTakeover {
		params = append(params, "server_no_context_takeover")
	}
	return strings.Join(params, "; ")
}
