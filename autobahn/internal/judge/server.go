package judge

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/fullduplex-go/websocket/autobahn/internal/conversation"
	"github.com/fullduplex-go/websocket/autobahn/internal/deflate"
	"github.com/fullduplex-go/websocket/autobahn/internal/peer"
)

// A Server judges clients. It speaks the suite's URL protocol:
// /getCaseCount, /runCase, /getCaseStatus, /getCaseInfo, /updateReports and
// /stopServer. Its methods may be called from any goroutine.
type Server struct {
	opts  *Options
	cases []*conversation.Conversation

	// Update is called with an agent's name when the client asks for reports.
	// Set it before Serve.
	Update func(agent string)

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when a result is stored
	results map[string]map[string]*Result
	running map[string]int // number of running conversations, by agent
	conns   sync.WaitGroup
	stopped chan struct{}
	stop    sync.Once
}

// NewServer returns a server that plays these conversations.
func NewServer(cases []*conversation.Conversation, opts *Options) *Server {
	return &Server{
		opts: opts, cases: cases,
		changed: make(chan struct{}),
		results: map[string]map[string]*Result{},
		running: map[string]int{},
		stopped: make(chan struct{}),
	}
}

// Serve accepts connections until Stop, and returns when the last one has ended.
func (s *Server) Serve(l net.Listener) error {
	if s.opts.TLS != nil {
		l = tls.NewListener(l, s.opts.TLS)
	}
	go func() {
		<-s.stopped
		l.Close()
	}()
	defer s.conns.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			select {
			case <-s.stopped:
				return nil
			default:
				return err
			}
		}
		s.conns.Add(1)
		go func() {
			defer s.conns.Done()
			s.ServeConn(conn)
		}()
	}
}

// Stop makes Serve return.
func (s *Server) Stop() { s.stop.Do(func() { close(s.stopped) }) }

// Results returns the results of an agent, by conversation. They are shared and
// must not be changed.
func (s *Server) Results(agent string) map[string]*Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	results := map[string]*Result{}
	for id, r := range s.results[agent] {
		results[id] = r
	}
	return results
}

