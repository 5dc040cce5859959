package websocket

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A conversation is one entry of the files in testdata/wire. Their format is
// described there.
type conversation struct {
	name   string // file and name
	covers []string
	roles  []role
	config Config
	steps  []step
}

// A step is one line of a conversation.
type step struct {
	line   int
	verb   string
	octets octets        // of recv, send, may, text, binary, write, chunk; the reason of close, closed
	kind   MessageType   // of write, stream
	code   CloseCode     // of fail, closes, close, closed
	wait   time.Duration // of wait
}

// octets are the bytes of a line, cut at the masking key.
type octets struct {
	head    []byte // before the key, or all
	masked  bool
	key     []byte // nil: any
	payload []byte // behind the key, not masked
}

// wire returns the bytes as they travel. A key that may be any must have been
// chosen.
func (o octets) wire() []byte {
	w := slices.Clone(o.head)
	if o.masked {
		w = append(w, o.key...)
	}
	for i, b := range o.payload {
		w = append(w, b^o.key[i%4])
	}
	return w
}

// plain returns the bytes without the key.
func (o octets) plain() []byte { return slices.Concat(o.head, o.payload) }

// size returns the number of bytes on the wire.
func (o octets) size() int {
	if o.masked {
		return len(o.head) + 4 + len(o.payload)
	}
	return len(o.head)
}

// matches reports whether got, of o's size, is o with some key.
func (o octets) matches(got []byte) bool {
	if o.masked && o.key == nil {
		o.key = got[len(o.head):][:4]
	}
	return bytes.Equal(o.wire(), got)
}

// conversations returns all conversations of testdata/wire.
func conversations(t testing.TB) []conversation {
	t.Helper()
	files, err := filepath.Glob("testdata/wire/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no conversations: %v", err)
	}
	var all []conversation
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found, err := parseConversations(strings.TrimSuffix(filepath.Base(file), ".txt"), string(data))
		if err != nil {
			t.Fatalf("%s:%v", file, err)
		}
		all = append(all, found...)
	}
	return all
}

// parseConversations reads one file. An error begins with the line.
func parseConversations(file, text string) (all []conversation, err error) {
	names := map[string]bool{}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		verb, rest, _ := strings.Cut(line, " ")
		switch {
		case verb == "conversation" && !names[rest]:
			names[rest] = true
			all = append(all, conversation{name: file + "/" + rest, config: Config{PingInterval: -1}})
		case len(all) == 0 || verb == "conversation":
			err = fmt.Errorf("no new conversation")
		default:
			err = all[len(all)-1].add(number, verb, rest)
		}
		if err != nil {
			return nil, fmt.Errorf("%d: %w", number, err)
		}
	}
	return all, nil
}

// add adds one line.
func (c *conversation) add(number int, verb, rest string) (err error) {
	switch verb {
	case "covers":
		c.covers = append(c.covers, strings.Fields(rest)...)
	case "role":
		c.roles, err = parseRoles(rest)
	case "config":
		err = setFields(&c.config, rest)
	case "compression":
		c.config.Compression = &Compression{Threshold: -1}
		err = setFields(c.config.Compression, rest)
	default:
		var s step
		s, err = parseStep(verb, rest)
		s.line = number
		c.steps = append(c.steps, s)
	}
	return err
}

// parseRoles reads the roles in which a conversation is played.
func parseRoles(s string) ([]role, error) {
	switch s {
	case "server":
		return []role{server}, nil
	case "client":
		return []role{client}, nil
	case "both":
		return []role{server, client}, nil
	default:
		return nil, fmt.Errorf("unknown role %q", s)
	}
}

// setFields sets the fields of a configuration that a line names.
func setFields(config any, line string) error {
	for _, field := range strings.Fields(line) {
		name, value, _ := strings.Cut(field, "=")
		if err := setField(config, name, value); err != nil {
			return err
		}
	}
	return nil
}

// setField sets a field of the configuration by its name.
func setField(config any, name, value string) error {
	field := reflect.ValueOf(config).Elem().FieldByName(name)
	if !field.IsValid() {
		return fmt.Errorf("%T has no field %q", config, name)
	}
	switch field.Interface().(type) {
	case time.Duration:
		d, err := time.ParseDuration(value)
		field.SetInt(int64(d))
		return err
	case bool:
		b, err := strconv.ParseBool(value)
		field.SetBool(b)
		return err
	default:
		n, err := strconv.ParseInt(value, 10, 64)
		field.SetInt(n)
		return err
	}
}

