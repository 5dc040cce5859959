package peer

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/fullduplex-go/websocket/autobahn/internal/conversation"
	"github.com/fullduplex-go/websocket/autobahn/internal/deflate"
)

// octets decodes s, which is hex with spaces.
func octets(s string) []byte {
	p, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return p
}

func TestAppend(t *testing.T) {
	key := Key{0x37, 0xfa, 0x21, 0x3d}
	tests := []struct {
		frame conversation.Frame
		key   *Key
		want  string // how the octets begin
		size  int
	}{
		{conversation.Frame{FIN: true, Opcode: 1, Payload: []byte("Hello")}, nil, "81 05 48656c6c6f", 7},
		{conversation.Frame{FIN: true, Opcode: 1, Payload: []byte("Hello")}, &key, "81 85 37fa213d 7f9f4d5158", 11},
		{conversation.Frame{Opcode: 2, RSV: 4, Payload: make([]byte, 126)}, nil, "42 7e 007e 00", 130},
		{conversation.Frame{FIN: true, Opcode: 9, RSV: 1, Payload: make([]byte, 65535)}, nil, "99 7e ffff 00", 65539},
		{conversation.Frame{FIN: true, Opcode: 2, Payload: make([]byte, 65536)}, &key, "82 ff 0000000000010000 37fa213d 37fa213d", 65550},
	}
	for _, test := range tests {
		f := &test.frame
		got := AppendPayload(AppendHeader(nil, f, test.key), f.Payload, test.key, 0)
		if !bytes.HasPrefix(got, octets(test.want)) || len(got) != test.size {
			t.Errorf("%d octets %.20x, want %d octets %s", len(got), got, test.size, test.want)
		}
	}
}

func TestMaskInPieces(t *testing.T) {
	key := Key{1, 2, 3, 4}
	payload := bytes.Repeat([]byte("abcdefg"), 11)
	whole := AppendPayload(nil, payload, &key, 0)
	for cut := range payload {
		pieces := AppendPayload(AppendPayload(nil, payload[:cut], &key, 0), payload[cut:], &key, cut)
		if !bytes.Equal(pieces, whole) {
			t.Fatalf("cut at %d: %x, want %x", cut, pieces, whole)
		}
	}
	for i, b := range whole {
		if b != payload[i]^key[i%4] {
			t.Fatalf("octet %d is %x", i, b)
		}
	}
}

