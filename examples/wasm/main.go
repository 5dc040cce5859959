//go:build !js

// Command wasm serves a page whose program is written in Go: page_js.go, which
// talks to this server over the browser's WebSocket. The server compiles it
// when it starts, so run it in the source tree, with Go installed.
package main

import (
	"embed"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/fullduplex-go/websocket"
)

//go:embed page
var page embed.FS

func main() {
	addr := flag.String("addr", "localhost:8082", "`host:port` to listen on")
	flag.Parse()
	if err := serve(*addr); err != nil {
		log.Fatal(err)
	}
}

func serve(addr string) error {
	dir, err := os.MkdirTemp("", "wasm")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	h, err := handler(dir)
	if err != nil {
		return err
	}
	log.Printf("the page is http://%s/", addr)
	return http.ListenAndServe(addr, h)
}

// handler compiles the page's program into dir, and serves the page, the
// program, and the WebSocket it connects to.
func handler(dir string) (http.Handler, error) {
	program := filepath.Join(dir, "page.wasm")
	build := exec.Command("go", "build", "-o", program, "github.com/fullduplex-go/websocket/examples/wasm")
	build.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, err
	}
	files, err := fs.Sub(page, "page")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServerFS(files))
	mux.HandleFunc("/page.wasm", file(program))
	mux.HandleFunc("/wasm_exec.js", file(filepath.Join(strings.TrimSpace(string(root)), "lib", "wasm", "wasm_exec.js")))
	mux.Handle("/shout", websocket.HandlerFunc(nil, shout))
	return mux, nil
}

// file serves the file at path.
func file(path string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, path) }
}

// shout answers each message in capitals, until it is told to be quiet.
func shout(c *websocket.Conn) error {
	for m, err := range c.Messages(c.Context()) {
		if err != nil {
			return err
		}
		text := string(m.Data)
		if text == "quiet" {
			return &websocket.CloseError{Code: 4000, Reason: "as you wish", Err: errors.New("told to be quiet")}
		}
		if err := c.WriteString(c.Context(), strings.ToUpper(text)); err != nil {
			return err
		}
	}
	return nil
}
