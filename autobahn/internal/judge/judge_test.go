package judge

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket/autobahn/internal/conversation"
	"github.com/fullduplex-go/websocket/autobahn/internal/peer"
)

// TestVerdicts judges made-up ends of connections. The first rule that matches
// counts.
func TestVerdicts(t *testing.T) {
	type end struct {
		closedByUs, clean, cutByUs bool
		code                       int
	}
	tests := []struct {
		id              string
		role            peer.Role
		end             end
		events          string // "expected", "non-strict" or "other"
		want, wantClose Verdict
	}{
		{"1.1.2", peer.Client, end{closedByUs: true, clean: true, code: 1000}, "expected", OK, OK},
		{"1.1.2", peer.Client, end{closedByUs: true, clean: true}, "expected", OK, OK},
		{"1.1.2", peer.Client, end{closedByUs: true, clean: true, code: 1000}, "other", Failed, OK},
		{"1.1.2", peer.Client, end{closedByUs: true, clean: true, code: 1001}, "expected", OK, WrongCode},
		{"1.1.2", peer.Client, end{closedByUs: true, code: 1001}, "expected", OK, Unclean},
		{"1.1.2", peer.Client, end{clean: true, code: 1000}, "expected", OK, Failed},
		{"1.1.2", peer.Client, end{closedByUs: true, clean: true, cutByUs: true, code: 1000}, "expected", OK, FailedByClient},
		{"1.1.2", peer.Server, end{closedByUs: true, clean: true, cutByUs: true, code: 1000}, "expected", OK, OK},
		{"3.2", peer.Client, end{code: 1002}, "expected", OK, OK},
		{"3.2", peer.Client, end{}, "non-strict", NonStrict, OK},
		{"3.2", peer.Client, end{code: 1007}, "expected", OK, WrongCode},
		{"3.2", peer.Client, end{closedByUs: true, code: 1002}, "expected", OK, Failed},
		{"3.2", peer.Client, end{code: 1002, cutByUs: true}, "expected", OK, FailedByClient},
		{"6.6.1", peer.Client, end{code: 1007}, "expected", OK, OK},
		{"6.6.1", peer.Client, end{closedByUs: true}, "expected", Failed, Failed},
		{"7.7.2", peer.Client, end{closedByUs: true, clean: true, code: 1001}, "expected", OK, OK},
		{"7.7.2", peer.Client, end{closedByUs: true, clean: true, code: 1002}, "expected", Failed, WrongCode},
		{"7.9.2", peer.Client, end{closedByUs: true, code: 999}, "expected", Failed, WrongCode},
		{"7.9.2", peer.Client, end{closedByUs: true, cutByUs: true}, "expected", OK, FailedByClient},
		{"7.9.2", peer.Server, end{closedByUs: true, cutByUs: true}, "expected", OK, OK},
		{"7.5.1", peer.Client, end{closedByUs: true, code: 1007}, "expected", OK, OK},
		{"7.13.1", peer.Client, end{code: 4000}, "other", Informational, Informational},
	}
	for _, test := range tests {
		s := &session{plan: conversation.Find(test.id).Plan(), role: test.role}
		s.closedByUs, s.clean, s.cutByUs, s.code = test.end.closedByUs, test.end.clean, test.end.cutByUs, test.end.code
		s.sentCode = 1001
		switch test.events {
		case "expected":
			s.events = s.plan.Expected
		case "non-strict":
			s.events = s.plan.NonStrict
		default:
			s.events = []conversation.Event{{Kind: conversation.PongFrame}}
		}
		if r := s.result(); r.Behavior != test.want || r.BehaviorClose != test.wantClose {
			t.Errorf("%+v as %v: %s, %s", test, test.role, r.Behavior, r.BehaviorClose)
		}
	}
}

// TestFaultFails checks that a violation of the protocol fails the behavior,
// whatever the events are.
func TestFaultFails(t *testing.T) {
	s := &session{plan: conversation.Find("2.7").Plan(), closedByUs: true, clean: true}
	s.fault("a frame of the server is masked")
	if r := s.result(); r.Behavior != Failed || r.Strict() || len(r.Notes) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestOptions(t *testing.T) {
	o := Options{Patience: 3, Longest: 2 * time.Second, Volume: 1000}
	if o.limit(time.Second) != 3*time.Second || o.total(time.Minute) != 6*time.Second || o.total(time.Second) != 3*time.Second {
		t.Error("wrong limits")
	}
	if o.turns(1000, 10) != 100 || o.turns(1000, 999) != 2 || o.turns(50, 10) != 50 {
		t.Error("wrong number of messages")
	}
	var suite Options
	if suite.wait() != time.Second || suite.total(480*time.Second) != 480*time.Second || suite.turns(1000, 131072) != 1000 {
		t.Error("the zero value is not the suite")
	}
}

// serve runs a judge of clients until the test ends and returns its address.
func serve(t *testing.T, s *Server) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// request sends an opening handshake and returns the response and a reader of
// what follows it.
func request(t *testing.T, address, path, more string) (*http.Response, *bufio.Reader, net.Conn) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", path, address, more)
	in := bufio.NewReader(conn)
	response, err := http.ReadResponse(in, &http.Request{Method: "GET"})
	if err != nil {
		t.Fatal(err)
	}
	return response, in, conn
}

