package websocket

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"github.com/fullduplex-go/websocket/internal/utf8stream"
)

// completed returns a header that begins with the two bytes and is valid from
// then on: its length has the shortest form and its key is 01020304.
func completed(first, second byte) []byte {
	b := []byte{first, second}
	switch second & 0x7f {
	case 126:
		b = append(b, 0x01, 0x00)
	case 127:
		b = append(b, 0, 0, 0, 0, 0, 1, 0, 0)
	}
	if second&0x80 != 0 {
		b = append(b, 1, 2, 3, 4)
	}
	return b
}

// forEachState calls f for every state that decides about a header.
func forEachState(f func(s modelState, rules frameRules)) {
	for _, r := range roles {
		for _, open := range []bool{false, true} {
			for _, deflate := range []bool{false, true} {
				f(modelState{r, open, deflate}, frameRules{
					role: r, inside: open, deflate: deflate, maxSize: 1 << 20,
				})
			}
		}
	}
}

// TestEveryFirstTwoBytes compares parseHeader and frameRules with the model
// for all 65,536 pairs of first bytes in every state: alone, and as the start
// of a header that is valid otherwise.
func TestEveryFirstTwoBytes(t *testing.T) {
	covers(t, "F02", "F04", "F05", "F06", "G02", "G03", "O01", "O02", "Z02", "Q.C01", "Q.C02", "Q.C03", "Q.C04", "Q.C05", "Q.C11")
	forEachState(func(s modelState, rules frameRules) {
		for pair := range 1 << 16 {
			b := completed(byte(pair>>8), byte(pair))
			want, _ := modelParse(b)
			refused := s.firstTwo(want) != 0

			if got := refusedEarly(rules, b[:2]); got != refused {
				t.Errorf("%+v: % x alone refused: %v, want %v", s, b[:2], got, refused)
			}
			after, v := acceptHeader(rules, b)
			if (v != noViolation) != refused || v != noViolation && v.err().Code != CloseProtocolError {
				t.Errorf("%+v: % x gets violation %d, want one: %v", s, b, v, refused)
			}
			open := s.open
			if !want.control() && !refused {
				open = !want.fin
			}
			if after.inside != open {
				t.Errorf("%+v: after % x a message is open: %v, want %v", s, b, after.inside, open)
			}
			if (refused || want.control()) && after != rules {
				t.Errorf("%+v: % x changed the state to %+v", s, b, after)
			}
		}
	})
}

// refusedEarly reports whether the first two bytes of a header are enough to
// refuse it.
func refusedEarly(rules frameRules, b []byte) bool {
	h, _, v := parseHeader(b)
	return v != noViolation || rules.check(h) != noViolation
}

// acceptHeader gives the header b to rules and returns them.
func acceptHeader(rules frameRules, b []byte) (frameRules, violation) {
	h, _, v := parseHeader(b)
	if v == noViolation {
		v = rules.accept(h)
	}
	return rules, v
}

// TestEveryLimit compares the limits on a message with the model, around the
// sums that overflow.
func TestEveryLimit(t *testing.T) {
	covers(t, "E04", "E05", "Q.C06", "Q.D02", "Q.D03", "Q.D04", "Q.D15")
	for _, limit := range []int64{1, 125, 1 << 20, math.MaxInt32, math.MaxInt64 - 1, math.MaxInt64} {
		for _, received := range []int64{0, 1, 100, limit - 1, limit} {
			for _, length := range longLengths() {
				if received < 0 || received > limit || length > math.MaxInt64 || length <= 0xffff {
					continue
				}
				rules := frameRules{role: client, inside: true, maxSize: limit, size: received, fragments: 1}
				b := binary.BigEndian.AppendUint64([]byte{0x80, 127}, length)
				_, v := acceptHeader(rules, b)
				tooBig := length > uint64(limit)-uint64(received)
				if (v == messageTooBig) != tooBig {
					t.Errorf("limit %d, %d received, %d announced: violation %d, too big: %v", limit, received, length, v, tooBig)
				}
			}
		}
	}
}

