package reference

import (
	"net"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/fullduplex-go/websocket/autobahn/internal/conversation"
	"github.com/fullduplex-go/websocket/autobahn/internal/judge"
	"github.com/fullduplex-go/websocket/autobahn/internal/peer"
	"github.com/fullduplex-go/websocket/internal/faultnet"
)

// The conversations are played over connections in memory and with a clock that
// advances only when both sides wait, so that the pauses and limits of the suite
// take no time and a slow machine exceeds none.

// volume bounds the octets sent in a conversation of categories 12 and 13.
const volume = 1 << 12

// options play the conversations at the suite's own times.
var options = &judge.Options{Volume: volume}

// A judgeEnd is the judge's end of a connection. It has an address with a
// port, which a client names in its Host header.
type judgeEnd struct{ *faultnet.Conn }

var judgeAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9001}

func (judgeEnd) LocalAddr() net.Addr { return judgeAddr }

// judgeAll plays conversations one after the other with endpoints that have a
// bug, in a synctest bubble.
func judgeAll(t *testing.T, role peer.Role, bug Bug, cases []*conversation.Conversation) map[string]*judge.Result {
	play := judgeServer
	if role == peer.Server {
		play = judgeClient
	}
	results := map[string]*judge.Result{}
	synctest.Test(t, func(t *testing.T) {
		for _, c := range cases {
			results[c.ID] = play(t, bug, c)
		}
	})
	return results
}

// judgeServer plays a conversation with a server that has a bug.
func judgeServer(_ *testing.T, bug Bug, c *conversation.Conversation) *judge.Result {
	near, far := faultnet.Pipe()
	go func() {
		defer far.Close()
		if e, err := Accept(far, bug); err == nil {
			e.Echo()
		}
	}()
	return judge.JudgeServerConn(near, &url.URL{Scheme: "ws", Host: judgeAddr.String(), Path: "/"}, c, options)
}

