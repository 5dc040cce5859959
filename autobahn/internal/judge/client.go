package judge

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/fullduplex-go/websocket/autobahn/internal/conversation"
	"github.com/fullduplex-go/websocket/autobahn/internal/deflate"
	"github.com/fullduplex-go/websocket/autobahn/internal/peer"
)

// readBuffer is the size of the judge's read buffers in octets.
const readBuffer = 1 << 15

// JudgeServer plays a conversation as the client of the server at a ws or wss
// URL. ctx bounds the connection's opening.
func JudgeServer(ctx context.Context, address string, c *conversation.Conversation, opts *Options) *Result {
	u, err := url.Parse(address)
	if err != nil {
		return refused(c, err)
	}
	conn, err := dial(ctx, u, opts)
	if err != nil {
		return refused(c, err)
	}
	return JudgeServerConn(conn, u, c, opts)
}

// JudgeServerConn plays a conversation as the client of the server at the
// other end of conn, which is asked for u. It closes conn.
func JudgeServerConn(conn net.Conn, u *url.URL, c *conversation.Conversation, opts *Options) *Result {
	out, in := peer.NewOutbox(conn, opts.Chop), bufio.NewReaderSize(conn, readBuffer)
	conn.SetDeadline(time.Now().Add(opts.limit(handshakeLimit)))
	answer, err := peer.Connect(out, in, u, offers(c))
	conn.SetDeadline(time.Time{})
	if err != nil {
		conn.Close()
		out.Close()
		return refused(c, err)
	}
	return judgeServer(conn, out, in, answer, c, opts)
}

// A Dial opens a connection to a server with these offers of permessage-deflate. It
// returns the connection behind the opening handshake, and the header of the
// server's response.
type Dial func(offers []deflate.Params) (net.Conn, http.Header, error)

// JudgeServerBy plays a conversation as the client of the server that dial opens a
// connection to.
func JudgeServerBy(dial Dial, c *conversation.Conversation, opts *Options) *Result {
	conn, header, err := dial(offers(c))
	if err != nil {
		return refused(c, err)
	}
	answer, err := peer.AnswerIn(header, offers(c))
	if err != nil {
		conn.Close()
		return refused(c, err)
	}
	out, in := peer.NewOutbox(conn, opts.Chop), bufio.NewReaderSize(conn, readBuffer)
	return judgeServer(conn, out, in, answer, c, opts)
}

// offers returns the offers of permessage-deflate with which a client plays c.
func offers(c *conversation.Conversation) []deflate.Params {
	if c.Compression == nil {
		return nil
	}
	return c.Compression.Offers
}

// judgeServer plays a conversation behind the opening handshake.
func judgeServer(conn net.Conn, out *peer.Outbox, in *bufio.Reader, answer *peer.Answer, c *conversation.Conversation, opts *Options) *Result {
	s := newSession(c, peer.Client, opts, conn, out, in, answer.Compression)
	if answer.Compression != nil {
		s.checkAnswer(*answer.Compression)
	}
	r := s.run()
	r.Software = answer.Software
	if answer.Compression != nil {
		r.Extension = answer.Compression.Answer()
	}
	return r
}

// checkAnswer records a fault if the answer does not honor the offers.
func (s *session) checkAnswer(answer deflate.Params) {
	if err := answer.HonoursOne(s.plan.Compression.Offers); err != nil {
		s.fault("%v", err)
	}
}

// dial connects to the host of a ws or wss URL.
func dial(ctx context.Context, u *url.URL, opts *Options) (net.Conn, error) {
	port := u.Port()
	switch {
	case u.Scheme != "ws" && u.Scheme != "wss":
		return nil, fmt.Errorf("judge: URL %q is not ws or wss", u)
	case port == "" && u.Scheme == "ws":
		port = "80"
	case port == "":
		port = "443"
	}
	address := net.JoinHostPort(u.Hostname(), port)
	if u.Scheme == "wss" {
		d := tls.Dialer{Config: opts.TLS}
		return d.DialContext(ctx, "tcp", address)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}
