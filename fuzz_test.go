package websocket

import (
	"io"
	"net"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
)

// fuzzConfig are the limits of the endpoints that are fuzzed: low, so that
// short inputs reach them.
var fuzzConfig = Config{MaxMessageSize: 300, MaxFragments: 20, PingInterval: -1}

// FuzzConnServer compares a server with the model.
func FuzzConnServer(f *testing.F) { fuzzConn(f, server) }

// FuzzConnClient compares a client with the model.
func FuzzConnClient(f *testing.F) { fuzzConn(f, client) }

// fuzzConn gives an endpoint the input in pieces cut by the plan, each byte
// of which is the size of a piece, and compares it with the model. Since the
// model knows no plan, the result is the same for every plan.
func fuzzConn(f *testing.F, r role) {
	for _, input := range fuzzInputs(f, r) {
		f.Add(input, []byte{})
		f.Add(input, []byte{1})
		f.Add(input, []byte{3, 1, 2})
	}
	f.Fuzz(func(t *testing.T, input, plan []byte) {
		if len(input) > 1<<16 {
			t.Skip("longer than any limit")
		}
		synctest.Test(t, func(t *testing.T) {
			loop := readLoops[len(plan)%len(readLoops)].loop
			e := newEndpoint(t, endpointSetup{role: r, config: fuzzConfig, loop: loop})
			m := conversation{config: fuzzConfig}.model(r)
			m.feed(input)
			for _, piece := range pieces(input, plan) {
				e.recv(piece)
				synctest.Wait()
			}
			e.peer.CloseWrite()
			e.checkEnd(m)
			e.checkAnswers(m)
		})
	})
}

// fuzzInputs returns what the peer sends in the conversations that are short.
func fuzzInputs(f *testing.F, r role) (inputs [][]byte) {
	for _, c := range conversations(f) {
		if !slices.Contains(c.roles, r) {
			continue
		}
		if input := c.as(r).input(); len(input) <= 5000 {
			inputs = append(inputs, input)
		}
	}
	return inputs
}

// FuzzParked compares a connection on a socket that no goroutine reads with the
// model. The next piece is sent when one was read, so that each is an event of the
// poller, unless the plan's byte is even: then two may come together.
func FuzzParked(f *testing.F) {
	covers(f, "F13", "G06")
	for _, r := range []role{client, server} {
		for i, input := range fuzzInputs(f, r) {
			if i%4 == 0 && len(input) < 150 {
				f.Add(input, []byte{3, 2, 7}, r == client)
			}
		}
	}
	f.Fuzz(func(t *testing.T, input, plan []byte, asClient bool) {
		if len(input) > 1<<14 {
			t.Skip("longer than any limit")
		}
		r := server
		if asClient {
			r = client
		}
		near, far := unixNetwork(t, r)
		defer far.Close()
		e := &endpoint{t: t, role: r, conn: newConn(near, r, fuzzConfig.withDefaults(), agreement{}, nil)}
		m := conversation{config: fuzzConfig}.model(r)
		m.feed(input)
		sent := make(chan []byte, 1)
		go func() {
			all, _ := io.ReadAll(far)
			sent <- all
		}()
		go sendParked(e.conn, far, input, plan)
		e.err = loopReceiver(e.conn, e.deliver)
		<-e.conn.transportClosedChan()
		e.sent = <-sent
		end := asCloseError(e.err)
		e.compare(end, m)
		if end.Code == CloseAbnormal {
			e.checkAnswersToNobody(m)
		} else {
			e.checkAnswers(m)
		}
	})
}

// sendParked sends input to c in pieces, and then the end.
func sendParked(c *Conn, far net.Conn, input, plan []byte) {
	sent := uint64(0)
	for i, piece := range pieces(input, plan) {
		far.Write(piece)
		sent += uint64(len(piece))
		for len(plan) > 0 && plan[i%len(plan)]%2 == 1 && c.read.intake.received.Load() < sent && c.Context().Err() == nil {
			runtime.Gosched()
		}
	}
	far.(interface{ CloseWrite() error }).CloseWrite()
}

// pieces cuts input into pieces of the planned sizes, over and over; without
// a plan it is one piece.
func pieces(input, plan []byte) (cut [][]byte) {
	for i := 0; len(input) > 0; i++ {
		n := len(input)
		if len(plan) > 0 {
			n = min(n, 1+int(plan[i%len(plan)]))
		}
		cut = append(cut, input[:n])
		input = input[n:]
	}
	return cut
}
