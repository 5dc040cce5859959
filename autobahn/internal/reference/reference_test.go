package reference

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket/autobahn/internal/conversation"
	"github.com/fullduplex-go/websocket/autobahn/internal/judge"
	"github.com/fullduplex-go/websocket/autobahn/internal/peer"
)

// options give the endpoints time enough on a busy machine, and short
// conversations in categories 12 and 13.
var options = judge.Options{Patience: 2, Longest: time.Second, Volume: 1 << 14}

// atOnce is the number of conversations that are played at the same time: most
// of those with a bug consist of waiting.
const atOnce = 64

// judgeAll plays conversations with endpoints that have a bug.
func judgeAll(t *testing.T, role peer.Role, bug Bug, cases []*conversation.Conversation) map[string]*judge.Result {
	play := servers(t, bug)
	if role == peer.Server {
		play = clients(t, bug)
	}
	var (
		mu      sync.Mutex
		all     sync.WaitGroup
		results = map[string]*judge.Result{}
		slots   = make(chan struct{}, atOnce)
	)
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
func servers(t *testing.T, bug Bug) func(*conversation.Conversation) *judge.Result {
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
		return judge.JudgeServer(context.Background(), "ws://"+l.Addr().String(), c, &options)
	}
}

// clients returns a function that judges clients with a bug.
func clients(t *testing.T, bug Bug) func(*conversation.Conversation) *judge.Result {
	l := listen(t)
	s := judge.NewServer(conversation.All(), &options)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return func(c *conversation.Conversation) *judge.Result {
		e, err := Dial(&url.URL{Scheme: "ws", Host: l.Addr().String(), Path: "/runCase", RawQuery: "agent=a&casetuple=" + c.ID}, bug)
		if err != nil {
			return &judge.Result{ID: c.ID, Behavior: judge.Failed, Notes: []string{err.Error()}}
		}
		e.Echo()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		r, err := s.Result(ctx, "a", c.ID)
		if err != nil {
			t.Errorf("%s: %v", c.ID, err)
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

func TestExplore(t *testing.T) {
	for bug := range bugCount {
		if bug < FragmentLimit && bug != None { continue }

		if only := os.Getenv("BUG"); only != "" && bug.String() != only { continue }
		for _, role := range []peer.Role{peer.Client, peer.Server} {
			start := time.Now()
			var cases []*conversation.Conversation
			for _, c := range conversation.All() {
				if bug < WrongAccept && bug != FragmentLimit && bug != SmallMessageLimit && (c.Category() < 9 || c.Category() == 10) || (bug >= WrongAccept || bug == LoseEarlierEcho) && c.Compression != nil && (c.Compression.Size <= 8192 || c.Compression.Fragment > 0 )  || (bug == FragmentLimit || bug == SmallMessageLimit) && c.Category() == 9 && c.Turns == 1 { cases = append(cases, c) }
			}
			results := judgeAll(t, role, bug, cases)
			groups := map[string][]string{}
			for _, c := range cases {
				r := results[c.ID]
				if !r.Strict() {
					k := fmt.Sprintf("%s/%s", r.Behavior, r.BehaviorClose)
					groups[k] = append(groups[k], c.ID)
					if os.Getenv("BUG") != "" { fmt.Println(c.ID, r.Behavior, r.BehaviorClose, r.CloseCode, r.Expected, "|", r.Received, r.Notes) }
				}
			}
			var keys []string
			for k := range groups { keys = append(keys, k) }
			sort.Strings(keys)
			fmt.Printf("%-22s judge as %s %.1fs\n", bug, role, time.Since(start).Seconds())
			for _, k := range keys {
				s := strings.Join(groups[k], " ")
				if len(s) > 400 { s = s[:200] + fmt.Sprintf(" ...(%d)... ", len(groups[k])) + s[len(s)-150:] }
				fmt.Println("    ", k, s)
			}
		}
	}
}
