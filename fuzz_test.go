package websocket

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
)

// fuzzConfig are the limits of the endpoints that are fuzzed: low, so that
// short inputs reach them.
var fuzzConfig = Config{MaxMessageSize: 300, MaxFragments: 20, PingInterval: -1}

// FuzzFrameHeader compares the header codec with the model.
func FuzzFrameHeader(f *testing.F) {
	for _, c := range conversations(f) {
		for _, r := range c.roles {
			input := c.as(r).input()
			f.Add(input[:min(len(input), maxHeaderSize)])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) { checkHeader(t, b) })
}

// FuzzUTF8 compares the streaming validator with the model, for texts cut
// anywhere.
func FuzzUTF8(f *testing.F) {
	for _, text := range []string{"", "Hello", "κόσμε", "\xed\xa0\x80", "\xf0\x9f\x98\x80 and much that is ASCII", "\xe2\x82"} {
		f.Add([]byte(text), uint64(0))
		f.Add([]byte(text), ^uint64(0))
		f.Add([]byte(text), uint64(0x5a5a5a5a5a5a5a5a))
	}
	f.Fuzz(func(t *testing.T, text []byte, cuts uint64) { checkText(t, text, cuts) })
}

func FuzzConnServer(f *testing.F) { fuzzConn(f, server) }

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

// checkAnswers compares what was sent with the model: the Pongs in order, of
// which all but the last may be missing, and the Close.
func (e *endpoint) checkAnswers(m *model) {
	e.t.Helper()
	frames, rest, err := modelFrames(m.role, e.sent)
	if err != nil || len(rest) > 0 {
		e.t.Fatalf("% x was sent: %v, and % x is no whole frame", e.sent, err, rest)
	}
	pongs, closes := answersIn(frames)
	wantPongs, wantCloses := answersOf(m.events)
	if !isAnswer(pongs, wantPongs) {
		e.t.Errorf("Pongs %q were sent, the model has %q", pongs, wantPongs)
	}
	if _, orFail := m.end(); len(orFail) == 0 && !slices.Equal(closes, wantCloses) {
		e.t.Errorf("Closes %q were sent, the model has %q", closes, wantCloses)
	}
}

// answersIn returns the payloads of the Pongs and the codes of the Closes
// among the frames.
func answersIn(frames []modelFrame) (pongs, closes []string) {
	for _, frame := range frames {
		switch {
		case frame.opcode == 10:
			pongs = append(pongs, string(frame.payload))
		case frame.opcode == 8 && len(frame.payload) >= 2:
			closes = append(closes, fmt.Sprint(int(frame.payload[0])<<8+int(frame.payload[1])))
		case frame.opcode == 8:
			closes = append(closes, string(frame.payload))
		}
	}
	return pongs, closes
}

func answersOf(events []modelEvent) (pongs, closes []string) {
	for _, e := range events {
		switch e.kind {
		case modelPong:
			pongs = append(pongs, e.payload)
		case modelClose:
			closes = append(closes, e.payload)
		}
	}
	return pongs, closes
}

// isAnswer reports whether the Pongs sent answer the Pings that want the
// others: in order, and the last Ping for certain (RFC 6455, Section 5.5.3).
func isAnswer(pongs, want []string) bool {
	if len(want) == 0 {
		return len(pongs) == 0
	}
	if len(pongs) == 0 || pongs[len(pongs)-1] != want[len(want)-1] {
		return false
	}
	for _, pong := range pongs {
		i := slices.Index(want, pong)
		if i < 0 {
			return false
		}
		want = want[i+1:]
	}
	return true
}
