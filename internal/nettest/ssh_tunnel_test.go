package nettest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/fullduplex-go/websocket"
)

// The code of docs/ssh-tunnel.md.

// tunnelConfig is that of both ends of a tunnel.
var tunnelConfig = websocket.Config{
	MaxMessageSize: 64 << 10,        // a stream sends messages of up to 32 KiB
	WriteTimeout:   5 * time.Minute, // a terminal may be paused
}

// A gate leads authenticated clients to one TCP server.
type gate struct {
	addr  string // of the TCP server
	token string // that clients must show
	most  int    // how many tunnels there may be

	tunnels websocket.Registry
}

// handler returns the handler of the gate. No page may connect: it lists no
// origins.
func (g *gate) handler() http.Handler {
	return websocket.Handler(&websocket.AcceptOptions{
		Config:   tunnelConfig,
		Origin:   websocket.AllowOrigins(),
		Registry: &g.tunnels,
	}, g.open)
}

// open authenticates a client.
func (g *gate) open(r *http.Request) (serve func(c *websocket.Conn) error, err error) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case subtle.ConstantTimeCompare([]byte(token), []byte(g.token)) != 1:
		return nil, &websocket.HandshakeError{
			Status:   http.StatusUnauthorized,
			Reason:   "a valid token is needed",
			Response: &http.Response{Header: http.Header{"Www-Authenticate": {"Bearer"}}},
		}
	case g.tunnels.Len() >= g.most:
		return nil, &websocket.HandshakeError{Status: http.StatusServiceUnavailable, Reason: "too many tunnels"}
	default:
		return g.serve, nil
	}
}

// serve connects a client with the TCP server, until either ends.
func (g *gate) serve(c *websocket.Conn) error {
	dialer := net.Dialer{Timeout: 10 * time.Second}
	server, err := dialer.DialContext(c.Context(), "tcp", g.addr)
	if err != nil {
		return fmt.Errorf("%w: %w", websocket.CloseBadGateway, err)
	}
	return splice(server, websocket.AsNetConn(c, websocket.Binary))
}

// splice copies in both directions until one of them ends, and closes both ends.
func splice(a, b io.ReadWriteCloser) error {
	ended := make(chan error, 2)
	pass := func(to io.Writer, from io.Reader) {
		_, err := io.Copy(to, from)
		ended <- err
	}
	go pass(a, b)
	go pass(b, a)
	err := <-ended
	a.Close()
	b.Close()
	return err
}

// dialTunnel opens a tunnel through the gate at url.
func dialTunnel(ctx context.Context, url, token string) (net.Conn, error) {
	c, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{
		Config: tunnelConfig,
		Header: http.Header{"Authorization": {"Bearer " + token}},
	})
	if err != nil {
		return nil, err
	}
	return websocket.AsNetConn(c, websocket.Binary), nil
}

// stdio is what ssh writes to and reads from.
type stdio struct {
	io.Reader
	io.WriteCloser
}

// proxyCommand is the program that ssh runs as its ProxyCommand.
func proxyCommand(url, token string) error {
	tunnel, err := dialTunnel(context.Background(), url, token)
	if err != nil {
		return err
	}
	return splice(tunnel, stdio{os.Stdin, os.Stdout})
}

// dialSSH opens a connection of SSH through the gate at url.
func dialSSH(ctx context.Context, url, token string, config *ssh.ClientConfig) (*ssh.Client, error) {
	tunnel, err := dialTunnel(ctx, url, token)
	if err != nil {
		return nil, err
	}
	tunnel.SetDeadline(time.Now().Add(20 * time.Second)) // of the handshake
	conn, channels, requests, err := ssh.NewClientConn(tunnel, "tunnel", config)
	if err != nil {
		tunnel.Close()
		return nil, err
	}
	tunnel.SetDeadline(time.Time{})
	return ssh.NewClient(conn, channels, requests), nil
}

// The rest are the tests.

const (
	testToken       = "open-sesame"
	proxyCommandURL = "TEST_PROXY_COMMAND_URL" // tells this program to be the ProxyCommand
)