// Result waits for the result of one conversation with an agent.
func (s *Server) Result(ctx context.Context, agent, id string) (*Result, error) {
	for {
		s.mu.Lock()
		r, changed := s.results[agent][id], s.changed
		s.mu.Unlock()
		if r != nil {
			return r, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// begin records that a conversation with an agent is running.
func (s *Server) begin(agent string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[agent]++
}

// awaitIdle waits until no conversation with an agent is running.
func (s *Server) awaitIdle(ctx context.Context, agent string) {
	for {
		s.mu.Lock()
		running, changed := s.running[agent], s.changed
		s.mu.Unlock()
		if running == 0 {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// store records the result of a conversation that was running.
func (s *Server) store(agent string, r *Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[agent]--
	if s.results[agent] == nil {
		s.results[agent] = map[string]*Result{}
	}
	s.results[agent][r.ID] = r
	close(s.changed)
	s.changed = make(chan struct{})
}

// ServeConn serves one connection, from the opening handshake to the end, and
// closes it. The port in the client's Host header must be that of the
// connection's local address.
func (s *Server) ServeConn(conn net.Conn) {
	out, in := peer.NewOutbox(conn, s.opts.Chop), bufio.NewReaderSize(conn, readBuffer)
	defer out.Close()
	defer conn.Close()
	_, port, _ := net.SplitHostPort(conn.LocalAddr().String())
	conn.SetDeadline(time.Now().Add(s.opts.limit(handshakeLimit)))
	request, err := peer.ReadRequest(in, port)
	if err != nil {
		refuse(conn, out, http.StatusBadRequest, err)
		return
	}
	conn.SetDeadline(time.Time{})
	s.route(request, conn, out, in)
}

// refuse answers with an error status and ends the connection.
func refuse(conn net.Conn, out *peer.Outbox, status int, err error) {
	out.Write(peer.Refusal(status, err), 0)
	out.Flush()
	closeWrite(conn)
}

// route serves a request by its path.
func (s *Server) route(request *peer.Request, conn net.Conn, out *peer.Outbox, in *bufio.Reader) {
	query := request.URL.Query()
	agent := query.Get("agent")
	reply := func(text []byte) { s.reply(request, conn, out, in, text) }
	switch request.URL.Path {
	case "/getCaseCount":
		reply([]byte(strconv.Itoa(len(s.cases))))
	case "/runCase":
		c := s.find(query)
		if c == nil || agent == "" {
			refuse(conn, out, http.StatusInternalServerError, errors.New("judge: runCase needs a case and an agent"))
			return
		}
		s.judge(c, agent, request, conn, out, in)
	case "/getCaseStatus", "/getCaseInfo":
		c := s.find(query)
		if c == nil {
			refuse(conn, out, http.StatusInternalServerError, errors.New("judge: no such case"))
			return
		}
		reply(s.describe(request.URL.Path, c, agent))
	case "/updateReports":
		s.update(agent)
		reply(nil)
		if query.Get("shutdownOnComplete") == "true" {
			s.Stop()
		}
	case "/stopServer":
		reply(nil)
		s.Stop()
	default:
		refuse(conn, out, http.StatusNotFound, fmt.Errorf("judge: no path %s", request.URL.Path))
	}
}

// update calls Update for an agent when its last conversation is over.
func (s *Server) update(agent string) {
	if s.Update == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.limit(time.Minute))
	defer cancel()
	s.awaitIdle(ctx, agent)
	s.Update(agent)
}

// describe returns a case's status or its description as JSON.
func (s *Server) describe(path string, c *conversation.Conversation, agent string) []byte {
	if path == "/getCaseInfo" {
		p, _ := json.Marshal(map[string]string{"id": c.ID, "description": c.Description()})
		return p
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.limit(time.Minute))
	defer cancel()
	behavior := Failed
	if r, err := s.Result(ctx, agent, c.ID); err == nil {
		behavior = r.Behavior
	}
	p, _ := json.Marshal(map[string]Verdict{"behavior": behavior})
	return p
}

// find returns the conversation that a query names by number or ID, or nil.
func (s *Server) find(query url.Values) *conversation.Conversation {
	if id := query.Get("casetuple"); id != "" {
		for _, c := range s.cases {
			if c.ID == id {
				return c
			}
		}
		return nil
	}
	n, err := strconv.Atoi(query.Get("case"))
	if err != nil || n < 1 || n > len(s.cases) {
		return nil
	}
	return s.cases[n-1]
}

// reply sends text as a message, unless it is nil, then an empty Close, and
// waits briefly for the client's Close.
func (s *Server) reply(request *peer.Request, conn net.Conn, out *peer.Outbox, in *bufio.Reader, text []byte) {
	out.Write(request.Response(nil), 0)
	frames := []*conversation.Frame{{FIN: true, Opcode: conversation.Close}}
	if text != nil {
		frames = append([]*conversation.Frame{{FIN: true, Opcode: conversation.Text, Payload: text}}, frames...)
	}
	for _, f := range frames {
		out.Write(peer.AppendPayload(peer.AppendHeader(nil, f, nil), f.Payload, nil, 0), 0)
	}
	conn.SetReadDeadline(time.Now().Add(s.opts.limit(closeLimit)))
	r := peer.NewReader(in, peer.Server, nil)
	for {
		m, err := r.Next()
		if err != nil || m.Opcode == conversation.Close {
			break
		}
	}
	out.Flush()
	closeWrite(conn)
}

// judge plays a conversation with a client.
func (s *Server) judge(c *conversation.Conversation, agent string, request *peer.Request, conn net.Conn, out *peer.Outbox, in *bufio.Reader) {
	var agreed *deflate.Params
	if c.Compression != nil {
		if answer, ok := c.Compression.Accept(request.Offers); ok {
			agreed = &answer
		}
	}
	s.begin(agent)
	session := newSession(c, peer.Server, s.opts, conn, out, in, agreed)
	session.prefix = request.Response(agreed)
	r := session.run()
	r.Software = request.Agent
	if agreed != nil {
		r.Extension = agreed.Answer()
	}
	s.store(agent, r)
}
