package reference

import (
	"context"
	"flag"
	"net"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket/autobahn/internal/conversation"
	"github.com/fullduplex-go/websocket/autobahn/internal/judge"
	"github.com/fullduplex-go/websocket/autobahn/internal/peer"
)

// Most conversations with a bug consist of waiting: many are played at once.
const (
	testsAtOnce = "4"
	atOnce      = 64 // small conversations of a test
	largeAtOnce = 4
)

// wait is the length of the waits in the scripts: longer than the suite's, as
// so many conversations at once delay each other.
const wait = 4 * time.Second

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", testsAtOnce)
	os.Exit(m.Run())
}

// judgeAll plays conversations with endpoints that have a bug.
func judgeAll(t *testing.T, role peer.Role, bug Bug, opts *judge.Options, cases []*conversation.Conversation) map[string]*judge.Result {
	play := servers(t, bug, opts)
	if role == peer.Server {
		play = clients(t, bug, opts)
	}
	var (
		mu      sync.Mutex
		all     sync.WaitGroup
		results = map[string]*judge.Result{}
		slots   = make(chan struct{}, atOnce)
	)
	if cases[len(cases)-1].Turns > 0 {
		slots = make(chan struct{}, largeAtOnce)
	}
	for _, c := range cases {
		slots <- struct{}{}
		all.Go(func() {
			r := play(c)
			mu.Lock()
			results[c.ID] = r
			mu.Unlock()
			<-slots
		})
	}
	all.Wait()
	return results
}

// servers returns a function that judges servers with a bug.
func servers(t *testing.T, bug Bug, opts *judge.Options) func(*conversation.Conversation) *judge.Result {
	l := listen(t)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				e, err := Accept(conn, bug)
				if err != nil {
					conn.Close()
					return
				}
				e.Echo()
			}()
		}
	}()
	return func(c *conversation.Conversation) *judge.Result {
		return judge.JudgeServer(t.Context(), "ws://"+l.Addr().String(), c, opts)
	}
}

// clients returns a function that judges clients with a bug.
func clients(t *testing.T, bug Bug, opts *judge.Options) func(*conversation.Conversation) *judge.Result {
	l := listen(t)
	s := judge.NewServer(conversation.All(), opts)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return func(c *conversation.Conversation) *judge.Result {
		e, err := Dial(&url.URL{Scheme: "ws", Host: l.Addr().String(), Path: "/runCase", RawQuery: "agent=a&casetuple=" + c.ID}, bug)
		if err != nil {
			return &judge.Result{ID: c.ID, Behavior: judge.Failed, Notes: []string{err.Error()}}
		}
		e.Echo()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r, err := s.Result(ctx, "a", c.ID)
		if err != nil {
			return &judge.Result{ID: c.ID, Behavior: judge.Failed, Notes: []string{err.Error()}}
		}
		return r
	}
}

// listen returns a listener on loopback.
func listen(t *testing.T) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// explain writes a result that is not the one wanted.
func explain(t *testing.T, c *conversation.Conversation, r *judge.Result, want string) {
	t.Errorf("%s: behavior %s, behaviorClose %s, want %s\nscript:   %s\nexpected: %s\nreceived: %s\nclose code %d\n%s", c.ID, r.Behavior, r.BehaviorClose, want,
		c.Description(), r.Expected, r.Received, r.CloseCode, strings.Join(r.Notes, "\n"))
}

// TestFaultless plays all conversations with the correct endpoint.
func TestFaultless(t *testing.T) {
	opts := &judge.Options{Patience: 10, Wait: wait, Volume: 1 << 12}
	wanted := conversation.All()
	if testing.Short() {
		wanted = some(func(c *conversation.Conversation) bool { return small(c) || compressed(c) })
	}
	for _, role := range []peer.Role{peer.Client, peer.Server} {
		t.Run("judge as "+role.String(), func(t *testing.T) {
			results := judgeAll(t, role, None, opts, wanted)
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

// large are those of category 9 that send one message.
func large(c *conversation.Conversation) bool { return c.Turns == 1 }

// compressed are those of 12 and 13 whose data is repetitive, in some sizes.
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

// bugs say of each bug which conversations catch it, of those it is tried
// with. The INFORMATIONAL ones catch only a failed handshake.
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
	// The continuation frame of 5.2 is refused in any case.
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
	// After a malformed Close a client that hangs is no failure.
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
	// With 512 octets of window the endpoint forgets of its own accord before
	// longer messages, and it does not look for matches in shorter ones.
	{ContextKept, compressed, ids("13.2.* 13.6.* 13.5.3 13.7.3"), nil},
	// Messages of 16 and 256 octets alone are within the window.
	{WindowExceeded, compressed, but(ids("13.[357].*"), ids("13.[57].1 13.[57].3")), nil},
	{ContextLost, compressed, all, nil},
	{RSV1OnContinue, compressed, all, nil},
}

// TestBugs checks that each bug is caught by exactly the conversations that
// should catch it. The busy ones come first, one by one.
func TestBugs(t *testing.T) {
	if len(bugs) != int(bugCount)-1 {
		t.Errorf("%d of %d bugs are tried", len(bugs), bugCount-1)
	}
	quick := &judge.Options{Patience: 8, Wait: wait, Longest: time.Second, Volume: 1 << 12}
	patient := &judge.Options{Patience: 10, Longest: 10 * time.Second, Volume: 1 << 12}
	for _, test := range bugs {
		for _, role := range []peer.Role{peer.Client, peer.Server} {
			caughtBy := test.asClient
			if role == peer.Server && test.asServer != nil {
				caughtBy = test.asServer
			}
			tried := some(test.tried)
			busy := tried[len(tried)-1].Turns > 0
			t.Run(test.bug.String()+"/judge as "+role.String(), func(t *testing.T) {
				opts := patient
				if !busy {
					t.Parallel() // with other small ones, which do not disturb it
					opts = quick
				}
				tryBug(t, role, test.bug, opts, thinned(tried, caughtBy), caughtBy)
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

// tryBug plays cases and wants those in caughtBy, and no others, to fail.
func tryBug(t *testing.T, role peer.Role, bug Bug, opts *judge.Options, cases []*conversation.Conversation, caughtBy set) {
	results := judgeAll(t, role, bug, opts, cases)
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
