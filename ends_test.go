package websocket

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// The matrix of ends: how a connection comes to its end, what the application
// was doing, and what it does once a call has told it, by each entry point and on
// each network. What counts is what the raw peer sees.

// A cause is how a connection comes to its end.
type cause struct {
	name    string
	config  Config
	first   byte // the peer's frame; 0: it sends none
	payload string
	closes  bool // our application calls Close(4001, "ours")
	answers bool // the peer answers our Close frame
	check   func(payload string, end *CloseError) error
}

// causes are all ways to an end that the matrix has.
var causes = []cause{
	{name: "peer closes 1000", first: 0x88, payload: rawClose(1000, "bye"), check: repeats(1000, "bye")},
	{name: "peer closes without code", first: 0x88, check: repeats(CloseNoStatus, "")},
	{name: "we fail 1002", first: 0x83, payload: "a reserved opcode", check: fails(CloseProtocolError)},
	{name: "we fail 1007", first: 0x81, payload: "not \xff UTF-8", check: fails(CloseInvalidPayload)},
	{name: "we fail 1009", config: Config{MaxMessageSize: 50}, first: 0x81, payload: longPayload[:51], check: fails(CloseMessageTooBig)},
	{name: "both at once", first: 0x88, payload: rawClose(4002, "theirs"), closes: true, check: crosses},
	{name: "our Close first", closes: true, answers: true, check: repeats(4001, "ours")},
}

// longPayload is longer than the limit in causes.
const longPayload = "a message that is longer than what this side wants to take from anyone"

// repeats returns a check for a Close frame and an end with this code and reason.
func repeats(code CloseCode, reason string) func(string, *CloseError) error {
	return func(payload string, end *CloseError) error {
		want := rawClose(uint16(code), reason)
		if code == CloseNoStatus {
			want = ""
		}
		switch {
		case payload != want:
			return fmt.Errorf("the Close frame has %q, want %q", payload, want)
		case end.Code != code || end.Reason != reason || !end.Received:
			return fmt.Errorf("the end is %+v, want code %d %q, received", end, uint16(code), reason)
		}
		return nil
	}
}

// fails returns a check for a Close frame with this code, and an end that says
// the same.
func fails(code CloseCode) func(string, *CloseError) error {
	return func(payload string, end *CloseError) error {
		switch {
		case end.Code != code || end.Received:
			return fmt.Errorf("the end is %+v, want code %d", end, uint16(code))
		case payload != rawClose(uint16(code), end.Reason):
			return fmt.Errorf("the Close frame has %q, the end %d %q", payload, uint16(end.Code), end.Reason)
		}
		return nil
	}
}

// crosses checks that the peer saw our Close frame or the answer to its own, and
// that the end is what the peer said.
func crosses(payload string, end *CloseError) error {
	switch {
	case payload != rawClose(4001, "ours") && payload != rawClose(4002, "theirs"):
		return fmt.Errorf("the Close frame has %q, which neither side said", payload)
	case end.Code != 4002 || end.Reason != "theirs" || !end.Received:
		return fmt.Errorf("the end is %+v, want the peer's 4002, received", end)
	}
	return nil
}

// An occupation is the call by which the application learns of the end.
type occupation struct {
	name   string
	wait   func(c *Conn) error // returns the terminal error
	writes bool                // it is told of our own Close before the end
}

// occupations are all calls by which the application may learn of the end.
var occupations = []occupation{
	{name: "Read", wait: by(loopRead)},
	{name: "ReadInto", wait: by(loopReadInto)},
	{name: "Messages", wait: by(loopMessages)},
	{name: "Reader", wait: by(loopReader)},
	{name: "Receiver", wait: by(loopReceiver)},
	{name: "AsNetConn", wait: func(c *Conn) error {
		if _, err := io.Copy(io.Discard, AsNetConn(c, Text)); err != nil {
			return err
		}
		return c.terminal()
	}},
	{name: "Write", writes: true, wait: beside(func(c *Conn) error {
		if w, err := c.Writer(context.Background(), Text); err == nil {
			w.WriteString("open")
			w.Flush()
		}
		return c.Write(context.Background(), Text, []byte("behind the open one"))
	})},
	{name: "Ping", writes: true, wait: beside(func(c *Conn) error {
		_, err := c.Ping(context.Background())
		return err
	})},
	{name: "Context", wait: beside(func(c *Conn) error {
		<-c.Context().Done()
		return context.Cause(c.Context())
	})},
}

// beside returns a call that waits while another goroutine reads.
func beside(wait func(c *Conn) error) func(c *Conn) error {
	return func(c *Conn) error {
		go by(loopRead)(c)
		return wait(c)
	}
}

// afters are what the application does once it knows of the end.
var afters = []struct {
	name string
	do   func(c *Conn, seen <-chan struct{})
}{
	{"CloseNow at once", func(c *Conn, _ <-chan struct{}) { c.CloseNow() }},
	{"CloseNow when the peer has seen it", func(c *Conn, seen <-chan struct{}) { <-seen; c.CloseNow() }},
	{"nothing", func(*Conn, <-chan struct{}) {}},
	{"Close of AsNetConn", func(c *Conn, _ <-chan struct{}) { AsNetConn(c, Text).Close() }},
}

// An endCell is one cell of the matrix.
type endCell struct {
	entry      rawEntryPoint
	network    rawNetwork
	cause      cause
	occupation occupation
	after      string
	do         func(c *Conn, seen <-chan struct{})
}

