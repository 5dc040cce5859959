package websocket

import (
	"net/http"
	"strings"
	"testing"

	"github.com/fullduplex-go/websocket/internal/http1"
)

func TestAcceptKey(t *testing.T) {
	covers(t, "C24", "S06", "S21", "E10", "Q.J07")
	for key, want := range map[string]string{
		sampleKey:                  sampleAccept,
		"AQIDBAUGBwgJCgsMDQ4PEC==": "OfS0wDaT5NoxF2gqm7Zj2YtetzM=",
	} {
		if got := string(appendAcceptKey(nil, key)); got != want {
			t.Errorf("key %s: got %s, want %s", key, got, want)
		}
	}
}

func TestSwitchingProtocols(t *testing.T) {
	covers(t, "S18", "S19", "S20", "E03")
	const head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + sampleAccept + "\r\n"
	for _, c := range []struct {
		subprotocol string
		answer      []extension
		want        string
	}{
		{"", nil, head},
		{"chat", nil, head + "Sec-WebSocket-Protocol: chat\r\n"},
		{"", []extension{{name: "a"}, {name: "b", params: []param{{"x", "10", true}, {name: "y"}}}},
			head + "Sec-WebSocket-Extensions: a, b; x=10; y\r\n"},
	} {
		got := string(appendSwitchingProtocols(nil, sampleKey, agreement{subprotocol: c.subprotocol}, c.answer))
		if got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestAppendRefusal(t *testing.T) {
	covers(t, "S09", "Q.J04")
	for _, c := range []struct {
		e    *HandshakeError
		want string
	}{
		{newRefusal(400, "bad"), "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n" +
			"X-Content-Type-Options: nosniff\r\nContent-Length: 4\r\n\r\nbad\n"},
		{newRefusal(426, "old", upgradeFields...), "HTTP/1.1 426 Upgrade Required\r\nSec-Websocket-Version: 13\r\n" +
			"Upgrade: websocket\r\nConnection: Upgrade, close\r\nContent-Type: text/plain; charset=utf-8\r\n" +
			"X-Content-Type-Options: nosniff\r\nContent-Length: 4\r\n\r\nold\n"},
		{newRefusal(401, "who", "WWW-Authenticate", "Basic", "Upgrade", "x", "X-Bad", "a\r\nb"), "HTTP/1.1 401 Unauthorized\r\n" +
			"Www-Authenticate: Basic\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n" +
			"X-Content-Type-Options: nosniff\r\nContent-Length: 4\r\n\r\nwho\n"},
		{&HandshakeError{Status: 403, Reason: "no", body: []byte("{}"), Response: &http.Response{Header: http.Header{"Content-Type": {"application/json"}, "X-A": {"b"}}}},
			"HTTP/1.1 403 Forbidden\r\nX-A: b\r\nConnection: close\r\nContent-Type: application/json\r\n" +
				"X-Content-Type-Options: nosniff\r\nContent-Length: 2\r\n\r\n{}"},
	} {
		if got := string(appendRefusal(nil, c.e)); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}

func TestCheckResponse(t *testing.T) {
	covers(t, "C22", "C23", "C24", "C25", "C26", "C27", "C28", "C29",
		"C30", "C31", "C32", "E01", "Q.B02", "Q.B05", "Q.B06")
	const fails = "\x00"
	for _, c := range []struct {
		name        string
		response    string
		subprotocol string // agreed on, or fails
	}{
		{"good", response(), ""},
		{"HTTP/1.0", response("HTTP/1.0 101 Switching Protocols"), fails},
		{"Upgrade missing", response("-Upgrade"), fails},
		{"Upgrade other", response("Upgrade: h2c"), fails},
		{"Upgrade list", response("Upgrade: websocket, h2c"), fails},
		{"Upgrade twice", response("+Upgrade: websocket"), fails},
		{"Upgrade long s", response("Upgrade: web\u017focket"), fails},
		{"Upgrade in other case", response("Upgrade: WebSocket"), ""},
		{"Connection missing", response("-Connection"), fails},
		{"Connection close", response("Connection: close"), fails},
		{"Connection notupgrade", response("Connection: notupgrade"), fails},
		{"Connection list", response("Connection: keep-alive, upgrade"), ""},
		{"Connection lines", response("Connection: keep-alive", "+Connection: upgrade"), ""},
		{"accept missing", response("-Sec-WebSocket-Accept"), fails},
		{"accept of another key", response("Sec-WebSocket-Accept: OfS0wDaT5NoxF2gqm7Zj2YtetzM="), fails},
		{"accept in lower case", response("Sec-WebSocket-Accept: " + strings.ToLower(sampleAccept)), fails},
		{"accept without padding", response("Sec-WebSocket-Accept: " + strings.TrimSuffix(sampleAccept, "=")), fails},
		{"accept with spaces", response("Sec-WebSocket-Accept: \t " + sampleAccept + " \t"), ""},
		{"accept twice", response("+Sec-WebSocket-Accept: " + sampleAccept), fails},
		{"accept right and wrong", response("+Sec-WebSocket-Accept: x"), fails},
		{"accept wrong and right", response("Sec-WebSocket-Accept: x", "+Sec-WebSocket-Accept: "+sampleAccept), fails},
		{"extension unknown", response("Sec-WebSocket-Extensions: x-foo"), fails},
		{"extension not offered", response("Sec-WebSocket-Extensions: permessage-deflate"), fails},
		{"extension lines", response("Sec-WebSocket-Extensions: permessage-deflate", "+Sec-WebSocket-Extensions: x-foo"), fails},
		{"extension malformed", response("Sec-WebSocket-Extensions: permessage-deflate;"), fails},
		{"parameter without name", response("Sec-WebSocket-Extensions: permessage-deflate; =1"), fails},
		{"open quote", response(`Sec-WebSocket-Extensions: permessage-deflate; a="`), fails},
		{"no name", response("Sec-WebSocket-Extensions: permessage-deflate,,,; x"), fails},
		{"subprotocol", response("Sec-WebSocket-Protocol: chat"), "chat"},
		{"subprotocol not offered", response("Sec-WebSocket-Protocol: evil"), fails},
		{"subprotocol in other case", response("Sec-WebSocket-Protocol: CHAT"), fails},
		{"subprotocol list", response("Sec-WebSocket-Protocol: chat, superchat"), fails},
		{"subprotocol empty", response("Sec-WebSocket-Protocol:"), fails},
		{"subprotocol twice", response("Sec-WebSocket-Protocol: chat", "+Sec-WebSocket-Protocol: chat"), fails},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := http1.ParseResponse(c.response)
			if err != nil {
				t.Fatal(err)
			}
			agreed, err := checkResponse(r, &offer{key: sampleKey, subprotocols: []string{"superchat", "chat"}})
			switch {
			case c.subprotocol == fails && statusOf(err) != 101:
				t.Errorf("got %v, want a HandshakeError", err)
			case c.subprotocol != fails && (err != nil || agreed.subprotocol != c.subprotocol):
				t.Errorf("got %q, %v", agreed.subprotocol, err)
			}
		})
	}
}

// FuzzHandshakeResponse checks that no response is accepted but those that say
// literally what they must, and that net/http reads the same fields in them.
func FuzzHandshakeResponse(f *testing.F) {
	covers(f, "C31", "Q.B05", "Q.B06")
	f.Add(response())
	f.Add(response("Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Extensions: permessage-deflate"))
	f.Add(response("HTTP/1.1 103 Early Hints"))
	f.Add(response("Connection: keep-alive", "+Connection: upgrade", "Set-Cookie: a=b"))
	f.Fuzz(func(t *testing.T, head string) {
		if head = headOf(head); head == "" {
			return
		}
		r, err := http1.ParseResponse(head)
		if err != nil {
			return
		}
		if r.StatusCode < 100 || r.StatusCode > 999 {
			t.Fatalf("status %d", r.StatusCode)
		}
		agreed, err := checkResponse(r, &offer{key: sampleKey, subprotocols: []string{"chat"}})
		if err != nil {
			if statusOf(err) != 101 {
				t.Fatalf("got %v", err)
			}
			return
		}
		if strings.Count(head, sampleAccept) == 0 || agreed.subprotocol != "" && agreed.subprotocol != "chat" || agreed.deflate != nil {
			t.Fatalf("accepted %q", head)
		}
	})
}