// judgeClient plays a conversation with a client that has a bug.
func judgeClient(t *testing.T, bug Bug, c *conversation.Conversation) *judge.Result {
	near, far := faultnet.Pipe()
	defer far.Close()
	s := judge.NewServer([]*conversation.Conversation{c}, options)
	go s.ServeConn(judgeEnd{near})
	e, err := Connect(far, &url.URL{Scheme: "ws", Host: judgeAddr.String(), Path: "/runCase", RawQuery: "agent=a&case=1"}, bug)
	if err != nil {
		t.Fatal(err)
	}
	e.Echo()
	r, err := s.Result(t.Context(), "a", c.ID)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// explain reports a result that is not the wanted one.
func explain(t *testing.T, c *conversation.Conversation, r *judge.Result, want string) {
	t.Errorf("%s: behavior %s, behaviorClose %s, want %s\nscript:   %s\nexpected: %s\nreceived: %s\nclose code %d\n%s", c.ID, r.Behavior, r.BehaviorClose, want,
		c.Description(), r.Expected, r.Received, r.CloseCode, strings.Join(r.Notes, "\n"))
}

// TestFaultless plays all conversations with the correct endpoint.
func TestFaultless(t *testing.T) {
	wanted := conversation.All()
	if testing.Short() || raced {
		wanted = some(func(c *conversation.Conversation) bool { return small(c) || compressed(c) })
	}
	for _, role := range []peer.Role{peer.Client, peer.Server} {
		t.Run("judge as "+role.String(), func(t *testing.T) {
			t.Parallel()
			results := judgeAll(t, role, None, wanted)
			for _, c := range wanted {
				if r := results[c.ID]; !r.Strict() {
					explain(t, c, r, "OK")
				}
			}
		})
	}
}

// A set chooses conversations.
type set func(*conversation.Conversation) bool

// some returns the conversations in s.
func some(s set) []*conversation.Conversation {
	return slices.DeleteFunc(slices.Clone(conversation.All()), func(c *conversation.Conversation) bool { return !s(c) })
}

func none(*conversation.Conversation) bool { return false }
func all(*conversation.Conversation) bool  { return true }

// small are categories 1 to 7 and 10.
func small(c *conversation.Conversation) bool { return c.Turns == 0 }

// large are those of category 9 that send one message. They are fewer under the
// race detector, which makes every octet expensive.
func large(c *conversation.Conversation) bool {
	return c.Turns == 1 && (!raced || ids("9.1.1 9.1.4 9.2.1 9.3.4 9.4.8")(c))
}

// compressed are some sizes of those of categories 12 and 13 whose data is
// repetitive.
func compressed(c *conversation.Conversation) bool {
	return ids("12.1.* 12.4.* 13.*.*")(c) && ids("*.*.1 *.*.3 *.*.4 *.*.6 *.*.11 *.*.14")(c)
}

// ids are the conversations whose IDs match one of some patterns.
func ids(patterns string) set {
	return func(c *conversation.Conversation) bool {
		for pattern := range strings.FieldsSeq(patterns) {
			if ok, _ := path.Match(pattern, c.ID); ok && strings.Count(pattern, ".") == strings.Count(c.ID, ".") {
				return true
			}
		}
		return false
	}
}

// ends are those of some classes.
func ends(classes ...conversation.Class) set {
	return func(c *conversation.Conversation) bool { return slices.Contains(classes, c.Class) }
}

// awaits are those in which an event is expected.
func awaits(event func(conversation.Event) bool) set {
	return func(c *conversation.Conversation) bool { return slices.ContainsFunc(c.Plan().Expected, event) }
}

func isPong(e conversation.Event) bool    { return e.Kind == conversation.PongFrame }
func isText(e conversation.Event) bool    { return e.Kind == conversation.TextMessage }
func isMessage(e conversation.Event) bool { return isText(e) || e.Kind == conversation.BinaryMessage }
func isLong(e conversation.Event) bool    { return isMessage(e) && len(e.Payload) >= 65535 }
func isShort(e conversation.Event) bool   { return isMessage(e) && len(e.Payload) < 126 }

// or is the union of sets.
func or(sets ...set) set {
	return func(c *conversation.Conversation) bool {
		return slices.ContainsFunc(sets, func(s set) bool { return s(c) })
	}
}

// but is a without b.
func but(a, b set) set {
	return func(c *conversation.Conversation) bool { return a(c) && !b(c) }
}

// losesEcho are those in which a bad frame follows a message: an endpoint that
// loses its echo is NON-STRICT.
func losesEcho(c *conversation.Conversation) bool {
	return c.Class == conversation.ProtocolFail && c.NonStrict != ""
}

// bugs says for each bug with which conversations it is tried and which of them
// catch it. The INFORMATIONAL ones catch only a failed handshake.
var bugs = []struct {
	bug      Bug
	tried    set
	asClient set // caught by, where the judge is the client
	asServer set // caught by, where the judge is the server; nil: the same
}{
	{WrongPongPayload, small, but(awaits(isPong), ids("2.1")), nil},
	{NoPong, small, awaits(isPong), nil},
	{SwappedPongs, small, ids("2.10 2.11"), nil},
	{PongAfterMessage, small, ids("5.6 5.7 5.8 5.19 5.20"), nil},
	{PongAtNextFrame, small, ids("5.19 5.20"), nil},
	{AcceptLongControl, small, ids("2.5 7.3.6"), nil},

	// The Close of 3.7 is answered with an empty Close, which may end a
	// failed connection.
	{IgnoreRSV, small, but(ids("3.*"), ids("3.7")), nil},
	{IgnoreReservedOpcodes, small, ids("4.*.*"), nil},
	// The continuation frame of 5.2 is always refused.
	{AcceptFragmentedControl, small, ids("5.1"), nil},
	{SkipContinuation, small, ids("5.9 5.10 5.11 5.12 5.13 5.14 5.15 5.16 5.17"), nil},
	{AcceptInterleaved, small, ids("5.18"), nil},
	{LoseEarlierEcho, small, losesEcho, nil},
	{NonMinimalLength, small, awaits(isShort), nil},
	{UnmaskedClientFrames, small, none, all},
	{MaskedServerFrames, small, all, none},
	{RSV1OnPong, small, awaits(isPong), nil},
	{FragmentLimit, large, ids("9.3.1 9.3.2 9.3.3 9.3.4 9.4.1 9.4.2 9.4.3 9.4.4"), nil},
	{SmallMessageLimit, large, ids("9.1.4 9.1.5 9.1.6 9.2.4 9.2.5 9.2.6 9.3.* 9.4.*"), nil},

	{WrongType, small, awaits(isText), nil},
	{TruncatedEcho, or(small, large), awaits(isLong), nil},
	{CorruptEcho, or(small, large), awaits(isLong), nil},
	{DoubleEcho, small, awaits(isMessage), nil},
	{NoEcho, small, awaits(isMessage), nil},

	{NoUTF8, small, ends(conversation.TextFail), nil},
	{LateUTF8, small, ids("6.4.*"), nil},
	{FrameUTF8, small, ids("6.4.3 6.4.4"), nil},

	{EchoInvalidCode, small, ids("7.9.*"), nil},
	{AcceptShortClose, small, ids("7.3.2"), nil},
	{AcceptBadReason, small, ids("7.5.1"), nil},
	// After a malformed Close a client that hangs does not fail.
	{NoCloseReply, small, or(ends(conversation.Normal, conversation.NormalCode), ids("7.3.2 7.5.1 7.9.*")), ends(conversation.Normal, conversation.NormalCode)},
	{DropOnClose, small, ends(conversation.Normal, conversation.NormalCode), nil},
	{AnswerBehindClose, small, ids("7.1.3 7.1.4 7.1.5"), nil},
	// As a server the judge resets TCP as soon as its Close is answered.
	{EchoAfterClose, small, ids("7.1.3 7.1.4 7.1.5"), none},
	// In 7.7.2 code 1001 is the echo of the judge's own.
	{WrongCloseCode, small, but(ends(conversation.Normal, conversation.NormalCode), ids("7.7.2")), nil},
	{NormalCodeOnFailure, small, ends(conversation.ProtocolFail, conversation.TextFail, conversation.BadClose, conversation.BadReason), nil},
	{CodeSwappedOnFailure, small, ends(conversation.ProtocolFail, conversation.TextFail, conversation.BadClose), nil},
	{NoTCPEnd, small, all, none},

	{WrongAccept, small, all, none},
	// The third offer of 13.7 asks for nothing.
	{IgnoreOfferTerms, compressed, ids("13.[23456].*"), none},
	// With a window of 512 octets the endpoint restarts by itself before longer
	// messages, and it does not look for matches in shorter ones.
	{ContextKept, compressed, ids("13.2.* 13.6.* 13.5.3 13.7.3"), nil},
	// Messages of 16 and 256 octets alone are within the window.
	{WindowExceeded, compressed, but(ids("13.[357].*"), ids("13.[57].1 13.[57].3")), nil},
	{ContextLost, compressed, all, nil},
	{RSV1OnContinue, compressed, all, nil},
}

// TestBugs checks that each bug is caught by exactly the conversations that
// should catch it.
func TestBugs(t *testing.T) {
	if len(bugs) != int(bugCount)-1 {
		t.Errorf("%d of %d bugs are tried", len(bugs), bugCount-1)
	}
	for _, test := range bugs {
		for _, role := range []peer.Role{peer.Client, peer.Server} {
			caughtBy := test.asClient
			if role == peer.Server && test.asServer != nil {
				caughtBy = test.asServer
			}
			t.Run(test.bug.String()+"/judge as "+role.String(), func(t *testing.T) {
				t.Parallel()
				tryBug(t, role, test.bug, thinned(some(test.tried), caughtBy), caughtBy)
			})
		}
	}
}

// thinned returns cases, or in a short run some of them: a tenth of those that
// catch a bug, but at least five, and a tenth of the others.
func thinned(cases []*conversation.Conversation, caughtBy set) []*conversation.Conversation {
	if !testing.Short() {
		return cases
	}
	var kept []*conversation.Conversation
	for i, c := range cases {
		if i%10 == 0 || caughtBy(c) && len(kept) < 5 {
			kept = append(kept, c)
		}
	}
	return kept
}

// tryBug plays cases and checks that those in caughtBy, and no others, fail.
func tryBug(t *testing.T, role peer.Role, bug Bug, cases []*conversation.Conversation, caughtBy set) {
	results := judgeAll(t, role, bug, cases)
	for _, c := range cases {
		r := results[c.ID]
		caught := caughtBy(c) && (!c.Informational || bug == WrongAccept)
		switch {
		case caught && r.Strict():
			explain(t, c, r, "a verdict that catches the bug")
		case !caught && !r.Strict():
			explain(t, c, r, "OK")
		}
	}
}
