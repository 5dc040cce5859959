package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// The settings are what the flags say.
type settings struct {
	front     front
	back      back
	limits    limits
	clients   identity
	origins   list
	compress  string
	idle      time.Duration
	handshake time.Duration
}

// The front is what clients connect to.
type front struct {
	listen, cert, key, metrics string
}

// The back is what connections are passed on to.
type back struct {
	servers []*url.URL
	host    string // in requests; "": that of the client's request
	headers list   // of the client's request, passed on besides those in passedOn
	pages   bool   // other requests than handshakes are passed on too
}

// limits bound what clients may do. Zeros are no bounds.
type limits struct {
	message   int64 // bytes
	conns     int
	perClient int     // connections
	messages  float64 // per second
	bytes     float64 // per second
	burst     time.Duration
	refuse    bool // what is over a rate closes the connection, and does not wait
}

// parse returns the settings that args, without the program's name, make. It
// explains the flags on out if args are wrong or ask for that.
func parse(args []string, out io.Writer) (*settings, error) {
	set := new(settings)
	var backends, trust list
	f := flag.NewFlagSet("proxy", flag.ContinueOnError)
	f.SetOutput(out)
	set.front.define(f)
	set.limits.define(f)
	f.Var(&backends, "backend", "`URL` of the server, such as ws://localhost:9000; repeated, each connection goes to the server with the fewest")
	f.StringVar(&set.back.host, "backend-host", "", "`host` in requests to the server; empty: that of the client's request")
	f.BoolVar(&set.back.pages, "http", false, "pass requests on that ask for no WebSocket too")
	f.Var(&set.back.headers, "pass", "`name` of another field of the client's request to pass on; may be repeated")
	f.Var(&set.origins, "origin", "`pattern` of pages that may connect, such as https://*.example.com; may be repeated (default: pages of the same origin)")
	f.Var(&trust, "trust", "`prefix` of the addresses of proxies in front of this one, such as 10.0.0.0/8; may be repeated")
	f.StringVar(&set.clients.header, "client-header", "X-Forwarded-For", "`name` of the field in which those of -trust say who the client is")
	f.DurationVar(&set.idle, "idle", 0, "close a connection whose client has sent no message for so long; 0: never")
	f.DurationVar(&set.handshake, "handshake-timeout", 10*time.Second, "how long the server may take to answer a handshake")
	f.StringVar(&set.compress, "compress", "none", "where messages may be compressed: `client`, backend, both or none")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("%q is no flag: all arguments are flags", f.Arg(0))
	}
	var err error
	if set.back.servers, err = parseServers(backends); err != nil {
		return nil, err
	}
	if set.clients.trusted, err = parsePrefixes(trust); err != nil {
		return nil, err
	}
	return set, set.check()
}

// define defines the flags of the front.
func (f *front) define(flags *flag.FlagSet) {
	flags.StringVar(&f.listen, "listen", "localhost:8080", "`host:port` to listen on")
	flags.StringVar(&f.cert, "cert", "", "PEM `file` with the certificate for TLS; empty: no TLS")
	flags.StringVar(&f.key, "key", "", "PEM `file` with the key of -cert")
	flags.StringVar(&f.metrics, "metrics", "", "`host:port` to serve /metrics on; empty: nowhere")
}

// define defines the flags of the limits.
func (l *limits) define(flags *flag.FlagSet) {
	flags.Int64Var(&l.message, "max-message", 0, "longest message in `bytes`, in both directions; 0: no limit")
	flags.IntVar(&l.conns, "max-conns", 0, "most `connections` in all; 0: no limit")
	flags.IntVar(&l.perClient, "conns-per-client", 0, "most `connections` of one client; 0: no limit")
	flags.Float64Var(&l.messages, "rate", 0, "`messages` a second of one client, on all its connections; 0: no limit")
	flags.Float64Var(&l.bytes, "bytes", 0, "`bytes` a second of one client, on all its connections; 0: no limit")
	flags.DurationVar(&l.burst, "burst", time.Second, "how much of -rate and -bytes a client that was silent may send at once")
	flags.BoolVar(&l.refuse, "refuse-over-rate", false, "close a client that is over a rate with 1008, instead of reading no faster than it")
}

// check returns an error for the first setting that makes no sense, and spells
// the names of fields as net/http does.
func (s *settings) check() error {
	l := &s.limits
	switch {
	case (s.front.cert == "") != (s.front.key == ""):
		return errors.New("-cert and -key go together: give both, or neither")
	case l.message < 0 || l.conns < 0 || l.perClient < 0 || !(l.messages >= 0) || !(l.bytes >= 0): // or not a number
		return errors.New("a limit is negative: give 0 for no limit")
	case l.burst <= 0 || s.handshake <= 0:
		return errors.New("-burst and -handshake-timeout are longer than 0, such as 5s")
	case s.idle < 0:
		return errors.New("-idle is negative: give 0 for never")
	case !strings.Contains(" client backend both none ", " "+s.compress+" "):
		return fmt.Errorf("-compress is %q: it is client, backend, both or none", s.compress)
	}
	for i, name := range s.back.headers {
		if isHopByHop(name) {
			return fmt.Errorf("-pass %s: the proxy makes this field itself, or it is not for the server", name)
		}
		s.back.headers[i] = http.CanonicalHeaderKey(name)
	}
	return nil
}

// parseServers returns the URLs of servers, with the schemes of HTTP.
func parseServers(texts []string) ([]*url.URL, error) {
	if len(texts) == 0 {
		return nil, errors.New("no server: give its URL with -backend, such as -backend ws://localhost:9000")
	}
	schemes := map[string]string{"ws": "http", "wss": "https", "http": "http", "https": "https"}
	var servers []*url.URL
	for _, text := range texts {
		u, err := url.Parse(text)
		if err != nil || schemes[u.Scheme] == "" || u.Host == "" || u.User != nil || u.Fragment != "" {
			return nil, fmt.Errorf("-backend %q is no URL of a WebSocket server: give one such as ws://localhost:9000/path", text)
		}
		u.Scheme = schemes[u.Scheme]
		servers = append(servers, u)
	}
	return servers, nil
}

// parsePrefixes returns the prefixes that texts say; an address is a prefix.
func parsePrefixes(texts []string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, text := range texts {
		if a, err := netip.ParseAddr(text); err == nil {
			prefixes = append(prefixes, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("-trust %q is no prefix: give one such as 10.0.0.0/8, or an address", text)
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}

// A list is the value of a flag that may be repeated.
type list []string

// String returns the values.
func (l *list) String() string { return strings.Join(*l, ", ") }

// Set adds a value.
func (l *list) Set(value string) error {
	if value == "" {
		return errors.New("it is empty")
	}
	*l = append(*l, value)
	return nil
}

// isHopByHop reports whether the field name of a request is for the next hop
// alone, or is one that the proxy makes itself.
func isHopByHop(name string) bool {
	switch name = http.CanonicalHeaderKey(name); name {
	case "Connection", "Content-Length", "Host", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Forwarded", requestID:
		return true
	default:
		return strings.HasPrefix(name, "Sec-Websocket-") || strings.HasPrefix(name, "X-Forwarded-")
	}
}
