package websocket

import (
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
	for _, c := range conversations(f) {
		if !slices.Contains(c.roles, r) || len(c.as(r).input()) > 5000 {
			continue
		}
		input := c.as(r).input()
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