// TestEveryCloseCode compares the Close payloads of all codes with the model,
// received and sent.
func TestEveryCloseCode(t *testing.T) {
	covers(t, "X01", "X02", "R01", "R02", "R03", "R04", "R05", "R06", "R07", "R08", "R09", "Q.F01", "Q.F02")
	for code := range 1 << 16 {
		b := binary.BigEndian.AppendUint16(nil, uint16(code))
		for _, reason := range []string{"", "why", "€", "\xff", "\xe2\x82"} {
			m := &model{role: client}
			m.closeFrame(append(bytes.Clone(b), reason...))
			got, gotReason, v := parseClosePayload(append(bytes.Clone(b), reason...))
			switch {
			case m.failed != 0 && (v == noViolation || v.err().Code != m.failed):
				t.Errorf("code %d, reason %q: violation %d, want one with code %d", code, reason, v, uint16(m.failed))
			case m.failed == 0 && (v != noViolation || got != m.code || gotReason != m.reason):
				t.Errorf("code %d, reason %q: %d %q, violation %d", code, reason, uint16(got), gotReason, v)
			}
		}
		if CloseCode(code).onWire() != modelCloseCode(code) {
			t.Errorf("code %d may be sent: %v, want %v", code, !modelCloseCode(code), modelCloseCode(code))
		}
	}
}

// FuzzClosePayload parses the payload of a Close frame: what is valid is encoded
// again as it was, and what is not gives no code.
func FuzzClosePayload(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{3})
	f.Add([]byte("\x03\xe8reason"))
	f.Add([]byte("\x03\xed\xff"))
	f.Fuzz(func(t *testing.T, p []byte) {
		code, reason, v := parseClosePayload(p)
		switch {
		case len(p) == 0 && code != CloseNoStatus:
			t.Errorf("no payload gives code %d", uint16(code))
		case len(p) > 0 && v != noViolation && code != 0:
			t.Errorf("% x is violation %d, and gives code %d", p, v, uint16(code))
		case len(p) > 0 && v == noViolation && len(p) <= maxControlPayload && !bytes.Equal(appendClosePayload(nil, code, reason), p):
			t.Errorf("% x is encoded again as % x", p, appendClosePayload(nil, code, reason))
		}
	})
}

// utf8Alphabet has bytes from both ends of every range that matters.
var utf8Alphabet = []byte{
	0x00, 'a', 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2,
	0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff,
}

// firstBad returns the offset of the first byte that makes text invalid by the
// model's table, or its length, and whether text may end there.
func firstBad(text []byte) (offset int, complete bool) {
	var sequence []byte
	for i, octet := range text {
		sequence = append(sequence, octet)
		switch wellFormed(sequence) {
		case sequenceInvalid:
			return i, false
		case sequenceWhole:
			sequence = nil
		}
	}
	return len(text), len(sequence) == 0
}

// checkText gives text to the validator in pieces, cut where cuts has a bit,
// and compares it with the model.
func checkText(t *testing.T, text []byte, cuts uint64) {
	t.Helper()
	bad, complete := firstBad(text)
	var v utf8stream.Validator
	for start, end := 0, 0; end < len(text); start = end {
		for end++; end < len(text) && cuts>>(end%64)&1 == 0; {
			end++
		}
		accepted := v.Accept(text[start:end])
		if accepted != (bad >= end) {
			t.Errorf("% x, bytes %d to %d: accepted %v, but byte %d is bad", text, start, end, accepted, bad)
		}
		if !accepted {
			return
		}
	}
	if v.Complete() != complete {
		t.Errorf("% x: complete is %v, want %v", text, v.Complete(), complete)
	}
}

// TestEveryShortText compares the streaming validator with the model for all
// texts of up to four bytes of utf8Alphabet, cut in every way.
func TestEveryShortText(t *testing.T) {
	covers(t, "T01", "T02", "T03", "T04", "T05", "Q.C15")
	texts := [][]byte{{}}
	for n := 1; n <= 4; n++ {
		var longer [][]byte
		for _, text := range texts {
			for _, b := range utf8Alphabet {
				longer = append(longer, append(bytes.Clone(text), b))
			}
		}
		texts = longer
		for _, text := range texts {
			for cuts := uint64(0); cuts < 1<<n; cuts += 2 {
				checkText(t, text, cuts)
			}
		}
	}
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
