package wstest_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/wstest"
)

// This file has the code of docs/testing.md. A test compares the two.

// Shout answers every text message in capitals, and closes with 1003 when it
// receives a binary message.
func Shout(c *websocket.Conn) error {
	for m, err := range c.Messages(c.Context()) {
		switch {
		case err != nil:
			return err
		case m.Type != websocket.Text:
			return websocket.CloseUnsupportedData
		}
		if err := c.WriteString(c.Context(), strings.ToUpper(string(m.Data))); err != nil {
			return err
		}
	}
	return nil
}

func TestShout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := wstest.NewServer(t, websocket.HandlerFunc(nil, Shout))
		c := server.Dial("/", nil)
		if err := c.WriteString(t.Context(), "hello"); err != nil {
			t.Fatal(err)
		}
		_, p, err := c.Read(t.Context())
		if err != nil || string(p) != "HELLO" {
			t.Fatalf("read %q, %v", p, err)
		}
		if err := c.Close(websocket.CloseNormal, ""); err != nil {
			t.Fatal(err)
		}
	})
}

func TestShoutRefusesBinary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := wstest.NewServer(t, websocket.HandlerFunc(nil, Shout)).RawPeer()
		peer.Open("/", nil)
		peer.SendFrame(wstest.BinaryFrame([]byte{1, 2, 3}))
		peer.ExpectClose(websocket.CloseUnsupportedData)
	})
}

func TestShoutWithAPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := wstest.Pipe(t, nil, nil)
		go Shout(s)
		c.WriteString(t.Context(), "hello")
		if _, p, err := c.Read(t.Context()); string(p) != "HELLO" {
			t.Fatalf("read %q, %v", p, err)
		}
	})
}

func TestShoutIsPingedAndGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, peer := wstest.ServerConn(t, nil)
		ended := make(chan error, 1)
		go func() { ended <- Shout(s) }()

		began := time.Now()
		if f := peer.ReadFrame(); f.Opcode != wstest.OpPing {
			t.Fatalf("received %v, not a Ping", f)
		}
		// The peer answers nothing.
		<-ended
		if after := time.Since(began); after != 50*time.Second {
			t.Fatalf("the connection ended after %v", after)
		}
	})
}

func TestShoutSurvivesMisbehaviour(t *testing.T) {
	unmasked := wstest.TextFrame("hello")
	unmasked.Mask = wstest.Unmasked
	for name, misbehave := range map[string]func(p *wstest.RawPeer){
		"no mask":           func(p *wstest.RawPeer) { p.SendFrame(unmasked) },
		"a reserved bit":    func(p *wstest.RawPeer) { p.SendFrame(wstest.Frame{FIN: true, RSV: wstest.RSV3, Opcode: wstest.OpText}) },
		"a reserved opcode": func(p *wstest.RawPeer) { p.SendFrame(wstest.Frame{FIN: true, Opcode: 3}) },
		"a length too long": func(p *wstest.RawPeer) {
			p.SendFrame(wstest.Frame{FIN: true, Opcode: wstest.OpText, Form: wstest.Length64})
		},
		"not UTF-8":          func(p *wstest.RawPeer) { p.SendFrame(wstest.TextFrame("\xff")) },
		"a bad continuation": func(p *wstest.RawPeer) { p.SendFrame(wstest.Frame{FIN: true, Opcode: wstest.OpContinuation}) },
		"half a frame":       func(p *wstest.RawPeer) { p.Send(p.Encode(wstest.TextFrame("hello"))[:4]); p.CloseWrite() },
		"a reset":            func(p *wstest.RawPeer) { p.Reset() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, peer := wstest.ServerConn(t, nil)
				ended := make(chan error, 1)
				go func() { ended <- Shout(s) }()
				misbehave(peer)
				if err := <-ended; err == nil {
					t.Error("ended as if nothing was wrong")
				}
			})
		})
	}
}

func TestShoutToASlowPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, peer := wstest.ServerConn(t, nil)
		go Shout(s)
		peer.Pace(1, time.Second) // one byte a second
		peer.SendFrame(wstest.TextFrame("hello"))
		peer.Expect(wstest.TextFrame("HELLO"))
	})
}

func TestShoutToAPeerThatNeverReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, peer := wstest.ServerConn(t, nil)
		ended := make(chan error, 1)
		go func() { ended <- Shout(s) }()
		peer.Window(0) // not a byte is taken
		peer.SendFrame(wstest.TextFrame("hello"))
		if err := <-ended; err == nil {
			t.Error("ended as if nothing was wrong")
		}
	})
}

func TestShoutByScript(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer := wstest.NewServer(t, websocket.HandlerFunc(nil, Shout)).RawPeer()
		peer.Open("/", nil)
		peer.Play(`
			# A text in two fragments, with a Ping in between.
			send 01 83 <37fa213d> "hel"
			send 89 81 <01020304> "p"
			want 8a 01 "p"
			send 80 82 <00000000> "lo"
			want 81 05 "HELLO"

			# A Close frame with 1000, and the answer.
			send 88 82 <01020304> 03e8
			want 88 02 03e8
			eof
			end`)
	})
}

// Greeting dials url, says who it is and returns the answer.
func Greeting(url string, opts *websocket.DialOptions) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, url, opts)
	if err != nil {
		return "", err
	}
	defer c.Close(websocket.CloseNormal, "")
	if err := c.WriteString(ctx, "I am Ada"); err != nil {
		return "", err
	}
	_, p, err := c.Read(ctx)
	return string(p), err
}

func TestGreetingOfAStrangeServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := wstest.Listen(t)
		ended := make(chan error, 1)
		go func() {
			_, err := Greeting(l.URL, &websocket.DialOptions{NetDial: l.NetDial})
			ended <- err
		}()
		peer := l.Accept()
		peer.Accept(nil)
		peer.Expect(wstest.TextFrame("I am Ada"))
		masked := wstest.TextFrame("hello")
		masked.Mask = wstest.Masked // which a server must not do
		peer.SendFrame(masked)
		peer.ExpectClose(websocket.CloseProtocolError)
		if err := <-ended; err == nil {
			t.Error("ended as if nothing was wrong")
		}
	})
}

func TestGreetingOfAServerThatIsNone(t *testing.T) {
	l := wstest.ListenTCP(t)
	ended := make(chan error, 1)
	go func() {
		_, err := Greeting(l.URL, nil)
		ended <- err
	}()
	peer := l.Accept()
	peer.ReadRequest()
	peer.Send([]byte("SSH-2.0-OpenSSH_9.9\r\n"))
	if err := <-ended; err == nil {
		t.Error("ended as if nothing was wrong")
	}
}
