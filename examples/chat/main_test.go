package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket"
)

// runMain is an environment variable that makes the test binary run main.
const runMain = "CHAT_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// roomy are limits that no test reaches by chance.
var roomy = limits{rooms: 100, people: 1000}

// startServer serves a new house on addr until stop is called or the test ends.
// It returns the address it listens on.
func startServer(t *testing.T, addr string) (listening string, stop func()) {
	return startLimited(t, addr, roomy)
}

// startLimited is startServer with other limits.
func startLimited(t *testing.T, addr string, most limits) (listening string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- serve(ctx, l, most); close(served) }()
	stop = func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	}
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// deadline returns a context that ends a hanging test.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// TestInterrupt stops the program as Ctrl-C does.
func TestInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent Ctrl-C on Windows")
	}
	t.Parallel()
	ctx := deadline(t)
	cmd := exec.CommandContext(ctx, os.Args[0], "-addr", "localhost:0")
	cmd.Env = append(os.Environ(), runMain+"=1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url := regexp.MustCompile(`http://localhost:\d+`).FindString(line)
	c, _, err := websocket.Dial(ctx, url+"/ws?room=lobby", nil)
	if err != nil {
		t.Fatalf("the program printed %q: %v", line, err)
	}
	defer c.CloseNow()

	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := endOf(ctx, c); !errors.Is(err, websocket.CloseGoingAway) {
		t.Errorf("the connection ended with %v, want 1001", err)
	}
	rest, err := io.ReadAll(lines)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(string(rest), "Stopped") {
		t.Errorf("the program's last words were %q", rest)
	}
}

// endOf reads c to its end and returns why it ended.
func endOf(ctx context.Context, c *websocket.Conn) error {
	for {
		if _, _, err := c.Read(ctx); err != nil {
			return err
		}
	}
}

func TestAddressInUse(t *testing.T) {
	addr, _ := startServer(t, "localhost:0")
	err := run(deadline(t), addr, roomy, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "-addr") {
		t.Errorf("got %v, want an error that names the flag", err)
	}
}

func TestLimitsThatLetNobodyIn(t *testing.T) {
	for _, most := range []limits{{rooms: 0, people: 5}, {rooms: 5, people: -1}} {
		err := run(deadline(t), "localhost:0", most, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "-rooms and -people") {
			t.Errorf("%+v: got %v, want an error that names the flags", most, err)
		}
	}
}

func TestPageURL(t *testing.T) {
	for _, c := range []struct {
		addr net.Addr
		want string
	}{
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}, "http://localhost:8080"},
		{&net.TCPAddr{IP: net.IPv6unspecified, Port: 80}, "http://localhost:80"},
		{&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 8080}, "http://192.0.2.1:8080"},
	} {
		if got := pageURL(c.addr); got != c.want {
			t.Errorf("%v: got %s, want %s", c.addr, got, c.want)
		}
	}
}

func TestPageIsServed(t *testing.T) {
	addr, _ := startServer(t, "localhost:0")
	for path, kind := range map[string]string{
		"/":         "text/html",
		"/chat.css": "text/css",
		"/chat.js":  "text/javascript",
		"/icon.svg": "image/svg+xml",
	} {
		resp, err := http.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || !strings.HasPrefix(got, kind) {
			t.Errorf("%s: %s, %s", path, resp.Status, got)
		}
		if resp.Header.Get("Content-Security-Policy") == "" {
			t.Errorf("%s has no Content-Security-Policy", path)
		}
	}
}

// TestPageIsWhole checks that the page loads nothing from other hosts and never
// treats what people write as markup.
func TestPageIsWhole(t *testing.T) {
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := files.ReadFile(path)
		if err != nil {
			return err
		}
		text := strings.ReplaceAll(string(data), "http://www.w3.org/2000/svg", "")
		for _, bad := range []string{"http://", "https://", "@import", "innerHTML", "insertAdjacentHTML", "document.write"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s contains %s", path, bad)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestForeignOriginIsRefused(t *testing.T) {
	addr, _ := startServer(t, "localhost:0")
	header := http.Header{"Origin": {"https://elsewhere.example"}}
	c, resp, err := websocket.Dial(deadline(t), "ws://"+addr+"/ws?room=lobby", &websocket.DialOptions{Header: header})
	if err == nil {
		c.CloseNow()
		t.Fatal("accepted")
	}
	if resp == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("got %v, want 403", err)
	}
}
