package peer

import (
	"bufio"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/fullduplex-go/websocket/autobahn/internal/deflate"
)

// Software names the judge in both handshakes.
const Software = "fullduplex-go-judge"

// accept returns the Sec-WebSocket-Accept value for a key
// (RFC 6455, Section 4.2.2).
func accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// An Answer is the outcome of a server's handshake.
type Answer struct {
	Software    string          // the Server header
	Compression *deflate.Params // nil: not agreed
}

// Connect performs the client's opening handshake for u with these offers.
func Connect(out *Outbox, in *bufio.Reader, u *url.URL, offers []deflate.Params) (*Answer, error) {
	var nonce [16]byte
	rand.Read(nonce[:])
	key := base64.StdEncoding.EncodeToString(nonce[:])
	out.Write(request(u, key, offers), 0)
	resp, err := http.ReadResponse(in, &http.Request{Method: "GET"})
	if err != nil {
		return nil, fmt.Errorf("peer: response: %w", err)
	}
	if err := checkResponse(resp, accept(key)); err != nil {
		return nil, err
	}
	return AnswerIn(resp.Header, offers)
}

// AnswerIn returns what the header of a server's response answers to these offers.
func AnswerIn(h http.Header, offers []deflate.Params) (*Answer, error) {
	answer := &Answer{Software: h.Get("Server")}
	extensions := h.Values("Sec-WebSocket-Extensions")
	switch {
	case len(extensions) == 0:
		return answer, nil
	case len(extensions) > 1 || len(offers) == 0:
		return nil, fmt.Errorf("peer: extensions %q do not match an offer", extensions)
	}
	params, err := deflate.ParseAnswer(extensions[0])
	if err != nil {
		return nil, err
	}
	answer.Compression = &params
	return answer, nil
}

// OfferList returns the value of Sec-WebSocket-Extensions with these offers.
func OfferList(offers []deflate.Params) string {
	extensions := make([]string, len(offers))
	for i, offer := range offers {
		extensions[i] = offer.Offer()
	}
	return strings.Join(extensions, ", ")
}

// request returns the request of the opening handshake.
func request(u *url.URL, key string, offers []deflate.Params) []byte {
	path := u.RequestURI()
	s := "GET " + path + " HTTP/1.1\r\n" +
		"User-Agent: " + Software + "\r\n" +
		"Host: " + u.Host + "\r\n" +
		"Upgrade: WebSocket\r\n" +
		"Connection: Upgrade\r\n" +
		"Pragma: no-cache\r\n" +
		"Cache-Control: no-cache\r\n" +
		"Sec-WebSocket-Key: " + key + "\r\n"
	if len(offers) > 0 {
		s += "Sec-WebSocket-Extensions: " + OfferList(offers) + "\r\n"
	}
	return []byte(s + "Sec-WebSocket-Version: 13\r\n\r\n")
}

// checkResponse checks a response, except for its extensions.
func checkResponse(resp *http.Response, accept string) error {
	h := resp.Header
	switch {
	case resp.StatusCode != http.StatusSwitchingProtocols || !resp.ProtoAtLeast(1, 1):
		return fmt.Errorf("peer: response %s %s", resp.Proto, resp.Status)
	case !strings.EqualFold(h.Get("Upgrade"), "websocket"):
		return fmt.Errorf("peer: response has Upgrade %q", h.Values("Upgrade"))
	case !hasToken(h.Values("Connection"), "upgrade"):
		return fmt.Errorf("peer: response has Connection %q", h.Values("Connection"))
	case len(h.Values("Sec-WebSocket-Accept")) != 1 || h.Get("Sec-WebSocket-Accept") != accept:
		return fmt.Errorf("peer: response has Sec-WebSocket-Accept %q, not %q", h.Values("Sec-WebSocket-Accept"), accept)
	case len(h.Values("Sec-WebSocket-Protocol")) > 0:
		return fmt.Errorf("peer: response has a subprotocol that was not offered")
	default:
		return nil
	}
}

// hasToken reports whether a list header has a token, in any case.
func hasToken(values []string, token string) bool {
	for _, value := range values {
		for element := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(element), token) {
				return true
			}
		}
	}
	return false
}

// A Request is a client's opening handshake.
type Request struct {
	URL    *url.URL
	Agent  string // the User-Agent header
	Offers []deflate.Params
	key    string
}

// ReadRequest reads and checks a client's request. port is the one that the
// client must name in Host.
func ReadRequest(in *bufio.Reader, port string) (*Request, error) {
	r, err := http.ReadRequest(in)
	if err != nil {
		return nil, fmt.Errorf("peer: request: %w", err)
	}
	if err := checkRequest(r, port); err != nil {
		return nil, err
	}
	req := &Request{URL: r.URL, Agent: r.UserAgent(), key: r.Header.Get("Sec-WebSocket-Key")}
	if extensions := r.Header.Get("Sec-WebSocket-Extensions"); extensions != "" {
		req.Offers, err = deflate.ParseOffers(extensions)
	}
	return req, err
}

// checkRequest checks a request, except for its extension offers.
func checkRequest(r *http.Request, port string) error {
	for _, name := range []string{"Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"} {
		if n := len(r.Header.Values(name)); n != 1 {
			return fmt.Errorf("peer: request has %d %s headers", n, name)
		}
	}
	version := r.Header.Get("Sec-WebSocket-Version")
	switch {
	case r.Method != "GET" || !r.ProtoAtLeast(1, 1):
		return fmt.Errorf("peer: request is %s %s", r.Method, r.Proto)
	case !hasToken(r.Header.Values("Upgrade"), "websocket"):
		return fmt.Errorf("peer: request has Upgrade %q", r.Header.Get("Upgrade"))
	case !hasToken(r.Header.Values("Connection"), "upgrade"):
		return fmt.Errorf("peer: request has Connection %q", r.Header.Get("Connection"))
	case version != "13" && version != "8":
		return fmt.Errorf("peer: request has version %q", version)
	case !keyValid(r.Header.Get("Sec-WebSocket-Key")):
		return fmt.Errorf("peer: request has key %q", r.Header.Get("Sec-WebSocket-Key"))
	case len(r.Header.Values("Sec-WebSocket-Extensions")) > 1:
		return fmt.Errorf("peer: request has several Sec-WebSocket-Extensions headers")
	default:
		return checkHost(r.Host, port)
	}
}

// keyValid reports whether s is 16 octets in base64.
func keyValid(s string) bool {
	nonce, err := base64.StdEncoding.DecodeString(s)
	return err == nil && len(nonce) == 16
}

// checkHost checks the Host header: it must have the port unless that is a
// default one.
func checkHost(host, port string) error {
	_, got, err := net.SplitHostPort(host)
	if err != nil && port != "80" && port != "443" || err == nil && got != port {
		return fmt.Errorf("peer: request has Host %q, the port is %s", host, port)
	}
	return nil
}

// Response returns the 101 response, with an answer to the client's offers if
// there is one.
func (r *Request) Response(answer *deflate.Params) []byte {
	s := "HTTP/1.1 101 Switching Protocols\r\n" +
		"Server: " + Software + "\r\n" +
		"X-Powered-By: " + Software + "\r\n" +
		"Upgrade: WebSocket\r\n" +
		"Connection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + accept(r.key) + "\r\n"
	if answer != nil {
		s += "Sec-WebSocket-Extensions: " + answer.Answer() + "\r\n"
	}
	return []byte(s + "\r\n")
}

// Refusal returns a response with an error status.
func Refusal(status int, err error) []byte {
	text := err.Error() + "\n"
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, http.StatusText(status), len(text), text)
}
