//go:build !js

package jstest

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/internal/browser"
)

// TestInBrowser runs the tests for js in a browser, each as a subtest.
func TestInBrowser(t *testing.T) {
	b := browser.Start(t)
	results := make(chan result, 1)
	server := httptest.NewServer(routes(t, compile(t), results))
	defer server.Close()
	b.Open(server.URL)
	r := wait(t, results)
	tests := regexp.MustCompile(`(?m)^--- (PASS|FAIL|SKIP): (\S+)`).FindAllStringSubmatch(r.output, -1)
	for _, test := range tests {
		t.Run(test[2], func(t *testing.T) {
			if test[1] != "PASS" {
				t.Error(test[1])
			}
		})
	}
	if r.code != "0" || len(tests) == 0 {
		t.Errorf("exit code %s\n%s", r.code, r.output)
	}
}

// A result is what the page posts when it is done.
type result struct {
	code, output string
}

// wait returns what the page posts.
func wait(t *testing.T, results <-chan result) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	select {
	case r := <-results:
		return r
	case <-ctx.Done():
		t.Fatal("the page posted no results in time")
		return result{}
	}
}

// compile returns the path of the compiled tests.
func compile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "jstest.wasm")
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", path, ".")
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm", "GOFLAGS=")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// routes serves the page, the program, and the paths that it connects to.
func routes(t *testing.T, program string, results chan<- result) http.Handler {
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir("testdata")))
	serve := func(path, file string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) })
	}
	serve("/jstest.wasm", program)
	serve("/wasm_exec.js", filepath.Join(strings.TrimSpace(string(root)), "lib", "wasm", "wasm_exec.js"))
	mux.HandleFunc("POST /results", func(_ http.ResponseWriter, r *http.Request) {
		output, _ := io.ReadAll(r.Body)
		results <- result{r.FormValue("code"), string(output)}
	})
	handle := func(path string, opts *websocket.AcceptOptions, h func(c *websocket.Conn) error) {
		mux.Handle(path, websocket.HandlerFunc(opts, h))
	}
	handle("/echo", &websocket.AcceptOptions{Config: websocket.Config{
		Subprotocols: []string{"chat.v2", "chat.v1"}, MaxMessageSize: -1,
	}}, echo)
	handle("/compressed", &websocket.AcceptOptions{Config: websocket.Config{Compression: &websocket.Compression{Threshold: -1}}}, echo)
	mux.Handle("/close", websocket.Handler(nil, closeAsAsked))
	handle("/drop", nil, func(c *websocket.Conn) error { return c.CloseNow() })
	handle("/late", nil, sendAfterFirst)
	stalled := make(stall)
	handle("/stall", nil, stalled.count)
	mux.HandleFunc("/go", stalled.end)
	mux.HandleFunc("/never", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ends := make(chan string, 1)
	handle("/report", nil, func(c *websocket.Conn) error {
		_, _, err := c.Read(c.Context())
		ends <- err.Error()
		return err
	})
	mux.HandleFunc("/reported", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(<-ends)) })
	return mux
}

func echo(c *websocket.Conn) error {
	for m, err := range c.Messages(c.Context()) {
		if err != nil {
			return err
		}
		if err := c.Write(c.Context(), m.Type, m.Data); err != nil {
			return err
		}
	}
	return nil
}

// closeAsAsked sends "bye" and closes with the code and the reason in the query.
func closeAsAsked(r *http.Request) (func(c *websocket.Conn) error, error) {
	code, err := strconv.ParseUint(r.FormValue("code"), 10, 16)
	reason := r.FormValue("reason")
	return func(c *websocket.Conn) error {
		if err := c.WriteString(c.Context(), "bye"); err != nil {
			return err
		}
		return c.Close(websocket.CloseCode(code), reason)
	}, err
}

// sendAfterFirst sends two messages after it has received one.
func sendAfterFirst(c *websocket.Conn) error {
	if _, _, err := c.Read(c.Context()); err != nil {
		return err
	}
	for _, s := range []string{"one", "two"} {
		if err := c.WriteString(c.Context(), s); err != nil {
			return err
		}
	}
	_, _, err := c.Read(c.Context())
	return err
}

// A stall reads nothing until it is told to, and then sends the total size of
// all binary messages up to a text.
type stall chan struct{}

func (s stall) count(c *websocket.Conn) error {
	<-s
	total := 0
	for m, err := range c.Messages(c.Context()) {
		if err != nil {
			return err
		}
		if m.Type == websocket.Text {
			return c.WriteString(c.Context(), strconv.Itoa(total))
		}
		total += len(m.Data)
	}
	return nil
}

func (s stall) end(http.ResponseWriter, *http.Request) { close(s) }