// applies reports whether the cell is played: on a real network, not every
// cause is combined with every occupation.
func (k endCell) applies() bool {
	switch {
	case k.cause.closes && k.occupation.writes:
		return false
	case k.after == "Close of AsNetConn" && k.occupation.name != "AsNetConn":
		return false
	case k.entry.name == "Accept"+overHTTP2 && k.after == afters[1].name: // the peer sees the end when the handler returns
		return false
	case k.network.is(inMemory):
		return true
	}
	return k.occupation.name == "Read" || k.cause.name == causes[0].name || k.cause.name == causes[2].name
}

// rounds returns how often the cell is played.
func (k endCell) rounds() int {
	switch {
	case k.network.is(inMemory) || k.after != afters[0].name:
		return 1
	case testing.Short() || k.network.name != "TCP":
		return 4
	default:
		return 20
	}
}

// told is what the application was told of the end.
type told struct {
	err   error
	later map[string]error
}

// application is our side of the cell.
func (k endCell) application(c *Conn, seen <-chan struct{}) told {
	if k.cause.closes {
		go c.Close(4001, "ours")
	}
	err := k.occupation.wait(c)
	k.do(c, seen)
	return told{err, laterCalls(c)}
}

// laterCalls returns what calls say of a connection that has ended.
func laterCalls(c *Conn) map[string]error {
	ctx := context.Background()
	later := map[string]error{}
	_, _, later["Read"] = c.Read(ctx)
	_, _, later["Reader"] = c.Reader(ctx)
	_, later["Writer"] = c.Writer(ctx, Text)
	_, later["Ping"] = c.Ping(ctx)
	later["Write"] = c.Write(ctx, Text, nil)
	later["Send"] = c.Send(Text, nil)
	later["SetReadDeadline"] = c.SetReadDeadline(time.Time{})
	later["Context"] = context.Cause(c.Context())
	return later
}

// play plays the cell once and returns what is wrong.
func (k endCell) play(t *testing.T) error {
	near, far := k.network.pair(t, k.entry.role)
	defer far.Close()
	seen := make(chan struct{})
	result := make(chan told, 1)
	peer, err := k.entry.join(near, far, k.cause.config, func(c *Conn) { result <- k.application(c, seen) })
	if err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	payload, arrived, wireErr := k.watch(peer)
	close(seen)
	far.Close()
	select {
	case r := <-result:
		return errors.Join(wireErr, k.judge(payload, arrived, r))
	case <-time.After(pairLimit):
		return errors.Join(wireErr, errors.New("the application still waits"))
	}
}

// watch is the peer's side of the cell. It returns the payload of the Close
// frame, and whether one came.
func (k endCell) watch(peer *rawPeer) (payload string, arrived bool, err error) {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if k.cause.first != 0 {
			peer.send(k.cause.first, k.cause.payload)
		}
	}()
	payload, _, err = peer.readClose()
	if err != nil {
		return "", false, err
	}
	<-sent
	if k.cause.answers {
		peer.send(0x88, payload)
	}
	if peer.role == server || k.network.is(noHalfClose) || k.entry.isHTTP2() {
		peer.closeWrite() // we wait for it
	}
	return payload, true, peer.readEnd()
}

// judge returns what is wrong with what the application was told.
func (k endCell) judge(payload string, arrived bool, r told) error {
	end := asCloseError(r.err)
	switch {
	case end == nil:
		return fmt.Errorf("the application was told %v", r.err)
	case end.Sent != arrived:
		return fmt.Errorf("Sent is %v, that it arrived %v", end.Sent, arrived)
	}
	for call, err := range r.later {
		if err != error(end) {
			return fmt.Errorf("%s returns %v later, the end was %v", call, err, end)
		}
	}
	if !arrived {
		return nil
	}
	return k.cause.check(payload, end)
}

// TestEnds plays the matrix of ends (V01, V02, V15, P12, P15): the raw peer sees
// exactly one Close frame with the right code and reason and then the end of the
// stream, and the application is told the same. A failing cell is one line.
func TestEnds(t *testing.T) {
	covers(t, "V01", "V02", "V15", "P12", "P15")
	serverTLS()
	for _, e := range rawEntryPoints {
		for _, n := range rawNetworks {
			if !e.worksOn(n) {
				continue
			}
			t.Run(e.name+"/"+n.name, func(t *testing.T) {
				t.Parallel()
				for _, k := range endCells(e, n) {
					k.run(t)
				}
			})
		}
	}
}

// endCells returns the cells of one entry point and network.
func endCells(e rawEntryPoint, n rawNetwork) (cells []endCell) {
	for _, c := range causes {
		for _, o := range occupations {
			for _, a := range afters {
				cells = append(cells, endCell{e, n, c, o, a.name, a.do})
			}
		}
	}
	return slices.DeleteFunc(cells, func(k endCell) bool { return !k.applies() })
}

// run plays the cell as often as it takes, and reports it if it fails.
func (k endCell) run(t *testing.T) {
	var first error
	failed, played := 0, 0
	for played < k.rounds() && failed < 5 { // each failure may have waited for long
		played++
		if err := k.once(t); err != nil {
			first = cmp.Or(first, err)
			failed++
		}
	}
	if failed > 0 {
		t.Errorf("%s, %s, %s: %d of %d: %s", k.cause.name, k.occupation.name, k.after, failed, played, oneLine(first))
	}
}

// once plays the cell, in a bubble if its network is in memory.
func (k endCell) once(t *testing.T) (err error) {
	if !k.network.is(inMemory) {
		return k.play(t)
	}
	synctest.Test(t, func(t *testing.T) { err = k.play(t) })
	return err
}

// oneLine returns err in one line.
func oneLine(err error) string {
	line := []byte(err.Error())
	for i, b := range line {
		if b == '\n' {
			line[i] = ';'
		}
	}
	return string(line)
}