// TestReader reads what a server may send, and much that it must not.
func TestReader(t *testing.T) {
	tests := []struct {
		name, in string
		deflate  bool
		want     string // messages as opcode and text; then the code of the violation, or the error
	}{
		{"messages", "81 02 6869 82 00", false, "1hi 2 EOF"},
		{"fragments", "01 01 61 89 01 70 00 00 80 01 62", false, "9p 1ab EOF"},
		{"close", "88 02 03e8", false, "8 EOF"},
		{"empty close", "88 00", false, "8 EOF"},
		{"frame after close", "88 00 89 00", false, "8 1002"},
		{"close of one octet", "88 01 03", false, "1002"},
		{"close code 999", "88 02 03e7", false, "1002"},
		{"close code 1005", "88 02 03ed", false, "1002"},
		{"close code 1012", "88 02 03f4", false, "1002"},
		{"close code 3000", "88 02 0bb8", false, "8 EOF"},
		{"reason not UTF-8", "88 03 03e8 ff", false, "1007"},
		{"masked", "81 82 00000000 6869", false, "1002"},
		{"RSV1", "c1 02 6869", false, "1002"},
		{"RSV2", "a1 02 6869", true, "1002"},
		{"RSV1 on a ping", "c9 00", true, "1002"},
		{"RSV1 on a continuation", "41 03 f248cd c0 04 c9c90700", true, "1002"},
		{"compressed", "41 03 f248cd 80 04 c9c90700", true, "1Hello EOF"},
		{"compressed, corrupt", "c1 04 ffffffff", true, "1007"},
		{"opcode 3", "83 00", false, "1002"},
		{"opcode 11", "8b 00", false, "1002"},
		{"fragmented ping", "09 00", false, "1002"},
		{"long ping", "89 7e 007e", false, "1002"},
		{"length 125 in 16 bits", "82 7e 007d", false, "1002"},
		{"length 65535 in 64 bits", "82 7f 000000000000ffff", false, "1002"},
		{"length with the top bit", "82 7f 8000000000000000", false, "1002"},
		{"huge length", "82 7f 0000000100000000", false, "1002"},
		{"stray continuation", "80 00", false, "1002"},
		{"interleaved", "01 00 81 00", false, "1002"},
		{"text not UTF-8", "81 01 ff", false, "1007"},
		{"character over fragments", "01 01 c3 80 01 a4", false, "1ä EOF"},
		{"cut in a header", "81", false, "unexpected EOF"},
		{"cut in a payload", "81 02 68", false, "unexpected EOF"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var inflater *deflate.Inflater
			if test.deflate {
				inflater = deflate.NewInflater(deflate.Direction{Window: 15}, MaxMessage)
			}
			r := NewReader(bufio.NewReader(bytes.NewReader(octets(test.in))), Client, inflater)
			if got := readAll(r); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
	t.Run("unmasked from a client", func(t *testing.T) {
		r := NewReader(bufio.NewReader(bytes.NewReader(octets("81 00"))), Server, nil)
		if got := readAll(r); got != "1002" {
			t.Error(got)
		}
	})
}

// readAll returns what r reads, in words.
func readAll(r *Reader) string {
	var words []string
	for {
		m, err := r.Next()
		var v *Violation
		switch {
		case errors.As(err, &v):
			return strings.Join(append(words, map[int]string{1002: "1002", 1007: "1007"}[v.Code]), " ")
		case err != nil:
			return strings.Join(append(words, err.Error()), " ")
		case m.Opcode == conversation.Close:
			words = append(words, "8")
		default:
			words = append(words, string('0'+rune(m.Opcode))+string(m.Payload))
		}
	}
}

// TestOutbox checks the order of writes and calls, the sizes of the writes,
// and that a write that fails drops the rest.
func TestOutbox(t *testing.T) {
	near, far := net.Pipe() // each write is one read of a large buffer
	out := NewOutbox(near, 3)
	out.Write([]byte("abcdefgh"), 0)
	out.Write([]byte("xyz"), 2)
	called := make(chan struct{})
	out.Then(func() { close(called) })
	var writes []string
	for range 5 {
		b := make([]byte, 100)
		n, err := far.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		writes = append(writes, string(b[:n]))
	}
	if got := strings.Join(writes, " "); got != "abc def gh xy z" {
		t.Errorf("writes %s", got)
	}
	<-called
	far.Close()
	out.Write([]byte("lost"), 0)
	out.Write([]byte("lost"), 0)
	out.Flush()
	out.Close()
}

// TestConnect checks responses of a server.
func TestConnect(t *testing.T) {
	const good = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n"
	tests := []struct {
		name, response, more string
		offers               []deflate.Params
		ok                   bool
	}{
		{"plain", good, "", nil, true},
		{"status", strings.Replace(good, "101", "200", 1), "", nil, false},
		{"upgrade", strings.Replace(good, "WebSocket", "h2c", 1), "", nil, false},
		{"connection", strings.Replace(good, "upgrade", "close", 1), "", nil, false},
		{"subprotocol", good, "Sec-WebSocket-Protocol: chat\r\n", nil, false},
		{"second accept", good, "Sec-WebSocket-Accept: x\r\n", nil, false},
		{"extension not offered", good, "Sec-WebSocket-Extensions: permessage-deflate\r\n", nil, false},
		{"extension", good, "Sec-WebSocket-Extensions: permessage-deflate\r\n", []deflate.Params{{}}, true},
		{"two extensions", good, "Sec-WebSocket-Extensions: permessage-deflate, x\r\n", []deflate.Params{{}}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			near, far := net.Pipe()
			defer far.Close()
			out := NewOutbox(near, 0)
			defer out.Close()
			defer near.Close()
			go func() {
				in := bufio.NewReader(far)
				var key string
				for {
					line, err := in.ReadString('\n')
					if err != nil || line == "\r\n" {
						break
					}
					if value, ok := strings.CutPrefix(line, "Sec-WebSocket-Key: "); ok {
						key = strings.TrimSpace(value)
					}
				}
				io.WriteString(far, test.response+"Sec-WebSocket-Accept: "+accept(key)+"\r\n"+test.more+"\r\n")
			}()
			u, _ := url.Parse("ws://localhost:1/path?query")
			answer, err := Connect(out, bufio.NewReader(near), u, test.offers)
			if (err == nil) != test.ok {
				t.Fatal(err)
			}
			if test.ok && (answer.Compression != nil) != (test.more != "") {
				t.Errorf("%+v", answer)
			}
		})
	}
}

func TestAccept(t *testing.T) {
	if got := accept("dGhlIHNhbXBsZSBub25jZQ=="); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Error(got)
	}
}

func TestRefusal(t *testing.T) {
	got := string(Refusal(400, errors.New("peer: no")))
	if want := "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 9\r\nConnection: close\r\n\r\npeer: no\n"; got != want {
		t.Errorf("%q", got)
	}
}
