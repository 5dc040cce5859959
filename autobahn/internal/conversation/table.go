// Package conversation holds the 517 conversations of the Autobahn|Testsuite
// as data: what is sent, what must come back, and how the connection must end.
// Categories 1 to 10 are in conversations.txt; categories 12 and 13 are
// generated from two small tables in compression.go.
package conversation

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed conversations.txt
var table string

// A Timer ends a conversation that takes too long after its script: with Close
// 1001 if Kill is set, otherwise with an empty Close.
type Timer struct {
	Kill  bool
	After time.Duration
}

// A Conversation is one case of the suite.
type Conversation struct {
	ID            string // such as 1.1.1
	Number        int    // from 1, in the order of the suite
	Class         Class
	Timer         Timer
	Turns         int    // messages sent one after the other, each awaiting its echo; 0: the script goes out whole
	Informational bool   // both verdicts are INFORMATIONAL, whatever happens
	Script        string // in the notation of conversations.txt; empty in categories 12 and 13
	Expected      string // the events of an OK
	NonStrict     string // the events of a NON-STRICT pass, if there is one

	Compression *Compression // of categories 12 and 13, else nil
}

// Category returns the number before the first dot.
func (c *Conversation) Category() int {
	n, _ := strconv.Atoi(c.ID[:strings.IndexByte(c.ID, '.')])
	return n
}

// CodeCounts reports whether a wrong close code fails the behavior too.
func (c *Conversation) CodeCounts() bool { return c.Category() == 7 && !c.Informational }

// CategoryNames maps the categories to their subjects.
var CategoryNames = map[int]string{
	1:  "Framing",
	2:  "Pings and pongs",
	3:  "Reserved bits",
	4:  "Opcodes",
	5:  "Fragmentation",
	6:  "UTF-8 handling",
	7:  "Close handling",
	9:  "Limits and performance",
	10: "Auto-fragmentation",
	12: "Compression: kinds of payload",
	13: "Compression: parameters",
}

// A Plan is a conversation ready to be played.
type Plan struct {
	*Conversation
	Script    *Script
	Expected  []Event
	NonStrict []Event // nil if there is none
}

// Plan builds the frames and events of c, whose payloads it allocates. It
// panics if the table is malformed.
func (c *Conversation) Plan() *Plan {
	plan, err := c.plan()
	if err != nil {
		panic(err)
	}
	return plan
}

// plan is Plan with an error.
func (c *Conversation) plan() (*Plan, error) {
	script, err := parseScript(c.Script)
	if err != nil {
		return nil, err
	}
	p := &Plan{Conversation: c, Script: script}
	messages := script.messages()
	if p.Expected, err = parseEvents(c.Expected, messages); err != nil {
		return nil, err
	}
	if c.NonStrict == "" {
		return p, nil
	}
	p.NonStrict, err = parseEvents(c.NonStrict, messages)
	if p.NonStrict == nil {
		p.NonStrict = []Event{}
	}
	return p, err
}

// All returns the 517 conversations in the order of the suite. They are shared
// and must not be changed.
var All = sync.OnceValue(func() []*Conversation {
	var all []*Conversation
	for line := range strings.Lines(table) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		c, err := parseLine(line)
		if err != nil {
			panic(err)
		}
		all = append(all, c)
	}
	all = append(all, compressed()...)
	for i, c := range all {
		c.Number = i + 1
	}
	return all
})

// Find returns the conversation with that ID, or nil.
func Find(id string) *Conversation {
	for _, c := range All() {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// parseLine returns the conversation written on a line of conversations.txt.
func parseLine(line string) (*Conversation, error) {
	fields := strings.Split(line, " | ")
	if len(fields) != 4 && len(fields) != 5 {
		return nil, fmt.Errorf("conversation: %q: %d fields", line, len(fields))
	}
	c := &Conversation{ID: fields[0], Script: fields[2], Expected: fields[3]}
	if len(fields) == 5 {
		c.NonStrict = fields[4]
	}
	if err := c.parseEnd(strings.Fields(fields[1])); err != nil {
		return nil, fmt.Errorf("conversation: %q: %w", line, err)
	}
	return c, nil
}

// parseEnd parses the second field of a line.
func (c *Conversation) parseEnd(words []string) (err error) {
	if c.Class, err = parseClass(words[0]); err != nil {
		return err
	}
	if c.Timer, err = parseTimer(words[1]); err != nil {
		return err
	}
	for _, word := range words[2:] {
		if turns, ok := strings.CutPrefix(word, "turns="); ok {
			if c.Turns, err = strconv.Atoi(turns); err != nil {
				return err
			}
			continue
		}
		if word != "informational" {
			return fmt.Errorf("no word %q", word)
		}
		c.Informational = true
	}
	return nil
}

// parseTimer returns the timer written as K or E and seconds.
func parseTimer(s string) (Timer, error) {
	after, err := time.ParseDuration(s[1:] + "s")
	if err != nil {
		return Timer{}, err
	}
	if s[0] != 'K' && s[0] != 'E' {
		return Timer{}, fmt.Errorf("no timer %q", s)
	}
	return Timer{s[0] == 'K', after}, nil
}

// Description returns a short description of c.
func (c *Conversation) Description() string {
	if c.Compression == nil {
		return c.Script
	}
	z := c.Compression
	s := fmt.Sprintf("%d messages of %d units of %v, one frame each", c.Turns, z.Size, z.Data)
	if z.Fragment > 0 {
		s = fmt.Sprintf("%d messages of %d units of %v, in frames of %d octets", c.Turns, z.Size, z.Data, z.Fragment)
	}
	for _, offer := range z.Offers {
		s += ", " + offer.Offer()
	}
	return s
}
