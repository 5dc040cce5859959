package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// A pattern is how one end of a connection reads and writes, while the other
// sends every 4 s and reads all the time.
type pattern struct {
	name  string
	lasts time.Duration
	do    func(c *Conn) error // again and again
}

// patterns are the ways to read under which a connection must live on.
var patterns = []pattern{
	{"25 s for each message", 10 * time.Minute, readsAndWorks(25 * time.Second)},
	{"60 s for each message", 10 * time.Minute, readsAndWorks(time.Minute)},
	{"10 min for each message", time.Hour, readsAndWorks(10 * time.Minute)},
	{"all that is here, every 45 s", 10 * time.Minute, func(c *Conn) error {
		time.Sleep(45 * time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		for {
			if _, _, err := c.Read(ctx); err != nil {
				return err
			}
		}
	}},
	{"one subscribes, then only writes", 10 * time.Minute, func(c *Conn) error {
		time.Sleep(3 * time.Second)
		return c.Write(context.Background(), Text, []byte("news"))
	}},
	{"a Receiver works for 60 s on each message", 10 * time.Minute, func(c *Conn) error {
		c.Deliver(newRecorder(func(c *Conn, _ Message) error {
			select {
			case <-time.After(time.Minute):
			case <-c.Context().Done():
			}
			return nil
		}))
		time.Sleep(time.Minute)
		return nil
	}},
	{"nobody reads", 10 * time.Minute, func(*Conn) error {
		time.Sleep(time.Minute)
		return nil
	}},
	{"half of a streamed message, then work", 10 * time.Minute, func(c *Conn) error {
		_, r, err := c.Reader(context.Background())
		if err == nil {
			_, err = r.Read(make([]byte, 2))
		}
		time.Sleep(40 * time.Second)
		return err
	}},
	{"a loop left after each message", 10 * time.Minute, func(c *Conn) error {
		for _, err := range c.Messages(context.Background()) {
			if err != nil {
				return err
			}
			break
		}
		time.Sleep(25 * time.Second)
		return nil
	}},
}

// readsAndWorks returns a pattern that reads a message and works on it.
func readsAndWorks(d time.Duration) func(c *Conn) error {
	return func(c *Conn) error {
		_, _, err := c.Read(context.Background())
		time.Sleep(d)
		return err
	}
}

// TestNoPatternOfReadingEnds proves that two ends with all defaults live on,
// however one of them reads (V10).
func TestNoPatternOfReadingEnds(t *testing.T) {
	covers(t, "V10")
	for _, p := range patterns {
		for _, slow := range roles {
			t.Run(fmt.Sprint(p.name, ", slow ", slow), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, s := memConns(t, &Config{})
					if slow == server {
						c, s = s, c
					}
					defer c.CloseNow()
					p.play(t, c, s)
				})
			})
		}
	}
}

// play lets the slow end follow the pattern.
func (p pattern) play(t *testing.T, slow, other *Conn) {
	began := time.Now()
	var others sync.WaitGroup
	defer others.Wait()
	defer other.CloseNow()
	others.Go(func() { by(loopRead)(other) })
	others.Go(func() {
		for other.Write(context.Background(), Text, []byte("every 4 s")) == nil {
			time.Sleep(4 * time.Second)
		}
	})
	slow.Read(context.Background()) // what subscribes
	for time.Since(began) < p.lasts {
		if err := p.do(slow); asCloseError(err) != nil {
			break
		}
	}
	for name, c := range map[string]*Conn{"the slow end": slow, "the other end": other} {
		if err := c.terminal(); err != nil {
			t.Errorf("%s ended after %v: %v", name, time.Since(began), err)
		}
	}
}

