package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// pingIntervals are the settings under which nobody may wait for a Pong.
var pingIntervals = map[string]time.Duration{"default": 0, "off": -1}

// readings are what an application did before it stopped to read. If it never
// read, or the read gave up, a stand-in reads at once, else soon.
var readings = []struct {
	name   string
	do     func(t *testing.T, c *Conn, peer *pingingPeer)
	gaveUp bool
}{
	{"never", func(*testing.T, *Conn, *pingingPeer) {}, true},
	{"context ended", func(t *testing.T, c *Conn, _ *pingingPeer) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, _, err := c.Read(ctx); err != context.DeadlineExceeded {
			t.Errorf("Read: %v", err)
		}
	}, true},
	{"deadline passed", func(t *testing.T, c *Conn, _ *pingingPeer) {
		c.SetReadDeadline(time.Now().Add(time.Second))
		if _, _, err := c.Read(context.Background()); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read: %v", err)
		}
	}, true},
	{"deadline was over", func(t *testing.T, c *Conn, _ *pingingPeer) {
		c.SetReadDeadline(time.Now().Add(-time.Second))
		if _, _, err := c.Read(context.Background()); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read: %v", err)
		}
	}, true},
	{"one message", func(t *testing.T, c *Conn, peer *pingingPeer) {
		peer.say(peer.frame(0x81, "subscribe"))
		if _, _, err := c.Read(context.Background()); err != nil {
			t.Errorf("Read: %v", err)
		}
	}, false},
	{"one message into", func(t *testing.T, c *Conn, peer *pingingPeer) {
		peer.say(peer.frame(0x81, "subscribe"))
		if _, _, err := c.ReadInto(context.Background(), nil); err != nil {
			t.Errorf("ReadInto: %v", err)
		}
	}, false},
	{"a loop was left", func(t *testing.T, c *Conn, peer *pingingPeer) {
		peer.say(peer.frame(0x81, "one"))
		for _, err := range c.Messages(context.Background()) {
			if err != nil {
				t.Errorf("Messages: %v", err)
			}
			break
		}
	}, false},
	{"a streamed message", func(t *testing.T, c *Conn, peer *pingingPeer) {
		peer.say(peer.frame(0x81, "streamed"))
		_, r, err := c.Reader(context.Background())
		if err == nil {
			_, err = io.ReadAll(r)
		}
		if err != nil {
			t.Errorf("Reader: %v", err)
		}
	}, false},
}

// TestPingIsAnsweredWithNobodyReading wants the Pong at the same instant (V09):
// in each role, with our own Pings and without, from the first octet on, after
// every way to stop reading, and again later.
func TestPingIsAnsweredWithNobodyReading(t *testing.T) {
	covers(t, "V09")
	for interval, d := range pingIntervals {
		for _, reading := range readings {
			t.Run(fmt.Sprintf("%s, Pings %s", reading.name, interval), func(t *testing.T) {
				eachEnd(t, Config{PingInterval: d}, []rawNetwork{memoryNetwork, pipeNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
					p := peer.listen(t, true)
					reading.do(t, c, p)
					if !reading.gaveUp {
						time.Sleep(3 * backgroundReadDelay)
					}
					p.wantPong(t, "at once")
					p.wantPong(t, "again")
					reading.do(t, c, p)
					if !reading.gaveUp {
						time.Sleep(3 * backgroundReadDelay)
					}
					p.wantPong(t, "after the second time")
					for n := range 3 {
						time.Sleep(7 * time.Second)
						p.wantPong(t, fmt.Sprint("later ", n))
					}
				})
			})
		}
	}
}

// TestPingBeforeAMessageIsAnswered sends Pings on both sides of a message that
// nobody reads (V09): that before it is answered at once, that behind it once
// the message was read.
func TestPingBeforeAMessageIsAnswered(t *testing.T) {
	covers(t, "V09")
	for interval, d := range pingIntervals {
		t.Run("Pings "+interval, func(t *testing.T) {
			eachEnd(t, Config{PingInterval: d}, []rawNetwork{memoryNetwork, pipeNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
				p := peer.listen(t, true)
				p.say(p.frame(0x89, "before"), p.frame(0x81, "a message"), p.frame(0x89, "behind"))
				synctest.Wait()
				if !p.has(0xa, "before") {
					t.Error("the Ping before the message was not answered at once")
				}
				time.Sleep(10 * time.Second)
				if _, body, err := c.Read(context.Background()); string(body) != "a message" {
					t.Errorf("Read: %q, %v", body, err)
				}
				time.Sleep(3 * backgroundReadDelay)
				if !p.has(0xa, "behind") {
					t.Error("the Ping behind the message was not answered after it was read")
				}
			})
		})
	}
}