// parseStep reads a line that is a step.
func parseStep(verb, rest string) (s step, err error) {
	s.verb = verb
	switch verb {
	case "recv", "send", "may", "text", "binary", "chunk":
		s.octets, err = parseOctets(rest)
	case "write":
		kind, payload, _ := strings.Cut(rest, " ")
		if s.kind, err = parseMessageType(kind); err == nil {
			s.octets, err = parseOctets(payload)
		}
	case "stream":
		s.kind, err = parseMessageType(rest)
	case "fail", "closes":
		s.code, err = parseCode(rest)
	case "close", "closed":
		code, reason, _ := strings.Cut(rest, " ")
		if s.code, err = parseCode(code); err == nil {
			s.octets, err = parseOctets(reason)
		}
	case "wait":
		s.wait, err = time.ParseDuration(rest)
	case "eof", "reset", "finish", "refused":
		if rest != "" {
			err = fmt.Errorf("%s has no arguments", verb)
		}
	default:
		err = fmt.Errorf("unknown word %q", verb)
	}
	return s, err
}

// parseMessageType reads text or binary.
func parseMessageType(s string) (MessageType, error) {
	switch s {
	case "text":
		return Text, nil
	case "binary":
		return Binary, nil
	default:
		return 0, fmt.Errorf("unknown message type %q", s)
	}
}

// parseCode reads a close code.
func parseCode(s string) (CloseCode, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	return CloseCode(n), err
}

// parseOctets reads the notation for bytes.
func parseOctets(s string) (o octets, err error) {
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		var item []byte
		if s[0] == '<' && !o.masked {
			if o.key, s, err = parseKey(s); err != nil {
				return o, err
			}
			o.masked = true
			continue
		}
		if item, s, err = parseItem(s); err != nil {
			return o, err
		}
		if o.masked {
			o.payload = append(o.payload, item...)
		} else {
			o.head = append(o.head, item...)
		}
	}
	return o, nil
}

// parseKey reads a key at the start of s; that of <*> is nil.
func parseKey(s string) (key []byte, rest string, err error) {
	digits, rest, _ := strings.Cut(s[1:], ">")
	if digits == "*" {
		return nil, rest, nil
	}
	key, err = hex.DecodeString(digits)
	if err == nil && len(key) != 4 {
		err = fmt.Errorf("a key has four bytes, not %d", len(key))
	}
	return key, rest, err
}

// parseItem reads hexadecimal digits or a quoted string at the start of s,
// and how often it is repeated.
func parseItem(s string) (item []byte, rest string, err error) {
	if s[0] == '"' {
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			return nil, "", fmt.Errorf("%w in %q", err, s)
		}
		text, _ := strconv.Unquote(quoted)
		item, rest = []byte(text), s[len(quoted):]
	} else {
		n := strings.IndexFunc(s+" ", func(r rune) bool { return !strings.ContainsRune("0123456789abcdefABCDEF", r) })
		if item, err = hex.DecodeString(s[:n]); err != nil || n == 0 {
			return nil, "", fmt.Errorf("no bytes in %q", s)
		}
		rest = s[n:]
	}
	times, found := strings.CutPrefix(rest, "*")
	if !found {
		return item, rest, nil
	}
	n := strings.IndexFunc(times+" ", func(r rune) bool { return r < '0' || r > '9' })
	count, err := strconv.Atoi(times[:n])
	return bytes.Repeat(item, count), times[n:], err
}

// as returns the conversation with us in the given role: as it stands, or
// with the masks on the other side.
func (c conversation) as(r role) conversation {
	c.name += "/" + r.String()
	if r == c.roles[0] {
		return c
	}
	var m unmasker
	steps := slices.Clone(c.steps)
	for i, s := range steps {
		switch s.verb {
		case "recv":
			steps[i].octets = octets{head: m.translate(s.octets.wire())}
		case "send", "may":
			steps[i].octets = masked(s.octets)
		}
	}
	c.steps = steps
	return c
}

// masked returns an unmasked frame as one masked with any key.
func masked(o octets) octets {
	h, _ := modelParse(o.head)
	head := slices.Clone(o.head[:h.size])
	head[1] |= 0x80
	return octets{head: head, masked: true, payload: o.head[h.size:]}
}

// An unmasker turns a stream of masked frames into the same frames without
// masks.
type unmasker struct {
	header []byte // of the frame under way
	h      modelHeader
	done   uint64 // payload bytes of the frame under way
	inside bool   // its payload
}

// translate returns what b is without masks.
func (m *unmasker) translate(b []byte) (out []byte) {
	for _, octet := range b {
		out = append(out, m.next(octet)...)
	}
	return out
}