// TestGoneIsFound proves that a peer that goes silent is found PingInterval and
// PongTimeout after its last octet, whatever it sent and whoever read it (V11).
func TestGoneIsFound(t *testing.T) {
	covers(t, "V11")
	befores := map[string]func(c *Conn, peer *rawPeer){
		"nothing was sent":    func(*Conn, *rawPeer) {},
		"a message is unread": func(_ *Conn, p *rawPeer) { p.send(0x81, "small") },
		"messages are unread": func(_ *Conn, p *rawPeer) {
			p.nc.Write(slices.Concat(p.frame(0x81, "small"), p.frame(0x89, ""), p.frame(0x81, "second")))
		},
		"a message was read":   func(c *Conn, p *rawPeer) { go p.send(0x81, "small"); c.Read(context.Background()) },
		"a message is halfway": func(_ *Conn, p *rawPeer) { p.nc.Write(p.frame(0x81, "small")[:4]) },
		"a message is streamed": func(c *Conn, p *rawPeer) {
			c.readDeadlines().noteProven() // as it is known of sockets
			go p.send(0x81, "small")
			_, r, _ := c.Reader(context.Background())
			r.Read(make([]byte, 2))
		},
		"a message was read, others wait": func(c *Conn, p *rawPeer) {
			c.readDeadlines().noteProven()
			go p.nc.Write(slices.Concat(p.frame(0x81, "small"), p.frame(0x89, ""), p.frame(0x81, "second")))
			c.Read(context.Background())
		},
		"it was handed over": func(c *Conn, p *rawPeer) { c.Deliver(newRecorder(nil)) },
		"a Receiver waits, others wait": func(c *Conn, p *rawPeer) {
			c.readDeadlines().noteProven()
			c.Deliver(newRecorder(func(c *Conn, _ Message) error { return workUntilTheEnd(c) }))
			p.nc.Write(slices.Concat(p.frame(0x81, "small"), p.frame(0x89, ""), p.frame(0x81, "second")))
		},
		"the reader gave up": func(c *Conn, _ *rawPeer) {
			c.SetReadDeadline(time.Now().Add(-time.Second))
			c.Read(context.Background())
		},
	}
	for name, before := range befores {
		t.Run(name, func(t *testing.T) {
			eachEnd(t, Config{}, []rawNetwork{memoryNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
				began := time.Now()
				before(c, peer)
				select {
				case <-c.Context().Done():
				case <-time.After(time.Hour):
				}
				end := c.contextError(c.Context())
				if took := time.Since(began); took < 50*time.Second || took > 50*time.Second+3*backgroundReadDelay || !errors.Is(end, ErrPongTimeout) {
					t.Errorf("after %v the end is %v; want %v after 50s", took, end, ErrPongTimeout)
				}
			})
		})
	}
}

// A download is a peer that sends a stream as fast as it is taken, and answers
// Pings behind what it has begun to send.
type download struct {
	peer  *rawPeer
	pongs chan string
}

// send sends messages and Pongs to the end of the stream.
func (d download) send(messages, size int) error {
	body := strings.Repeat("d", size)
	for range messages {
		if err := d.peer.send(0x82, body); err != nil {
			return err
		}
		select {
		case ping := <-d.pongs:
			if err := d.peer.send(0x8a, ping); err != nil {
				return err
			}
		default:
		}
	}
	return nil
}

// takePings receives what comes, and has Pings answered.
func (d download) takePings() {
	for {
		f, err := d.peer.read()
		if err != nil {
			return
		}
		if f.opcode() == 9 {
			d.pongs <- f.payload
		}
	}
}

// TestBackPressureIsNoDeath pauses for up to an hour in a download whose sender
// answers Pings behind what waits to be taken (V11): it goes on.
func TestBackPressureIsNoDeath(t *testing.T) {
	covers(t, "V11")
	const messages, size = 200, 32 << 10
	reads := map[string]func(c *Conn) io.Reader{
		"AsNetConn": func(c *Conn) io.Reader { return AsNetConn(c, Binary) },
		"Read":      func(c *Conn) io.Reader { return &wholeMessages{c: c} },
	}
	for name, reader := range reads {
		for _, pause := range []time.Duration{time.Minute, time.Hour} {
			t.Run(fmt.Sprintf("%s, %v", name, pause), func(t *testing.T) {
				eachEnd(t, Config{}, []rawNetwork{memoryNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
					d := download{peer, make(chan string, 1000)}
					go d.takePings()
					sent := make(chan error, 1)
					go func() { sent <- d.send(messages, size) }()
					in := reader(c)
					for n := range 4 {
						if _, err := io.CopyN(io.Discard, in, messages*size/4); err != nil {
							t.Fatalf("quarter %d: %v", n, err)
						}
						time.Sleep(pause)
					}
					if err := <-sent; err != nil {
						t.Errorf("the sender: %v", err)
					}
				})
			})
		}
	}
}

