//go:build unix

package websocket_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// frame returns the frame of a client.
func frame(byte0 byte, p []byte) []byte {
	b := []byte{byte0}
	switch n := len(p); {
	case n < 126:
		b = append(b, byte(n)|0x80)
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126|0x80), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127|0x80), uint64(n))
	}
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	b = append(b, key[:]...)
	for i, c := range p {
		b = append(b, c^key[i%4])
	}
	return b
}

// A client is the other end of a server's connection.
type client struct {
	nc  net.Conn
	buf []byte // what was received and not looked at
	mem []byte
}

// connect connects to a server.
func connect(url string, compress bool) *client {
	r := newRequest(url, nil)
	if compress {
		r.Header.Set("Sec-WebSocket-Extensions", "permessage-deflate; server_no_context_takeover; client_no_context_takeover")
	}
	nc, err := net.Dial("tcp", strings.TrimPrefix(url, "ws://"))
	check(err)
	nc.SetDeadline(soon().Add(10 * patience))
	check(r.Write(nc))
	c := &client{nc: nc, mem: make([]byte, 64<<10)}
	for !bytes.Contains(c.buf, []byte("\r\n\r\n")) {
		c.fill()
	}
	_, c.buf, _ = bytes.Cut(c.buf, []byte("\r\n\r\n"))
	return c
}

// fill receives more.
func (c *client) fill() {
	used := copy(c.mem, c.buf)
	n, err := c.nc.Read(c.mem[used:])
	check(err)
	c.buf = c.mem[:used+n]
}

// skipMessage receives a message and drops it.
func (c *client) skipMessage() {
	for fin := false; !fin; {
		fin = c.skipFrame()
	}
}

// skipFrame receives a frame, drops it, and reports whether it was the last one
// of its message.
func (c *client) skipFrame() (fin bool) {
	for len(c.buf) < 2 {
		c.fill()
	}
	size := map[byte]int{126: 2, 127: 8}[c.buf[1]]
	for len(c.buf) < 2+size {
		c.fill()
	}
	fin = c.buf[0]&0x80 != 0
	left := int(c.buf[1])
	switch size {
	case 2:
		left = int(binary.BigEndian.Uint16(c.buf[2:]))
	case 8:
		left = int(binary.BigEndian.Uint64(c.buf[2:]))
	}
	for c.buf = c.buf[2+size:]; left > len(c.buf); c.fill() {
		left -= len(c.buf)
		c.buf = nil
	}
	c.buf = c.buf[left:]
	return fin
}

// A load is what a client sends at once, and how many messages that is.
type load struct {
	Wire     []byte
	Messages int
	Compress bool
}

// exchange sends a load and receives the answers. A load that may not fit in the
// buffers in between is sent meanwhile.
func (c *client) exchange(l load) {
	if len(l.Wire) > 64<<10 {
		sent := make(chan error, 1)
		go func() {
			_, err := c.nc.Write(l.Wire)
			sent <- err
		}()
		defer func() { check(<-sent) }()
	} else {
		_, err := c.nc.Write(l.Wire)
		check(err)
	}
	for range l.Messages {
		c.skipMessage()
	}
}

// check panics if there is an error.
func check(err error) {
	if err != nil {
		panic(err)
	}
}

// clientEnv is the variable of the environment that makes the program a client.
const clientEnv = "WEBSOCKET_COMPAT_CLIENT"

// A task is what a client in a process of its own does.
type task struct {
	URL  string
	Load load
}

// TestMain runs the tests or, in a process that a benchmark has started, a
// client.
func TestMain(m *testing.M) {
	if os.Getenv(clientEnv) != "" {
		in := json.NewDecoder(os.Stdin)
		var t task
		check(in.Decode(&t))
		t.run(in)
		return
	}
	os.Exit(m.Run())
}

// run connects, and exchanges the load as often as each number of the input
// says, and once before. It answers with a line each time.
func (t task) run(in *json.Decoder) {
	c := connect(t.URL, t.Load.Compress)
	c.exchange(t.Load)
	fmt.Println("ready")
	for {
		var rounds int
		if in.Decode(&rounds) != nil {
			return
		}
		for range rounds {
			c.exchange(t.Load)
		}
		fmt.Println("done")
	}
}

// A remoteClient is a client in a process of its own.
type remoteClient struct {
	in  *json.Encoder
	out *bufio.Scanner
}

// startClient starts a client that ends with the benchmark.
func startClient(b *testing.B, t task) *remoteClient {
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), clientEnv+"=1", "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	check(err)
	out, err := cmd.StdoutPipe()
	check(err)
	check(cmd.Start())
	b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	c := &remoteClient{json.NewEncoder(in), bufio.NewScanner(out)}
	check(c.in.Encode(t))
	c.await("ready")
	return c
}

// await waits for a line of the client.
func (c *remoteClient) await(line string) {
	if !c.out.Scan() || c.out.Text() != line {
		panic("the client has failed")
	}
}

// exchange lets the client exchange its load some times.
func (c *remoteClient) exchange(rounds int) {
	check(c.in.Encode(rounds))
	c.await("done")
}
