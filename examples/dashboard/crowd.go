package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/fullduplex-go/websocket"
)

// maxUnanswered is how many bytes of messages may wait for their echoes, on all
// connections together. What is due beyond that waits, and is late.
const maxUnanswered = 32 << 20

// A crowd is the open connections of the load's process.
type crowd struct {
	tally  tally
	room   *semaphore.Weighted // of maxUnanswered
	corpus []byte
	lost   chan struct{} // holds a token if a connection has ended by itself
	came   chan struct{} // holds a token if a connection was opened

	mu      sync.Mutex
	members []*member
}

// newCrowd returns an empty crowd.
func newCrowd() *crowd {
	return &crowd{
		tally:  tally{times: newTimes()},
		room:   semaphore.NewWeighted(maxUnanswered),
		corpus: newCorpus(),
		lost:   make(chan struct{}, 1),
		came:   make(chan struct{}, 1),
	}
}

// newCorpus returns text from which messages are cut: twice the longest message,
// and as compressible as JSON with numbers in it.
func newCorpus() []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var text []byte
	for len(text) < 2*maxSize {
		text = fmt.Appendf(text, `{"id":%d,"name":"sensor %d","value":%.3f,"ok":%t}`+"\n",
			random.IntN(1e9), random.IntN(1000), random.Float64()*100, random.IntN(10) > 0)
	}
	return text[:2*maxSize]
}

// len returns how many connections are open.
func (cr *crowd) len() int {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	return len(cr.members)
}

// A member is a connection of a crowd, and its Receiver.
type member struct {
	crowd *crowd
	c     *websocket.Conn

	mu   sync.Mutex
	owed int64 // bytes of messages that have no echo yet
	gone bool
}

// dialTimeout bounds a handshake.
const dialTimeout = 10 * time.Second

// dial adds a connection of the kind that s says. No goroutine waits for its
// messages on this side in either case.
func (cr *crowd) dial(ctx context.Context, url string, s settings) error {
	opts := &websocket.DialOptions{Config: websocket.Config{
		MaxMessageSize: maxSize,
		PingInterval:   -1, // the server's Pings are enough
	}}
	if s.Compress {
		opts.Compression = &websocket.Compression{WindowBits: 12, PeerWindowBits: 12}
	}
	path := routinePath
	if s.Parked {
		path = parkedPath
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, _, err := websocket.Dial(ctx, url+path, opts)
	if err != nil {
		return err
	}
	m := &member{crowd: cr, c: c}
	cr.add(m)
	if err := c.Deliver(m); err != nil {
		cr.remove(m)
		return err
	}
	return nil
}

// add makes m one of the crowd.
func (cr *crowd) add(m *member) {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	cr.members = append(cr.members, m)
	wake(cr.came)
}

// shrink closes n connections.
func (cr *crowd) shrink(n int) {
	cr.mu.Lock()
	rest := max(len(cr.members)-n, 0)
	leaving := slices.Clone(cr.members[rest:])
	clear(cr.members[rest:])
	cr.members = cr.members[:rest]
	cr.mu.Unlock()
	var closing errgroup.Group
	closing.SetLimit(closers)
	for _, m := range leaving {
		closing.Go(func() error { return m.c.Close(websocket.CloseNormal, "") })
	}
	closing.Wait() // an error means that the connection has ended anyway
}

// Opened has nothing to do: m is one of the crowd.
func (m *member) Opened(*websocket.Conn) error { return nil }

// Receive takes an echo, which says when its message was due.
func (m *member) Receive(_ *websocket.Conn, echo websocket.Message) error {
	if len(echo.Data) < minSize {
		return websocket.ClosePolicyViolation
	}
	due := time.Duration(binary.BigEndian.Uint64(echo.Data))
	m.crowd.tally.received(due)
	m.settle(int64(len(echo.Data)))
	return nil
}

// Closed gives up the echoes that are still owed.
func (m *member) Closed(*websocket.Conn, *websocket.CloseError) {
	m.mu.Lock()
	m.gone = true
	owed := m.owed
	m.mu.Unlock()
	m.settle(owed)
	if m.crowd.remove(m) {
		wake(m.crowd.lost)
	}
}

// remove removes m, and reports whether it was still in.
func (cr *crowd) remove(m *member) bool {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	at := slices.Index(cr.members, m)
	if at < 0 {
		return false
	}
	cr.members = slices.Delete(cr.members, at, at+1)
	return true
}

// wake puts a token in c, which has room for one, unless one is there.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// owe counts n bytes as sent, and reports whether m is still there.
func (m *member) owe(n int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone {
		return false
	}
	m.owed += n
	return true
}

// settle counts up to n bytes as answered, and makes room for as many.
func (m *member) settle(n int64) {
	m.mu.Lock()
	n = min(n, m.owed)
	m.owed -= n
	m.mu.Unlock()
	m.crowd.room.Release(n)
}

// started is what the times in messages count from.
var started = time.Now()

// send sends messages at the rate of s, each on the next connection, until ctx
// ends or no connection is open. A message that cannot leave when it is due
// leaves late, and its latency counts from when it was due: a server that stalls
// cannot hide that by delaying the messages that would have shown it.
func (cr *crowd) send(ctx context.Context, s settings) {
	began := time.Since(started)
	message := make([]byte, s.Size)
	for i := 0; ctx.Err() == nil; i++ {
		due := began + time.Duration(float64(i)/float64(s.Rate)*float64(time.Second))
		if !waitUntil(ctx, due) {
			return
		}
		m := cr.member(i)
		if m == nil || cr.room.Acquire(ctx, int64(s.Size)) != nil {
			return
		}
		binary.BigEndian.PutUint64(message, uint64(due))
		copy(message[8:], cr.corpus[rand.IntN(maxSize):])
		m.send(message, due)
	}
}

// member returns the member whose turn is i, or nil if there is none.
func (cr *crowd) member(i int) *member {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	if len(cr.members) == 0 {
		return nil
	}
	return cr.members[i%len(cr.members)]
}

// send sends a message for which there is room.
func (m *member) send(message []byte, due time.Duration) {
	n := int64(len(message))
	if !m.owe(n) {
		m.crowd.room.Release(n)
		return
	}
	m.crowd.tally.sent(due) // before its echo is counted
	if m.c.Send(websocket.Binary, message) != nil {
		m.settle(n)
	}
}

// precise is the rest of a wait for which a timer is not precise enough.
const precise = 2 * time.Millisecond

// waitUntil waits until a time after started, and returns false if ctx ends first.
func waitUntil(ctx context.Context, due time.Duration) bool {
	for {
		left := due - time.Since(started)
		switch {
		case left <= 0:
			return true
		case left <= precise:
			pause(left)
		default:
			await(ctx, time.After(left-precise))
		}
		if ctx.Err() != nil {
			return false
		}
	}
}