// TestBackPressureBetweenTwo is a download between two ends with all defaults,
// but for the WriteTimeout of the sender, with a pause of a minute in it, or read
// slowly (V10, V11): it goes on.
func TestBackPressureBetweenTwo(t *testing.T) {
	covers(t, "V10", "V11")
	const total = 4 << 20
	slow := map[string]func(in io.Reader) error{
		"a minute in the middle": func(in io.Reader) error {
			_, err := io.CopyN(io.Discard, in, total/2)
			time.Sleep(time.Minute)
			return err
		},
		"20 kB every 4 s": func(in io.Reader) (err error) {
			for n := 0; n < 100 && err == nil; n++ {
				time.Sleep(4 * time.Second)
				_, err = io.CopyN(io.Discard, in, 20_000)
			}
			return err
		},
		"100 B every 9 s": func(in io.Reader) (err error) {
			for n := 0; n < 100 && err == nil; n++ {
				time.Sleep(9 * time.Second)
				_, err = io.CopyN(io.Discard, in, 100)
			}
			return err
		},
	}
	for name, read := range slow {
		for _, r := range roles {
			t.Run(fmt.Sprint(name, ", by a ", r), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					near, far := faultnet.Pipe()
					receiver := newConn(near, r, (&Config{}).withDefaults(), agreement{}, nil)
					defer receiver.CloseNow()
					sender := newConn(far, r.other(), (&Config{WriteTimeout: time.Hour}).withDefaults(), agreement{}, nil)
					defer sender.CloseNow()
					sent := make(chan error, 1)
					go func() {
						_, err := AsNetConn(sender, Binary).Write(make([]byte, total))
						sent <- err
					}()
					go by(loopRead)(sender)
					in := &counted{AsNetConn(receiver, Binary), 0}
					err := read(in)
					if err == nil {
						_, err = io.CopyN(io.Discard, in, int64(total-in.n))
					}
					if err != nil {
						t.Errorf("the receiver after %d of %d: %v", in.n, total, err)
						sender.CloseNow()
					}
					if err := <-sent; err != nil {
						t.Errorf("the sender: %v", err)
					}
				})
			})
		}
	}
}

// counted counts what is read.
type counted struct {
	r io.Reader
	n int
}

// Read reads and counts.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// wholeMessages is a stream of what Read returns.
type wholeMessages struct {
	c    *Conn
	left []byte
}

// Read reads from the current message, or waits for the next.
func (w *wholeMessages) Read(p []byte) (n int, err error) {
	if len(w.left) == 0 {
		if _, w.left, err = w.c.Read(context.Background()); err != nil {
			return 0, err
		}
	}
	n = copy(p, w.left)
	w.left = w.left[n:]
	return n, nil
}

// TestKeepaliveSurvivesReadsThatGiveUp polls with a deadline in the past, for ten
// minutes, a connection whose peer answers every Ping (V07, V10): it lives.
func TestKeepaliveSurvivesReadsThatGiveUp(t *testing.T) {
	covers(t, "V07", "V10")
	eachEnd(t, Config{}, []rawNetwork{memoryNetwork, pipeNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
		p := peer.listen(t, true)
		for range 600 {
			c.SetReadDeadline(time.Now().Add(-time.Second))
			if _, _, err := c.Read(context.Background()); errors.Is(err, net.ErrClosed) {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		p.wantPong(t, "at the end")
	})
}

// TestIdleConnectionStaysOpen proves that two idle ends stay connected for a
// week, whether or not the client's application reads, because every Ping is
// answered.
func TestIdleConnectionStaysOpen(t *testing.T) {
	covers(t, "X17", "O03", "Q.G11")
	for _, reading := range []bool{true, false} {
		t.Run(fmt.Sprintf("client reads %v", reading), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { stayOpen(t, reading) })
		})
	}
}