// TestReadAfterNobodyRead has a message come while nobody reads, and reads it a
// second or a minute later, also on a net.Conn on which nothing can be interrupted
// (V07, V16): it is there at once.
func TestReadAfterNobodyRead(t *testing.T) {
	covers(t, "V07", "V16")
	for _, pinging := range []bool{false, true} {
		for _, later := range []time.Duration{time.Second, time.Minute} {
			t.Run(fmt.Sprintf("%v later, Ping %v", later, pinging), func(t *testing.T) {
				eachEnd(t, silent, memoryNetworks[:3], func(t *testing.T, c *Conn, peer *rawPeer) {
					p := peer.listen(t, false)
					if pinging {
						go c.Ping(context.Background())
						synctest.Wait()
					}
					p.say(p.frame(0x81, "a message that waits"))
					time.Sleep(later)
					began := time.Now()
					defer time.AfterFunc(time.Hour, func() { c.CloseNow() }).Stop()
					_, body, err := c.Read(context.Background())
					if took := time.Since(began); took > 0 || string(body) != "a message that waits" {
						t.Errorf("Read took %v and returned %q, %v", took, body, err)
					}
				})
			})
		}
	}
}

// TestHeartbeatsOfPeers has a peer ping every 10 s and give up after 10 more
// without a Pong, as servers do, while the application works on a message, or
// only writes (V09, V10).
func TestHeartbeatsOfPeers(t *testing.T) {
	covers(t, "V09", "V10")
	for interval, d := range pingIntervals {
		t.Run("Pings "+interval, func(t *testing.T) {
			eachEnd(t, Config{PingInterval: d}, []rawNetwork{memoryNetwork, pipeNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
				p := peer.listen(t, true)
				p.say(p.frame(0x81, "subscribe"))
				if _, _, err := c.Read(context.Background()); err != nil {
					t.Fatal(err)
				}
				for beat := range 60 {
					p.say(p.frame(0x89, fmt.Sprint("beat ", beat)))
					if err := c.Write(context.Background(), Text, []byte("news")); err != nil {
						t.Fatalf("after %d beats: %v", beat, err)
					}
					time.Sleep(10 * time.Second)
					if !p.has(0xa, fmt.Sprint("beat ", beat)) {
						t.Fatalf("beat %d was not answered in 10 s", beat)
					}
				}
			})
		})
	}
}

// A pattern is how one end of a connection reads and writes, while the other
// sends every 4 s and reads all the time.
type pattern struct {
	name  string
	lasts time.Duration
	do    func(c *Conn) error // again and again
}

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

// TestNoPatternOfReadingEnds joins two ends with all defaults (V10): however one
// of them reads, both live on.
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

// TestGoneIsFound has the peer go silent, with messages before that nobody reads
// or has read (V11): that is found PingInterval and PongTimeout after the last
// octet.
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
// Pings in turn, behind what it has begun to send.
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

// takePings hears the peer's side.
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

// TestBackPressureIsNoDeath pauses for up to an hour in a download, whose sender
// lives and answers Pings behind what waits to be taken (V11): it goes on.
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

// TestPingSurvivesReadsThatGiveUp pings with nobody reading, and has reads come
// and give up in every way (V07): the Pong is seen, 20 of 20.
func TestPingSurvivesReadsThatGiveUp(t *testing.T) {
	covers(t, "V07")
	giveUps := map[string]func(c *Conn){
		"deadline in the past": func(c *Conn) {
			c.SetReadDeadline(time.Now().Add(-time.Second))
			c.Read(context.Background())
			c.SetReadDeadline(time.Time{})
		},
		"deadline": func(c *Conn) {
			c.SetReadDeadline(time.Now().Add(time.Millisecond))
			c.Read(context.Background())
			c.SetReadDeadline(time.Time{})
		},
		"context": func(c *Conn) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			c.Read(ctx)
		},
		"context ended": func(c *Conn) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			c.Read(ctx)
		},
		"AsNetConn": func(c *Conn) {
			nc := AsNetConn(c, Text)
			nc.SetReadDeadline(time.Now().Add(-time.Second))
			nc.Read(make([]byte, 1))
			nc.SetReadDeadline(time.Time{})
		},
	}
	for name, giveUp := range giveUps {
		t.Run(name, func(t *testing.T) {
			eachEnd(t, silent, []rawNetwork{memoryNetwork, pipeNetwork}, func(t *testing.T, c *Conn, peer *rawPeer) {
				lost := 0
				for range 20 {
					if !pingWhile(c, peer, giveUp) {
						lost++
					}
				}
				if lost > 0 {
					t.Errorf("%d of 20 Pings did not see their Pong", lost)
				}
			})
		})
	}
}

// pingWhile pings, lets a read give up, has the peer answer, and reports whether
// Ping returned then.
func pingWhile(c *Conn, peer *rawPeer, giveUp func(c *Conn)) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	result := make(chan error, 1)
	go func() {
		_, err := c.Ping(ctx)
		result <- err
	}()
	ping, err := peer.read()
	if err != nil {
		return false
	}
	synctest.Wait()
	giveUp(c)
	synctest.Wait()
	go peer.send(0x8a, ping.payload)
	return <-result == nil
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
