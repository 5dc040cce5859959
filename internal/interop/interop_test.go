package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket"
)

// covers records which rows of requirements.tsv a test covers.
func covers(t testing.TB, ids ...string) {
	t.Helper()
	if len(ids) == 0 {
		t.Fatal("covers nothing")
	}
}

// callTimeout bounds the life of one connection.
const callTimeout = 2 * time.Minute

// A peer is a running peer.js.
type peer struct {
	stdin io.Writer
	lines chan reply
	port  int
}

// A reply is a line that peer.js prints.
type reply struct {
	Port       int
	Status     int // of a handshake over HTTP/2
	Extensions string
	Pong       string // payload of a Pong frame
	Code       int    // of the CloseEvent
	Reason     string
	Error      string
}

// deflateOptions are the options of permessage-deflate in ws.
type deflateOptions struct {
	Threshold               int  `json:"threshold"`
	ServerNoContextTakeover bool `json:"serverNoContextTakeover,omitempty"`
	ClientNoContextTakeover bool `json:"clientNoContextTakeover,omitempty"`
	ServerMaxWindowBits     int  `json:"serverMaxWindowBits,omitempty"`
	ClientMaxWindowBits     int  `json:"clientMaxWindowBits,omitempty"`
}

// startPeer runs peer.js until the test ends. It skips the test if node or ws is
// missing.
func startPeer(t *testing.T) *peer {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node on the PATH")
	}
	if _, err := os.Stat("node_modules/ws/package.json"); err != nil {
		t.Skip("ws is not installed: run install.sh in internal/interop")
	}
	cmd := exec.Command(node, "peer.js")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &peer{stdin: stdin, lines: make(chan reply)}
	go p.listen(stdout)
	t.Cleanup(func() {
		stdin.Close()
		for range p.lines {
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("node: %v", err)
		}
	})
	p.port = p.next(t).Port
	return p
}

// listen passes on the lines of r.
func (p *peer) listen(r io.Reader) {
	defer close(p.lines)
	for lines := bufio.NewScanner(r); lines.Scan(); {
		var line reply
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			line.Error = err.Error() + ": " + lines.Text()
		}
		p.lines <- line
	}
}

// next waits for a line.
func (p *peer) next(t *testing.T) reply {
	t.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok || line.Error != "" {
			t.Fatalf("node has ended, or says %q", line.Error)
		}
		return line
	case <-time.After(callTimeout):
		t.Fatal("node is silent")
		return reply{}
	}
}

// order writes a line.
func (p *peer) order(t *testing.T, order map[string]any) {
	t.Helper()
	line, err := json.Marshal(order)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.stdin.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
}

// serve returns a connection on which we are the client, and what was agreed.
func (p *peer) serve(t *testing.T, ours *websocket.Compression, theirs deflateOptions) (*websocket.Conn, string) {
	t.Helper()
	options, err := json.Marshal(theirs)
	if err != nil {
		t.Fatal(err)
	}
	target := fmt.Sprintf("ws://127.0.0.1:%d/?deflate=%s", p.port, url.QueryEscape(string(options)))
	c, r, err := websocket.Dial(t.Context(), target, &websocket.DialOptions{Config: config(ours)})
	if err != nil {
		t.Fatal(err)
	}
	return c, r.Header.Get("Sec-WebSocket-Extensions")
}

// connect returns a connection on which we are the server, and what was agreed.
func (p *peer) connect(t *testing.T, ours *websocket.Compression, theirs deflateOptions) (*websocket.Conn, string) {
	t.Helper()
	accepted := make(chan *websocket.Conn, 1)
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Config: config(ours)})
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}))
	t.Cleanup(h.Close)
	p.order(t, map[string]any{"url": "ws" + strings.TrimPrefix(h.URL, "http"), "deflate": theirs})
	agreed := p.next(t).Extensions
	return <-accepted, agreed
}

// config returns the configuration of our side.
func config(c *websocket.Compression) websocket.Config {
	return websocket.Config{Compression: c, MaxMessageSize: 64 << 20}
}

// A terms is what one connection should agree on.
type terms struct {
	window             int
	oursNew, theirsNew bool // who forgets after each message
}

func (k terms) String() string {
	return fmt.Sprintf("window %d, ours new %v, theirs new %v", k.window, k.oursNew, k.theirsNew)
}

// eachTerms calls f for every size of window and both settings of either side.
func eachTerms(t *testing.T, f func(t *testing.T, k terms)) {
	for window := 9; window <= 15; window++ {
		for i := range 4 {
			k := terms{window, i&1 != 0, i&2 != 0}
			t.Run(k.String(), func(t *testing.T) { f(t, k) })
		}
	}
}

// wanted returns our settings for k, with a different level for each window.
func (k terms) wanted() *websocket.Compression {
	return &websocket.Compression{
		WindowBits: k.window, PeerWindowBits: k.window, NoContextTakeover: k.oursNew, PeerNoContextTakeover: k.theirsNew,
		Threshold: -1, Level: k.window - 8,
	}
}

// TestClientOfWs connects our client to a server of ws: its zlib inflates what
// we compress, with the agreed window, and vice versa.
func TestClientOfWs(t *testing.T) {
	covers(t, "N08", "N10", "N14", "N16", "N19", "N21", "Z05", "Z07", "Z08", "Z09", "Z10")
	p := startPeer(t)
	eachTerms(t, func(t *testing.T, k terms) {
		c, agreed := p.serve(t, k.wanted(), deflateOptions{})
		k.check(t, agreed, "client", "server")
		exchange(t, c, uint64(k.window))
	})
	t.Run("as ws wants it", func(t *testing.T) {
		eachTerms(t, func(t *testing.T, k terms) {
			c, agreed := p.serve(t, &websocket.Compression{Threshold: -1, WindowBits: 15, Level: 6}, deflateOptions{
				ServerNoContextTakeover: k.theirsNew, ClientNoContextTakeover: k.oursNew,
				ServerMaxWindowBits: k.window, ClientMaxWindowBits: k.window,
			})
			k.check(t, agreed, "client", "server")
			exchange(t, c, uint64(k.window))
		})
	})
}