// TestMain runs the tests or, in a process that a test has started, the
// ProxyCommand.
func TestMain(m *testing.M) {
	if url := os.Getenv(proxyCommandURL); url != "" {
		if err := proxyCommand(url, testToken); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestTunnel runs commands over SSH through a gate, in sessions beside each
// other.
func TestTunnel(t *testing.T) {
	g, url := startGate(t, startSSH(t))
	client, err := dialSSH(t.Context(), url, testToken, trustingConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	shout := strings.Repeat("open sesame\n", 100_000)
	results := make(chan error, 3)
	for range cap(results) {
		go func() { results <- checkShout(client, shout) }()
	}
	for range cap(results) {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := g.tunnels.Len(); n != 1 {
		t.Errorf("%d tunnels, want 1", n)
	}
}

// checkShout has the server answer a text in capitals, and compares.
func checkShout(client *ssh.Client, text string) error {
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	session.Stdin = strings.NewReader(text)
	got, err := session.Output("shout")
	if err != nil {
		return err
	}
	if string(got) != strings.ToUpper(text) {
		return fmt.Errorf("%d bytes came, want %d in capitals", len(got), len(text))
	}
	return nil
}

// TestProxyCommand does the same through a process, as OpenSSH does.
func TestProxyCommand(t *testing.T) {
	_, url := startGate(t, startSSH(t))
	command := exec.CommandContext(t.Context(), os.Args[0])
	command.Env = append(os.Environ(), proxyCommandURL+"="+url)
	command.Stderr = os.Stderr
	ours, theirs, err := tcpPair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	file, err := theirs.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	command.Stdin, command.Stdout = file, file
	err = command.Start()
	theirs.Close()
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	conn, channels, requests, err := ssh.NewClientConn(ours, "tunnel", trustingConfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkShout(ssh.NewClient(conn, channels, requests), "open sesame"); err != nil {
		t.Error(err)
	}
	ours.(*net.TCPConn).CloseWrite()
	if err := command.Wait(); err != nil {
		t.Error(err)
	}
}

// TestOpenSSH does the same with the ssh of OpenSSH.
func TestOpenSSH(t *testing.T) {
	path, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip(err)
	}
	_, url := startGate(t, startSSH(t))
	command := exec.CommandContext(t.Context(), path, "-F", "none", "-o", "ProxyCommand="+os.Args[0],
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile="+os.DevNull, "ali@tunnel", "shout")
	command.Env = append(os.Environ(), proxyCommandURL+"="+url)
	shout := strings.Repeat("open sesame\n", 10_000)
	command.Stdin = strings.NewReader(shout)
	got, err := command.Output()
	if err != nil || string(got) != strings.ToUpper(shout) {
		t.Errorf("%d bytes came, want %d in capitals: %v", len(got), len(shout), err)
	}
}

// TestTunnelEnds checks that each end sees the other go, with all that was said
// before.
func TestTunnelEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, url := startGate(t, l.Addr().String())
	tunnel, server := dialThrough(t, url, l)
	fmt.Fprint(server, "bye")
	server.Close()
	if said, err := io.ReadAll(tunnel); string(said) != "bye" || err != nil {
		t.Errorf("the client got %q, %v", said, err)
	}
	tunnel, server = dialThrough(t, url, l)
	fmt.Fprint(tunnel, "bye")
	tunnel.Close()
	if said, err := io.ReadAll(server); string(said) != "bye" || err != nil {
		t.Errorf("the server got %q, %v", said, err)
	}
}

// dialThrough returns the two ends of a tunnel to l.
func dialThrough(t *testing.T, url string, l net.Listener) (tunnel, server net.Conn) {
	tunnel, err := dialTunnel(t.Context(), url, testToken)
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tunnel.Close(); server.Close() })
	return tunnel, server
}

// TestGateRefuses checks who is not let through.
func TestGateRefuses(t *testing.T) {
	g, url := startGate(t, startSSH(t))
	refused := func(want int, header http.Header) {
		t.Helper()
		_, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{Header: header})
		var refusal *websocket.HandshakeError
		if !errors.As(err, &refusal) || refusal.Status != want {
			t.Errorf("%v, want status %d", err, want)
		}
	}
	authorized := []string{"Bearer " + testToken}
	refused(http.StatusUnauthorized, nil)
	refused(http.StatusUnauthorized, http.Header{"Authorization": {"Bearer"}})
	refused(http.StatusForbidden, http.Header{"Authorization": authorized, "Origin": {"https://example.com"}})
	for range g.most {
		client, err := dialSSH(t.Context(), url, testToken, trustingConfig)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
	}
	refused(http.StatusServiceUnavailable, http.Header{"Authorization": authorized})
}

// TestGateWithoutServer checks the code with which a tunnel to nowhere ends.
func TestGateWithoutServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, url := startGate(t, l.Addr().String())
	tunnel, err := dialTunnel(t.Context(), url, testToken)
	if err != nil {
		t.Fatal(err)
	}
	defer tunnel.Close()
	if _, err := io.ReadAll(tunnel); !errors.Is(err, websocket.CloseBadGateway) {
		t.Errorf("%v, want 1014", err)
	}
}

// startGate serves a gate to addr, and returns its URL.
func startGate(t *testing.T, addr string) (*gate, string) {
	g := &gate{addr: addr, token: testToken, most: 3}
	server := httptest.NewServer(g.handler())
	t.Cleanup(server.Close)
	return g, "ws" + strings.TrimPrefix(server.URL, "http")
}

// trustingConfig is that of a client that trusts every server.
var trustingConfig = &ssh.ClientConfig{
	User:            "ali",
	HostKeyCallback: ssh.InsecureIgnoreHostKey(),
}

// startSSH starts a server whose commands answer their input in capitals, and
// returns its address.
func startSSH(t *testing.T) string {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go serveSSH(nc, config)
		}
	}()
	return l.Addr().String()
}

// serveSSH serves a connection to the SSH server.
func serveSSH(nc net.Conn, config *ssh.ServerConfig) {
	conn, channels, requests, err := ssh.NewServerConn(nc, config)
	if err != nil {
		nc.Close()
		return
	}
	defer conn.Close()
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		go serveSession(channel, requests)
	}
}

// serveSession runs the command that is asked for first.
func serveSession(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	for r := range requests {
		if r.Reply(r.Type == "exec", nil); r.Type != "exec" {
			continue
		}
		text, err := io.ReadAll(channel)
		if err != nil {
			return
		}
		channel.Write([]byte(strings.ToUpper(string(text))))
		channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{0}))
		return
	}
}
