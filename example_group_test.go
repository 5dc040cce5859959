package websocket_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"time"

	"github.com/fullduplex-go/websocket"
)

// A room in which everybody hears what anybody says.
func ExampleGroup() {
	var room websocket.Group
	srv := httptest.NewServer(websocket.HandlerFunc(
		&websocket.AcceptOptions{Config: websocket.Config{SlowConsumer: websocket.CloseSlow}},
		func(c *websocket.Conn) error {
			defer room.Add(c)()
			for m, err := range c.Messages(c.Context()) {
				if err != nil {
					return err
				}
				room.Send(websocket.Prepare(m.Type, m.Data))
			}
			return nil
		}))
	defer srv.Close()

	ctx := context.Background()
	ada, _, err := websocket.Dial(ctx, srv.URL, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer ada.CloseNow()
	if err := ada.WriteString(ctx, "hello"); err != nil {
		log.Fatal(err)
	}
	_, p, err := ada.Read(ctx)
	fmt.Println(string(p), err)
	// Output: hello <nil>
}

func ExampleGroup_Send() {
	var room websocket.Group
	queued, dropped := room.Send(websocket.Prepare(websocket.Text, []byte("anybody here?")))
	fmt.Println(queued, dropped)
	// Output: 0 0
}

func ExamplePrepare() {
	srv := httptest.NewServer(websocket.HandlerFunc(nil, func(c *websocket.Conn) error {
		welcome := websocket.Prepare(websocket.Text, []byte("welcome"))
		return c.WritePrepared(c.Context(), welcome)
	}))
	defer srv.Close()
	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, srv.URL, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	_, p, err := c.Read(ctx)
	fmt.Println(string(p), err)
	// Output: welcome <nil>
}

// A server that tells everyone when it stops, and waits for them.
func ExampleRegistry() {
	var registry websocket.Registry
	mux := http.NewServeMux()
	mux.Handle("/ws", websocket.HandlerFunc(&websocket.AcceptOptions{Registry: &registry},
		func(c *websocket.Conn) error {
			for m, err := range c.Messages(c.Context()) {
				if err != nil {
					return err
				}
				if err := c.Write(c.Context(), m.Type, m.Data); err != nil {
					return err
				}
			}
			return nil
		}))
	srv := &http.Server{Addr: "localhost:8080", Handler: mux}
	go srv.ListenAndServe()

	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	<-interrupted.Done()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := errors.Join(
		srv.Shutdown(ctx),
		registry.Shutdown(ctx, websocket.CloseServiceRestart, "deploy"))
	if err != nil {
		log.Print(err)
	}
}

func ExampleRegistry_Shutdown() {
	var registry websocket.Registry
	srv := httptest.NewServer(websocket.HandlerFunc(&websocket.AcceptOptions{Registry: &registry},
		func(c *websocket.Conn) error {
			_, _, err := c.Read(c.Context())
			return err
		}))
	defer srv.Close()
	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, srv.URL, nil)
	if err != nil {
		log.Fatal(err)
	}
	go registry.Shutdown(ctx, websocket.CloseGoingAway, "server restarts")
	_, _, err = c.Read(ctx)
	fmt.Println(errors.Is(err, websocket.CloseGoingAway))
	// Output: true
}

// A protocol of lines, which knows nothing of messages.
func ExampleAsNetConn() {
	srv := httptest.NewServer(websocket.HandlerFunc(nil, func(c *websocket.Conn) error {
		stream := websocket.AsNetConn(c, websocket.Binary)
		var a, b int
		if _, err := fmt.Fscan(stream, &a, &b); err != nil {
			return err
		}
		_, err := fmt.Fprintln(stream, a+b)
		return err
	}))
	defer srv.Close()
	c, _, err := websocket.Dial(context.Background(), srv.URL, nil)
	if err != nil {
		log.Fatal(err)
	}
	stream := websocket.AsNetConn(c, websocket.Binary)
	defer stream.Close()
	fmt.Fprint(stream, "19 ")
	fmt.Fprintln(stream, 23)
	var sum int
	_, err = fmt.Fscan(stream, &sum)
	fmt.Println(sum, err)
	// Output: 42 <nil>
}

// A peer to which each message is a command, such as a terminal in a page.
func ExampleNetConnOption() {
	srv := httptest.NewServer(websocket.HandlerFunc(nil, func(c *websocket.Conn) error {
		terminal := websocket.AsNetConn(c, websocket.Text, websocket.MessagePerWrite, websocket.AnyType)
		for _, command := range []string{"resize 80 24", "clear"} {
			if _, err := fmt.Fprint(terminal, command); err != nil {
				return err
			}
		}
		return nil
	}))
	defer srv.Close()
	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, srv.URL, nil)
	if err != nil {
		log.Fatal(err)
	}
	for m := range c.Messages(ctx) {
		fmt.Printf("%s: %s\n", m.Type, m.Data)
	}
	// Output:
	// text: resize 80 24
	// text: clear
}