// next returns what the next octet is without masks: itself, another or nothing.
func (m *unmasker) next(octet byte) []byte {
	if m.inside {
		plain := octet
		if m.h.mask {
			plain ^= m.h.key[m.done%4]
		}
		m.done++
		m.inside = m.done < m.h.length
		return []byte{plain}
	}
	m.header = append(m.header, octet)
	position := len(m.header)
	var whole bool
	if m.h, whole = modelParse(m.header); whole {
		m.header, m.done, m.inside = nil, 0, m.h.length > 0
	}
	switch {
	case position == 2:
		return []byte{octet &^ 0x80}
	case position > 2 && m.h.mask && position > m.h.size-4:
		return nil
	default:
		return []byte{octet}
	}
}

// input returns all that the peer sends.
func (c conversation) input() []byte {
	var in []byte
	for _, s := range c.steps {
		if s.verb == "recv" {
			in = append(in, s.octets.wire()...)
		}
	}
	return in
}

// model returns a fresh model of the endpoint.
func (c conversation) model(r role) *model {
	cfg := c.config.withDefaults()
	return &model{
		role:         r,
		maxMessage:   cfg.MaxMessageSize,
		maxFragments: cfg.MaxFragments,
		skipUTF8:     cfg.SkipUTF8Check,
		deflate:      cfg.Compression != nil,
		forgets:      cfg.Compression != nil && cfg.Compression.PeerNoContextTakeover,
		window:       1 << agreedWindows(cfg.Compression).PeerWindowBits,
	}
}

// eachConversation runs f as a subtest for every conversation and role.
func eachConversation(t *testing.T, f func(t *testing.T, c conversation, r role)) {
	t.Helper()
	for _, c := range conversations(t) {
		if len(c.roles) == 0 || len(c.covers) == 0 || len(c.steps) == 0 {
			t.Errorf("%s: no role, no steps or nothing covered", c.name)
		}
		for _, r := range c.roles {
			played := c.as(r)
			t.Run(played.name, func(t *testing.T) {
				covers(t, c.covers...)
				f(t, played, r)
			})
		}
	}
}

// TestModel compares the conversations with the model: two readings of the
// RFC that must agree before either judges the package.
func TestModel(t *testing.T) {
	eachConversation(t, func(t *testing.T, c conversation, r role) {
		m := c.model(r)
		var want []modelEvent
		answered := false // the next Close we send is no answer
		for _, s := range c.steps {
			switch s.verb {
			case "recv":
				m.feed(s.octets.wire())
			case "close", "closes":
				m.weClose(s.code)
				answered = true
			case "text":
				want = append(want, modelEvent{modelMessage, Text, string(s.octets.plain())})
			case "binary":
				want = append(want, modelEvent{modelMessage, Binary, string(s.octets.plain())})
			case "send", "may":
				if e, ok := answerIn(s.octets); ok && !(e.kind == modelClose && answered) {
					want = append(want, e)
				}
			case "fail":
				if !answered {
					want = append(want, modelEvent{kind: modelClose, payload: fmt.Sprint(uint16(s.code))})
				}
				code := s.code
				if m.closeSent {
					code = m.told
				}
				checkModelEnd(t, m, code, "")
			case "closed":
				checkModelEnd(t, m, s.code, string(s.octets.plain()))
			}
		}
		if got := byKind(m.events); !slices.Equal(got, byKind(want)) {
			t.Errorf("the model has\n%s\nthe conversation has\n%s", describe(got), describe(byKind(want)))
		}
	})
}

// codeMayBeSent reports whether Close accepts the code.
func codeMayBeSent(code CloseCode) bool {
	return code == 0 || code == CloseNoStatus || modelCloseCode(int(code))
}

// answerIn returns the event that sends the control frame o, if it is a Pong
// or a Close.
func answerIn(o octets) (modelEvent, bool) {
	h, _ := modelParse(o.head)
	payload := o.payload
	if !o.masked {
		payload = o.head[h.size:]
	}
	switch h.opcode {
	case 8:
		e := modelEvent{kind: modelClose}
		if len(payload) > 0 {
			e.payload = fmt.Sprint(int(payload[0])<<8 + int(payload[1]))
		}
		return e, true
	case 10:
		return modelEvent{kind: modelPong, payload: string(payload)}, true
	default:
		return modelEvent{}, false
	}
}

// checkModelEnd compares the end that the model foresees with that of the
// conversation.
func checkModelEnd(t *testing.T, m *model, code CloseCode, reason string) {
	t.Helper()
	if got, _ := m.end(); got != code || m.reason != reason {
		t.Errorf("the model ends with %d %q, the conversation with %d %q", got, m.reason, code, reason)
	}
}

// byKind returns the events grouped by their kind: between kinds, within a
// segment, the order is free.
func byKind(events []modelEvent) []modelEvent {
	sorted := slices.Clone(events)
	slices.SortStableFunc(sorted, func(a, b modelEvent) int {
		return strings.Compare(string(b.kind[:1]), string(a.kind[:1]))
	})
	return sorted
}
