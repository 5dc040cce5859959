package websocket

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/fullduplex-go/websocket/internal/http1"
)

func TestIsKey(t *testing.T) {
	covers(t, "S06", "Q.A03")
	for key, want := range map[string]bool{
		sampleKey:                     true,
		"AQIDBAUGBwgJCgsMDQ4PEC==":    true,
		"":                            false,
		"AAAAAAAAAAAAAAAAAAAA":        false, // 15 bytes
		"AAAAAAAAAAAAAAAAAAAAAAAA":    false, // 18 bytes
		"AAAAAAAAAAAAAAAAAAAAAAA=":    false, // 17 bytes
		"dGhlIHNhbXBsZSBub25jZQ":      false,
		"dGhlIHNhbXBsZSBub25j-Q==":    false,
		"dGhlIHNhbXBsZSBub25j_Q==":    false,
		"dGhlIHNhb XBsZSBub25jZQ==":   false,
		"dGhlIHNhb XBsZSBub25jZ==":    false,
		"!!":                          false,
		"dGhlIHNhbXBsZSBub25j\xffQ==": false,
		strings.Repeat("A", 10<<10):   false,
	} {
		if got := isKey(key); got != want {
			t.Errorf("%.40q: got %v", key, got)
		}
	}
}

func TestCheckSubprotocols(t *testing.T) {
	covers(t, "C15", "W02")
	for _, list := range [][]string{{"a", "a"}, {""}, {"a b"}, {"ü"}, {"a,b"}, {"a\r\nX: y"}, {"a", "b", "a"}} {
		if checkSubprotocols(list) == nil {
			t.Errorf("%q is accepted", list)
		}
	}
	if err := checkSubprotocols([]string{"chat", "Chat", "v1.example.com"}); err != nil {
		t.Error(err)
	}
}

func TestCheckFields(t *testing.T) {
	covers(t, "C17", "S27", "U06", "Q.B14", "Q.J05")
	for _, name := range []string{
		"Sec-WebSocket-Key", "sec-websocket-accept", "Sec-Websocket-Version", "SEC-WEBSOCKET-EXTENSIONS",
		"Sec-WebSocket-Protocol", "Upgrade", "connection", "Host", "content-length", "Transfer-Encoding", "trailer", "TE", "Keep-Alive",
		"", "a b", "a:b", "a\r\nb", "ü",
	} {
		if checkFields(http.Header{name: {"x"}}) == nil {
			t.Errorf("name %q is accepted", name)
		}
	}
	for _, value := range []string{"a\r\nX: y", "a\nb", "a\x00", "\x7f"} {
		err := checkFields(http.Header{"X-Secret": {"fine", value}})
		if err == nil || strings.Contains(err.Error(), value) {
			t.Errorf("value %q: got %v", value, err)
		}
	}
	if err := checkFields(http.Header{"Cookie": {"a=b"}, "X-Name": {"Zoë\t"}}); err != nil {
		t.Error(err)
	}
}

func TestContainsTokenIsLinear(t *testing.T) {
	covers(t, "Q.A04")
	const n = 10_000
	seen := 0
	for range listElements([]string{strings.Repeat("x, ,", n), strings.Repeat(" ", n)}) {
		seen++
	}
	if seen != n {
		t.Errorf("got %d elements, want %d", seen, n)
	}
	if containsToken([]string{strings.Repeat("upgrade;", n)}, "upgrade") {
		t.Error("part of an element is taken for it")
	}
}

