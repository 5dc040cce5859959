package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// pingIntervals are the settings under which nobody may wait for a Pong.
var pingIntervals = map[string]time.Duration{"default": 0, "off": -1}

// readings are what an application did before it stopped to read. If it never
// read, or the read gave up, the background reader begins at once, else soon.
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
	{"handed over", func(_ *testing.T, c *Conn, _ *pingingPeer) { c.Deliver(newRecorder(nil)) }, true},
	{"handed over to one that waits", func(_ *testing.T, c *Conn, peer *pingingPeer) {
		if c.Deliver(newRecorder(func(c *Conn, _ Message) error { return workUntilTheEnd(c) })) == nil {
			peer.say(peer.frame(0x81, "work"))
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

// TestPingIsAnsweredWithNobodyReading proves that the Pong leaves at the same
// instant (V09): in each role, with our own Pings and without, from the first
// octet on, after every way to stop reading, and again later.
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

// TestPingBeforeAMessageIsAnswered sends a Ping before and one behind a message
// that nobody reads (V09): the first is answered at once, the second once the
// message was read.
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

// TestReadAfterNobodyRead proves that a message that came while nobody read is
// there at once a second or a minute later, also on a net.Conn on which nothing
// can be interrupted (V07, V16).
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

// TestHeartbeatsOfPeers proves that a peer that pings every 10 s, and gives up
// after 10 more without a Pong, stays while the application only writes (V09,
// V10).
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
