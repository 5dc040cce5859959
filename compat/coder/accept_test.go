package websocket

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	original "github.com/coder/websocket"
	fullduplex "github.com/fullduplex-go/websocket"
)

// An originCase is a request with an Origin and what becomes of it.
type originCase struct {
	origin, host string
	opts         AcceptOptions
	allowed      bool
}

// patterns returns options with these patterns.
func patterns(p ...string) AcceptOptions { return AcceptOptions{OriginPatterns: p} }

var originCases = []originCase{
	{"", "", AcceptOptions{}, true},
	{"https://a.example", "a.example", AcceptOptions{}, true},
	{"https://a.example", "A.Example", AcceptOptions{}, true},
	{"https://a.example:8443", "a.example:8443", AcceptOptions{}, true},
	{"https://a.example", "a.example:443", AcceptOptions{}, false},
	{"https://evil.example", "a.example", AcceptOptions{}, false},
	{"null", "a.example", AcceptOptions{}, false},
	{"::%", "a.example", AcceptOptions{}, false},
	{"https://evil.example", "a.example", AcceptOptions{InsecureSkipVerify: true}, true},
	{"null", "a.example", AcceptOptions{InsecureSkipVerify: true}, true},
	{"https://b.example", "a.example", patterns("b.example"), true},
	{"http://b.example", "a.example", patterns("b.example"), true},
	{"https://B.EXAMPLE", "a.example", patterns("b.Example"), true},
	{"https://x.b.example", "a.example", patterns("*.b.example"), true},
	{"https://b.example", "a.example", patterns("*.b.example"), false},
	{"https://b.example:1", "a.example", patterns("b.example"), false},
	{"https://b.example:1", "a.example", patterns("b.example:*"), true},
	{"https://b.example", "a.example", patterns("https://b.example"), true},
	{"http://b.example", "a.example", patterns("https://b.example"), false},
	{"http://b.example", "a.example", patterns("http*://b.example"), true},
	{"https://b.example", "a.example", patterns("c.example", "b.example"), true},
	{"https://any.example", "a.example", patterns("*"), true},
	{"null", "a.example", patterns("*"), true}, // its host is empty
	{"null", "a.example", patterns("null"), false},
	{"https://b.example", "a.example", patterns("["), false},
	{"https://a.example", "a.example", patterns("["), true},
}

// TestOrigins asks both libraries.
func TestOrigins(t *testing.T) {
	for _, test := range originCases {
		for _, lib := range []library{this, coder} {
			url := startServer(t, func(w http.ResponseWriter, r *http.Request) { acceptAndClose(lib, w, r, test.opts) })
			h := http.Header{}
			if test.origin != "" {
				h.Set("Origin", test.origin)
			}
			c, r, err := Dial(patiently(t), url, &DialOptions{Host: test.host, HTTPHeader: h})
			if err == nil {
				c.CloseNow()
			} else {
				require.Equal(t, http.StatusForbidden, r.StatusCode)
			}
			require.Equal(t, test.allowed, err == nil, "%s: %+v: %v", lib.name, test, err)
		}
	}
}

// acceptAndClose answers a request as lib does.
func acceptAndClose(lib library, w http.ResponseWriter, r *http.Request, o AcceptOptions) {
	if lib.name == this.name {
		if c, err := Accept(w, r, &o); err == nil {
			c.CloseNow()
		}
		return
	}
	c, err := original.Accept(w, r, &original.AcceptOptions{InsecureSkipVerify: o.InsecureSkipVerify, OriginPatterns: o.OriginPatterns})
	if err == nil {
		c.CloseNow()
	}
}

// TestRefusals: what a client is told, and the error of Accept.
func TestRefusals(t *testing.T) {
	errs := make(chan error, 1)
	url := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		_, err := Accept(w, r, nil)
		errs <- err
	})
	_, r, err := Dial(patiently(t), url, &DialOptions{HTTPHeader: http.Header{"Origin": {"https://evil.example"}}})
	var refused *fullduplex.HandshakeError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, http.StatusForbidden, refused.Status)
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), "evil.example")
	require.ErrorAs(t, <-errs, &refused)
	require.Equal(t, http.StatusForbidden, refused.Status)
}

// TestPongIsSuppressed: the hook decides whether a Ping is answered.
func TestPongIsSuppressed(t *testing.T) {
	var answers atomic.Bool
	pings := make(chan string, 2)
	s, c := connect(t, this, this, options{onPing: func(ctx context.Context, p []byte) bool {
		pings <- string(p)
		return answers.Swap(true) && ctx.Err() == nil
	}}, options{})
	s.CloseRead(background)
	c.CloseRead(background)
	unanswered, cancel := context.WithCancel(background)
	go func() {
		<-pings
		cancel()
	}()
	require.ErrorIs(t, c.Ping(unanswered), context.Canceled)
	require.NoError(t, c.Ping(patiently(t)))
}

// TestCompressionIsNegotiated compares the response of this package with that of
// the original, for all modes.
func TestCompressionIsNegotiated(t *testing.T) {
	modes := []CompressionMode{CompressionDisabled, CompressionContextTakeover, CompressionNoContextTakeover}
	for _, server := range modes {
		for _, client := range modes {
			for _, m := range meetings {
				s, c := connect(t, m.server, m.client, options{mode: server, threshold: 1}, options{mode: client, threshold: 1})
				go offers(s, string(pattern(5000)))
				receives(t, c, string(pattern(5000)))
				o, ok := c.(ours)
				if !ok {
					o = s.(ours)
				}
				compressed := o.Unwrap().Stats().CompressedIn+o.Unwrap().Stats().CompressedOut > 0
				require.Equal(t, server > 0 && client > 0, compressed, "%s: %v, %v", m.name(), server, client)
			}
		}
	}
}