func TestOfferedSubprotocols(t *testing.T) {
	covers(t, "S11", "S28", "Q.A11")
	for _, c := range []struct {
		lines []string
		want  []string // nil: malformed
	}{
		{[]string{"chat"}, []string{"chat"}},
		{[]string{"chat, superchat"}, []string{"chat", "superchat"}},
		{[]string{"chat,,superchat, "}, []string{"chat", "superchat"}},
		{[]string{"chat", "superchat"}, []string{"chat", "superchat"}},
		{[]string{"chat, a b"}, nil},
		{[]string{"chat;x"}, nil},
		{[]string{`"chat"`}, nil},
		{[]string{"chat, chat"}, nil},
		{[]string{"chat", "chat"}, nil},
		{[]string{"\xff"}, nil},
		{[]string{strings.Repeat("x", 5) + strings.Repeat(",x", 10_000)}, nil},
	} {
		got, err := offeredSubprotocols(&http.Request{Header: http.Header{protocolField: c.lines}})
		if !slices.Equal(got, c.want) || (c.want == nil) != (statusOf(err) == 400) {
			t.Errorf("%.40q: got %q, %v", c.lines, got, err)
		}
		if told := Subprotocols(&http.Request{Header: http.Header{protocolField: c.lines}}); !slices.Equal(told, c.want) {
			t.Errorf("%.40q: Subprotocols has %q", c.lines, told)
		}
	}
	if got := Subprotocols(new(http.Request)); got != nil {
		t.Errorf("without the field: got %q", got)
	}
	many := make([]string, maxListed+1)
	for i := range many {
		many[i] = strings.Repeat("x", i+1)
	}
	if _, err := offeredSubprotocols(&http.Request{Header: http.Header{protocolField: many}}); statusOf(err) != 400 {
		t.Errorf("too many: got %v", err)
	}
	if _, err := offeredSubprotocols(&http.Request{Header: http.Header{protocolField: many[:maxListed]}}); err != nil {
		t.Error(err)
	}
}

// TestIsUpgrade asks about requests that a server has to route.
func TestIsUpgrade(t *testing.T) {
	covers(t, "S04", "S05")
	for wire, want := range map[string]bool{
		request(): true,
		request("Connection: keep-alive, UPGRADE", "Upgrade: h2c, WebSocket"):            true,
		request("Connection: keep-alive", "+Connection: upgrade", "+Upgrade: websocket"): true,
		request("POST /chat HTTP/1.1", "Content-Length: 0"):                              true,
		request("GET /chat HTTP/1.0"):                                                    true,
		request("-Sec-WebSocket-Key", "Sec-WebSocket-Version: 8"):                        true,
		request("-Upgrade"):                 false,
		request("-Connection"):              false,
		request("Upgrade: h2c"):             false,
		request("Upgrade: websocket/13"):    false,
		request("Connection: keep-alive"):   false,
		"GET / HTTP/1.1\r\nHost: h\r\n\r\n": false,
		"GET / HTTP/1.1\r\nHost: h\r\nX-Upgrade: websocket\r\nConnection: upgrade\r\n\r\n": false,
	} {
		if got := IsUpgrade(parsed(t, wire)); got != want {
			t.Errorf("%q: got %t", wire, got)
		}
	}
	if IsUpgrade(new(http.Request)) {
		t.Error("a request without fields asks for a WebSocket")
	}
}

// TestRoutedByIsUpgrade serves a page at the address of a WebSocket, by each way
// to accept connections. What is wrong with a handshake is not the page's affair.
func TestRoutedByIsUpgrade(t *testing.T) {
	covers(t, "S11")
	starts := maps.Clone(receiverStarts)
	starts["HandlerFunc"] = func(opts *AcceptOptions, to func() Receiver) http.Handler {
		return HandlerFunc(opts, func(c *Conn) error { return c.Deliver(to()) })
	}
	for name, start := range starts {
		h := start(nil, func() Receiver { return echoReceiver{} })
		routed := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if IsUpgrade(r) {
				w.Header().Set("X-Offered", strings.Join(Subprotocols(r), " "))
				h.ServeHTTP(w, r)
			}
		})
		for _, c := range []struct {
			wire    string
			status  int
			offered string
		}{
			{"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 200, ""},
			{request("Sec-WebSocket-Protocol: b, a"), 101, "b a"},
			{request("Sec-WebSocket-Protocol: b, b"), 400, ""},
			{request("POST / HTTP/1.1", "Content-Length: 0"), 405, ""},
		} {
			r, nc := rawTo(t, routed, io.Discard, c.wire)
			if r.StatusCode != c.status || r.Header.Get("X-Offered") != c.offered {
				t.Errorf("%s: %q: got %d, offered %q", name, c.wire, r.StatusCode, r.Header["X-Offered"])
			}
			if c.status == 101 {
				io.WriteString(nc, maskedHello)
				wantHello(t, nc)
			}
			nc.Close()
		}
	}
	near, far := tcpPair(t)
	go io.WriteString(near, request("Sec-WebSocket-Protocol: b, a"))
	c, r, err := AcceptConn(t.Context(), far, nil)
	if err != nil || !IsUpgrade(r) || !slices.Equal(Subprotocols(r), []string{"b", "a"}) {
		t.Fatalf("AcceptConn: %v, %v", r, err)
	}
	c.CloseNow()
}