const version = "Sec-WebSocket-Version: 13\r\n"

func TestHandshakesRefused(t *testing.T) {
	address := serve(t, NewServer(conversation.All(), &Options{}))
	tests := []struct {
		path, more string
		status     int
	}{
		{"/runCase?case=1", version, 500},
		{"/runCase?agent=a", version, 500},
		{"/runCase?agent=a&case=0", version, 500},
		{"/runCase?agent=a&case=518", version, 500},
		{"/runCase?agent=a&casetuple=8.1", version, 500},
		{"/getCaseInfo?case=x", version, 500},
		{"/other", version, 404},
		{"/getCaseCount", "", 400},
		{"/getCaseCount", "Sec-WebSocket-Version: 7\r\n", 400},
		{"/getCaseCount", version + version, 400},
		{"/getCaseCount", version + "Sec-WebSocket-Extensions: permessage-deflate; foo\r\n", 400},
		{"/getCaseCount", version + "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7\r\n", 400},
		{"/getCaseCount", version + "Sec-WebSocket-Extensions: x\r\nSec-WebSocket-Extensions: y\r\n", 400},
	}
	for _, test := range tests {
		response, _, _ := request(t, address, test.path, test.more)
		if response.StatusCode != test.status {
			t.Errorf("%s %q: %s, want %d", test.path, test.more, response.Status, test.status)
		}
	}
}

// messages returns what follows a handshake, up to and including the Close
// frame.
func messages(t *testing.T, in *bufio.Reader) (texts []string) {
	r := peer.NewReader(in, peer.Client, nil)
	for {
		m, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if m.Opcode == conversation.Close {
			return append(texts, fmt.Sprint(m.Code))
		}
		texts = append(texts, string(m.Payload))
	}
}

func TestURLProtocol(t *testing.T) {
	s := NewServer(conversation.All(), &Options{Patience: 10})
	var updated []string
	s.Update = func(agent string) { updated = append(updated, agent) }
	address := serve(t, s)
	s.begin("a")
	s.store("a", &Result{ID: "1.1.1", Behavior: NonStrict})
	tests := []struct{ path, want string }{
		{"/getCaseCount", "517 0"},
		{"/getCaseInfo?case=18", `{"description":"I(\"Hello, world!\")","id":"2.2"} 0`},
		{"/getCaseStatus?case=1&agent=a", `{"behavior":"NON-STRICT"} 0`},
		{"/updateReports?agent=a", "0"},
	}
	for _, test := range tests {
		response, in, _ := request(t, address, test.path, version)
		if response.StatusCode != http.StatusSwitchingProtocols {
			t.Fatal(response.Status)
		}
		if got := strings.Join(messages(t, in), " "); got != test.want {
			t.Errorf("%s: %s, want %s", test.path, got, test.want)
		}
	}
	if !slices.Equal(updated, []string{"a"}) {
		t.Errorf("updated %q", updated)
	}
}

// TestFramesBehindResponse checks that the script's first frames follow the
// response, and how an extension is answered.
func TestFramesBehindResponse(t *testing.T) {
	s := NewServer(conversation.All(), &Options{Patience: 10})
	address := serve(t, s)
	_, in, conn := request(t, address, "/runCase?agent=a&casetuple=2.2", version)
	frame := make([]byte, 15)
	if _, err := io.ReadFull(in, frame); err != nil || string(frame) != "\x89\x0dHello, world!" {
		t.Errorf("%q, %v", frame, err)
	}
	conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if r, err := s.Result(ctx, "a", "2.2"); err != nil || r.Behavior != Failed || r.BehaviorClose != Failed {
		t.Errorf("%+v, %v", r, err)
	}

	response, in, _ := request(t, address, "/runCase?agent=a&casetuple=13.5.1", version+"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n")
	if got := response.Header.Get("Sec-WebSocket-Extensions"); got != "permessage-deflate; client_no_context_takeover; client_max_window_bits=9" {
		t.Error(got)
	}
	if b, err := in.ReadByte(); err != nil || b != 0xc1 {
		t.Errorf("the first octet of a compressed text is %#x, %v", b, err)
	}
}

// TestUnimplemented plays a compressed conversation with a client that does
// not offer compression.
func TestUnimplemented(t *testing.T) {
	s := NewServer(conversation.All(), &Options{Patience: 10})
	address := serve(t, s)
	response, in, conn := request(t, address, "/runCase?agent=a&casetuple=12.1.1", version)
	if got := response.Header.Values("Sec-WebSocket-Extensions"); len(got) > 0 {
		t.Error(got)
	}
	if got := messages(t, in); !slices.Equal(got, []string{"1000"}) {
		t.Errorf("received %q", got)
	}
	conn.Write([]byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if r, err := s.Result(ctx, "a", "12.1.1"); err != nil || r.Behavior != Unimplemented || r.BehaviorClose != OK {
		t.Errorf("%+v, %v", r, err)
	}
}
