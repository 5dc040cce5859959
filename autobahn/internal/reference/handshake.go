package reference

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/fullduplex-go/websocket/autobahn/internal/deflate"
)

// Accept performs the server's opening handshake.
func Accept(conn net.Conn, bug Bug) (*Endpoint, error) {
	e := &Endpoint{conn: conn, r: bufio.NewReader(conn), bug: bug}
	request, err := http.ReadRequest(e.r)
	if err != nil {
		return nil, err
	}
	key := request.Header.Get("Sec-WebSocket-Key")
	if bug == WrongAccept {
		key += "="
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	response := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n"
	offers, err := deflate.ParseOffers(request.Header.Get("Sec-WebSocket-Extensions"))
	if err == nil && len(offers) > 0 {
		answer := deflate.Params{ServerNoContext: offers[0].ServerNoContext, ServerWindow: offers[0].ServerWindow}
		if bug == IgnoreOfferTerms {
			answer = deflate.Params{}
		}
		e.compressor = newCompressor(answer.Server(), bug)
		e.inflater = &inflater{noContext: answer.ClientNoContext}
		response += "Sec-WebSocket-Extensions: " + answer.Answer() + "\r\n"
	}
	_, err = conn.Write([]byte(response + "\r\n"))
	return e, err
}

// Connect performs the client's opening handshake for a ws URL, and offers
// permessage-deflate.
func Connect(conn net.Conn, u *url.URL, bug Bug) (*Endpoint, error) {
	e := &Endpoint{conn: conn, r: bufio.NewReader(conn), client: true, bug: bug}
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: %s\r\n\r\n",
		u.RequestURI(), u.Host, deflate.Params{ClientWindow: deflate.AnyWindow}.Offer())
	response, err := http.ReadResponse(e.r, &http.Request{Method: "GET"})
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("reference: %s", response.Status)
	}
	if extension := response.Header.Get("Sec-WebSocket-Extensions"); extension != "" {
		answer, err := deflate.ParseAnswer(extension)
		if err != nil {
			return nil, err
		}
		e.compressor = newCompressor(answer.Client(), bug)
		e.inflater = &inflater{noContext: answer.ServerNoContext}
	}
	return e, nil
}