// TestServerOfWs connects a client of ws to our server.
func TestServerOfWs(t *testing.T) {
	covers(t, "N07", "N09", "N11", "N13", "N18", "N21", "Z05", "Z07", "Z08", "Z09", "Z10")
	p := startPeer(t)
	eachTerms(t, func(t *testing.T, k terms) {
		c, agreed := p.connect(t, k.wanted(), deflateOptions{ServerMaxWindowBits: 15})
		k.check(t, agreed, "server", "client")
		exchange(t, c, uint64(k.window))
	})
	t.Run("as ws wants it", func(t *testing.T) {
		eachTerms(t, func(t *testing.T, k terms) {
			c, agreed := p.connect(t, &websocket.Compression{Threshold: -1, WindowBits: 15, Level: 6}, deflateOptions{
				ServerNoContextTakeover: k.oursNew, ClientNoContextTakeover: k.theirsNew,
				ServerMaxWindowBits: k.window, ClientMaxWindowBits: k.window,
			})
			k.check(t, agreed, "server", "client")
			exchange(t, c, uint64(k.window))
		})
	})
}

// check checks that an agreement contains the terms. ours and theirs are the
// roles.
func (k terms) check(t *testing.T, agreed, ours, theirs string) {
	t.Helper()
	has := map[string]bool{}
	for param := range strings.SplitSeq(agreed, ";") {
		has[strings.TrimSpace(param)] = true
	}
	for param, want := range map[string]bool{
		"permessage-deflate":                              true,
		ours + "_no_context_takeover":                     k.oursNew,
		theirs + "_no_context_takeover":                   k.theirsNew,
		fmt.Sprint(ours, "_max_window_bits=", k.window):   true,
		fmt.Sprint(theirs, "_max_window_bits=", k.window): true,
	} {
		if has[param] != want {
			t.Errorf("%q was agreed on: %s is %v", agreed, param, has[param])
		}
	}
}

// A message is one that we send.
type message struct {
	kind    websocket.MessageType
	content []byte
}

// messages returns messages of many sizes: text, JSON, noise, and repetitions
// whose distance is inside some windows and outside others.
func messages(seed uint64) (all []message) {
	r := rand.New(rand.NewPCG(seed, 1))
	noise := make([]byte, 70_000)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	add := func(kind websocket.MessageType, content []byte) { all = append(all, message{kind, content}) }
	for _, size := range []int{0, 1, 5, 125, 126, 127, 300, 511, 512, 1000, 4096, 40_000, 70_000} {
		add(websocket.Binary, noise[:size])
		add(websocket.Text, bytes.Repeat([]byte("Grüße, 世界. "), size/10))
		add(websocket.Text, record(r, size))
	}
	for w := 8; w <= 15; w++ {
		add(websocket.Binary, noise[1000:1000+1<<w])
		add(websocket.Binary, noise[1000:1100])
	}
	add(websocket.Binary, bytes.Repeat(noise[:9], 20_000))
	return all
}

// record returns JSON of about size bytes.
func record(r *rand.Rand, size int) []byte {
	type entry struct {
		ID    uint32  `json:"id"`
		Name  string  `json:"name"`
		Price float64 `json:"price"`
	}
	entries := []entry{}
	for n := 0; n < size; n += 50 {
		entries = append(entries, entry{r.Uint32(), fmt.Sprint("name ", n), r.Float64()})
	}
	p, err := json.Marshal(entries)
	if err != nil {
		panic(err)
	}
	return p
}

// exchange sends all messages, some of them in fragments, compares what comes
// back, and closes.
func exchange(t *testing.T, c *websocket.Conn, seed uint64) {
	t.Helper()
	defer c.CloseNow()
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	all := messages(seed)
	sent := make(chan error, 1)
	go func() { sent <- send(ctx, c, all) }()
	for i, m := range all {
		kind, content, err := c.Read(ctx)
		if err != nil {
			t.Fatalf("message %d of %d: %v", i, len(all), err)
		}
		if kind != m.kind || !bytes.Equal(content, m.content) {
			t.Fatalf("message %d of %d: %v of %d bytes has come back from %v of %d", i, len(all), kind, len(content), m.kind, len(m.content))
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if s := c.Stats(); s.CompressedOut == 0 || s.CompressedIn == 0 || s.CompressedOut > s.DeflatedOut/2 {
		t.Errorf("%d bytes were compressed to %d, and %d inflated to %d", s.DeflatedOut, s.CompressedOut, s.CompressedIn, s.InflatedIn)
	}
	if err := c.Close(websocket.CloseNormal, "done"); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// send sends all messages, every fourth in fragments.
func send(ctx context.Context, c *websocket.Conn, all []message) error {
	for i, m := range all {
		if i%4 != 0 {
			if err := c.Write(ctx, m.kind, m.content); err != nil {
				return err
			}
			continue
		}
		w, err := c.Writer(ctx, m.kind)
		if err != nil {
			return err
		}
		for part := range slices.Chunk(m.content, 1+len(m.content)/3) {
			if _, err := w.Write(part); err != nil {
				return err
			}
			if err := w.Flush(); err != nil {
				return err
			}
		}
		if err := w.Close(); err != nil {
			return err
		}
	}
	return nil
}
