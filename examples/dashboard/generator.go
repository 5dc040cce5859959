package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/wsjson"
)

// How the server starts this program as the load's process.
const (
	loadArg  = "load"            // and the URL of the server
	tokenVar = "DASHBOARD_TOKEN" // in the environment
)

// playLoad plays the part of the load's process, if the arguments say so.
func playLoad(args []string) bool {
	if len(args) != 2 || args[0] != loadArg {
		return false
	}
	signal.Ignore(os.Interrupt) // Ctrl-C is meant for the server, which ends this process
	if err := obey(args[1], os.Getenv(tokenVar)); err != nil {
		fmt.Fprintln(os.Stderr, "dashboard load:", err)
		os.Exit(1)
	}
	return true
}

// obey puts the server at url under the load that it asks for, until it hangs up
// or is gone.
func obey(url, token string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c, _, err := websocket.Dial(ctx, url+"/load", &websocket.DialOptions{
		Header: http.Header{"Authorization": {"Bearer " + token}},
	})
	if err != nil {
		return err
	}
	defer c.CloseNow()
	g := newGenerator(ctx, url)
	go g.keep(ctx)
	go g.pace(ctx)
	go g.report(ctx, c)
	for s, err := range wsjson.Messages[settings](ctx, c) {
		var end *websocket.CloseError
		if errors.As(err, &end) {
			return nil
		}
		if err != nil {
			return err
		}
		g.set(ctx, s)
	}
	return nil
}

// A generator makes load. Its methods are safe for concurrent use.
type generator struct {
	url   string
	crowd *crowd

	mu       sync.Mutex
	settings settings
	inForce  context.Context // while the settings are
	replace  context.CancelFunc
}

// newGenerator returns a generator without load on the server at url. The settings
// are in force until ctx ends at the latest.
func newGenerator(ctx context.Context, url string) *generator {
	g := &generator{url: url, crowd: newCrowd()}
	g.inForce, g.replace = context.WithCancel(ctx)
	return g
}

// set puts settings in force, until ctx ends.
func (g *generator) set(ctx context.Context, s settings) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.replace()
	g.crowd.tally.reset(s.Resets)
	g.settings = s
	g.inForce, g.replace = context.WithCancel(ctx)
}

// current returns the settings, and a context that ends when others are in force.
func (g *generator) current() (settings, context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.settings, g.inForce
}

// Connections are opened and closed in batches, between which the settings may
// change.
const (
	batch   = 200
	dialers = 16 // handshakes at a time
	closers = 64
)

// retryAfter is how long the generator waits after a handshake has failed.
const retryAfter = time.Second

// keep keeps as many connections open as the settings say, until ctx ends.
func (g *generator) keep(ctx context.Context) {
	var opened settings // with which the connections were opened
	for ctx.Err() == nil {
		s, inForce := g.current()
		wanted := s.Conns
		if open := g.crowd.len(); open == 0 {
			opened = s
		} else if s.Compress != opened.Compress || s.Parked != opened.Parked {
			wanted = 0 // before others are opened
		}
		switch excess := g.crowd.len() - wanted; {
		case excess > 0:
			g.crowd.shrink(min(excess, batch))
		case excess < 0:
			g.grow(inForce, s, min(-excess, batch))
		default:
			await(inForce, g.crowd.lost)
		}
	}
}

// await waits until ctx ends or c has something.
func await[T any](ctx context.Context, c <-chan T) {
	select {
	case <-ctx.Done():
	case <-c:
	}
}

// grow opens n connections. If that fails, it waits a moment.
func (g *generator) grow(ctx context.Context, s settings, n int) {
	dialing, untilOneFails := errgroup.WithContext(context.WithoutCancel(ctx))
	dialing.SetLimit(dialers)
	for range n {
		dialing.Go(func() error { return g.crowd.dial(untilOneFails, g.url, s) })
	}
	err := dialing.Wait()
	g.crowd.tally.note(err)
	if err != nil {
		await(ctx, time.After(retryAfter))
	}
}

// pace sends messages as the settings say, until ctx ends.
func (g *generator) pace(ctx context.Context) {
	for ctx.Err() == nil {
		s, inForce := g.current()
		if s.Rate == 0 || s.Conns == 0 {
			<-inForce.Done()
			continue
		}
		if g.crowd.len() == 0 {
			await(inForce, g.crowd.came)
			continue
		}
		g.crowd.send(inForce, s)
	}
}

// report tells the server how the load goes, until ctx ends.
func (g *generator) report(ctx context.Context, c *websocket.Conn) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		r, err := g.crowd.report()
		if err != nil {
			c.Close(websocket.CloseInternalError, "no histogram")
			return
		}
		if wsjson.Write(ctx, c, r) != nil {
			return // obey sees the end of the connection
		}
	}
}
