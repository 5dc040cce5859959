// Command chat serves chat rooms: a page, and the WebSocket behind it.
//
// Open the address it prints in two tabs. Ctrl-C closes every connection with
// 1001, and the pages reconnect when the program is started again.
//
// main.go serves and stops, house.go keeps the rooms, room.go is one of them.
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/fullduplex-go/websocket"
)

func main() {
	addr := flag.String("addr", "localhost:8080", "`host:port` to listen on")
	var most limits
	flag.IntVar(&most.rooms, "rooms", 100, "most rooms with people in them")
	flag.IntVar(&most.people, "people", 1000, "most people in a room")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, *addr, most, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "chat:", err)
		os.Exit(1)
	}
}

// run listens on addr, prints the address of the page to out, and serves it
// until ctx ends.
func run(ctx context.Context, addr string, most limits, out io.Writer) error {
	if most.rooms < 1 || most.people < 1 {
		return errors.New("nobody could enter: give -rooms and -people numbers from 1")
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("%w\nIs another program using this address? Choose one with -addr, such as -addr localhost:8081", err)
	}
	fmt.Fprintf(out, "Chat at %s (open it in two tabs; Ctrl-C stops)\n", pageURL(l.Addr()))
	if err := serve(ctx, l, most); err != nil {
		return err
	}
	fmt.Fprintln(out, "Stopped. All connections were closed.")
	return nil
}

// pageURL returns the URL of the page: on localhost if a is a local address.
func pageURL(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if ok && (tcp.IP.IsLoopback() || tcp.IP.IsUnspecified()) {
		return fmt.Sprintf("http://localhost:%d", tcp.Port)
	}
	return "http://" + a.String()
}

// serve runs a new house on l until ctx ends, then closes every connection with
// 1001. It closes l.
func serve(ctx context.Context, l net.Listener, most limits) error {
	var conns websocket.Registry // http.Server.Shutdown does not know of WebSockets
	srv := &http.Server{Handler: routes(&conns, most), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := srv.Shutdown(grace)
	return errors.Join(err, conns.Shutdown(grace, websocket.CloseGoingAway, "the server is going away"))
}

//go:embed page
var files embed.FS

// routes returns the page at / and a house at /ws, whose connections are in
// conns.
func routes(conns *websocket.Registry, most limits) http.Handler {
	page, err := fs.Sub(files, "page")
	if err != nil {
		panic(err) // page is embedded above
	}
	static := http.FileServerFS(page)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		static.ServeHTTP(w, r)
	})
	rooms := newHouse(most)
	mux.Handle("/ws", websocket.Handler(&websocket.AcceptOptions{
		Registry: conns,
		Config: websocket.Config{
			MaxMessageSize: maxText,
			SlowConsumer:   websocket.CloseSlow, // a page that does not read holds up nobody
		},
	}, rooms.enter))
	return mux
}
