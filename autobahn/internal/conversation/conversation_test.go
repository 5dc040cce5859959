package conversation

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/fullduplex-go/websocket/autobahn/internal/deflate"
)

func TestTable(t *testing.T) {
	counts := map[int]int{}
	last := ""
	for i, c := range All() {
		counts[c.Category()]++
		if c.Number != i+1 || Find(c.ID) != c || c.ID == last {
			t.Errorf("%s has number %d", c.ID, c.Number)
		}
		last = c.ID
		plan, err := c.plan()
		if err != nil {
			t.Error(err)
			continue
		}
		if c.Timer.After <= 0 || c.Turns == 0 && len(plan.Script.Steps) == 0 {
			t.Errorf("%s: %+v", c.ID, c)
		}
	}
	want := map[int]int{1: 16, 2: 11, 3: 7, 4: 10, 5: 20, 6: 145, 7: 37, 9: 54, 10: 1, 12: 90, 13: 126}
	if fmt.Sprint(counts) != fmt.Sprint(want) {
		t.Errorf("categories %v, want %v", counts, want)
	}
	if len(All()) != 517 {
		t.Errorf("%d conversations", len(All()))
	}
}

// TestMarks checks which conversations are special.
func TestMarks(t *testing.T) {
	var informational, nonStrict []string
	for _, c := range All() {
		if c.Informational {
			informational = append(informational, c.ID)
		}
		if c.NonStrict != "" {
			nonStrict = append(nonStrict, c.ID)
		}
	}
	if s := strings.Join(informational, " "); s != "7.1.6 7.13.1 7.13.2" {
		t.Errorf("INFORMATIONAL: %s", s)
	}
	if s := strings.Join(nonStrict, " "); s != "3.2 3.3 3.4 4.1.3 4.1.4 4.1.5 4.2.3 4.2.4 4.2.5 5.15 6.4.1 6.4.2 6.4.3 6.4.4" {
		t.Errorf("NON-STRICT is possible in %s", s)
	}
}