// FuzzHandshakeRequest checks that whatever is accepted obeys the rules when
// they are looked up one by one in the bytes, that every refusal has a status
// of its own kind, and that our client accepts the answer.
func FuzzHandshakeRequest(f *testing.F) {
	covers(f, "S01", "Q.A12")
	f.Add(request())
	f.Add(request("Sec-WebSocket-Protocol: chat, superchat", `Sec-WebSocket-Extensions: a; b="c", d`))
	f.Add(request("POST / HTTP/1.1"))
	f.Add(request("Connection: keep-alive, Upgrade", "Origin: http://server.example.com"))
	f.Add(request("Content-Length: 11"))
	a := newAcceptor(&AcceptOptions{Config: Config{Subprotocols: []string{"superchat", "chat"}}})
	f.Fuzz(func(t *testing.T, head string) {
		if head = headOf(head); head == "" {
			return
		}
		r, err := http1.ParseRequest(context.Background(), head)
		if err != nil {
			return
		}
		ans, err := a.acceptRequest(r)
		if err != nil {
			if s := statusOf(err); s < 400 || s > 599 {
				t.Fatalf("refusal without status: %v", err)
			}
			return
		}
		if !IsUpgrade(r) {
			t.Fatal("what is accepted does not ask for a WebSocket")
		}
		mustObeyRequestRules(t, head)
		wire := send101(t, a, r, ans)
		answered, err := http1.ParseResponse(wire)
		if err != nil {
			t.Fatalf("our response: %v", err)
		}
		agreed, err := checkResponse(answered, &offer{
			key:          http1.TrimSpace(r.Header[keyField][0]),
			subprotocols: []string{"superchat", "chat"},
		})
		if err != nil || agreed.subprotocol != ans.agreed.subprotocol {
			t.Fatalf("our client: %v, %v", agreed, err)
		}
	})
}

// send101 returns the response to r.
func send101(t *testing.T, a *acceptor, r *http.Request, ans answer) string {
	wire := string(a.appendResponse(nil, r, ans)) + "\r\n"
	if headOf(wire) != wire {
		t.Fatalf("response is not one head: %q", wire)
	}
	return wire
}

// mustObeyRequestRules looks the rules of RFC 6455, Section 4.2.1, up in the
// bytes of a request.
func mustObeyRequestRules(t *testing.T, head string) {
	t.Helper()
	lines := strings.Split(head, "\r\n")
	if !strings.HasPrefix(lines[0], "GET ") || !strings.Contains(lines[0], " HTTP/1.") || strings.HasSuffix(lines[0], "1.0") {
		t.Fatalf("start line %q", lines[0])
	}
	fields := map[string][]string{}
	for _, l := range lines[1 : len(lines)-2] {
		name, value, _ := strings.Cut(l, ":")
		name = strings.ToLower(name)
		fields[name] = append(fields[name], strings.ToLower(strings.Trim(value, " \t")))
	}
	for _, name := range []string{"host", "sec-websocket-key", "sec-websocket-version"} {
		if len(fields[name]) != 1 {
			t.Fatalf("%s: %q", name, fields[name])
		}
	}
	if fields["sec-websocket-version"][0] != "13" || len(fields["sec-websocket-key"][0]) != 24 {
		t.Fatalf("accepted %q", head)
	}
	if !strings.Contains(strings.Join(fields["upgrade"], ","), "websocket") || !strings.Contains(strings.Join(fields["connection"], ","), "upgrade") {
		t.Fatalf("accepted %q", head)
	}
	if fields["transfer-encoding"] != nil || fields["content-length"] != nil && fields["content-length"][0] != "0" {
		t.Fatalf("accepted a body: %q", head)
	}
}

func TestAppendRequest(t *testing.T) {
	covers(t, "C08", "C11", "C13", "C14", "C16", "C17")
	d, err := newDialer("ws://example.com/chat?a=b", &DialOptions{
		Config: Config{Subprotocols: []string{"chat", "superchat"}},
		Header: http.Header{"X-B": {"2", "3"}, "cookie": {"a=b"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	d.request.Header.Set(keyField, sampleKey)
	want := "GET /chat?a=b HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: " + sampleKey + "\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat, superchat\r\n" +
		"X-B: 2\r\nX-B: 3\r\ncookie: a=b\r\n\r\n"
	if got := appendRequest(nil, d.request, d.uri.resourceName); !bytes.Equal(got, []byte(want)) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
