package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/wsjson"
)

// A status is how the load goes.
type status struct {
	Process  int     `json:"process"`  // the load's, by its number; 0 if there is none
	Open     int     `json:"open"`     // connections that it has
	Sent     int64   `json:"sent"`     // messages
	Received int64   `json:"received"` // their echoes
	Behind   float64 `json:"behind"`   // by how much messages leave later than they are due, in milliseconds
	Error    string  `json:"error,omitempty"`
}

// A load is what the pages let a process of its own do to the server. The process
// runs from the first connection that a page asks for until the last page has
// left.
type load struct {
	url     string
	token   string // by which the process is known
	bounds  bounds
	changed chan struct{}        // holds a token if choice or pages have changed
	links   chan *websocket.Conn // to the process

	mu     sync.Mutex
	pages  int
	choice choice
	status status
	times  *hdrhistogram.Histogram
}

// newLoad returns a load on the server at url, of up to most connections.
func newLoad(url string, most int) *load {
	return &load{
		url:     url,
		token:   rand.Text(),
		bounds:  bounds{MaxConns: most, MaxRate: maxRate, MinSize: minSize, MaxSize: maxSize},
		changed: make(chan struct{}, 1),
		links:   make(chan *websocket.Conn),
		choice:  choice{settings: settings{Rate: 100, Size: 128, Parked: true}},
		times:   newTimes(),
	}
}

// pageCame counts a page.
func (l *load) pageCame() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pages++
}

// pageLeft counts a page no more. Without any, there is no load.
func (l *load) pageLeft() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pages--; l.pages == 0 {
		l.choice.Conns = 0
		wake(l.changed)
	}
}

// change makes the change of a page, within the bounds, and returns what is now
// chosen.
func (l *load) change(ch change, page int) choice {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.choice = choice{l.bounds.clamp(ch.applied(l.choice.settings)), page, ch.Seq}
	if ch.Reset {
		l.choice.Resets++
		l.times.Reset()
		l.status.Sent, l.status.Received = 0, 0
	}
	wake(l.changed)
	return l.choice
}

// chosen returns what is chosen.
func (l *load) chosen() choice {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.choice
}

// state returns how the load goes.
func (l *load) state() status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}

// wanted returns what the process is to do, and whether there is a page for which
// to do it.
func (l *load) wanted() (s settings, watched bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.choice.settings, l.pages > 0
}

// run starts a process whenever a page wants connections, until ctx ends.
func (l *load) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.changed:
		}
		if s, watched := l.wanted(); watched && s.Conns > 0 {
			l.ended(ctx, l.play(ctx))
		}
	}
}

// errLost is why a load ends without having been told to.
var errLost = errors.New("the process of the load has ended by itself: open connections again to start another")

// linkTimeout bounds the start of the process.
const linkTimeout = 10 * time.Second

// play runs a process until the last page has left. It returns when the process
// has ended.
func (l *load) play(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	cmd, err := l.start(ctx)
	if err != nil {
		cancel()
		return err
	}
	l.began(cmd.Process.Pid)
	exited := make(chan struct{})
	go func() { cmd.Wait(); close(exited) }()
	defer func() { cancel(); <-exited }()
	select {
	case c := <-l.links:
		return l.direct(ctx, c)
	case <-exited:
		return errLost
	case <-time.After(linkTimeout):
		return errors.New("the process of the load does not connect")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// start starts this program as the load's process. It is killed when ctx ends.
func (l *load) start(ctx context.Context) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, loadArg, l.url)
	cmd.Env = append(os.Environ(), tokenVar+"="+l.token)
	cmd.Stderr = os.Stderr
	return cmd, cmd.Start()
}

// direct tells the process what to do until the last page has left.
func (l *load) direct(ctx context.Context, c *websocket.Conn) error {
	for {
		s, watched := l.wanted()
		if !watched {
			c.Close(websocket.CloseNormal, "the last page has left") // an error means that the process has ended
			return nil
		}
		if err := wsjson.Write(ctx, c, s); err != nil {
			return errLost
		}
		select {
		case <-l.changed:
		case <-c.Context().Done():
			return errLost
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// began notes that a process has been started.
func (l *load) began(pid int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status = status{Process: pid, Sent: l.status.Sent, Received: l.status.Received}
}

// ended notes that the process has ended, and why if it was not told to.
func (l *load) ended(ctx context.Context, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status = status{Sent: l.status.Sent, Received: l.status.Received}
	if err != nil && ctx.Err() == nil {
		l.choice.Conns = 0
		l.status.Error = err.Error()
	}
	wake(l.changed) // a page may have come, and want connections, meanwhile
}

// enter lets the process in, and nobody else.
func (l *load) enter(r *http.Request) (serve func(c *websocket.Conn) error, err error) {
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+l.token)) != 1 {
		return nil, errors.New("this is not the process of the load")
	}
	return l.listen, nil
}

// listen hands the connection to the process over to play, and takes its reports.
func (l *load) listen(c *websocket.Conn) error {
	select {
	case l.links <- c:
	case <-c.Context().Done():
		return nil
	}
	for r, err := range wsjson.Messages[report](c.Context(), c) {
		if err != nil {
			return err
		}
		if err := l.add(r); err != nil {
			return err
		}
	}
	return nil
}

// A report is what the process tells at every interval.
type report struct {
	Resets   int     `json:"resets"` // of which it knew
	Open     int     `json:"open"`
	Sent     int64   `json:"sent"` // since the last report or reset, like the rest
	Received int64   `json:"received"`
	Behind   float64 `json:"behind"`
	Times    string  `json:"times"` // a histogram, in the encoding of HdrHistogram
	Error    string  `json:"error,omitempty"`
}

// add adds a report to what is known. What was counted before a reset is left out.
func (l *load) add(r report) error {
	times, err := hdrhistogram.Decode([]byte(r.Times))
	if err != nil {
		return fmt.Errorf("histogram of the load: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Resets != l.choice.Resets {
		r.Sent, r.Received = 0, 0
		times.Reset()
	}
	l.status = status{l.status.Process, r.Open, l.status.Sent + r.Sent, l.status.Received + r.Received, r.Behind, r.Error}
	l.times.Merge(times)
	return nil
}
