// Package judge plays conversations with a testee and gives verdicts, as the
// Autobahn|Testsuite does. It is the client of a server, or the server of a
// client.
//
// A session is one conversation. A single goroutine owns its state and selects
// over the events: something received, something written, a timer. One other
// goroutine reads and checks frames, another one writes.
package judge

import (
	"crypto/tls"
	"fmt"
	"strings"
	"time"
)

// A Verdict is the suite's word for how something went.
type Verdict string

// The verdicts on the behavior, and those on the end of the connection.
const (
	OK             Verdict = "OK"
	NonStrict      Verdict = "NON-STRICT"
	Informational  Verdict = "INFORMATIONAL"
	Unimplemented  Verdict = "UNIMPLEMENTED"
	Failed         Verdict = "FAILED"
	Unclean        Verdict = "UNCLEAN"
	WrongCode      Verdict = "WRONG CODE"
	FailedByClient Verdict = "FAILED BY CLIENT"
)

// A Result is the outcome of one conversation.
type Result struct {
	ID            string
	Behavior      Verdict
	BehaviorClose Verdict
	CloseCode     int // of the testee; 0: none
	CloseReason   string
	Duration      time.Duration // from the end of the opening handshake
	Software      string        // the testee's name for itself
	Extension     string        // what was agreed on; empty: nothing
	Farthest      int           // longest distance of a match in the testee's compressed messages
	Expected      string        // events, in the notation of conversations.txt
	Received      string
	Notes         []string // what was wrong, one sentence each
}

// Strict reports whether r is the result of a faultless testee: OK, or
// INFORMATIONAL if the suite knows no other verdict.
func (r *Result) Strict() bool {
	return good(r.Behavior) && good(r.BehaviorClose)
}

// String says what was expected, and what came instead.
func (r *Result) String() string {
	return fmt.Sprintf("behavior %s, behaviorClose %s, close code %d %q\nexpected: %s\nreceived: %s\nextension: %s\n%s",
		r.Behavior, r.BehaviorClose, r.CloseCode, r.CloseReason, r.Expected, r.Received, r.Extension, strings.Join(r.Notes, "\n"))
}

// good reports whether v is one of the verdicts of a faultless testee.
func good(v Verdict) bool { return v == OK || v == Informational }

// Options change how conversations are played. The zero value plays them as
// the suite does.
type Options struct {
	// Patience multiplies the time a testee is given, for a machine that is
	// slow or busy. 0: 1.
	Patience float64
	// Wait is the length of the waits in the scripts. 0: a second.
	Wait time.Duration
	// Longest bounds the conversations' own limits, for a testee that may not
	// answer; some are many minutes. 0: no bound.
	Longest time.Duration
	// Chop cuts every write of the judge into pieces of this many octets. 0: as
	// the script says.
	Chop int
	// Volume bounds the octets sent in a conversation of categories 12 and 13,
	// by sending fewer than its 1000 messages, but at least 2. 0: no bound.
	Volume int
	// TLS holds the settings with which the judge connects to a wss server, or
	// serves as one.
	TLS *tls.Config
}

// limit returns d multiplied by Patience.
func (o *Options) limit(d time.Duration) time.Duration {
	if o.Patience == 0 {
		return d
	}
	return time.Duration(float64(d) * o.Patience)
}

// wait returns the length of a wait in a script.
func (o *Options) wait() time.Duration {
	if o.Wait == 0 {
		return scriptWait
	}
	return o.Wait
}

// total returns the time limit of a whole conversation whose limit in the suite
// is d.
func (o *Options) total(d time.Duration) time.Duration {
	if o.Longest > 0 {
		d = min(d, o.Longest)
	}
	return o.limit(d)
}

// turns returns how many messages of size octets are sent where the suite
// sends n.
func (o *Options) turns(n, size int) int {
	if o.Volume == 0 {
		return n
	}
	return min(n, max(2, o.Volume/size))
}
