package main

import (
	"net/url"
	"slices"
	"sync"
)

// A backend is a server that connections are passed on to.
type backend struct {
	url   *url.URL
	conns int // under backends.mu
}

// backends are all servers. Its methods are safe for concurrent use.
type backends struct {
	mu  sync.Mutex
	all []*backend
}

// newBackends returns the servers at urls.
func newBackends(urls []*url.URL) *backends {
	bs := new(backends)
	for _, u := range urls {
		bs.all = append(bs.all, &backend{url: u})
	}
	return bs
}

// take returns the server with the fewest connections, the first of several,
// except those in tried, and counts one connection more. It returns nil if all
// were tried.
func (bs *backends) take(tried []*backend) *backend {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	var least *backend
	for _, b := range bs.all {
		if (least == nil || b.conns < least.conns) && !slices.Contains(tried, b) {
			least = b
		}
	}
	if least != nil {
		least.conns++
	}
	return least
}

// release counts one connection to b less.
func (bs *backends) release(b *backend) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	b.conns--
}
