// Command dashboard serves a page that shows what the server's process does and
// takes, live, and that can put it under load: thousands of WebSockets, opened by
// a process of their own.
//
// Open the address it prints. Ctrl-C ends the load and closes every page with
// 1001; the pages reconnect when the program is started again.
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
	"sync"
	"syscall"
	"time"

	"github.com/fullduplex-go/websocket"
)

func main() {
	if playLoad(os.Args[1:]) {
		return
	}
	addr := flag.String("addr", "localhost:8080", "`host:port` to listen on")
	most := flag.Int("load", min(9000, connsPerProcess()), "let pages open up to this `number` of connections")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, *addr, *most, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
}

// spare is how many of its descriptors a process keeps for other things than the
// connections of the load.
const spare = 200

// connsPerProcess returns how many connections of the load a process may hold.
func connsPerProcess() int { return max(descriptors()-spare, 0) }

// run listens on addr, prints the address of the page to out, and serves it until
// ctx ends. Pages may open up to most connections.
func run(ctx context.Context, addr string, most int, out io.Writer) error {
	if limit := connsPerProcess(); most < 0 || most > limit {
		return fmt.Errorf("a process may hold up to %d connections here, not %d: choose fewer with -load, or raise its limit with ulimit -n", limit, most)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("%w\nIs another program using this address? Choose one with -addr, such as -addr localhost:8081", err)
	}
	fmt.Fprintf(out, "Dashboard at %s (up to %d connections; Ctrl-C stops)\n", pageURL(l.Addr()), most)
	if err := serve(ctx, l, newDashboard(loadURL(l.Addr()), most)); err != nil {
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

// loadURL returns the URL by which the load's process reaches the server: with an
// address, because to look up a name takes time for each connection.
func loadURL(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("ws://127.0.0.1:%d", tcp.Port)
	}
	return "ws://" + a.String()
}

// serve runs d on l until ctx ends, then ends the load and closes
// every connection with 1001. It closes l.
func serve(ctx context.Context, l net.Listener, d *dashboard) error {
	srv := &http.Server{Handler: d.routes(), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	running, stop := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() { d.load.run(running) })
	background.Go(func() { d.watch(running) })
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	stop()
	background.Wait() // the load's process has ended, and its connections with it
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(err, srv.Shutdown(grace), d.conns.Shutdown(grace, websocket.CloseGoingAway, "the server is going away"))
}

//go:embed page
var files embed.FS

// routes returns the page at /, its WebSocket at /ws, that of the load's process
// at /load, and the two servers under load.
func (d *dashboard) routes() http.Handler {
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
	mux.Handle("/ws", d.pageHandler())
	mux.Handle("/load", websocket.Handler(&websocket.AcceptOptions{Registry: &d.conns}, d.load.enter))
	mux.Handle(parkedPath, websocket.ReceiverHandler(d.echoOptions(&d.parked),
		func(*http.Request) (websocket.Receiver, error) { return echo{}, nil }))
	mux.Handle(routinePath, websocket.HandlerFunc(d.echoOptions(&d.routine), echoLoop))
	return mux
}
