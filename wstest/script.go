package wstest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Play plays a conversation line by line, and stops the test where the other
// side does not follow it:
//
//	send 81 85 <37fa213d> "Hello"   the peer sends these bytes
//	want 81 05 "Hello"              the peer must receive these bytes
//	wait 5s                         the peer pauses
//	eof                             the peer closes its direction
//	reset                           the peer resets the connection
//	end                             the other side must close its direction
//
// Bytes are pairs of hexadecimal digits and quoted strings with Go's escapes;
// *N after either repeats it N times. <01020304> is a masking key, and masks
// the rest of its line; after want, <*> is any key. Empty lines and lines that
// begin with # are ignored.
func (p *RawPeer) Play(script string) {
	p.t.Helper()
	number := 0
	for line := range strings.Lines(script) {
		number++
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if verb == "" || strings.HasPrefix(verb, "#") {
			continue
		}
		if err := p.step(verb, strings.TrimSpace(rest)); err != nil {
			p.t.Fatalf("wstest: line %d, %q: %v", number, strings.TrimSpace(line), err)
		}
	}
}

// step plays one line.
func (p *RawPeer) step(verb, rest string) error {
	if verb == "send" || verb == "want" {
		o, err := parseOctets(rest)
		switch {
		case err != nil:
			return err
		case verb == "want":
			return p.want(o)
		case o.anyKey:
			return fmt.Errorf("a frame that is sent needs a key")
		}
		_, err = p.Write(o.wire())
		return err
	}
	if verb == "wait" {
		d, err := time.ParseDuration(rest)
		time.Sleep(d)
		return err
	}
	switch {
	case rest != "":
		return fmt.Errorf("%q takes no argument", verb)
	case verb == "eof":
		p.CloseWrite()
	case verb == "reset":
		p.Reset()
	case verb == "end":
		p.ExpectEOF()
	default:
		return fmt.Errorf("there is no %q", verb)
	}
	return nil
}

// want reads as many bytes as o has and compares.
func (p *RawPeer) want(o octets) error {
	if err := p.await(); err != nil {
		return err
	}
	got := make([]byte, len(o.wire()))
	if n, err := io.ReadFull(p.r, got); err != nil {
		return fmt.Errorf("received % x, then %w", got[:n], err)
	}
	if o.anyKey {
		copy(o.key[:], got[len(o.head):])
	}
	if !bytes.Equal(got, o.wire()) {
		return fmt.Errorf("received % x", got)
	}
	return nil
}

// octets are the bytes of a line, cut at the masking key.
type octets struct {
	head    []byte // before the key, or all
	masked  bool
	anyKey  bool
	key     [4]byte
	payload []byte // after the key, before masking
}

// wire returns the bytes as sent, with the payload masked.
func (o octets) wire() []byte {
	if !o.masked {
		return o.head
	}
	w := append(bytes.Clone(o.head), o.key[:]...)
	for i, b := range o.payload {
		w = append(w, b^o.key[i%4])
	}
	return w
}

// parseOctets reads the notation that Play describes.
func parseOctets(s string) (o octets, err error) {
	for s != "" && err == nil {
		if inner, rest, ok := cutKey(s); ok {
			if o.masked {
				return o, fmt.Errorf("a line has one key")
			}
			o.masked = true
			err = o.setKey(inner)
			s = strings.TrimLeft(rest, " ")
			continue
		}
		var word []byte
		if word, s, err = cutWord(s); err != nil {
			break
		}
		if o.masked {
			o.payload = append(o.payload, word...)
		} else {
			o.head = append(o.head, word...)
		}
	}
	return o, err
}

// cutKey cuts "<key>" off the start of s.
func cutKey(s string) (inner, rest string, ok bool) {
	s, opens := strings.CutPrefix(s, "<")
	inner, rest, ends := strings.Cut(s, ">")
	return inner, rest, opens && ends
}

func (o *octets) setKey(s string) error {
	if s == "*" {
		o.anyKey = true
		return nil
	}
	key, err := hex.DecodeString(s)
	if err != nil || len(key) != 4 {
		return fmt.Errorf("%q is not a key of four bytes", s)
	}
	o.key = [4]byte(key)
	return nil
}

// cutWord cuts a string or a run of digits, with its repetition, off the start
// of s.
func cutWord(s string) (word []byte, rest string, err error) {
	if quoted, qerr := strconv.QuotedPrefix(s); qerr == nil {
		text, _ := strconv.Unquote(quoted)
		word, rest = []byte(text), s[len(quoted):]
	} else {
		digits := s[:len(s)-len(strings.TrimLeft(s, "0123456789abcdefABCDEF"))]
		if word, err = hex.DecodeString(digits); err != nil || len(word) == 0 {
			return nil, s, fmt.Errorf("no bytes at %q", s)
		}
		rest = s[len(digits):]
	}
	if after, ok := strings.CutPrefix(rest, "*"); ok {
		digits := after[:len(after)-len(strings.TrimLeft(after, "0123456789"))]
		n, err := strconv.Atoi(digits)
		if err != nil || n > maxReceived {
			return nil, s, fmt.Errorf("no number of times at %q", after)
		}
		word, rest = bytes.Repeat(word, n), after[len(digits):]
	}
	return word, strings.TrimLeft(rest, " "), nil
}
