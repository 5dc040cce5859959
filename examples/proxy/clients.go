package main

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/fullduplex-go/websocket"
)

// An identity says by what a client is known: the address it connects from or,
// behind proxies that are trusted, the one they name.
type identity struct {
	header  string
	trusted []netip.Prefix
}

// trusts reports whether a is the address of a proxy that is trusted.
func (id *identity) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(id.trusted, func(p netip.Prefix) bool { return p.Contains(a) })
}

// peerOf returns the address that r came from, or none if that is not IP.
func peerOf(r *http.Request) netip.Addr {
	from, _ := netip.ParseAddrPort(r.RemoteAddr)
	return from.Addr().Unmap().WithZone("")
}

// clientOf returns the address of the client that sent r. Each proxy adds the
// address it was called from at the end of the field, so the client is the last
// one that is not trusted: what comes before it anybody may have written.
func (id *identity) clientOf(r *http.Request) netip.Addr {
	client := peerOf(r)
	named := strings.Split(strings.Join(r.Header.Values(id.header), ","), ",")
	for _, name := range slices.Backward(named) {
		if !id.trusts(client) {
			break
		}
		a, err := netip.ParseAddr(strings.TrimSpace(name))
		if err != nil {
			break
		}
		client = a.Unmap().WithZone("")
	}
	return client
}

// groupOf returns the addresses that count as one client with a: of IPv6 the 64
// bits that a site is given.
func groupOf(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// clients holds those that are connected to limits. Its methods are safe for
// concurrent use.
type clients struct {
	limits limits

	mu    sync.Mutex
	conns int
	known map[netip.Prefix]*client // those with a connection
}

// A client is one or more connections from one place, which share rates.
type client struct {
	group           netip.Prefix
	conns           int           // under clients.mu
	messages, bytes *rate.Limiter // nil: no limit
	refuse          bool
}

// newClients returns clients to be held to l.
func newClients(l limits) *clients {
	return &clients{limits: l, known: make(map[netip.Prefix]*client)}
}

// enter counts one connection more from a, or refuses it.
func (cs *clients) enter(a netip.Addr) (*client, error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if most := cs.limits.conns; most > 0 && cs.conns >= most {
		return nil, tooMany(http.StatusServiceUnavailable, "too many connections")
	}
	group := groupOf(a)
	c := cs.known[group]
	if c == nil {
		c = cs.limits.newClient(group)
	}
	if most := cs.limits.perClient; most > 0 && c.conns >= most {
		return nil, tooMany(http.StatusTooManyRequests, "too many connections of this client")
	}
	cs.known[group] = c
	c.conns++
	cs.conns++
	return c, nil
}

// leave counts one connection of c less.
func (cs *clients) leave(c *client) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.conns--
	if c.conns--; c.conns == 0 {
		delete(cs.known, c.group)
	}
}

// tooMany refuses a connection that may be possible later.
func tooMany(status int, reason string) error {
	later := http.Header{"Retry-After": {"10"}}
	return &websocket.HandshakeError{Status: status, Reason: reason, Response: &http.Response{Header: later}}
}

// newClient returns a client without connections.
func (l *limits) newClient(group netip.Prefix) *client {
	return &client{group: group, messages: l.limiter(l.messages), bytes: l.limiter(l.bytes), refuse: l.refuse}
}

// limiter returns a limiter for so much a second, or nil if that is 0.
func (l *limits) limiter(perSecond float64) *rate.Limiter {
	if perSecond == 0 {
		return nil
	}
	burst := math.Ceil(perSecond * l.burst.Seconds())
	return rate.NewLimiter(rate.Limit(perSecond), int(min(burst, math.MaxInt32)))
}

// errOverRate says that a client has sent more than it may.
var errOverRate = errors.New("client is over its rate")

// take takes n of what l has, and waits until there is so much or ctx ends. If
// the client is refused over its rate, it does not wait.
func (c *client) take(ctx context.Context, l *rate.Limiter, n int) error {
	if l == nil {
		return nil
	}
	for n > 0 {
		some := min(n, l.Burst())
		if c.refuse {
			if !l.AllowN(time.Now(), some) {
				return errOverRate
			}
		} else if err := l.WaitN(ctx, some); err != nil {
			return err
		}
		n -= some
	}
	return nil
}