// write spells out a script: a line for each step, a word for each piece.
func write(s *Script) string {
	var b strings.Builder
	for _, step := range s.Steps {
		if step.Wait() {
			b.WriteString("wait\n")
			continue
		}
		for _, p := range step {
			f := p.Frame
			fmt.Fprintf(&b, "%v/%d/%d[%d:%d]%s ", f.FIN, f.RSV, f.Opcode, p.From, p.To, notate(f.Payload))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestNotation(t *testing.T) {
	tests := []struct {
		script, want string
		chop         int
	}{
		{`T()`, "true/0/1[0:0] \n", OneBurst},
		{`T-("ab") I(00ff) C("c") @f`, "false/0/1[0:2]\"ab\" true/0/9[0:2]00ff true/0/0[0:1]\"c\" \n", PerFrame},
		{`T^3("x") #11() @997`, "true/3/1[0:1]\"x\" true/0/11[0:0] \n", 997},
		{`B(2a*3)`, "true/0/2[0:3]\"***\" \n", OneBurst},
		{`T("abc"~7)`, "true/0/1[0:7]\"abcabca\" \n", OneBurst},
		{`X(03e8+"bye"+00*2)`, "true/0/8[0:7]03e86279650000 \n", OneBurst},
		{`T("abcde")/2`, "false/0/1[0:2]\"ab\" false/0/0[0:2]\"cd\" true/0/0[0:1]\"e\" \n", OneBurst},
		{`T("abcd")/2`, "false/0/1[0:2]\"ab\" false/0/0[0:2]\"cd\" true/0/0[0:0] \n", OneBurst},
		{`T("ab")/2`, "true/0/1[0:2]\"ab\" \n", OneBurst},
		{`T() w1 C()`, "true/0/1[0:0] \nwait\ntrue/0/0[0:0] \n", OneBurst},
		{`T-("ab" w1 "c" w1 "d") C()`, "false/0/1[0:2]\"abcd\" \nwait\nfalse/0/1[2:3]\"abcd\" \nwait\nfalse/0/1[3:4]\"abcd\" true/0/0[0:0] \n", OneBurst},
	}
	for _, test := range tests {
		script, err := parseScript(test.script)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := write(script); got != test.want || script.Chop != test.chop {
			t.Errorf("%s, chop %d:\n%swant\n%s", test.script, script.Chop, got, test.want)
		}
	}
}

func TestBadNotation(t *testing.T) {
	for _, s := range []string{"Q()", "T", "T(", `T("a`, "T(0)", "T(zz)", "T(2a*)", "T()/", "#()"} {
		if _, err := parseScript(s); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
	for _, line := range []string{"1.1 | N K1 | T()", "1.1 | Z K1 | T() | echo", "1.1 | N Q1 | T() | echo", "1.1 | N K1 often | T() | echo"} {
		if _, err := parseLine(line); err == nil {
			t.Errorf("%q is accepted", line)
		}
	}
}

// TestScripts compares some scripts with what the suite is known to send.
func TestScripts(t *testing.T) {
	frames := func(id string) []*Frame { return Find(id).Plan().Script.Frames() }
	if f := frames("9.3.1"); len(f) != 65537 || f[65536].FIN != true || len(f[65536].Payload) != 0 || f[65535].FIN {
		t.Errorf("9.3.1 has %d frames", len(f))
	}
	if f := frames("9.3.9"); len(f) != 1 || len(f[0].Payload) != 4194304 {
		t.Errorf("9.3.9 has %d frames", len(f))
	}
	if f := frames("10.1.1"); len(f) != 51 || len(f[49].Payload) != 1300 || len(f[50].Payload) != 536 {
		t.Errorf("10.1.1 has %d frames", len(f))
	}
	if f := frames("9.1.6"); len(f[0].Payload) != 16777216 || !bytes.HasPrefix(f[0].Payload, []byte("BAsd7&jh23BAsd7&jh23")) {
		t.Error("9.1.6 is not 16 MiB of the pattern")
	}
	if f := frames("7.3.6"); len(f[0].Payload) != 126 {
		t.Errorf("7.3.6 has %d octets", len(f[0].Payload))
	}
	if f := frames("6.12.8"); len(f[0].Payload) != 63 || f[0].Payload[62] != 0xbe {
		t.Errorf("6.12.8 is %x", f[0].Payload)
	}
	if p := Find("5.19").Plan(); Notate(p.Expected) != `O("pongme 1!") O("pongme 2!") T("fragment1fragment2fragment3fragment4frag"… 45 octets)` {
		t.Errorf("5.19 expects %s", Notate(p.Expected))
	}
	if p := Find("3.7").Plan(); p.Script.ClosesItself() {
		t.Error("the Close of 3.7 counts")
	}
}

func TestClasses(t *testing.T) {
	tests := []struct {
		class   Class
		sent    int
		allowed []int
	}{
		{Normal, 1000, []int{1000}},
		{NormalCode, 3000, []int{1000, 3000}},
		{BadClose, 999, []int{1002}},
		{BadReason, 1000, []int{1002, 1007}},
		{ProtocolFail, 0, []int{1002}},
		{TextFail, 0, []int{1007}},
		{AnyEnd, 5000, []int{999, 1000, 1001, 1002, 1007, 3000, 5000}},
	}
	for _, test := range tests {
		var allowed []int
		for _, code := range []int{999, 1000, 1001, 1002, 1007, 3000, 5000} {
			if test.class.Allows(code, test.sent) {
				allowed = append(allowed, code)
			}
		}
		if fmt.Sprint(allowed) != fmt.Sprint(test.allowed) {
			t.Errorf("%v allows %v, want %v", test.class, allowed, test.allowed)
		}
	}
}

func TestOffersAndAnswers(t *testing.T) {
	const d = "permessage-deflate; client_no_context_takeover; client_max_window_bits"
	offers := map[string]string{
		"12.1.1": d,
		"13.1.1": d,
		"13.2.1": d + "; server_no_context_takeover",
		"13.3.1": d + "; server_max_window_bits=9",
		"13.4.1": d + "; server_max_window_bits=15",
		"13.5.1": d + "; server_no_context_takeover; server_max_window_bits=9",
		"13.6.1": d + "; server_no_context_takeover; server_max_window_bits=15",
		"13.7.1": d + "; server_no_context_takeover; server_max_window_bits=9, " + d + "; server_no_context_takeover, " + d,
	}
	answers := []struct{ id, offers, want string }{
		{"12.1.1", "permessage-deflate", "permessage-deflate"},
		{"12.1.1", d + "; server_max_window_bits=10", "permessage-deflate; server_max_window_bits=10"},
		{"13.1.1", "permessage-deflate; client_max_window_bits", "permessage-deflate"},
		{"13.2.1", "permessage-deflate", "permessage-deflate; client_no_context_takeover"},
		{"13.3.1", "permessage-deflate", ""},
		{"13.3.1", "permessage-deflate, permessage-deflate; client_max_window_bits", "permessage-deflate; client_max_window_bits=9"},
		{"13.4.1", "permessage-deflate; client_max_window_bits=12", "permessage-deflate; client_max_window_bits=12"},
		{"13.5.1", "permessage-deflate; server_no_context_takeover; client_max_window_bits", "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=9"},
		{"13.6.1", "permessage-deflate; client_max_window_bits", "permessage-deflate; client_no_context_takeover; client_max_window_bits=15"},
		{"13.7.1", "permessage-deflate; client_max_window_bits", "permessage-deflate; client_no_context_takeover; client_max_window_bits=9"},
		{"13.7.1", "permessage-deflate", "permessage-deflate; client_no_context_takeover"},
	}
	for id, want := range offers {
		var got []string
		for _, offer := range Find(id).Compression.Offers {
			got = append(got, offer.Offer())
		}
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("%s offers %s", id, s)
		}
	}
	for _, test := range answers {
		offers, err := deflate.ParseOffers(test.offers)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if answer, ok := Find(test.id).Compression.Accept(offers); ok {
			got = answer.Answer()
		}
		if got != test.want {
			t.Errorf("%s answers %q to %q, want %q", test.id, got, test.offers, test.want)
		}
	}
}