// stayOpen is one case of TestIdleConnectionStaysOpen.
func stayOpen(t *testing.T, clientReads bool) {
	c, s := memConns(t, nil)
	got := make(chan string, 1)
	var wg sync.WaitGroup
	wg.Go(func() { loopRead(s, func(_ MessageType, p []byte) { got <- string(p) }) })
	if clientReads {
		wg.Go(func() { loopRead(c, func(MessageType, []byte) {}) })
	}
	select {
	case <-c.Context().Done():
		t.Fatalf("the client has ended: %v", context.Cause(c.Context()))
	case <-s.Context().Done():
		t.Fatalf("the server has ended: %v", context.Cause(s.Context()))
	case <-time.After(7 * 24 * time.Hour):
	}
	if err := c.Write(context.Background(), Text, []byte("awake")); err != nil {
		t.Error(err)
	}
	if message := <-got; message != "awake" {
		t.Errorf("%q arrived", message)
	}
	c.CloseNow()
	wg.Wait()
}

// TestSilentPeer proves that a peer that is gone is found after PingInterval and
// PongTimeout, with a reader and with nobody reading.
func TestSilentPeer(t *testing.T) {
	covers(t, "X18", "Q.D06", "Q.G11", "Q.G12")
	for _, loop := range []readLoop{loopRead, func(c *Conn, _ func(MessageType, []byte)) error {
		<-c.Context().Done()
		_, _, err := c.Read(context.Background())
		return err
	}} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			e := newEndpoint(t, endpointSetup{role: server, config: Config{PingInterval: 30 * time.Second, PongTimeout: 20 * time.Second}, loop: loop})
			end := e.finish()
			if waited := time.Since(start); waited != 50*time.Second {
				t.Errorf("the end came after %v, want 50s", waited)
			}
			if !errors.Is(end, ErrPongTimeout) || !errors.Is(end, net.ErrClosed) || end.Received {
				t.Errorf("the end is %v, want %v", end, ErrPongTimeout)
			}
		})
	}
}

// TestPollingFindsASilentPeer proves that a peer that is gone is also found while
// the application polls: each of its reads takes the place of the background
// reader, which says nothing about the peer.
func TestPollingFindsASilentPeer(t *testing.T) {
	covers(t, "V11")
	poll := func(c *Conn) error {
		for {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
			_, _, err := c.Read(ctx)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			c, peer := memoryConn(server, &Config{PingInterval: 30 * time.Second, PongTimeout: 20 * time.Second})
			defer peer.Close()
			if err := poll(c); !errors.Is(err, ErrPongTimeout) {
				t.Errorf("the end is %v, want %v", err, ErrPongTimeout)
			}
			if waited := time.Since(began); waited < 50*time.Second || waited > 51*time.Second {
				t.Errorf("the end came after %v, want 50s", waited)
			}
		})
	})
	t.Run("TCP", func(t *testing.T) {
		near, _ := tcpPair(t)
		c := newConn(near, server, (&Config{PingInterval: 200 * time.Millisecond, PongTimeout: 200 * time.Millisecond}).withDefaults(), agreement{}, nil)
		defer c.CloseNow()
		ended := make(chan error, 1)
		go func() { ended <- poll(c) }()
		select {
		case err := <-ended:
			if !errors.Is(err, ErrPongTimeout) {
				t.Errorf("the end is %v, want %v", err, ErrPongTimeout)
			}
		case <-time.After(20 * time.Second):
			t.Error("the peer is not found gone")
		}
	})
}

// TestFragmentIsHeardByANewRead proves that a fragment puts IdleTimeout off also
// if the read that finds it begins in the middle of the message.
func TestFragmentIsHeardByANewRead(t *testing.T) {
	covers(t, "V12")
	near, far := tcpPair(t)
	c := newConn(near, client, (&Config{PingInterval: -1, IdleTimeout: time.Hour}).withDefaults(), agreement{}, nil)
	defer c.CloseNow()
	within := func(what string, happened func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !happened(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		_, _, err := c.Read(ctx)
		ended <- err
	}()
	far.Write([]byte{byte(opBinary), 1, 'a'})
	within("the first fragment is not received", func() bool { return c.read.intake.received.Load() == 3 })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	last := &c.lazy.Load().lastMessage
	last.Store(1)
	go c.Read(context.Background())
	within("nobody reads", func() bool {
		return c.read.intake.waitingSince.Load() != 0 && c.read.lock.isLocked() && !c.readerWaits()
	})
	far.Write([]byte{byte(opContinuation), 1, 'b'})
	within("the second fragment is not heard", func() bool { return last.Load() != 1 })
}
